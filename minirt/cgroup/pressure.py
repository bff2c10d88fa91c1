# SPDX-License-Identifier: Apache-2.0
"""Pressure stall information of a cgroup (psi.rst; cgroup-v2.rst, cpu.pressure, memory.pressure, io.pressure).

Core files: there without any controller, where the kernel has PSI. Must not import kernel or plan.
"""

from __future__ import annotations

from minirt.cgroup import tree

RESOURCES = ("cpu", "memory", "io")


class Pressure:
    """Percent of the last ten seconds in which some, or all, of the tasks waited; totals in microseconds."""

    __slots__ = ("full_percent", "full_us", "some_percent", "some_us")

    def __init__(self, lines: dict[str, dict[str, float]]) -> None:
        some, full = lines.get("some", {}), lines.get("full", {})
        self.some_percent = some.get("avg10", 0.0)
        self.full_percent = full.get("avg10", 0.0)
        self.some_us = int(some.get("total", 0))
        self.full_us = int(full.get("total", 0))


def read(path: str, resource: str) -> Pressure | None:
    """`resource` is one of RESOURCES. None where there is no such cgroup, or the kernel keeps none (psi=0)."""
    text = tree.optional(path, f"{resource}.pressure")
    if text is None:
        return None
    lines = {}
    for line in text.splitlines():
        kind, *words = line.split()
        lines[kind] = {key: float(value) for key, _, value in (word.partition("=") for word in words)}
    return Pressure(lines)
