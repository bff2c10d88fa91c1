# SPDX-License-Identifier: Apache-2.0
"""The memory controller (cgroup-v2.rst, "Memory Interface Files"): what a cgroup uses, and whom the kernel killed.

Limits are written by name: memory.max, memory.low, memory.swap.max, memory.oom.group (plan/resources.py). Every
reader gives None where there is no cgroup or the controller is not in it. Must not import kernel or plan.
"""

from __future__ import annotations

import os

from minirt.cgroup import tree

EVENTS = "memory.events"  # POLLPRI and an inotify event on every change; also of what happens in cgroups below
NAME = "memory"


class Memory:
    """Bytes. limit, swap_limit: None is none. cache: inactive_file, which Docker's client takes off what is used."""

    __slots__ = ("cache_bytes", "current_bytes", "limit_bytes", "stat", "swap_bytes", "swap_limit_bytes")

    def __init__(
        self, current: int, limit: int | None, swap: int, swap_limit: int | None, stat: dict[str, int]
    ) -> None:
        self.current_bytes = current
        self.limit_bytes = limit
        self.swap_bytes = swap
        self.swap_limit_bytes = swap_limit
        self.stat = stat
        self.cache_bytes = stat.get("inactive_file", 0)


def read(path: str) -> Memory | None:
    current = tree.optional(path, "memory.current")
    if current is None:
        return None
    stat = tree.numbers(tree.optional(path, "memory.stat") or "")
    limits = [tree.limit(tree.optional(path, name)) for name in ("memory.max", "memory.swap.max")]
    swap = tree.optional(path, "memory.swap.current")
    return Memory(int(current), limits[0], int(swap or 0), limits[1], stat)


def oom_kills(path: str) -> int | None:
    """How many processes the kernel has killed for memory, here and below, since the cgroup was made."""
    text = tree.optional(path, EVENTS)
    return None if text is None else tree.numbers(text).get("oom_kill", 0)


def counts_swap(mount: str) -> bool:
    """Whether this kernel limits swap: any cgroup with the controller shows it. True where there is none to look at."""
    with os.scandir(mount) as entries:
        for entry in entries:
            if os.path.exists(f"{entry.path}/memory.max"):
                return os.path.exists(f"{entry.path}/memory.swap.max")
    return True
