# SPDX-License-Identifier: Apache-2.0
"""Output: every byte, in order, to the log and to the caller, fast or slow (EXE-09, RES-03, CRA-04, 07)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

from minirt.kernel import channel
from session import Session, wait_until

Start = Callable[..., Session]


def peak_kb(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def test_short_lived(monitor: Start) -> None:
    """CRA-04: a program that ends at once still has its output and its code, fifty times."""
    for number in range(50):
        one = monitor("sh", "-c", f"echo {number}; exit {number}").started()
        assert one.exited() == (number, 0)
        assert one.output() == f"{number}\n".encode()
        assert one.log() == [("stdout", "F", str(number))]
        one.wait()


def test_flood(monitor: Start) -> None:
    """RES-03: 256 MiB pass whole, the log keeps its bounds, the monitor stays small."""
    size, limit = 256 << 20, 1_000_000
    one = monitor("sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x", log_size=limit, log_files=3).started()
    got = 0
    while (message := one.hear()) and message[0] != channel.EXITED:
        got += len(message[1])
        one.heard.clear()
    assert got == size
    assert peak_kb(one.pid) < 10 << 10
    files = sorted(os.listdir(one.container))
    assert files == ["log", "log.1", "log.2"]
    assert all(os.path.getsize(one.container / name) <= limit for name in files)


def test_partial_lines(monitor: Start) -> None:
    one = monitor("sh", "-c", "printf 'a\\nb'; sleep 0.2; printf 'c\\n'; sleep 0.2; printf last").started()
    one.exited()
    assert one.log() == [
        ("stdout", "F", "a"),
        ("stdout", "P", "b"),
        ("stdout", "F", "c"),
        ("stdout", "P", "last"),
    ]


def test_caller_stands_still(monitor: Start) -> None:
    """Back-pressure: the workload waits in write(2) as long as the caller does not read, and loses nothing."""
    size = 2_000_000
    one = monitor("sh", "-c", f"head -c {size} /dev/zero; exit 3").started()
    time.sleep(0.3)
    assert not (one.run / "exit").exists()
    assert one.exited() == (3, 0)
    assert len(one.output()) == size


def test_record_does_not_wait_for_the_caller(monitor: Start) -> None:
    """The channel is full and a pipe besides when pid 1 ends; whoever reads later still gets all that was there."""
    one = monitor("sh", "-c", "head -c 10000000 /dev/zero & sleep 0.5; exit 3", log=False)
    wait_until((one.run / "exit").exists, "run/exit while nobody reads")
    assert one.record("exit")["code"] == 3
    assert one.started().exited() == (3, 0)
    assert 65536 < len(one.output()) < 10_000_000


def test_caller_dies_in_a_flood(monitor: Start) -> None:
    one = monitor("sh", "-c", "head -c 20000000 /dev/zero; exit 4", log_size=100_000).started()
    one.hear()
    one.close()
    wait_until((one.run / "exit").exists, "the end")
    assert one.record("exit")["code"] == 4
    assert one.wait() == 0


def test_log_cannot_be_written(monitor: Start) -> None:
    """CRA-07: the container's directory is gone, the container is not."""
    one = monitor("sh", "-c", "read go; echo one; echo two; exit 5", stdin=True, log_size=10).started()
    shutil.rmtree(one.container)
    one.say(channel.STDIN, b"\n")
    assert one.exited() == (5, 0)
    assert one.output() == b"one\ntwo\n"


def test_grandchild_holds_the_pipe(monitor: Start) -> None:
    """In the host's pid namespace somebody may outlive init; the monitor takes what is there and ends."""
    one = monitor("sh", "-c", "sleep 5 & printf %070000d 1", namespaces="0").started()
    begun = time.monotonic()
    assert one.exited() == (0, 0)
    assert time.monotonic() - begun < 3
    assert len(one.output()) == 70_000


def test_closed_streams(monitor: Start) -> None:
    one = monitor("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 6").started()
    assert one.exited() == (6, 0)
    with open(f"/proc/{one.pid}/stat") as stat:
        assert int(stat.read().split()[13]) < 10, "it waited in a busy loop"
