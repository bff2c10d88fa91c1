# SPDX-License-Identifier: Apache-2.0
"""Paths that somebody else chose, resolved below a directory and never outside of it: openat2(2), RESOLVE_IN_ROOT.

An absolute path, "..", or a symbolic link to either starts and ends in the directory, as after chroot(2); magic
links of /proc are refused. Must not import runtime.
"""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EFBIG, EINVAL, EISDIR

from minirt.kernel import call

_RESOLVE = "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS"
_RESOLVE_STRICTLY = "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS"
_TRIES = 64  # the kernel says EAGAIN when something was renamed meanwhile
LIMIT_BYTES = 1 << 20


def open_in_root(
    dirfd: int, path: str | bytes, flags: int = os.O_PATH, mode: int = 0, no_symlinks: bool = False
) -> int:
    """A close-on-exec descriptor of `path` below `dirfd`. OSError as open(2): ELOOP for a link that is refused."""
    resolve = _RESOLVE_STRICTLY if no_symlinks else _RESOLVE
    for _ in range(_TRIES):
        try:
            return call.openat2(dirfd, path or ".", flags | os.O_CLOEXEC, mode, resolve)
        except BlockingIOError:
            pass
    raise BlockingIOError(EAGAIN, "openat2: the path changes while it is looked up", path)


def read_file(dirfd: int, path: str | bytes, limit: int = LIMIT_BYTES) -> bytes:
    """The bytes of a regular file. Nothing else is opened, because opening alone can hang or have an effect: EISDIR
    for a directory, EINVAL for what is no file, EFBIG for one of more than `limit` bytes."""
    place = open_in_root(dirfd, path)
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(EISDIR if stat.S_ISDIR(found.st_mode) else EINVAL, "not a regular file", path)
        if found.st_size > limit:
            raise OSError(EFBIG, f"longer than {limit} bytes", path)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(f"/proc/self/fd/{place}", flags)
    finally:
        os.close(place)
    try:
        return _read(fd, path, limit)
    finally:
        os.close(fd)


def _read(fd: int, path: str | bytes, limit: int) -> bytes:
    """To the end; it may have grown since it was measured."""
    data = bytearray()
    while more := os.read(fd, min(1 << 20, limit + 1 - len(data))):
        data += more
        if len(data) > limit:
            raise OSError(EFBIG, f"longer than {limit} bytes", path)
    return bytes(data)
