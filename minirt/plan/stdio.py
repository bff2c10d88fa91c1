# SPDX-License-Identifier: Apache-2.0
"""Standard streams: three pipes, or one pseudoterminal (pipe(2), pty(7), pts(4), ioctl_tty(2)).

    pipes   the monitor makes them before the clone and keeps "stdin_w", "stdout_r", "stderr_r"
    tty     init opens the container's own devpts, sends the master to the monitor over "report", and keeps the
            other end; the name /dev/pts/N is never resolved (TIOCGPTPEER)

The workload's ends belong to its user, so that it can open /dev/stdout; a file of the host is never chowned.
Runtime-spec config.md, "Process": terminal, consoleSize. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan.build import BENEATH, EMPTY_PATH, NONE, ROOT, STRICT, Build
from minirt.plan.step import MONITOR, Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEEP = -1  # as a group: leave the one that devpts gave
_OPEN = Flags("O_RDWR|O_NOCTTY|O_CLOEXEC")
_STREAMS = (("stdin", "stdin_r", "stdin_w"), ("stdout", "stdout_r", "stdout_w"), ("stderr", "stderr_r", "stderr_w"))


def pipes(build: Build) -> None:
    """Monitor: a pipe for each stream. Without standard input that is a null device, see null."""
    if build.tty:
        return
    user = build.process.get("user") or {}
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    for name, reading, writing in _STREAMS:
        if name == "stdin" and not build.context.stdin:
            continue
        about: dict[str, Any] = {"actor": MONITOR, "pointer": "/process", "kind": "stdio"}
        build.add("pipe2", Flags("O_CLOEXEC"), out=(reading, writing), **about)
        if uid or gid:
            build.add("fchown", Fd(reading if name == "stdin" else writing), uid, gid, **about)


def own_null(build: Build) -> None:
    """Monitor: a null device in a file system of its own, for a standard input that nobody feeds where the container
    has no null device that we made. Not the host's: root inside could change its mode through /proc/self/fd/0."""
    about: dict[str, Any] = {"actor": MONITOR, "pointer": "/process", "kind": "stdio"}
    build.add("fsopen", "tmpfs", Flags("FSOPEN_CLOEXEC"), out="filesystem", **about)
    build.add("fsconfig", Fd("filesystem"), Flags("FSCONFIG_CMD_CREATE"), **about)
    closed = Flags("MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC")
    build.add("fsmount", Fd("filesystem"), Flags("FSMOUNT_CLOEXEC"), closed, out="null-device", **about)
    build.add("mknodat", Fd("null-device"), "null", Flags("S_IFCHR|0o666"), 1, 3, **about)
    reading = Flags("O_RDONLY|O_CLOEXEC")
    build.add("openat2", Fd("null-device"), "null", reading, NONE, BENEATH, out="null", **about)


def null(build: Build, dev: Fd) -> None:
    """Init: standard input from the null device that this plan made."""
    flags = Flags("O_RDONLY|O_CLOEXEC")
    build.add("openat2", dev, "null", flags, NONE, BENEATH, out="null", pointer="/process", kind="stdio")


def terminal(build: Build) -> None:
    """Init, its mounts made: a new pseudoterminal in the container's devpts."""
    made = [mount.slot for mount in build.mounts if mount.type == "devpts"]
    build_pty(build, made[-1] if made else ROOT, "ptmx" if made else "/dev/pts/ptmx")


def build_pty(build: Build, base: Fd, path: str) -> None:
    """The pair from the multiplexer at `path` below `base`: its window size, its owner; the master goes to the
    monitor. What is no multiplexer fails at the next step."""
    pointer, kind = "/process/terminal", "console"
    build.add("openat2", base, path, _OPEN, NONE, STRICT, out="ptmx", pointer=pointer, kind=kind)
    build.add("ioctl_int", Fd("ptmx"), Flags("TIOCSPTLCK"), 0, pointer=pointer, kind=kind)
    size = build.process.get("consoleSize") or {}
    if size.get("height") and size.get("width"):
        rows, columns = size["height"], size["width"]
        build.add("ioctl_winsize", Fd("ptmx"), rows, columns, pointer="/process/consoleSize", kind=kind)
    build.add("ioctl", Fd("ptmx"), Flags("TIOCGPTPEER"), _OPEN, out="pty", pointer=pointer, kind=kind)
    uid = (build.process.get("user") or {}).get("uid", 0)
    if uid:
        build.add("fchown", Fd("pty"), uid, _KEEP, pointer=pointer, kind=kind)
    build.add("sendmsg_fd", Fd("report"), Fd("ptmx"), pointer=pointer, kind=kind)


def console(build: Build, dev: Fd) -> None:
    """Init: the workload's end as /dev/console, bound by descriptor (CVE-2025-52565)."""
    pointer, kind = "/process/terminal", "console"
    node = Flags("S_IFREG|0o600")
    build.add("mknodat", dev, "console", node, 0, 0, pointer=pointer, kind=kind, tolerate=("EEXIST",))
    clone = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH")
    build.add("open_tree", Fd("pty"), "", clone, out="console", pointer=pointer, kind=kind)
    attributes = Flags("MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC")
    build.add("mount_setattr", Fd("console"), "", EMPTY_PATH, attributes, NONE, NONE, pointer=pointer, kind=kind)
    build.move(Fd("console"), (dev, "console"), pointer, kind)


def connect(build: Build) -> None:
    """Init, late: descriptors 0, 1 and 2, the only ones that survive execve."""
    if build.tty:
        ends = ("pty", "pty", "pty")
    else:
        ends = ("stdin_r" if build.context.stdin else "null", "stdout_w", "stderr_w")
    for number, end in enumerate(ends):
        build.add("dup3", Fd(end), number, NONE, pointer="/process", kind="stdio")
    if build.tty:
        build.add("ioctl", Fd("pty"), Flags("TIOCSCTTY"), NONE, pointer="/process/terminal", kind="console")
