# SPDX-License-Identifier: Apache-2.0
"""runtime/seccomp.py: a filter is compiled once, and a cached one is used only for what it was compiled from."""

from __future__ import annotations

import os
import pathlib
import sys
import types
from typing import Any

import pytest

from minirt.plan.facts import Host
from minirt.runtime import seccomp

HOST = Host((6, 1), "x86_64", (), (), {}, None, False)
CODE = bytes(range(64))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every call of the compiler, which here returns the same eight instructions."""
    calls: list[object] = []

    def compile(profile: Any, capabilities: tuple[str, ...], arch: str) -> bytes:
        calls.append((profile, capabilities, arch))
        return CODE

    module = types.ModuleType("minirt.kernel.seccomp")
    module.compile = compile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "minirt.kernel.seccomp", module)
    monkeypatch.setattr("minirt.kernel.seccomp", module, raising=False)
    return calls


def spec(profile: object = None, capabilities: tuple[str, ...] = ("CAP_KILL",)) -> dict[str, Any]:
    return {"process": {"capabilities": {"bounding": list(capabilities)}}, "linux": {"seccomp": profile}}


def test_unconfined(tmp_path: pathlib.Path, compiled: list[object]) -> None:
    assert seccomp.filter_for({}, HOST, str(tmp_path)) is None
    assert seccomp.filter_for(spec(None), HOST, str(tmp_path)) is None
    assert compiled == [] and os.listdir(tmp_path) == []


def test_compiled_once(tmp_path: pathlib.Path, compiled: list[object]) -> None:
    cache = str(tmp_path / "new/cache")
    for _ in range(3):
        found = seccomp.filter_for(spec({"defaultAction": "SCMP_ACT_ALLOW"}), HOST, cache)
        assert found is not None and found.data == CODE and found.label == "profile of config.json, 8 instructions"
    assert len(compiled) == 1 and len(os.listdir(cache)) == 1


def test_each_ingredient_is_part_of_the_key(tmp_path: pathlib.Path, compiled: list[object]) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW"}
    other = Host((6, 2), "x86_64", (), (), {}, None, False)
    arm = Host((6, 1), "aarch64", (), (), {}, None, False)
    for host, config in (
        (HOST, spec(profile)),
        (other, spec(profile)),
        (arm, spec(profile)),
        (HOST, spec(profile, ("CAP_KILL", "CAP_SYS_ADMIN"))),
        (HOST, spec({"defaultAction": "SCMP_ACT_KILL"})),
        (HOST, {**spec(), "annotations": {"org.minirt.seccomp": "default"}}),
    ):
        assert seccomp.filter_for(config, host, str(tmp_path)) is not None
    assert len(compiled) == 6


@pytest.mark.parametrize("damage", ["cut", "empty", "other key", "longer", "link", "directory"])
def test_a_damaged_file_is_compiled_anew(tmp_path: pathlib.Path, compiled: list[object], damage: str) -> None:
    config = spec({"defaultAction": "SCMP_ACT_ALLOW"})
    seccomp.filter_for(config, HOST, str(tmp_path))
    [name] = os.listdir(tmp_path)
    file = tmp_path / name
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[:-8])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "longer":
        file.write_bytes(content + bytes(8))
    elif damage == "other key":
        file.write_bytes(content.replace(b"CAP_KILL", b"CAP_KILT"))
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        file.symlink_to("elsewhere")
    else:
        file.mkdir()
    found = seccomp.filter_for(config, HOST, str(tmp_path))
    assert found is not None and found.data == CODE and len(compiled) == 2


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: pathlib.Path, compiled: list[object]) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        found = seccomp.filter_for(spec({"a": 1}), HOST, str(tmp_path / "file/cache"))
        assert found is not None and found.data == CODE
    assert len(compiled) == 2
