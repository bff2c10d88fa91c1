# SPDX-License-Identifier: Apache-2.0
"""The launcher (csrc/launcher.c) in a prefix of the test's own, with a stand-in for the interpreter."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "csrc/launcher.c"
STAND_IN = """#!/bin/sh
for word; do echo "$word"; done
for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launcher, for an interpreter called python9.9."""
    built = tmp_path_factory.mktemp("launcher") / "minirt"
    flags = ["-std=gnu17", "-Wall", "-Wextra", "-Werror", '-DPYTHON="python9.9"']
    subprocess.run(["gcc", *flags, str(SOURCE), "-o", str(built)], check=True)
    return built


@pytest.fixture
def prefix(tmp_path: Path, program: Path) -> Path:
    """bin/minirt, bin/python9.9 and, wherever it may lie, the package."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/minirt").write_bytes(program.read_bytes())
    (tmp_path / "bin/python9.9").write_text(STAND_IN)
    for name in ("minirt", "python9.9"):
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def install(prefix: Path, place: str) -> Path:
    package = prefix / place / "minirt"
    package.mkdir(parents=True)
    (package / "__main__.py").touch()
    return package.parent


def start(path: Path, *argv: str, redirect: str = "") -> list[str]:
    words = ["sh", "-c", f'exec "$0" "$@" {redirect}', str(path), *argv]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "place", ["lib/python9.9/site-packages", "lib/python3/dist-packages", "local/lib/python9.9/dist-packages"]
)
def test_the_interpreter_is_isolated_and_told_where_the_package_is(prefix: Path, place: str) -> None:
    packages = install(prefix, place)
    words = start(prefix / "bin/minirt", "run", "a b", "")
    assert words[:2] == ["-IS", "-c"]
    assert words[3:7] == [str(packages), "run", "a b", ""]


def test_through_links_from_anywhere(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    packages = install(prefix, "lib/python9.9/site-packages")
    elsewhere = tmp_path_factory.mktemp("bin")
    (elsewhere / "first").symlink_to(prefix / "bin/minirt")
    (elsewhere / "second").symlink_to("first")
    assert start(elsewhere / "second", "ps")[3:5] == [str(packages), "ps"]


def test_without_the_package_python_looks_for_it(prefix: Path) -> None:
    assert start(prefix / "bin/minirt", "ps")[:3] == ["-m", "minirt", "ps"]


def test_streams_that_the_caller_closed_lead_nowhere(prefix: Path) -> None:
    install(prefix, "lib/python9.9/site-packages")
    assert start(prefix / "bin/minirt", redirect="<&- 2>&-")[-3::2] == ["/dev/null", "/dev/null"]


def test_a_directory_as_standard_input(prefix: Path) -> None:
    install(prefix, "lib/python9.9/site-packages")
    assert start(prefix / "bin/minirt", redirect="</")[-3] == "/dev/null"


def test_no_interpreter_at_all(prefix: Path) -> None:
    install(prefix, "lib/python9.9/site-packages")
    os.unlink(prefix / "bin/python9.9")
    done = subprocess.run([str(prefix / "bin/minirt")], env={"PATH": "/nowhere"}, capture_output=True, text=True)
    assert done.returncode == 125
    assert done.stderr.startswith("minirt: cannot start python9.9: No such file or directory\n")
