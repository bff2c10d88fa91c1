# SPDX-License-Identifier: Apache-2.0
"""The cpuset controller (cgroup-v2.rst, "Cpuset"; cpuset(7), "List format"): which processors and memory nodes.

Must not import kernel or plan.
"""

from __future__ import annotations

from minirt.cgroup import tree

NAME = "cpuset"
_ONLINE = {"cpus": "/sys/devices/system/cpu/online", "mems": "/sys/devices/system/node/online"}


def available(what: str, parent: str = "") -> str:
    """The "cpus" or "mems" that a cgroup below `parent` could have, in the kernel's list format ("0-3,7"); without the
    controller, or with no `parent`, those that are on line."""
    text = tree.optional(parent, f"cpuset.{what}.effective") if parent else None
    if text is None:
        try:
            with open(_ONLINE[what]) as file:
                text = file.read()
        except FileNotFoundError:  # a kernel without NUMA has node 0 alone, and does not say so
            text = "0"
    return text.strip()


def members(listed: str) -> set[int]:
    """{0, 1, 2, 7} of "0-2,7". ValueError for what is no list."""
    found: set[int] = set()
    for part in filter(None, listed.strip().split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or not listed.isascii():
            raise ValueError(listed)
        begin, end = int(first), int(last) if dash else int(first)
        if end < begin or end > 1 << 16:
            raise ValueError(listed)
        found.update(range(begin, end + 1))
    return found
