# SPDX-License-Identifier: Apache-2.0
"""The pids controller (cgroup-v2.rst, "PID"): how many tasks there are, and how many there may be (pids.max).

Must not import kernel or plan.
"""

from __future__ import annotations

import os

from minirt.cgroup import tree

NAME = "pids"


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
        counted = [tree.optional(directory, "cgroup.threads") for directory, _, _ in os.walk(path)]
        return Pids(sum(text.count("\n") for text in counted if text), None, 0) if counted else None
    events = tree.numbers(tree.optional(path, "pids.events") or "")
    return Pids(int(current), tree.limit(tree.optional(path, "pids.max")), events.get("max", 0))
