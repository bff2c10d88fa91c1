# SPDX-License-Identifier: Apache-2.0
"""Limits that cannot be kept, and those that are no limits: one line with the flag's name and one with the remedy,
Docker's exit code, and nothing left. Where v1 has the controllers, that is what is said; where v2 has them, the limit
works (test_limits.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

import invariants
import runner
from conftest import controllers

NEEDS = [
    ("memory", ("-m", "64m"), "--memory"),
    ("memory", ("--memory-reservation", "64m"), "--memory-reservation"),
    ("cpu", ("--cpus", "0.5"), "--cpus"),
    ("cpu", ("--cpu-shares", "512"), "--cpu-shares"),
    ("cpuset", ("--cpuset-cpus", "0"), "--cpuset-cpus"),
    ("cpuset", ("--cpuset-mems", "0"), "--cpuset-mems"),
    ("pids", ("--pids-limit", "50"), "--pids-limit"),
]


def left(minirt: runner.Minirt) -> list[str]:
    home = invariants.cgroup_home()
    known = {path.name for path in home.iterdir()} if home is not None and home.is_dir() else set()
    return [*minirt.ok("ps", "-aq").split(), *known.intersection(minirt.seen)]


@pytest.mark.parametrize(("controller", "options", "flag"), NEEDS)
def test_a_limit_works_or_is_refused_by_name(
    minirt: runner.Minirt, controller: str, options: tuple[str, ...], flag: str
) -> None:
    for verb in ("run", "create"):
        if controller in controllers():
            minirt.ok(verb, "--name", verb, *options, "localhost/busybox", "true")
            continue
        says = f'{flag} needs the cgroup v2 controller "{controller}"'
        told = minirt.fails(verb, *options, "localhost/busybox", "true", code=125, says=says)
        first, remedy = told.splitlines()
        assert "boot" in remedy and first.startswith("minirt: ")
        assert left(minirt) == []


BAD = [
    (("-m", "1m"), "Minimum memory limit allowed is 6MB"),
    (("-m", "lots"), "invalid size"),
    (("-m", "64x"), "invalid size"),
    (("--memory-swap", "64m"), "always set the Memory limit"),
    (("-m", "64m", "--memory-swap", "32m"), "larger than memory limit"),
    (("--cpus", "many"), "rational number"),
    (("--cpus", "-1"), "rational number"),
    (("--cpu-shares", "1"), "range is from 2"),
    (("--cpu-period", "1"), "can not be less than 1ms"),
    (("--cpu-quota", "1"), "can not be less than 1ms"),
    (("--pids-limit", "few"), "invalid argument"),
    (("--blkio-weight", "1"), "range of blkio weight is from 10 to 1000"),
    (("--cgroup-parent", "system.slice"), "is a unit of systemd"),
    (("--cgroup-parent", "../up"), "invalid --cgroup-parent"),
    (("--cgroup-parent", "memory.max"), "invalid --cgroup-parent"),
    (("--ulimit", "nofile=x"), "invalid ulimit argument"),
    (("--ulimit", "nofile=9:1"), "soft limit must be less than or equal to hard limit"),
    (("--oom-score-adj", "2000"), "range for oom score adj is [-1000, 1000]"),
    (("--shm-size", "big"), "invalid size"),
    (("--memory-swappiness", "10"), "--memory-swappiness is not supported"),
    (("--oom-kill-disable",), "--oom-kill-disable is not supported"),
    (("--cpu-rt-runtime", "1"), "--cpu-rt-runtime is not supported"),
]


@pytest.mark.parametrize(("options", "says"), BAD)
def test_no_limit_at_all(minirt: runner.Minirt, options: tuple[str, ...], says: str) -> None:
    told = minirt.fails("run", *options, "localhost/busybox", "true", code=125, says=says)
    assert len(told.splitlines()) <= 2
    assert left(minirt) == []


@pytest.mark.parametrize("none", ["-1", "0"])
def test_no_limit_of_tasks_can_be_had_everywhere(minirt: runner.Minirt, none: str) -> None:
    minirt.ok("run", "--rm", "--pids-limit", none, "localhost/busybox", "true")


def test_cgroup_parent(minirt: runner.Minirt) -> None:
    """Below where all containers are, and the verbs find it there."""
    home = invariants.cgroup_home()
    assert home is not None
    identity = minirt.ok(
        "run", "-d", "--name", "one", "--cgroup-parent", "/group-of/tests", "localhost/busybox", "sleep", "1000"
    )
    nested = home / "group-of" / "tests"
    try:
        assert (nested / identity / "cgroup.procs").read_text().strip()
        minirt.ok("pause", "one")
        assert (nested / identity / "cgroup.freeze").read_text() == "1\n"
        minirt.ok("unpause", "one")
        assert "sleep" in minirt.ok("top", "one")
        minirt.ok("exec", "one", "true")
        minirt.ok("rm", "-f", "one")
        assert not (nested / identity).exists()
    finally:
        for path in (nested, nested.parent):
            if path.is_dir() and not [entry for entry in path.iterdir() if entry.is_dir()]:
                path.rmdir()


def test_a_cgroup_of_ones_own_to_divide(minirt: runner.Minirt) -> None:
    """--security-opt writable-cgroups: refused where the container could lift its own limits."""
    options = ("--security-opt", "writable-cgroups=true")
    mounted = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line]
    if "nsdelegate" not in mounted[0].rpartition(" - ")[2]:
        minirt.fails("run", *options, "localhost/busybox", "true", code=125, says="mounted with nsdelegate")
        assert left(minirt) == []
        return
    script = (
        "mkdir /sys/fs/cgroup/leaf && echo 1 >/sys/fs/cgroup/leaf/cgroup.procs && cat /proc/self/cgroup && sleep 1000"
    )
    minirt.ok("run", "-d", "--name", "one", *options, "localhost/busybox", "sh", "-c", script)
    assert runner.eventually(lambda: minirt.ok("logs", "one")) == "0::/leaf"
    assert minirt.ok("exec", "one", "cat", "/proc/self/cgroup") == "0::/leaf"
    for name in ("cgroup.freeze", "cgroup.max.descendants"):
        assert minirt("exec", "one", "sh", "-c", f"echo 1 >/sys/fs/cgroup/{name}").code != 0


def test_the_default_is_not_writable(minirt: runner.Minirt) -> None:
    result = minirt("run", "--rm", "localhost/busybox", "mkdir", "/sys/fs/cgroup/leaf")
    assert result.code != 0 and "Read-only file system" in result.stderr
