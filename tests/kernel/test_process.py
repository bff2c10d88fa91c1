# SPDX-License-Identifier: Apache-2.0
"""Processes by pid and start time: a number that is used again is nobody (CRA-08)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from minirt.kernel import process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def ticks(pid: int) -> int:
    found = process.start_ticks(pid)
    assert found is not None
    return found


def test_a_name_with_parentheses_is_only_a_name() -> None:
    child = subprocess.Popen(
        ["python3", "-c", "open('/proc/self/comm','w').write('a) R 1 (b'); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert abs(ticks(child.pid) - ticks(os.getpid())) < os.sysconf("SC_CLK_TCK") * 86400
    assert ticks(child.pid) >= ticks(os.getpid())
    assert process.alive(child.pid, ticks(child.pid))
    child.communicate(b"\n")


def test_the_same_number_at_another_time_is_nobody(sleeper: subprocess.Popen[bytes]) -> None:
    started = ticks(sleeper.pid)
    assert process.alive(sleeper.pid, started)
    assert not process.alive(sleeper.pid, started - 1)
    assert not process.send(sleeper.pid, started - 1, signal.SIGKILL)
    assert process.wait(sleeper.pid, started - 1, 10)
    assert sleeper.poll() is None


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    started = ticks(sleeper.pid)
    assert process.send(sleeper.pid, started, signal.SIGKILL)
    assert process.wait(sleeper.pid, started, 10)
    assert process.start_ticks(sleeper.pid) == started  # nobody has waited for it yet
    assert not process.alive(sleeper.pid, started)


def test_waiting_has_an_end(sleeper: subprocess.Popen[bytes]) -> None:
    begun = time.monotonic()
    assert not process.wait(sleeper.pid, ticks(sleeper.pid), 0.05)
    assert time.monotonic() - begun < 20
    assert not process.wait(sleeper.pid, ticks(sleeper.pid), 0)


def test_a_wait_longer_than_poll_knows(sleeper: subprocess.Popen[bytes]) -> None:
    started = ticks(sleeper.pid)
    sleeper.kill()
    assert process.wait(sleeper.pid, started, 1e9)
    assert process.wait(sleeper.pid, started, None)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_numbers_that_are_no_process(pid: int) -> None:
    assert process.start_ticks(pid) is None
    assert not process.alive(pid, 0)
    assert not process.send(pid, 0, 0)
    assert process.wait(pid, 0, 10)


def test_boot_id() -> None:
    assert len(process.boot_id()) == 36
    assert process.boot_id() == process.boot_id()
