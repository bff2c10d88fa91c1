# SPDX-License-Identifier: Apache-2.0
"""The truth about a container: run/state and run/exit as its monitor wrote them, against /proc (csrc/monitor.h).

A process is its pid and its start time, in this boot. Four things can be true of a directory run/<id>:

    state   exit   init lives   monitor lives
      –      –                                  never started, or its start failed
      ✓      –        yes          yes          running
      ✓      –        yes          no           dying: PR_SET_PDEATHSIG has just killed it
      ✓      –        no           yes          ending: the exit record is being written
      ✓      –        no           no           ended, and nobody saw how: the exit code is unknown, never 0
      ✓      ✓                                  exited

Must not import plan: what a verb needs to know is here, not how the container was made.
"""

from __future__ import annotations

import os
import time

from minirt.kernel import process

NEVER, RUNNING, ENDING, EXITED, LOST = "never", "running", "ending", "exited", "lost"
_LIMIT_BYTES = 4096


class Exit:
    """code: as a shell shows it (128 + signal); signal: 0 if it exited by itself; finished_ns since the epoch.
    oom_killed: how many processes the kernel has killed in it for memory."""

    __slots__ = ("code", "signal", "finished_ns", "oom_killed")

    def __init__(self, code: int, signal: int, finished_ns: int, oom_killed: int = 0) -> None:
        self.code = code
        self.signal = signal
        self.finished_ns = finished_ns
        self.oom_killed = oom_killed


class State:
    """What the monitor recorded. pid 0: this boot knows of no such process."""

    __slots__ = ("pid", "start_ticks", "monitor_pid", "monitor_start_ticks", "started_ns", "exit")

    def __init__(
        self,
        pid: int,
        start_ticks: int,
        monitor_pid: int,
        monitor_start_ticks: int,
        started_ns: int,
        exit_: Exit | None,
    ) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.monitor_pid = monitor_pid
        self.monitor_start_ticks = monitor_start_ticks
        self.started_ns = started_ns
        self.exit = exit_

    def alive(self) -> bool:
        """Whether the container's pid 1 lives (a zombie does not)."""
        return self.exit is None and self.pid > 0 and process.alive(self.pid, self.start_ticks)

    def monitored(self) -> bool:
        """Whether somebody is there to record how it ends."""
        return self.monitor_pid > 0 and process.alive(self.monitor_pid, self.monitor_start_ticks)

    def status(self) -> str:
        """RUNNING, ENDING, EXITED or LOST, by the table above."""
        if self.exit is not None:
            return EXITED
        if self.alive():
            return RUNNING
        return ENDING if self.monitored() else LOST


def mark_boot(run_dir: int) -> None:
    """Write run/boot before anything starts: pids and start times of another boot must never match. `run_dir` is
    a directory descriptor."""
    file = os.open("boot", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=run_dir)
    try:
        os.write(file, process.boot_id().encode())
    finally:
        os.close(file)


def read(run_dir: str) -> State | None:
    """The state of the container whose run directory this is (absolute). None: it never started, or its record is
    gone or damaged. Of another boot only the times and the exit record count."""
    try:
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        values = _record(directory, "state")
        if values is None:
            return None
        ended = _record(directory, "exit")
        this_boot = _bytes(directory, "boot") == process.boot_id().encode()
    finally:
        os.close(directory)
    end = None
    if ended is not None and "code" in ended:
        end = Exit(ended["code"], ended.get("signal", 0), ended.get("finished_ns", 0), ended.get("oom_killed", 0))
    pid, monitor = (values.get("pid", 0), values.get("monitor_pid", 0)) if this_boot else (0, 0)
    ticks, monitor_ticks = values.get("start_ticks", 0), values.get("monitor_start_ticks", 0)
    return State(pid, ticks, monitor, monitor_ticks, values.get("started_ns", 0), end)


def wait(run_dir: str, timeout_s: float) -> State | None:
    """Wait until the container has ended and its exit is recorded, or cannot be any more. The state then; one
    that is still alive() or ENDING after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    state = read(run_dir)
    if state is not None and state.alive():
        process.wait(state.pid, state.start_ticks, max(0.0, timeout_s))
        state = read(run_dir) or state
    pause_s = 0.0005
    while state is not None and state.exit is None and time.monotonic() < deadline and state.status() == ENDING:
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.02)
        newer = read(run_dir)
        if newer is None:
            break  # the monitor's clean-up removed it all: what we saw last must do
        state = newer
    return state


def _bytes(directory: int, name: str) -> bytes | None:
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        return os.read(file, _LIMIT_BYTES)
    finally:
        os.close(file)


def _record(directory: int, name: str) -> dict[str, int] | None:
    """`key number` lines. None: no such file. A line that is none is left out."""
    data = _bytes(directory, name)
    if data is None:
        return None
    values: dict[str, int] = {}
    for line in data.decode(errors="replace").splitlines():
        key, _, number = line.partition(" ")
        try:
            values[key] = int(number)
        except ValueError:
            continue
    return values
