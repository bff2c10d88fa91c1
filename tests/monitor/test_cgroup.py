# SPDX-License-Identifier: Apache-2.0
"""The end of the container's cgroup (cgroup-v2.rst): what is left in it is killed, and it is removed before EXITED."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from minirt.plan.step import Step
from session import Session, alive

Start = Callable[..., Session]


def cgroup2() -> str:
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            left, _, right = line.partition(" - ")
            if right.split()[0] == "cgroup2":
                return left.split()[4]
    pytest.skip("no cgroup2 mount")


@pytest.fixture
def parent() -> Iterator[int]:
    """A cgroup of this test's own, as a descriptor."""
    path = f"{cgroup2()}/minirt-test-{os.getpid()}"
    os.mkdir(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)
    os.rmdir(path)


def members(parent: int) -> list[str]:
    return [name for name in os.listdir(parent) if "." not in name]


def box(parent: int) -> tuple[int, str]:
    os.mkdir("box", dir_fd=parent)
    return parent, "box"


def test_removed(monitor: Start, parent: int) -> None:
    one = monitor("sh", "-c", "grep 0:: /proc/self/cgroup", cgroup=box(parent)).started()
    assert one.exited() == (0, 0)
    assert one.output().endswith(b"/box\n")
    assert members(parent) == []


def test_stragglers_are_killed(monitor: Start, parent: int) -> None:
    """Not even the host's pid namespace lets anything of the container outlive it."""
    script = "setsid sleep 100 >/dev/null 2>&1 & echo $!"
    one = monitor("sh", "-c", script, namespaces="0", cgroup=box(parent)).started()
    assert one.exited() == (0, 0)
    assert not alive(int(one.output()))
    assert members(parent) == []


def test_nested(monitor: Start, parent: int) -> None:
    """A container that was given its cgroup has made more below it."""
    os.makedirs(f"/proc/self/fd/{parent}/box/a/b", exist_ok=True)
    os.mkdir(f"/proc/self/fd/{parent}/box/c")
    one = monitor("true", cgroup=(parent, "box")).started()
    assert one.exited() == (0, 0)
    assert members(parent) == []


def test_failed_start(monitor: Start, parent: int) -> None:
    one = monitor("true", cgroup=box(parent), extra=(Step("chdir", "/nonexistent"),))
    one.failed()
    assert members(parent) == []


def test_frozen(monitor: Start, parent: int) -> None:
    """cgroup.kill reaches a frozen one: CRA-14."""
    one = monitor("sleep", "100", cgroup=box(parent)).started()
    for name, value in (("cgroup.freeze", "1"), ("cgroup.kill", "1")):
        with open(f"/proc/self/fd/{parent}/box/{name}", "w") as file:
            file.write(value)
    assert one.exited() == (137, 9)
    assert members(parent) == []
