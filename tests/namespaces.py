# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests (network_namespaces(7), setns(2)): the machine's own stays untouched.

Each pytest process leaves the machine's namespace at its start; a test of networks gets one of its own, empty but for
lo: its "host". `with namespace:` runs in it: sockets made there and programs started there stay there. Python 3.11
has no os.setns. Must not import minirt.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000  # sched.h
MNT_DETACH = 2  # sys/mount.h
OPEN_TREE_CLONE, AT_RECURSIVE, MOVE_MOUNT_F_EMPTY_PATH, AT_FDCWD = 1, 0x8000, 4, -100  # linux/mount.h, fcntl.h
OPEN_TREE, MOVE_MOUNT = 428, 429  # the same on all architectures that minirt knows
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41  # linux/sockios.h, net/if.h


def check(answer: int, what: str) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return answer


class Namespace:
    """A network namespace, kept by a descriptor until close(). `with` enters it and comes back; nesting is fine."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.before: list[int] = []

    def __enter__(self) -> Namespace:
        self.before.append(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        check(LIBC.setns(self.descriptor, CLONE_NEWNET), "setns")
        return self

    def __exit__(self, *_: object) -> None:
        former = self.before.pop()
        check(LIBC.setns(former, CLONE_NEWNET), "setns")
        os.close(former)

    @property
    def name(self) -> str:
        """As the links in /proc/PID/ns name it: net:[4026531840]."""
        return f"net:[{os.fstat(self.descriptor).st_ino}]"

    @property
    def path(self) -> str:
        """For other programs, `ip link set … netns` among them, as long as this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def close(self) -> None:
        os.close(self.descriptor)


def current() -> Namespace:
    return Namespace(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))


def leave() -> None:
    """From now on this thread, and what it starts, has a network of its own with lo up and nothing forwarded."""
    check(LIBC.unshare(CLONE_NEWNET), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING))
    # a new namespace takes over what the machine says about IPv4
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


@contextlib.contextmanager
def new() -> Iterator[Namespace]:
    """A namespace beside the current one, with lo up."""
    former = current()
    try:
        leave()
        made = current()
    finally:
        with contextlib.ExitStack() as stack:
            stack.callback(former.close)
            check(LIBC.setns(former.descriptor, CLONE_NEWNET), "setns")
    try:
        yield made
    finally:
        made.close()


def show_sysfs() -> None:
    """sysfs(5) shows the network namespace in which it was mounted: mount it again for the current one, in this
    process's mount namespace, with what was mounted below (cgroups)."""
    assert platform.machine() in ("x86_64", "aarch64")
    table = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    top = [fields[0] for fields in table if fields[4] == "/sys"][-1]
    trees = []
    for fields in table:
        if fields[1] == top:
            flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE
            trees.append((fields[4], check(LIBC.syscall(OPEN_TREE, AT_FDCWD, fields[4].encode(), flags), "open_tree")))
    check(LIBC.umount2(b"/sys", MNT_DETACH), "umount2 /sys")
    check(LIBC.mount(b"sysfs", b"/sys", b"sysfs", ctypes.c_ulong(0), None), "mount /sys")
    for path, tree in trees:
        moved = LIBC.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, path.encode(), MOVE_MOUNT_F_EMPTY_PATH)
        check(moved, f"move_mount {path}")
        os.close(tree)


MACHINE: list[Namespace] = []


def machine() -> Namespace:
    """The namespace that the tests were started in: for what has to fetch something, and nothing else."""
    return MACHINE[0]


def settle() -> None:
    """Once in each process that runs tests: a network of its own."""
    MACHINE.append(current())
    leave()
    show_sysfs()


@contextlib.contextmanager
def host() -> Iterator[Namespace]:
    """A network for one test, as a host that has just been started has it: the test runs in it."""
    former = current()
    leave()
    mine = current()
    try:
        show_sysfs()
        yield mine
    finally:
        check(LIBC.setns(former.descriptor, CLONE_NEWNET), "setns")
        show_sysfs()
        former.close()
        mine.close()
