# SPDX-License-Identifier: Apache-2.0
"""The root filesystem as a detached mount: overlayfs (kernel doc filesystems/overlayfs.rst) or a directory.

Host steps that leave the slot "rootfs". The mount is in no mount table: nothing to unmount, nothing ever busy.
Each layer is a string of its own where the kernel takes them so (`lowerdir+`, Linux 6.5); before, fsconfig(2)
holds 255 bytes for all, and a longer list is mounted by the old mount(2) in a mount namespace that lasts for a
few steps. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.errors import InvalidValue
from minirt.plan.step import CWD, HOST, Fd, Flags, Plan, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.plan.facts import Host

_STRING_LIMIT = 255  # bytes of one value, fsconfig(2)
_PAGE = 4095  # bytes of mount(2)'s data
_ROOT = Fd("rootfs")
_EMPTY = Flags("AT_EMPTY_PATH")


class Overlay:
    """lower: directories, the topmost first. upper, work: None for a root that is only read. pointer: what asked
    for it. mount_point: an empty directory, needed only where the list of layers is too long for an old kernel.
    volatile: nobody wants upper after a power cut, so nothing is synced. Without it the last unmount syncs the
    whole file system that upper lies in, and pid 1's end waits for that."""

    __slots__ = ("lower", "upper", "work", "pointer", "mount_point", "volatile")

    def __init__(
        self,
        lower: tuple[str, ...],
        upper: str | None = None,
        work: str | None = None,
        pointer: str = "/root",
        mount_point: str = "",
        volatile: bool = False,
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.work = work
        self.pointer = pointer
        self.mount_point = mount_point
        self.volatile = volatile


class Directory:
    """A directory of the host, with what is mounted below it, as the root itself. Whether it may be written is
    root.readonly's business and comes last: until then mount points can be made in it."""

    __slots__ = ("path", "pointer")

    def __init__(self, path: str, pointer: str = "/root/path") -> None:
        self.path = path
        self.pointer = pointer


def compile(rootfs: Overlay | Directory, host: Host) -> Plan:
    """Steps that leave "rootfs". InvalidValue: more layers than this kernel can stack."""
    if isinstance(rootfs, Directory):
        steps = _directory(rootfs)
    elif host.lowerdir_plus and all(_fits(path) for path in _paths(rootfs)):
        steps = _overlay(rootfs, [("lowerdir+", path) for path in rootfs.lower], *_paths(rootfs)[-2:])
    else:
        joined = ":".join(_escape(path) for path in rootfs.lower)
        upper, work = _escape(rootfs.upper or ""), _escape(rootfs.work or "")
        if all(_fits(value) and "," not in value for value in (joined, upper, work)):
            steps = _overlay(rootfs, [("lowerdir", joined)], upper, work)
        else:
            steps = _overlay_of_old(rootfs, joined, upper, work)
    return Plan(tuple(steps))


def _paths(rootfs: Overlay) -> tuple[str, ...]:
    return (*rootfs.lower, rootfs.upper or "", rootfs.work or "")


def _fits(value: str) -> bool:
    return len(value.encode("utf-8", "surrogateescape")) <= _STRING_LIMIT


def _escape(path: str) -> str:
    """overlayfs splits `lowerdir` at colons; a backslash takes a character as it is."""
    return path.replace("\\", "\\\\").replace(":", "\\:")


def _directory(rootfs: Directory) -> list[Step]:
    about: dict[str, Any] = {"actor": HOST, "pointer": rootfs.pointer, "kind": "root"}
    clone = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE")
    return [
        Step("open_tree", CWD, rootfs.path, clone, out="rootfs", **about),
        Step(
            "mount_setattr", _ROOT, "", Flags("AT_EMPTY_PATH|AT_RECURSIVE"), Flags("0"), Flags("0"),
            Flags("MS_PRIVATE"), **about,
        ),
    ]  # fmt: skip


def _overlay(rootfs: Overlay, layers: list[tuple[str, str]], upper: str, work: str) -> list[Step]:
    """redirect_dir=nofollow: an image may bring the attribute that would make one directory show another."""
    about: dict[str, Any] = {"actor": HOST, "pointer": rootfs.pointer, "kind": "root"}
    values = [("source", "overlay"), *layers]
    if upper and work:
        values += [("upperdir", upper), ("workdir", work)]
    values.append(("redirect_dir", "nofollow"))
    context, string = Fd("overlay"), Flags("FSCONFIG_SET_STRING")
    flags = ["volatile"] if rootfs.volatile and upper else []
    return [
        Step("fsopen", "overlay", Flags("FSOPEN_CLOEXEC"), out="overlay", **about),
        *[Step("fsconfig", context, string, key, value, **about) for key, value in values],
        *[Step("fsconfig", context, Flags("FSCONFIG_SET_FLAG"), flag, **about) for flag in flags],
        Step("fsconfig", context, Flags("FSCONFIG_CMD_CREATE"), **about),
        Step("fsmount", context, Flags("FSMOUNT_CLOEXEC"), Flags("0"), out="rootfs", **about),
    ]


def _overlay_of_old(rootfs: Overlay, lower: str, upper: str, work: str) -> list[Step]:
    """mount(2) needs a place, and a place in the host's mount table would be seen and could be left behind. So the
    caller, whose only thread this is, leaves its mount namespace, mounts, takes a detached copy and comes back to
    its namespace and working directory; the place vanishes with the namespace."""
    about: dict[str, Any] = {"actor": HOST, "pointer": rootfs.pointer, "kind": "root"}
    data = f"redirect_dir=nofollow,lowerdir={_comma(lower)}"
    if upper and work:
        data += f",upperdir={_comma(upper)},workdir={_comma(work)}" + (",volatile" if rootfs.volatile else "")
    if len(data.encode("utf-8", "surrogateescape")) > _PAGE:
        raise InvalidValue(
            f"cannot stack {len(rootfs.lower)} layers: this kernel takes one page of mount options",
            "Linux 6.5 lifts the limit; or squash the image's layers",
        )
    if not rootfs.mount_point:
        raise InvalidValue("cannot stack these layers without a mount point: this kernel is older than Linux 6.5")
    here = Flags("O_PATH|O_DIRECTORY|O_CLOEXEC")
    namespace, nothing = Flags("O_RDONLY|O_CLOEXEC"), Flags("0")
    return [
        Step("openat2", CWD, "/proc/self/ns/mnt", namespace, nothing, nothing, out="mount-namespace", **about),
        Step("openat2", CWD, ".", here, nothing, nothing, out="working-directory", **about),
        Step("unshare", Flags("CLONE_NEWNS"), **about),
        Step("mount_setattr", CWD, "/", Flags("AT_RECURSIVE"), nothing, nothing, Flags("MS_SLAVE"), **about),
        Step("mount", "overlay", rootfs.mount_point, "overlay", nothing, data, **about),
        Step(
            "open_tree", CWD, rootfs.mount_point, Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"), out="rootfs", **about
        ),
        Step("mount_setattr", _ROOT, "", _EMPTY, nothing, nothing, Flags("MS_PRIVATE"), **about),
        Step("setns", Fd("mount-namespace"), Flags("CLONE_NEWNS"), **about),
        Step("fchdir", Fd("working-directory"), **about),
    ]  # fmt: skip


def _comma(value: str) -> str:
    return value.replace(",", "\\,")
