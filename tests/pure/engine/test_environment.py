# SPDX-License-Identifier: Apache-2.0
"""-e, --env-file, --label and --label-file: who wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirt.engine import environment
from minirt.engine.options import RunOptions, settle
from minirt.errors import InvalidValue


def test_words_win_over_files(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbf# a comment\nA=1\r\n\n  B=two words \nC\nHOME\n")
    caller = {"C": "from caller"}
    assert environment.collect([str(file)], ["A=2", "D="], caller) == [
        "A=2",
        "B=two words ",
        "C=from caller",
        "HOME",
        "D=",
    ]


def test_bare_name_takes_the_callers_value_or_unsets() -> None:
    assert environment.collect([], ["X", "Y"], {"X": "1=2"}) == ["X=1=2", "Y"]
    assert environment.final(["Y=image", "Z=1"], ["Y"]) == ["Z=1"]


@pytest.mark.parametrize("word", ["=x", "", "A=\0"])
def test_bad_variables(word: str) -> None:
    with pytest.raises(InvalidValue, match="invalid environment variable"):
        environment.collect([], [word], {})


def test_a_word_may_have_white_space_in_its_name() -> None:
    """As in Docker: only the lines of a file may not."""
    assert environment.collect([], ["A B=1"], {}) == ["A B=1"]


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="No such file"):
        environment.collect([str(tmp_path / "absent")], [], {})
    (tmp_path / "latin").write_bytes(b"A=\xe9")
    with pytest.raises(InvalidValue, match="not UTF-8: byte 2"):
        environment.collect([str(tmp_path / "latin")], [], {})
    (tmp_path / "bad").write_text("A=1\n# comment\n\nB C=1\n")
    with pytest.raises(InvalidValue, match="line 4"):
        environment.collect([str(tmp_path / "bad")], [], {})
    (tmp_path / "long").write_text("A=" + "x" * (environment.LINE_LIMIT_BYTES + 1))
    with pytest.raises(InvalidValue, match="longer than"):
        environment.collect([str(tmp_path / "long")], [], {})


def test_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\nb\n")
    assert environment.labels([str(file)], ["a=2", "c"]) == ["a=2", "b=", "c="]
    with pytest.raises(InvalidValue, match="invalid label"):
        environment.labels([], ["=x"])


def test_settled_options_stand_alone(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\n")
    wanted = RunOptions(image="x", env=["B"], env_file=[str(file)])
    settle(wanted, {"B": "2"})
    assert (wanted.env, wanted.env_file) == (["A=1", "B=2"], [])
    with pytest.raises(InvalidValue, match="--workdir"):
        settle(RunOptions(image="x", workdir="/\udcff"), {})
    with pytest.raises(TypeError, match="hostnme"):
        RunOptions(hostnme="x")
