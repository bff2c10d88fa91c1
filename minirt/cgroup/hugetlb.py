# SPDX-License-Identifier: Apache-2.0
"""The hugetlb controller (cgroup-v2.rst, "HugeTLB"): huge pages by their size, hugetlb.<size>.max.

Must not import kernel or plan.
"""

from __future__ import annotations

import os

from minirt.cgroup import tree

NAME = "hugetlb"
_SIZES = "/sys/kernel/mm/hugepages"  # hugepages-2048kB …


def sizes(directory: str = _SIZES) -> tuple[str, ...]:
    """The sizes of huge pages that this kernel has, as the files are called: "2MB", "1GB"."""
    try:
        listed = os.listdir(directory)
    except FileNotFoundError:
        return ()
    return tuple(sorted(name(int(entry.removeprefix("hugepages-").removesuffix("kB")) << 10) for entry in listed))


def name(bytes_: int) -> str:
    """ "2MB" of 2097152, as mm/hugetlb_cgroup.c names the files."""
    for unit, shift in (("GB", 30), ("MB", 20)):
        if bytes_ >= 1 << shift:
            return f"{bytes_ >> shift}{unit}"
    return f"{bytes_ >> 10}KB"


def read(path: str) -> dict[str, int]:
    """Bytes in use by size of page; empty where the controller is not in the cgroup."""
    found = {}
    for size in sizes():
        current = tree.optional(path, f"hugetlb.{size}.current")
        if current is not None:
            found[size] = int(current)
    return found
