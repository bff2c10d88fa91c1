# SPDX-License-Identifier: Apache-2.0
"""NET-12, CRA-01: kill -9 of the caller between lease and start, and between end and release, at each system call; a
listing afterwards puts in order what is left, and the same command succeeds."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import runner
import traces
from crashes import born_late, crash_points, killed_at, orphans, truth

# What takes or gives back: netlink and sockets, the database (pwrite64, and write of its log), locks, processes.
CALLS = "sendto,sendmsg,bind,listen,flock,pwrite64,clone3,vfork,clone,pidfd_open,rmdir,unlinkat"
MOST = 40  # points of one verb; where there are more, every so many


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", f"{rootfs}:O"]


@pytest.fixture
def warm(networked: runner.Minirt, options: list[str]) -> runner.Minirt:
    networked.ok("run", "--rm", *options, "true")
    return networked


def unexpected(minirt: runner.Minirt) -> dict[str, tuple[int, int]]:
    """After ps there are as many veth pairs, guards, ports and rows as containers that run: {what: (is, should be)}
    of all else."""
    running = sum(status == "running" for status in truth(minirt).values())
    names = (
        "veths", "bridge ports", "rows of endpoints", "rows of ports", "elements of inet ports4",
        "elements of bridge guarded",
    )  # fmt: skip
    counted = traces.count(minirt)
    return {name: (counted[name], running) for name in names if counted[name] != running}


def in_order(minirt: runner.Minirt, where: str) -> None:
    """Within some seconds: a monitor whose container has ended may be cleaning up at the same time."""
    minirt.ok("ps", "-a")
    for _ in range(20):
        try:
            wrong: object = unexpected(minirt) or orphans(minirt)
        except AssertionError as error:  # it was listed, and is gone by now
            wrong = error
        if not wrong:
            break
        time.sleep(0.2)
    else:
        raise AssertionError(f"{where}: {wrong}")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["run -d", "run --rm", "start", "restart", "stop", "rm -f"])
def test_net_12_kill_9_at_every_change(warm: runner.Minirt, options: list[str], short_dir: Path, verb: str) -> None:
    minirt = warm
    workload = ["-p", "8080:80", *options, *(["true"] if verb == "run --rm" else ["sleep", "100"])]

    def prepare() -> list[str]:
        minirt("rm", "-f", "one")
        if verb == "start":
            minirt.ok("create", "--name", "one", *workload)
        elif not verb.startswith("run"):
            minirt.ok("run", "-d", "--name", "one", *workload)
        words = verb.split() + (["-t", "0"] if verb in ("stop", "restart") else [])
        return [*words, "--name", "one", *workload] if verb.startswith("run") else [*words, "one"]

    points = crash_points(minirt, short_dir, *prepare(), calls=CALLS)
    for point in points[:: 1 + len(points) // MOST]:
        argv = prepare()
        killed_at(minirt, point, *argv)
        runner.eventually(lambda: not born_late(minirt), 5)
        in_order(minirt, f"{verb} killed at {point}")
        again = minirt(*argv)
        taken = "already in use" in again.stderr or "No such container" in again.stderr
        assert again.code == 0 or taken, f"{verb} killed at {point}: {again!r}"
        minirt("rm", "-f", "one")
        in_order(minirt, f"after {verb} killed at {point}")


# The first request is the caller's, to nftables; then each process counts for itself: 2 to 6 are init's own links.
BIRTH = ("sendmsg:1", "sendmsg:2", "sendmsg:3", "sendmsg:4", "sendmsg:5", "sendmsg:6", "seccomp:1", "renameat:1")


@pytest.mark.parametrize("point", BIRTH)
def test_net_12_kill_9_of_init_in_the_middle_of_its_links(warm: runner.Minirt, options: list[str], point: str) -> None:
    """The caller is told, gives back, and its next attempt succeeds."""
    name, _, number = point.partition(":")
    argv = ["run", "-d", "--name", "one", "-p", "8080:80", *options, "sleep", "100"]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e",
         f"inject={name}:signal=KILL:when={number}", *runner.program(), *argv],
        env=warm.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    warm.look()
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr, done
    runner.eventually(lambda: not born_late(warm), 5)
    in_order(warm, point)
    warm("rm", "-f", "one")
    in_order(warm, point)
    assert warm(*argv).code == 0


def test_cra_02_monitor_killed_gives_back(warm: runner.Minirt, options: list[str]) -> None:
    """The container dies with its monitor, and nobody is left who would clean up: the next listing does."""
    warm.ok("run", "-d", "--name", "one", "-p", "8080:80", *options, "sleep", "100")
    os.kill(int(json.loads(warm.ok("inspect", "one"))[0]["Minirt"]["MonitorPid"]), 9)
    runner.eventually(lambda: truth(warm)["one"] == "exited", 5)
    in_order(warm, "monitor killed")
    warm.ok("run", "--rm", "-p", "8080:80", *options, "true")
