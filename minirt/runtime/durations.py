# SPDX-License-Identifier: Apache-2.0
"""How long each step took: the executor stamps a shared page after every step (memfd_create(2), clock_gettime(2)).

The three actors of one plan take turns (host, then monitor, then init), so the time since the stamp before is the
step's own. Only with --explain: without it no page exists and no clock is read. Must not import cgroup.
"""

from __future__ import annotations

import os

from minirt.plan.step import HOST, INIT, MONITOR, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def memfd(plan: Plan) -> int:
    """A page for one 64-bit stamp for each step."""
    descriptor = os.memfd_create("minirt-stamps", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, 8 * len(plan.steps))
    return descriptor


def read(descriptor: int, plan: Plan, begun_ns: int) -> list[int | None]:
    """Nanoseconds by step, None for one that did not run; `begun_ns` is CLOCK_MONOTONIC before the first."""
    stamps = memoryview(os.pread(descriptor, 8 * len(plan.steps), 0)).cast("Q")  # array imports collections
    return between(stamps, plan, begun_ns)


def between(stamps: Sequence[int], plan: Plan, begun_ns: int) -> list[int | None]:
    found: list[int | None] = [None] * len(plan.steps)
    last = begun_ns
    for actor in (HOST, MONITOR, INIT):
        for index, step in enumerate(plan.steps):
            if step.actor == actor and index < len(stamps) and stamps[index]:
                found[index] = max(0, stamps[index] - last)
                last = stamps[index]
    return found
