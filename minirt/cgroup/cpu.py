# SPDX-License-Identifier: Apache-2.0
"""The cpu controller (cgroup-v2.rst, "CPU Interface Files"): time used, and how often cpu.max held it back.

cpu.stat's usage is there in every cgroup, also where v1 has the controller; what is about throttling is not. Limits
are written by name: cpu.max, cpu.weight, cpu.idle (plan/resources.py). Must not import kernel or plan.
"""

from __future__ import annotations

from minirt.cgroup import tree

NAME = "cpu"


class Cpu:
    """Microseconds since the cgroup was made. periods, throttled: of cpu.max, 0 where there is none."""

    __slots__ = ("periods", "system_us", "throttled", "throttled_us", "usage_us", "user_us")

    def __init__(self, stat: dict[str, int]) -> None:
        self.usage_us = stat.get("usage_usec", 0)
        self.user_us = stat.get("user_usec", 0)
        self.system_us = stat.get("system_usec", 0)
        self.periods = stat.get("nr_periods", 0)
        self.throttled = stat.get("nr_throttled", 0)
        self.throttled_us = stat.get("throttled_usec", 0)


def read(path: str) -> Cpu | None:
    """None where there is no such cgroup."""
    text = tree.optional(path, "cpu.stat")
    return None if text is None else Cpu(tree.numbers(text))
