# SPDX-License-Identifier: Apache-2.0
"""Pause and unpause: cgroup.freeze and the "frozen" line of cgroup.events (cgroup-v2.rst, Core Interface Files).

The v2 freezer stops processes where a stop signal would, so a frozen one can still be killed: `kill` and `rm -f`
need no thaw. It is part of the core, no controller, and so works on a hybrid host. Must not import kernel or plan.
"""

from __future__ import annotations

from minirt.cgroup import tree
from minirt.errors import HostError


def freeze(path: str, timeout_s: float = 5.0) -> None:
    """Stop every process in the cgroup and below, and wait until all are stopped. A process in uninterruptible
    sleep stops only when it returns: after `timeout_s` the cgroup is thawed again and HostError raised."""
    tree.write(path, "cgroup.freeze", "1")
    if not tree.wait_event(path, "frozen", 1, timeout_s):
        tree.write(path, "cgroup.freeze", "0")
        raise HostError(
            f"cannot freeze the container: a process did not stop within {timeout_s:g} s",
            f"see which one is in state D: ps -o pid,stat,wchan,cmd -p $(cat {path}/cgroup.procs)",
        )


def thaw(path: str, timeout_s: float = 5.0) -> None:
    """Let every process go on."""
    tree.write(path, "cgroup.freeze", "0")
    if not tree.wait_event(path, "frozen", 0, timeout_s):
        raise HostError(f"the container is still frozen {timeout_s:g} s after cgroup.freeze was set to 0")


def frozen(path: str) -> bool:
    """Whether all of the cgroup is stopped. False where there is no cgroup."""
    return tree.event(path, "frozen") == 1
