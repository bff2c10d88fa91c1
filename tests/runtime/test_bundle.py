# SPDX-License-Identifier: Apache-2.0
"""runtime/bundle.py: files appear whole or not at all, and a damaged config.json is said to be one."""

from __future__ import annotations

import os
import pathlib

import pytest

from minirt.errors import MinirtError, NotFound, SpecError
from minirt.runtime import bundle


def test_create_write_read(tmp_path: pathlib.Path) -> None:
    made = bundle.create(str(tmp_path / "one"))
    assert sorted(os.listdir(made.path)) == ["rootfs", "upper", "work"]
    assert (os.stat(made.path).st_mode & 0o777, os.stat(made.upper).st_mode & 0o777) == (0o700, 0o755)
    bundle.write_spec(made.path, {"ociVersion": "1.2.0", "annotations": {"ä": "\n"}})
    assert bundle.read_spec(made.path) == {"ociVersion": "1.2.0", "annotations": {"ä": "\n"}}
    assert os.stat(made.config).st_mode & 0o777 == 0o600
    bundle.write(made.path, "hosts", b"127.0.0.1 localhost\n", 0o644)
    bundle.write(made.path, "hosts", b"::1 localhost\n", 0o644)
    assert pathlib.Path(made.file("hosts")).read_bytes() == b"::1 localhost\n"
    assert sorted(os.listdir(made.path)) == ["config.json", "hosts", "rootfs", "upper", "work"]
    with pytest.raises(FileExistsError):
        bundle.create(made.path)


def test_a_failed_write_leaves_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").mkdir()
    (tmp_path / "config.json/x").touch()
    with pytest.raises(OSError, match="directory"):
        bundle.write_spec(str(tmp_path), {})
    assert os.listdir(tmp_path) == ["config.json"]


def test_no_bundle_and_no_config(tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotFound, match="no such bundle"):
        bundle.read_spec(str(tmp_path / "none"))
    with pytest.raises(NotFound, match=r"no config\.json in bundle"):
        bundle.read_spec(str(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b'{"a": "\xff"}', b"[" * 200_000, b"{}x"]
)
def test_a_malformed_config_is_refused(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(SpecError, match=r"^config\.json: /: "):
        bundle.read_spec(str(tmp_path))


def test_an_endless_config_is_not_read_to_its_end(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "config.json", "wb") as out:
        out.truncate(20 << 30)
    with pytest.raises(SpecError, match="longer than 16 MiB"):
        bundle.read_spec(str(tmp_path))


def test_a_config_that_is_a_directory(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(MinirtError, match="Is a directory"):
        bundle.read_spec(str(tmp_path))
