# SPDX-License-Identifier: Apache-2.0
"""A plan in the making, and the two things that every topic asks of it: one more step, and a place in the root.

How a path inside the container becomes a descriptor (openat2(2), mount_setattr(2)): never as a string from the
host's root. Below a file system that this plan has just mounted, nobody else has written yet, so a name relative
to its descriptor is safe. Everything else is hostile: it is resolved by openat2 with RESOLVE_IN_ROOT, and missing
directories are made one component at a time below a descriptor. Pure; must not import kernel or any topic.
"""

from __future__ import annotations

from minirt.plan.facts import Host, RootFacts, Target
from minirt.plan.step import INIT, Fd, Flags, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.plan.network import Link
    from minirt.plan.step import Blob

ROOT = Fd("rootfs")
NONE = Flags("0")
DIRECTORY = Flags("O_PATH|O_DIRECTORY|O_CLOEXEC")
PLACE = Flags("O_PATH|O_CLOEXEC")
IN_ROOT = Flags("RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS")
STRICT = Flags("RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS")
BENEATH = Flags("RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS")
FROM_FD = Flags("MOVE_MOUNT_F_EMPTY_PATH")
FD_TO_FD = Flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")
EMPTY_PATH = Flags("AT_EMPTY_PATH")


class Context:
    """What the caller wants of one start, beyond the specification.

    id: the container's. bundle: its directory, which a relative bind source is relative to. rootfs_path: an empty
    directory, where the root filesystem is attached in the new mount namespace. cgroup_path: the container's
    cgroup, "" for the caller's own. seccomp: the compiled filter. tty: a terminal although process.terminal is
    unset. stdin: standard input is a pipe, else null. init: the slot "program" runs as pid 1 and starts the
    workload. wait: wait for one byte on the slot "go" before the workload. links: interfaces besides lo. io_weight: the
    file of the io controller that weighs here.
    """

    __slots__ = (
        "id", "bundle", "rootfs_path", "cgroup_path", "seccomp", "tty", "stdin", "init", "wait", "links", "io_weight",
    )  # fmt: skip

    def __init__(
        self,
        id: str = "",
        rootfs_path: str = "",
        cgroup_path: str = "",
        seccomp: Blob | None = None,
        tty: bool = False,
        stdin: bool = False,
        init: bool = False,
        wait: bool = False,
        bundle: str = "",
        links: tuple[Link, ...] = (),
        io_weight: str = "io.weight",
    ) -> None:
        self.id = id
        self.rootfs_path = rootfs_path
        self.cgroup_path = cgroup_path
        self.seccomp = seccomp
        self.tty = tty
        self.stdin = stdin
        self.init = init
        self.wait = wait
        self.bundle = bundle
        self.links = links
        self.io_weight = io_weight


class Mounted:
    """One mount of this plan: where, its descriptor, whether its content is nobody's but the kernel's and ours, and
    its type."""

    __slots__ = ("path", "slot", "fresh", "type")

    def __init__(self, path: str, slot: Fd, fresh: bool, type_: str) -> None:
        self.path = path
        self.slot = slot
        self.fresh = fresh
        self.type = type_


class Build:
    """spec, host, root, context: what is compiled. process: spec's, or an exec's. steps, mounts: so far. late: steps
    that wait until every mount point has been made. private: the index in spec's mounts (-1: none of them) and the
    slot of a procfs that is not attached yet; None: there is none."""

    __slots__ = ("spec", "linux", "process", "host", "root", "context", "steps", "mounts", "tty", "late", "private")

    def __init__(
        self, spec: dict[str, Any], process: dict[str, Any], host: Host, root: RootFacts, context: Context
    ) -> None:
        self.spec = spec
        self.linux: dict[str, Any] = spec.get("linux") or {}
        self.process = process
        self.host = host
        self.root = root
        self.context = context
        self.steps: list[Step] = []
        self.mounts = [Mounted("/", ROOT, False, "")]
        self.tty = context.tty or bool(process.get("terminal"))
        self.late: list[Step] = []
        self.private: tuple[int, Fd] | None = None

    def add(
        self,
        op: str,
        *args: object,
        out: str | tuple[str, str] = (),  # type: ignore[assignment]
        actor: str = INIT,
        pointer: str = "",
        kind: str = "",
        tolerate: tuple[str, ...] = (),
    ) -> None:
        self.steps.append(Step(op, *args, out=out, actor=actor, pointer=pointer, kind=kind, tolerate=tolerate))

    def target(self, path: str, kind: str = "dir") -> Target:
        """What the survey says of a path of the specification; one that it does not know is taken to exist."""
        found = self.root.targets.get(path)
        return found if found is not None else Target(path.rstrip("/") or "/", (), kind)

    def holder(self, path: str) -> Mounted:
        """The mount of this plan that a path lies in: the last one made on the longest part of it."""
        best = self.mounts[0]
        for mount in self.mounts:
            if len(mount.path) >= len(best.path) and path.startswith(mount.path + "/"):
                best = mount
        return best

    def parent(self, path: str, pointer: str, kind: str) -> tuple[Fd, str]:
        """A descriptor of the directory that holds `path`, made if it is missing, and the last component."""
        directory, _, name = path.rstrip("/").rpartition("/")
        holder = self.holder(path)
        if directory in (holder.path, holder.path.rstrip("/")):
            return holder.slot, name
        if holder.fresh:
            relative = directory[len(holder.path) + 1 :]
            if holder.type == "tmpfs":
                self.make_below(holder.slot, relative, pointer, kind)
            self.add(
                "openat2", holder.slot, relative, DIRECTORY, NONE, BENEATH, out="parent", pointer=pointer, kind=kind
            )
        else:
            self.make(directory, holder, pointer, kind)
            self.add("openat2", ROOT, directory, DIRECTORY, NONE, IN_ROOT, out="parent", pointer=pointer, kind=kind)
        return Fd("parent"), name

    def make_below(self, base: Fd, relative: str, pointer: str, kind: str) -> None:
        """mkdir -p in a file system that only this plan has written to."""
        path = ""
        for component in relative.split("/"):
            path = path + "/" + component if path else component
            self.add("mkdirat", base, path, 0o755, pointer=pointer, kind=kind, tolerate=("EEXIST",))

    def make(self, directory: str, holder: Mounted, pointer: str, kind: str) -> None:
        """mkdir -p below a mount whose content is hostile: each component below a descriptor of its parent. What the
        survey did not look at may be there or not."""
        known = self.root.targets.get(directory)
        surveyed = known is not None and holder.path == "/"
        for path in known.missing if known is not None and surveyed else _prefixes(directory, holder.path):
            self.make_one(path, "dir", pointer, kind)

    def make_one(self, path: str, what: str, pointer: str, kind: str) -> None:
        """One directory or empty file below an existing directory of the root."""
        directory, _, name = path.rpartition("/")
        base = ROOT
        if directory:
            base = Fd("parent")
            self.add("openat2", ROOT, directory, DIRECTORY, NONE, IN_ROOT, out="parent", pointer=pointer, kind=kind)
        if what == "file":
            mode = Flags("S_IFREG|0o644")
            self.add("mknodat", base, name, mode, 0, 0, pointer=pointer, kind=kind, tolerate=("EEXIST",))
        else:
            self.add("mkdirat", base, name, 0o755, pointer=pointer, kind=kind, tolerate=("EEXIST",))

    def place(self, target: Target, pointer: str, kind: str, resolve: Flags = IN_ROOT) -> tuple[Fd, str]:
        """Where a mount goes: a descriptor and what is left of the path below it ("": the descriptor itself).
        A mount point that is missing is made."""
        path = target.path
        holder = self.holder(path)
        if holder.fresh:
            return self._place_in_fresh(holder, path, target.kind, pointer, kind)
        if holder.path == "/":
            for missing in target.missing:
                what = target.kind if missing == target.missing[-1] else "dir"
                self.make_one(missing, what, pointer, kind)
        elif target.missing or not target.kind:
            for missing in _prefixes(path, holder.path):
                what = target.kind if missing == path else "dir"
                self.make_one(missing, what, pointer, kind)
        self.add("openat2", ROOT, path, PLACE, NONE, resolve, out="place", pointer=pointer, kind=kind)
        return Fd("place"), ""

    def _place_in_fresh(self, holder: Mounted, path: str, what: str, pointer: str, kind: str) -> tuple[Fd, str]:
        relative = path[len(holder.path) + 1 :]
        directory, _, name = relative.rpartition("/")
        if holder.type == "tmpfs":
            if directory:
                self.make_below(holder.slot, directory, pointer, kind)
            if what == "file":
                mode = Flags("S_IFREG|0o644")
                self.add("mknodat", holder.slot, relative, mode, 0, 0, pointer=pointer, kind=kind, tolerate=("EEXIST",))
            else:
                self.add("mkdirat", holder.slot, relative, 0o755, pointer=pointer, kind=kind, tolerate=("EEXIST",))
        if not directory:
            return holder.slot, name
        self.add("openat2", holder.slot, relative, PLACE, NONE, BENEATH, out="place", pointer=pointer, kind=kind)
        return Fd("place"), ""

    def move(self, mount: Fd, place: tuple[Fd, str], pointer: str, kind: str) -> None:
        """Attach a detached mount there. Neither end is a path that somebody could have changed."""
        fd, relative = place
        flags = FROM_FD if relative else FD_TO_FD
        self.add("move_mount", mount, "", fd, relative, flags, pointer=pointer, kind=kind)


def _prefixes(path: str, below: str) -> list[str]:
    """ "/a/b", "/a/b/c" for "/a/b/c" below "/a"."""
    start = len(below.rstrip("/")) + 1
    return [path[: start + end] for end in _ends(path[start:])]


def _ends(relative: str) -> list[int]:
    return [index for index, character in enumerate(relative) if character == "/"] + [len(relative)]
