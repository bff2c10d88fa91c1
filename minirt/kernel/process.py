# SPDX-License-Identifier: Apache-2.0
"""One process, told from all that had or will have its number: pid and start time (proc(5), pidfd_open(2)).

A pidfd is opened first and the start time compared afterwards: what it refers to then is the process that was
meant, or nothing. Must not import runtime.
"""

from __future__ import annotations

import os
import select
import time

from minirt.kernel import call

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_LONGEST_MS = 3_600_000  # poll(2) takes an int of milliseconds
_FOREVER_S = 1e12
_STATE, _START_TICKS = 0, 19  # proc(5): fields 3 and 22, counted behind the name


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/<pid>/stat behind the name, which may itself contain blanks and parentheses."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None: there is no such process."""
    fields = _stat(pid)
    return int(fields[_START_TICKS]) if fields and len(fields) > _START_TICKS else None


def boot_id() -> str:
    """Which boot this is: a UUID, without the newline."""
    fd = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)


def alive(pid: int, started: int) -> bool:
    """Whether the process with this start time runs. A zombie does not."""
    fields = _stat(pid)
    if not fields or len(fields) <= _START_TICKS:
        return False
    return int(fields[_START_TICKS]) == started and fields[_STATE] not in (b"Z", b"X")


def open_pidfd(pid: int, started: int) -> int:
    """A pidfd of the process with this start time; -1: it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):
        return -1
    except OSError:
        if pid <= 0:
            return -1
        raise
    if start_ticks(pid) == started:
        return pidfd
    os.close(pidfd)
    return -1


def send(pid: int, started: int, signo: int) -> bool:
    """Signal the process with this start time; False: it is gone. PermissionError as kill(2)."""
    pidfd = open_pidfd(pid, started)
    if pidfd < 0:
        return False
    try:
        call.pidfd_send_signal(pidfd, signo)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def wait(pid: int, started: int, timeout_s: float | None) -> bool:
    """Wait until the process with this start time has ended; False: it has not in `timeout_s`; None: for ever."""
    pidfd = open_pidfd(pid, started)
    if pidfd < 0:
        return True
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + (timeout_s if timeout_s is not None else _FOREVER_S)
        while True:
            left_ms = max(0.0, deadline - time.monotonic()) * 1000
            if poller.poll(min(left_ms, _LONGEST_MS)):
                return True
            if left_ms <= 0:
                return False
    finally:
        os.close(pidfd)
