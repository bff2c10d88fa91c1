# SPDX-License-Identifier: Apache-2.0
"""From a compiled plan to a running process: host steps here, then the monitor, then its first word.

    caller                               monitor                    init
      encode, host steps
      spawn ──────────────────────────────▶ monitor steps, clone3 ───▶ init steps
      ◀── FAILED {step, errno}, or ──────── ◀── {step, errno} ─────────┘
      ◀── STARTED {pid, start ticks} ────── ◀── end of file: execve ── workload

Shared by start and exec. The caller is privileged and outside of every container; nothing here runs inside one.
"""

from __future__ import annotations

import os
from errno import ECHILD

from minirt.errors import HostError, MinirtError, StepFailed
from minirt.kernel import call, channel, execute, flat, monitor
from minirt.plan.step import HOST, Plan
from minirt.runtime.undo import Undo

SIGKILL = 9


class Launch(Exception):
    """Step `index` of the launched plan failed with `errno`. Never leaves this room: start and exec explain it."""

    def __init__(self, index: int, errno: int) -> None:
        super().__init__(index, errno)
        self.index = index
        self.errno = errno


class Launched:
    """monitor_pid: our child until we end. control: the channel to it, the receiver's to close."""

    __slots__ = ("pid", "start_ticks", "monitor_pid", "control")

    def __init__(self, pid: int, start_ticks: int, monitor_pid: int, control: int) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.monitor_pid = monitor_pid
        self.control = control


class Started:
    """A running container or session of exec: as Launched. plan: everything that was done, the root filesystem's
    steps first. durations_ns: by step, None for all or for one if it was not measured."""

    __slots__ = ("pid", "start_ticks", "monitor_pid", "control", "plan", "durations_ns")

    def __init__(self, launched: Launched, plan: Plan, durations_ns: list[int | None] | None) -> None:
        self.pid = launched.pid
        self.start_ticks = launched.start_ticks
        self.monitor_pid = launched.monitor_pid
        self.control = launched.control
        self.plan = plan
        self.durations_ns = durations_ns


def launch(plan: Plan, inherited: dict[str, int], settings: monitor.Settings, undo: Undo) -> Launched:
    """Run `plan`: Launched as soon as the workload's execve succeeded. Launch if a step failed; then the monitor
    has ended and been reaped. Whatever else was made is `undo`'s."""
    ours, theirs = call.socketpair_seqpacket()
    undo.close(ours)
    undo.close(theirs)
    settings.control = theirs
    code = flat.encode(plan, settings, inherited)
    try:
        made = execute.run(code, HOST)  # closes what it made if a step fails
    except execute.StepError as error:
        raise Launch(error.index, error.errno or 0) from None
    for descriptor in made.values():
        undo.close(descriptor)
    keep = tuple(fd for fd in (settings.control, settings.run_dir, settings.container_dir, settings.cgroup_parent,
                               settings.stamps, *inherited.values(), *made.values()) if fd >= 0)  # fmt: skip
    try:
        pid = monitor.spawn(code, keep)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise HostError(f"cannot start the monitor: {why}", "see ulimit -u, ulimit -n and free(1)") from error
    undo.close_now(theirs)
    undo.on_failure(abandon, pid)
    kind, body = channel.read(ours)
    if kind == channel.FAILED:
        step, errno = channel.failed(body)
        raise Launch(step, errno)
    if kind != channel.STARTED:
        raise MinirtError(
            "the monitor ended before the container started", "see the kernel log: was minirt-monitor killed?"
        )
    workload, ticks = channel.started(body)
    return Launched(workload, ticks, pid, undo.release(ours))


def abandon(pid: int) -> None:
    """End the monitor of a launch that failed or was interrupted. Its child, if there is one yet, dies with it
    (PR_SET_PDEATHSIG). The pid is ours until we wait for it, so it can be nobody else's."""
    try:
        os.kill(pid, SIGKILL)
    except ProcessLookupError:
        return
    reap(pid)


def reap(pid: int) -> None:
    """Wait for a monitor that is about to end, so that no zombie stays as long as the caller lives."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def page_of_stamps(plan: Plan, wanted: bool, undo: Undo) -> int:
    """The descriptor of a page for durations, or -1."""
    if not wanted:
        return -1
    from minirt.runtime import durations

    return undo.close(durations.memfd(plan))


def measured(stamps: int, plan: Plan, begun_ns: int) -> list[int | None] | None:
    """The durations on that page; None where there is none."""
    if stamps < 0:
        return None
    from minirt.runtime import durations

    return durations.read(stamps, plan, begun_ns)


def died(errno: int) -> MinirtError:
    """The monitor itself could not go on, or its child was killed before its program ran."""
    if errno == ECHILD:
        return MinirtError(
            "the process was killed before its program ran", "see the kernel log: was the host out of memory?"
        )
    return MinirtError(f"the monitor could not start the process: {os.strerror(errno).lower()}")


def step_failed(plan: Plan, index: int, errno: int) -> StepFailed:
    """The text for step `index` of `plan`, counted from 0."""
    from minirt.plan import text

    message, remedy = text.failure(plan, index, errno)
    return StepFailed(message, remedy, index, errno)
