# SPDX-License-Identifier: Apache-2.0
"""The upper directory of an overlay as an OCI layer (overlayfs.rst, "whiteouts and opaque directories"; layer.md).

A character device 0:0 becomes `.wh.NAME`, a directory with trusted.overlay.opaque=y gets `.wh..wh..opq` in front of
what is in it; either only where lower layers have something to hide, because the kernel also marks what is new.
Files that only stand for others (metacopy, redirect) are refused: minirt mounts no overlay that makes them. A
directory that was copied up is a member even where nothing of it changed, as with Docker.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.errors import StoreError
from minirt.image import header
from minirt.image.header import show
from minirt.image.overlay import is_whiteout
from minirt.image.pack import Packer
from minirt.image.pax import Member
from minirt.image.walk import walk
from minirt.kernel import rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.image.sink import Sink
    from minirt.image.walk import Found

_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"
_OVERLAY = "trusted.overlay."
_REFUSED = ("metacopy", "redirect", "whiteout")


class Lower:
    """What the layers below show together: `root` is the descriptor of their merged view."""

    __slots__ = ("root",)

    def __init__(self, root: int) -> None:
        self.root = root

    def status(self, path: bytes) -> os.stat_result | None:
        """What is there. Behind a symlink on the way is nothing: where upper has a directory, it is not one."""
        try:
            fd = rooted.open_in_root(self.root, path, os.O_PATH | os.O_NOFOLLOW, no_symlinks=True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise StoreError(f"read {show(path)} in the layers below: {error.strerror}") from error
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)


class _Differ:
    __slots__ = ("packer", "lower", "left_out", "root")

    def __init__(self, packer: Packer, lower: Lower, left_out: frozenset[bytes], root: tuple[int, int, int]) -> None:
        self.packer = packer
        self.lower = lower
        self.left_out = left_out
        self.root = root

    def add(self, found: Found) -> None:
        status = found.status
        marks = _marks(found)
        if not found.path:
            if (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != self.root:
                self.packer.add(found)
            return
        if is_whiteout(status):
            self._hide(found)
        elif found.name.startswith(_WHITEOUT):
            self.packer.warn(f"{show(found.path)} is left out: in a layer such a name would hide another file")
        elif b"/" + _WHITEOUT in found.path or found.path.startswith(_WHITEOUT):
            return  # below one that was left out
        elif not self._is_the_runtimes(found):
            self.packer.add(found)
            below = self.lower.status(found.path) if "opaque" in marks else None
            if below is not None and stat.S_ISDIR(below.st_mode):
                self._put_mark(found.path + b"/" + _OPAQUE, status.st_mtime_ns)

    def _is_the_runtimes(self, found: Found) -> bool:
        """A mount point that nobody has put anything on; or a directory that was only copied up to hold such."""
        if found.path in self.left_out and _is_empty(found):
            return True
        names = [path[len(found.path) + 1 :] for path in self.left_out if path.startswith(found.path + b"/")]
        if not names or not stat.S_ISDIR(found.status.st_mode):
            return False
        below = self.lower.status(found.path)
        same = below is not None and all(
            getattr(below, field) == getattr(found.status, field) for field in ("st_mode", "st_uid", "st_gid")
        )
        with os.scandir(found.fd) as entries:
            return same and all(
                os.fsencode(entry.name) in names and not entry.stat(follow_symlinks=False).st_size for entry in entries
            )

    def _hide(self, found: Found) -> None:
        if self.lower.status(found.path) is not None:
            parent, slash, name = found.path.rpartition(b"/")
            self._put_mark(parent + slash + _WHITEOUT + name, found.status.st_mtime_ns)

    def _put_mark(self, name: bytes, mtime_ns: int) -> None:
        self.packer.put(Member(name, header.REGULAR, 0o600, 0, 0, mtime_ns))


def diff(
    upper: int,
    lower: Lower,
    root: tuple[int, int, int],
    left_out: frozenset[bytes],
    sink: Sink,
    warn: Callable[[str], None],
) -> int:
    """Writes the layer that `upper` is above `lower`; how many members it has.

    `root`: the (mode, uid, gid) that the layers give to "/", which only becomes a member where upper's differs.
    `left_out`: paths that are no members as long as they are empty: mount points that the runtime made.
    """
    packer = Packer(sink, warn)
    differ = _Differ(packer, lower, left_out, root)
    for found in walk(upper, warn):
        differ.add(found)
    packer.finish()
    return packer.count


def _is_empty(found: Found) -> bool:
    if stat.S_ISDIR(found.status.st_mode):
        with os.scandir(found.fd) as entries:
            return next(entries, None) is None
    return found.status.st_size == 0


def _marks(found: Found) -> frozenset[str]:
    """Which of overlay's marks an entry carries. Only files and directories can."""
    if found.fd < 0:
        return frozenset()
    try:
        names = {name[len(_OVERLAY) :] for name in os.listxattr(found.fd) if name.startswith(_OVERLAY)}
        for name in _REFUSED:
            if name in names:
                raise StoreError(
                    f"{show(found.path)} in the container's upper directory is of the kind {_OVERLAY}{name}: "
                    "it was not made by minirt's overlay",
                    "copy the file in the container and commit again",
                )
        if "opaque" in names and os.getxattr(found.fd, _OVERLAY + "opaque") != b"y":
            names.discard("opaque")
    except OSError as error:
        raise StoreError(f"read the attributes of {show(found.path)}: {error.strerror}") from error
    return frozenset(names)
