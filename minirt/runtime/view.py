# SPDX-License-Identifier: Apache-2.0
"""A container's files to read from, as a detached mount without any right to write (open_tree(2), mount_setattr(2)).

What is mounted below the root (volumes, /proc, the files of /etc) is not part of it: the copy of a mount is made
without what hangs on it. Read-only, nodev, nosuid and noexec, whatever the original is: reading can then wake no
driver and change no time. Must be called by the only thread of the process.
"""

from __future__ import annotations

import os

from minirt.kernel import call
from minirt.runtime.start import mount_rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.plan.rootfs import Overlay
    from minirt.runtime.exec import Target

_QUIET = "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC"
_COPY = "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"


def of_directory(path: str) -> int:
    """A directory of the host."""
    return _quiet(call.open_tree(call.AT_FDCWD, path, _COPY))


def of_layers(overlay: Overlay) -> int:
    """Layers that nobody has mounted to write. A single one is a directory: the kernel stacks only two or more."""
    if overlay.upper is None and len(overlay.lower) == 1:
        return of_directory(overlay.lower[0])
    return _quiet(mount_rootfs(overlay).fd)


def of_running(target: Target) -> int:
    """The root of a running container's mount namespace, wherever its first process has gone by chroot(2).

    A mount can only be copied by somebody who stands in its namespace. This process enters it for that one call,
    executes and loads nothing there, and comes back.
    """
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call.setns(target.pidfd, "CLONE_NEWNS")
        try:
            fd = call.open_tree(call.AT_FDCWD, "/", _COPY)
        finally:
            call.setns(own, "CLONE_NEWNS")
            os.fchdir(here)
    finally:
        os.close(own)
        os.close(here)
    return _quiet(fd)


def _quiet(mount: int) -> int:
    """The root of the mount, opened to be listed. It lasts as long as this descriptor does."""
    try:
        call.mount_setattr(mount, "", "AT_EMPTY_PATH", _QUIET)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    finally:
        os.close(mount)
