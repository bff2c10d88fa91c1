# SPDX-License-Identifier: Apache-2.0
"""Where everything lies, and who may make it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirt.engine.paths import PATH_LIMIT_BYTES, Roots
from minirt.errors import HostError, StoreError


def test_flags_win_over_variables_over_defaults() -> None:
    environ = {"MINIRT_ROOT": "/env/root", "MINIRT_STATE": "/env/state"}
    assert Roots("", "", {}).root == "/var/lib/minirt" and Roots("", "", {}).state == "/run/minirt"
    assert (Roots("", "", environ).root, Roots("", "", environ).state) == ("/env/root", "/env/state")
    assert Roots("relative", "/flag/../s", environ).root == os.path.join(os.getcwd(), "relative")
    assert Roots("relative", "/flag/../s", environ).state == "/s"


@pytest.mark.parametrize("path", ["/" + "x" * PATH_LIMIT_BYTES, "/a\0b", "/a\\b"])
def test_unusable_paths(path: str) -> None:
    with pytest.raises(StoreError, match="not a usable path"):
        Roots(path, "", {})


def test_not_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="must be run as root") as caught:
        Roots(str(tmp_path / "r"), str(tmp_path / "s"), {}).prepare()
    assert caught.value.remedy and os.listdir(tmp_path) == []


def test_unwritable_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Not a directory") as caught:
        Roots(str(tmp_path / "file" / "r"), str(tmp_path / "s"), {}).prepare()
    assert "--root DIR" in caught.value.remedy
