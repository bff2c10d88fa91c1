# SPDX-License-Identifier: Apache-2.0
"""A directory tree entry by entry, by descriptors, while somebody hostile may change it (openat(2), scandir(3)).

Nothing is followed: each directory is opened by one name below the descriptor of its parent with O_NOFOLLOW, so no
rename or symbolic link, however well timed, leads out of the tree. What is a file is decided after it was opened,
and only files and directories are opened: the caller gives a root on a mount with nodev, so that no driver is
woken. Parents come before what is in them, names in the order of their bytes. Memory is bounded by the names of the
directories on the way, descriptors by a constant.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.errors import ImageError, StoreError
from minirt.image.header import NAME_LIMIT, show
from minirt.kernel import rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OPEN_LIMIT = 64  # directories kept open on the way down
_TRIES = 16
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHANGED = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.ESTALE)


class Found:
    """One entry. `path` is relative, "" for the root; `parent` the descriptor of its directory; `fd` its own where it
    is a file or a directory, else -1. Descriptors are the walk's and good until the next entry."""

    __slots__ = ("path", "parent", "fd", "status", "link")

    def __init__(self, path: bytes, parent: int, fd: int, status: os.stat_result, link: bytes = b"") -> None:
        self.path = path
        self.parent = parent
        self.fd = fd
        self.status = status
        self.link = link

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]

    def at(self) -> bytes:
        """A path to the entry itself, for calls that take no descriptor of what cannot be opened."""
        return b"/proc/self/fd/%d/%b" % (self.parent, self.name)


class _Level:
    __slots__ = ("fd", "identity", "names", "path")

    def __init__(self, path: bytes, fd: int, status: os.stat_result) -> None:
        self.path = path
        self.fd = fd
        self.identity = (status.st_dev, status.st_ino)
        with os.scandir(fd) as entries:
            self.names = sorted((os.fsencode(entry.name) for entry in entries), reverse=True)


def walk(root: int, warn: Callable[[str], None]) -> Iterator[Found]:
    """Every entry, the root itself first. Sockets are left out: no archive can hold one.

    What vanishes meanwhile is not there; what keeps changing is left out with a warning. StoreError for what cannot
    be read, ImageError for a path that no archive can hold.
    """
    levels: list[_Level] = []
    try:
        status = os.fstat(root)
        levels.append(_Level(b"", os.dup(root), status))
        yield Found(b"", root, levels[0].fd, status)
        while levels:
            level = levels[-1]
            if not level.names:
                levels.pop()
                if levels and levels[-1].fd < 0 and level.fd >= 0:
                    _ascend(level, levels[-1])
                _close(level)
                continue
            if level.fd < 0 and not _reopen(root, level, warn):
                continue
            path = level.path + b"/" + level.names.pop() if level.path else level.names.pop()
            if len(path) > NAME_LIMIT:
                raise ImageError(f"a path of {len(path)} bytes does not go into an archive: {show(path)}", "rename it")
            found = _look(level.fd, path, warn)
            if found is not None:
                yield from _given(found, levels)
    except OSError as error:
        raise StoreError(f"read {show(levels[-1].path if levels else b'')}: {error.strerror}") from error
    finally:
        for level in levels:
            _close(level)


def _given(found: Found, levels: list[_Level]) -> Iterator[Found]:
    """Hands an entry out; a directory becomes the next level."""
    try:
        yield found
        if not stat.S_ISDIR(found.status.st_mode):
            return
        levels.append(_Level(found.path, found.fd, found.status))
        found.fd = -1
        if len(levels) > _OPEN_LIMIT:
            _close(levels[-_OPEN_LIMIT])
    finally:
        if found.fd >= 0:
            os.close(found.fd)


def _look(parent: int, path: bytes, warn: Callable[[str], None]) -> Found | None:
    """What has that name: opened, or read as a link, and looked at until both agree. None: nothing, or a socket."""
    name = path.rpartition(b"/")[2]
    for _ in range(_TRIES):
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        kind = stat.S_IFMT(status.st_mode)
        try:
            if kind in (stat.S_IFREG, stat.S_IFDIR):
                found = _opened(parent, path, name, kind)
                if found is not None:
                    return found
            elif kind == stat.S_IFLNK:
                return Found(path, parent, -1, status, os.readlink(name, dir_fd=parent))
            else:
                return Found(path, parent, -1, status) if kind != stat.S_IFSOCK else None
        except OSError as error:
            if error.errno not in _CHANGED and not (error.errno == errno.EINVAL and kind == stat.S_IFLNK):
                raise StoreError(f"read {show(path)}: {error.strerror}") from error
    warn(f"{show(path)} keeps changing; it is left out")
    return None


def _opened(parent: int, path: bytes, name: bytes, kind: int) -> Found | None:
    fd = os.open(name, _DIRECTORY if kind == stat.S_IFDIR else _FILE, dir_fd=parent)
    status = os.fstat(fd)
    if stat.S_IFMT(status.st_mode) != kind:
        os.close(fd)
        return None
    return Found(path, parent, fd, status)


def _ascend(below: _Level, level: _Level) -> None:
    """Comes back to a directory whose descriptor had been closed, if ".." still is that very one."""
    fd = os.open("..", _DIRECTORY, dir_fd=below.fd)
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) == level.identity:
        level.fd = fd
    else:
        os.close(fd)


def _reopen(root: int, level: _Level, warn: Callable[[str], None]) -> bool:
    """The same by its path, if it still is where it was."""
    try:
        fd = rooted.open_in_root(root, level.path, _DIRECTORY, no_symlinks=True)
    except OSError as error:
        if error.errno not in _CHANGED:
            raise
        fd = -1
    if fd >= 0:
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) == level.identity:
            level.fd = fd
            return True
        os.close(fd)
    warn(f"{show(level.path)} was moved while it was read; the rest of it is left out")
    level.names.clear()
    return False


def _close(level: _Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1
