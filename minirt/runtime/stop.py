# SPDX-License-Identifier: Apache-2.0
"""Signals to a container and its end: pidfd_send_signal(2) to pid 1, cgroup.kill to all (cgroup-v2.rst).

Pid 1 of a pid namespace takes no signal that it has no handler for, save SIGKILL and SIGSTOP from outside, and
with it dies the namespace. Every wait is bounded: a process in uninterruptible sleep outlives any signal, and
the verb then says so instead of hanging. Must not import plan.
"""

from __future__ import annotations

import time

from minirt.cgroup import tree
from minirt.kernel import process
from minirt.runtime import state as states

SIGKILL = 9
_SETTLE_S = 5.0  # for the kernel to take down a killed namespace, and the monitor to record it


def signal(state: states.State, signo: int) -> bool:
    """Send `signo` to the container's pid 1. False: it is not running any more. The pidfd that is signalled was
    checked against the recorded start time: never a process that has the number by chance."""
    if state.exit is not None or state.pid <= 0:
        return False
    return process.send(state.pid, state.start_ticks, signo)


def kill_all(state: states.State | None, cgroup: str) -> bool:
    """SIGKILL to every process of the container, frozen or not. False: there was none."""
    killed = tree.kill(cgroup)
    if state is not None:
        killed = signal(state, SIGKILL) or killed
    return killed


def stop(run_dir: str, cgroup: str, signo: int, timeout_s: float) -> states.State | None:
    """`signo` to pid 1, SIGKILL to all after `timeout_s`, and wait for the exit record. Returns the last state:
    alive() or populated cgroup then means that the kernel could not take it down in time."""
    state = states.read(run_dir)
    if state is not None and signo != SIGKILL and signal(state, signo):
        process.wait(state.pid, state.start_ticks, timeout_s)
    return kill_and_wait(run_dir, cgroup)


def kill_and_wait(run_dir: str, cgroup: str, timeout_s: float = _SETTLE_S) -> states.State | None:
    """SIGKILL to all, and wait until nobody lives and the exit is recorded. The last state."""
    deadline = time.monotonic() + timeout_s
    kill_all(states.read(run_dir), cgroup)
    state = states.wait(run_dir, timeout_s)
    tree.wait_event(cgroup, "populated", 0, max(0.0, deadline - time.monotonic()))
    return state
