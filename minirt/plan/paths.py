# SPDX-License-Identifier: Apache-2.0
"""Paths that a container must not read or write although they lie in what it is given (runtime-spec
config-linux.md, "Masked Paths", "Readonly Paths").

A file is covered by the null device that this plan made itself, by descriptor: never by whatever lies at
/dev/null (CVE-2025-31133). A directory is covered by one empty read-only tmpfs of one inode, cloned for each. A
read-only path is covered by a read-only clone of itself. Paths that do not exist are passed over, as the survey
says. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan import defaults, devices
from minirt.plan.build import EMPTY_PATH, NONE, PLACE, Build
from minirt.plan.step import CWD, Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CLONE = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH")
_CLONE_NAME = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")
_CLOSED = Flags("MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC")
_SEALED = Flags("MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC")


def make_readonly(build: Build) -> None:
    """Before the masks: a masked path may lie below a read-only one, and then the mask must be on top."""
    tree = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE")
    tree_of_place = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE|AT_EMPTY_PATH")
    whole, read_only = Flags("AT_EMPTY_PATH|AT_RECURSIVE"), Flags("MOUNT_ATTR_RDONLY")
    for index, path in enumerate(build.linux.get("readonlyPaths") or ()):
        target = build.target(path, defaults.kind(path))
        if target.missing or not target.kind:
            continue
        about: dict[str, Any] = {"pointer": f"/linux/readonlyPaths/{index}", "kind": "mask"}
        place = build.place(target, **about)
        build.add("open_tree", *place, tree if place[1] else tree_of_place, out="clone", **about)
        build.add("mount_setattr", Fd("clone"), "", whole, read_only, NONE, NONE, **about)
        build.move(Fd("clone"), place, **about)


def mask(build: Build) -> None:
    """The first mask of each sort is made, every other is a clone of it once it is attached."""
    made: set[str] = set()
    for index, path in enumerate(build.linux.get("maskedPaths") or ()):
        target = build.target(path, defaults.kind(path))
        if target.missing or not target.kind:
            continue
        pointer, template = f"/linux/maskedPaths/{index}", "mask-" + target.kind
        if template in made:
            slot = Fd("clone")
            build.add("open_tree", Fd(template), "", _CLONE, out="clone", pointer=pointer, kind="mask")
        else:
            slot = Fd(template)
            (_null if target.kind == "file" else _nothing)(build, pointer)
            made.add(template)
        build.move(slot, build.place(target, pointer, "mask"), pointer, "mask")


def _nothing(build: Build, pointer: str) -> None:
    _tmpfs(build, pointer, "1", _SEALED, "mask-dir")


def _null(build: Build, pointer: str) -> None:
    """The node below our own /dev; without one, a node in a tmpfs that is never attached as a whole."""
    dev = devices.directory(build)
    about: dict[str, Any] = {"pointer": pointer, "kind": "mask"}
    if dev is None or dev.name == "dev":
        _tmpfs(build, pointer, "2", NONE, "mask-nodes")
        build.add("mknodat", Fd("mask-nodes"), "null", Flags("S_IFCHR|0o666"), 1, 3, **about)
        build.move(Fd("mask-nodes"), _aside(build, pointer), **about)
        dev = Fd("mask-nodes")
    build.add("open_tree", dev, "null", _CLONE_NAME, out="mask-file", **about)
    build.add("mount_setattr", Fd("mask-file"), "", EMPTY_PATH, _CLOSED, NONE, NONE, **about)


def _aside(build: Build, pointer: str) -> tuple[Fd, str]:
    """Before Linux 6.15 only what is attached can be cloned: the host's /dev in this namespace, which the pivot
    takes away with everything below it, holds the tmpfs meanwhile."""
    build.add("openat2", CWD, "/dev", PLACE, NONE, NONE, out="aside", pointer=pointer, kind="mask")
    return Fd("aside"), ""


def _tmpfs(build: Build, pointer: str, inodes: str, attributes: Flags, out: str) -> None:
    context, string = Fd("filesystem"), Flags("FSCONFIG_SET_STRING")
    about: dict[str, Any] = {"pointer": pointer, "kind": "mask"}
    build.add("fsopen", "tmpfs", Flags("FSOPEN_CLOEXEC"), out="filesystem", **about)
    for key, value in (("source", "tmpfs"), ("nr_blocks", "1"), ("nr_inodes", inodes), ("mode", "755")):
        build.add("fsconfig", context, string, key, value, **about)
    build.add("fsconfig", context, Flags("FSCONFIG_CMD_CREATE"), **about)
    build.add("fsmount", context, Flags("FSMOUNT_CLOEXEC"), attributes, out=out, **about)
