# SPDX-License-Identifier: Apache-2.0
"""Mounts, each made detached and attached by descriptor (fsopen(2), open_tree(2), mount_setattr(2), move_mount(2)).

Runtime-spec config.md, "Mounts": in the order of the list; a missing mount point is made. proc and sysfs go onto
ordinary directories only, never through a symlink (CVE-2019-19921). `ro` on a bind covers what is mounted below
its source as well, which is more than the specification asks. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.errors import HostError
from minirt.model import mounts as words
from minirt.plan import namespaces
from minirt.plan.build import EMPTY_PATH, IN_ROOT, NONE, ROOT, STRICT, Build, Mounted
from minirt.plan.facts import Target
from minirt.plan.step import CWD, HOST, INIT, Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROPAGATION = "/linux/rootfsPropagation"
# Nobody but the kernel and this plan has written below a new one of these.
_FRESH = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2", "ramfs")
_DETACHED = Flags("FSMOUNT_CLOEXEC")
_RECURSIVE = Flags("AT_EMPTY_PATH|AT_RECURSIVE")


def attach_root(build: Build) -> None:
    """Nothing that is mounted from here on reaches the host; then the root filesystem gets a place in this
    namespace, because only what is attached can be mounted upon and pivoted to."""
    build.add(
        "mount_setattr", CWD, "/", Flags("AT_RECURSIVE"), NONE, NONE, Flags("MS_SLAVE"), pointer=_PROPAGATION,
        kind="mount",
    )  # fmt: skip
    if _brings_no_devices(build):
        flags, closed = Flags("AT_EMPTY_PATH|AT_RECURSIVE"), Flags("MOUNT_ATTR_NODEV")
        build.add("mount_setattr", ROOT, "", flags, closed, NONE, NONE, pointer="/root/path", kind="device")
    flags = Flags("MOVE_MOUNT_F_EMPTY_PATH")
    build.add("move_mount", ROOT, "", CWD, build.context.rootfs_path, flags, pointer="/root/path", kind="root")


def _brings_no_devices(build: Build) -> bool:
    """Whether nodes in the root filesystem stay closed: /dev is a mount of its own, the specification puts no device
    elsewhere, and who may not make a device may not use one that the image has made."""
    spec, capabilities = build.spec, build.process.get("capabilities") or {}
    own = any(mount["destination"] == "/dev" for mount in spec.get("mounts") or ())
    inside = all(device["path"].startswith("/dev/") for device in build.linux.get("devices") or ())
    return own and inside and "CAP_MKNOD" not in (capabilities.get("bounding") or ())


def open_shared(build: Build) -> None:
    """Host: a bind whose mounts shall reach the host again is cloned there, from what is still shared."""
    for index, mount in enumerate(build.spec.get("mounts") or ()):
        options = words.parse(mount.get("options") or ())
        if is_bind(mount, options) and options.propagation == "MS_SHARED":
            _clone(build, mount, options, index, f"shared-{index}", HOST)


def make_all(build: Build) -> None:
    """Init: every mount of the specification."""
    for index, mount in enumerate(build.spec.get("mounts") or ()):
        options = words.parse(mount.get("options") or ())
        pointer, slot, type_ = f"/mounts/{index}", Fd(str(mount["destination"])), type_of(mount)
        if is_bind(mount, options):
            slot, type_ = _bind(build, mount, options, index), "bind"
        elif type_ == "cgroup2" and "cgroup" not in namespaces.asked(build):
            _host_cgroup(build, options, slot, pointer)
            type_ = "bind"
        elif build.private is None or build.private[0] != index:
            make(build, mount, options, slot.name, pointer)
        _attach(build, mount, slot, type_, pointer)


def private_proc(build: Build) -> Fd:
    """A procfs that nobody can have mounted anything upon, for what the runtime itself writes (CVE-2025-52881): the
    one that the specification mounts, before it is attached, or one that never is."""
    if build.private is not None:
        return build.private[1]
    found = -1
    mount: dict[str, Any] = {"type": "proc", "destination": "private-proc"}
    for index, candidate in enumerate(build.spec.get("mounts") or ()):
        if type_of(candidate) == "proc":
            found, mount = index, candidate
            break
    slot = Fd(str(mount["destination"]))
    pointer = f"/mounts/{found}" if found >= 0 else "/linux/sysctl"
    make(build, mount, words.parse(mount.get("options") or ()), slot.name, pointer)
    build.private = (found, slot)
    return slot


def type_of(mount: dict[str, Any]) -> str:
    """ "cgroup" means the host's kind of cgroup, which here is always version 2."""
    type_ = str(mount.get("type") or "")
    return "cgroup2" if type_ == "cgroup" else type_


def is_bind(mount: dict[str, Any], options: words.Options) -> bool:
    return bool(options.bind) or mount.get("type") == "bind"


def make(build: Build, mount: dict[str, Any], options: words.Options, slot: str, pointer: str) -> None:
    """A new file system, detached, in `slot`: one fsconfig for each parameter. A tmpfs that shall be read-only gets
    that last: mount points and devices are still to be made in it."""
    type_, kind = type_of(mount), "cgroup" if type_of(mount) == "cgroup2" else "mount"
    context, string = Fd("filesystem"), Flags("FSCONFIG_SET_STRING")
    build.add("fsopen", type_, Flags("FSOPEN_CLOEXEC"), out="filesystem", pointer=pointer, kind=kind)
    if mount.get("source"):
        build.add("fsconfig", context, string, "source", mount["source"], pointer=pointer, kind=kind)
    for key, value in options.data:
        if value is None:
            build.add("fsconfig", context, Flags("FSCONFIG_SET_FLAG"), key, pointer=pointer, kind=kind)
        else:
            build.add("fsconfig", context, string, key, value, pointer=pointer, kind=kind)
    build.add("fsconfig", context, Flags("FSCONFIG_CMD_CREATE"), pointer=pointer, kind=kind)
    attributes = options.sets + [word for word in options.all_sets if word not in options.sets]
    if type_ == "tmpfs" and "MOUNT_ATTR_RDONLY" in attributes:
        attributes.remove("MOUNT_ATTR_RDONLY")
        _later(build, slot, pointer)
    build.add("fsmount", context, _DETACHED, Flags("|".join(attributes) or "0"), out=slot, pointer=pointer, kind=kind)
    if options.propagation:
        propagation = Flags(options.propagation)
        build.add("mount_setattr", Fd(slot), "", EMPTY_PATH, NONE, NONE, propagation, pointer=pointer, kind=kind)


def _later(build: Build, slot: str, pointer: str) -> None:
    steps = build.steps
    build.steps = build.late
    read_only = Flags("MOUNT_ATTR_RDONLY")
    build.add("mount_setattr", Fd(slot), "", EMPTY_PATH, read_only, NONE, NONE, pointer=pointer, kind="mount")
    build.steps = steps


def _attach(build: Build, mount: dict[str, Any], slot: Fd, type_: str, pointer: str) -> None:
    destination = str(mount["destination"])
    target = build.target(destination)
    kind, resolve = "mount", IN_ROOT
    if type_ in ("proc", "sysfs"):
        target, resolve = Target(destination, target.missing, target.kind), STRICT
    place = build.place(target, pointer, kind, resolve)
    build.move(slot, place, pointer, kind)
    build.mounts.append(Mounted(target.path.rstrip("/"), slot, type_ in _FRESH, type_))


def _bind(build: Build, mount: dict[str, Any], options: words.Options, index: int) -> Fd:
    """A bind's descriptor, with its attributes: those of the whole tree first, then the top's own."""
    pointer, shared = f"/mounts/{index}", options.propagation == "MS_SHARED"
    slot = Fd(f"shared-{index}" if shared else str(mount["destination"]))
    if not shared:
        _clone(build, mount, options, index, slot.name, INIT)
    deep = options.bind == "rbind"
    sets, clears = list(options.all_sets), list(options.all_clears)
    if deep and "MOUNT_ATTR_RDONLY" in options.sets and "MOUNT_ATTR_RDONLY" not in sets:
        sets.append("MOUNT_ATTR_RDONLY")
    top = [word for word in options.sets if word not in sets]
    propagation = Flags(options.propagation or "MS_PRIVATE")
    everywhere = deep and (options.all_propagation or not options.propagation)
    if everywhere or sets or clears:
        build.add(
            "mount_setattr", slot, "", _RECURSIVE if deep else EMPTY_PATH, _or(sets), _or(clears),
            propagation if everywhere else NONE, pointer=pointer, kind="mount",
        )  # fmt: skip
    if top or options.clears or not everywhere:
        build.add(
            "mount_setattr", slot, "", EMPTY_PATH, _or(top), _or(options.clears), NONE if everywhere else propagation,
            pointer=pointer, kind="mount",
        )  # fmt: skip
    return slot


def _clone(build: Build, mount: dict[str, Any], options: words.Options, index: int, slot: str, actor: str) -> None:
    source = str(mount["source"])
    if not source.startswith("/"):
        source = f"{build.context.bundle}/{source}"
    flags = "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC" + ("|AT_RECURSIVE" if options.bind == "rbind" else "")
    build.add("open_tree", CWD, source, Flags(flags), out=slot, actor=actor, pointer=f"/mounts/{index}", kind="mount")


def _or(attributes: list[str]) -> Flags:
    return Flags("|".join(attributes) or "0")


def _host_cgroup(build: Build, options: words.Options, slot: Fd, pointer: str) -> None:
    """A new cgroup2 mount from the host's cgroup namespace would reset nsdelegate for the whole host, so the
    host's own mount is cloned."""
    source = build.host.cgroup_mount
    if source is None:
        raise HostError("cgroup v2 is not mounted on this host", "mount it: mount -t cgroup2 none /sys/fs/cgroup")
    flags = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")
    build.add("open_tree", CWD, source, flags, out=slot.name, pointer=pointer, kind="cgroup")
    build.add(
        "mount_setattr", slot, "", EMPTY_PATH, _or(options.sets), _or(options.clears), Flags("MS_PRIVATE"),
        pointer=pointer, kind="cgroup",
    )  # fmt: skip


def pivot(build: Build) -> None:
    """pivot_root(2), the "." form: the old root lies over the new one until it is detached, with all its mounts."""
    pointer, kind = "/root/path", "root"
    build.add("fchdir", ROOT, pointer=pointer, kind=kind)
    build.add("pivot_root", ".", ".", pointer=pointer, kind=kind)
    build.add("umount2", ".", Flags("MNT_DETACH"), pointer=pointer, kind=kind)
    build.add("chdir", "/", pointer=pointer, kind=kind)


def finish_root(build: Build) -> None:
    """Init, inside: propagation of the new root, a missing working directory, and the root read-only last."""
    propagation = str(build.linux.get("rootfsPropagation") or "")
    if propagation:
        options = words.parse((propagation,))
        at = Flags("AT_RECURSIVE") if options.all_propagation else NONE
        build.add(
            "mount_setattr", CWD, "/", at, NONE, NONE, Flags(options.propagation), pointer=_PROPAGATION, kind="mount"
        )
    _working_directory(build)
    if (build.spec.get("root") or {}).get("readonly"):
        read_only = Flags("MOUNT_ATTR_RDONLY")
        build.add("mount_setattr", CWD, "/", NONE, read_only, NONE, NONE, pointer="/root/readonly", kind="root")


def _working_directory(build: Build) -> None:
    """A working directory that is missing is made, as every other runtime does. Not by its path: the image chooses it,
    and /proc/self/fd/N/x would be made in whatever this process has open as N."""
    target = build.root.targets.get(str(build.process.get("cwd") or "/"))
    if target is None:
        return
    for path in target.missing:
        build.make_one(path, "dir", "/process/cwd", "identity")
