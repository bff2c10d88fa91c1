# SPDX-License-Identifier: Apache-2.0
"""The pids controller (cgroup-v2.rst, "PID"): how many tasks there are, and how many there may be (pids.max).

Must not import kernel or plan.
"""

from __future__ import annotations

import os

from minirt.cgroup import tree

NAME = "pids"
CGROUPS = 1000  # that are looked at to count tasks


class Pids:
    """Tasks, threads too. limit: None is none. refused: forks that pids.max has stopped."""

    __slots__ = ("current", "limit", "refused")

    def __init__(self, current: int, limit: int | None, refused: int) -> None:
        self.current = current
        self.limit = limit
        self.refused = refused


def read(path: str) -> Pids | None:
    """Without the controller the tasks are counted, here and below. None where there is no such cgroup."""
    current = tree.optional(path, "pids.current")
    if current is None:
        count = _count(path)
        return None if count is None else Pids(count, None, 0)
    events = tree.numbers(tree.optional(path, "pids.events") or "")
    return Pids(int(current), tree.limit(tree.optional(path, "pids.max")), events.get("max", 0))


def _count(path: str) -> int | None:
    """A container that may make cgroups can make any number of them, to any depth: so many are looked at."""
    if not os.path.isdir(path):
        return None
    count, left = 0, [path]
    for _ in range(CGROUPS):
        if not left:
            break
        directory = left.pop()
        count += (tree.optional(directory, "cgroup.threads") or "").count("\n")
        try:
            with os.scandir(directory) as entries:
                left += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # removed meanwhile, or its name has become too long
    return count
