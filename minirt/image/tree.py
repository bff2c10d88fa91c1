# SPDX-License-Identifier: Apache-2.0
"""A directory that hostile entries are put into: every path is resolved below it, by descriptor (openat2(2)).

The parents of an entry are opened with RESOLVE_IN_ROOT, so that a symlink planted earlier, an absolute one or one
full of "..", leads somewhere inside; the last component is never followed. Nobody else writes to the tree
meanwhile: it lies in a directory that only root enters. Knows no tar and no whiteout.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.errors import ImageError
from minirt.image.header import NAME_LIMIT, show
from minirt.kernel import rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LINKS_LIMIT = 40  # as the kernel's MAXSYMLINKS
_OPEN_LIMIT = 64  # directories kept open
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def components(name: bytes) -> list[bytes]:
    """The parts of a path below the root: leading, doubled and trailing slashes and "." mean nothing, ".." is
    refused."""
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise ImageError(f"hostile layer: {show(name)} climbs by '..'")
    return parts


class Tree:
    """`root` is the descriptor of the directory; the caller's to close. `imply` is told of each directory that was
    made because an entry lies below it. `uncover` is called with a parent and a name where something that is no
    directory is in the way: it makes one of it, or returns False."""

    __slots__ = ("root", "_open", "_stale", "_imply", "_uncover")

    def __init__(self, root: int, imply: Callable[[bytes], None], uncover: Callable[[int, bytes], bool]) -> None:
        self.root = root
        self._imply = imply
        self._uncover = uncover
        self._open: dict[bytes, int] = {}
        self._stale = False

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        self._stale = False

    def parent(self, parts: list[bytes]) -> int:
        """A descriptor of the directory that holds the last of `parts`, made where it is missing. It is good until
        the next call, and not the caller's to close."""
        if self._stale or len(self._open) >= _OPEN_LIMIT:
            self.close()
        if len(parts) == 1:
            return self.root
        path = b"/".join(parts[:-1])
        fd = self._open.get(path)
        if fd is None:
            try:
                fd = rooted.open_in_root(self.root, path, _DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                fd = self._make(parts[:-1])
            self._open[path] = fd
        return fd

    def _make(self, parts: list[bytes]) -> int:
        """Makes the missing directories of a path. A symlink that leads nowhere yet is followed, inside the root,
        and its target made: the layer may bring only the link, a lower one the directory."""
        rest, done, links = list(parts), [b"."], 0
        fd = os.dup(self.root)
        try:
            while rest:
                part = rest.pop(0)
                inner = self._enter(fd, [*done, part])
                if inner is not None:
                    done.append(part)
                else:
                    links += 1
                    target = os.readlink(part, dir_fd=fd)
                    if links > _LINKS_LIMIT or len(rest) > NAME_LIMIT:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    done = [b"."] if target.startswith(b"/") else done
                    rest[:0] = [step for step in target.split(b"/") if step and step != b"."]
                    inner = rooted.open_in_root(self.root, b"/".join(done), _DIRECTORY)
                os.close(fd)
                fd = inner
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _enter(self, parent: int, path: list[bytes]) -> int | None:
        """The directory at `path`, made where it is missing; None for a symlink that leads nowhere. `parent` is
        where all but the last of `path` leads: a true directory in it needs no other look."""
        name = path[-1]
        try:
            if name == b"..":
                return rooted.open_in_root(self.root, b"/".join(path), _DIRECTORY)
            return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            if name.startswith(b".wh."):  # by way of a symlink, or as the parent of a hard link's target
                raise ImageError(f"hostile layer: {show(name)} would be a directory") from None
            os.mkdir(name, 0o755, dir_fd=parent)
        except NotADirectoryError:
            try:
                return rooted.open_in_root(self.root, b"/".join(path), _DIRECTORY)
            except FileNotFoundError:
                return None
            except NotADirectoryError:
                if not self._uncover(parent, name):
                    raise
        os.chmod(name, 0o755, dir_fd=parent)
        if b".." not in path:
            self._imply(b"/".join(path[1:]))
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)

    def kind(self, parent: int, name: bytes) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def fresh(self, parent: int, name: bytes, make: Callable[[], int | None]) -> int | None:
        """Calls `make`, which must fail where the name exists; then what is there is removed and it is called
        again."""
        try:
            return make()
        except FileExistsError:
            self.remove(parent, name)
            return make()

    def remove(self, parent: int, name: bytes) -> None:
        """Removes whatever has that name. What was resolved through it must be resolved anew."""
        there = self.kind(parent, name)
        if there is None:
            return
        if stat.S_ISDIR(there.st_mode):
            remove_directory(parent, name)
        else:
            os.unlink(name, dir_fd=parent)
        self._stale = self._stale or stat.S_ISDIR(there.st_mode) or stat.S_ISLNK(there.st_mode)


def remove_directory(parent: int, name: bytes | str) -> None:
    """Removes a directory and all below it, without recursion and with one open descriptor, however deep it is."""
    names, fd = [name], os.open(name, _LISTED, dir_fd=parent)
    try:
        waiting = [_remove_files(fd)]
        while waiting:
            if waiting[-1]:
                names.append(waiting[-1].pop())
                fd = _step(fd, names[-1])
                waiting.append(_remove_files(fd))
                continue
            waiting.pop()
            if waiting:
                fd = _step(fd, "..")
                os.rmdir(names.pop(), dir_fd=fd)
        os.rmdir(name, dir_fd=parent)
    finally:
        os.close(fd)


def _step(fd: int, name: bytes | str) -> int:
    inner = os.open(name, _LISTED, dir_fd=fd)
    os.close(fd)
    return inner


def _remove_files(fd: int) -> list[bytes | str]:
    """Unlinks all that is no directory; returns the names of those that are."""
    directories: list[bytes | str] = []
    with os.scandir(fd) as found:
        for item in found:
            if item.is_dir(follow_symlinks=False):
                directories.append(item.name)
            else:
                os.unlink(item.name, dir_fd=fd)
    return directories
