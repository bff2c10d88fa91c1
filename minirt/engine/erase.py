# SPDX-License-Identifier: Apache-2.0
"""Removing a directory tree that a container has filled: by descriptors, unlinkat(2), any depth, any names.

What lies in upper/ was made by the container: trees deeper than PATH_MAX, names that are not UTF-8, symbolic
links to the host, immutable files. So nothing is followed, no path is joined, the walk needs three descriptors
whatever the depth, and it never leaves the file system it began on. Must not import anything but errors.
"""

from __future__ import annotations

import errno
import fcntl
import os

from minirt.errors import StoreError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# ioctl_iflags(2): _IOR('f', 1, long) and _IOW('f', 2, long) of asm-generic/ioctl.h; python's fcntl has neither.
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602
_IMMUTABLE_OR_APPEND = 0x10 | 0x20  # FS_IMMUTABLE_FL | FS_APPEND_FL


class _Level:
    """One directory on the way down: its name in its parent, its identity, and what is still to do in it."""

    __slots__ = ("identity", "name", "pending")

    def __init__(self, name: bytes, identity: tuple[int, int], pending: list[bytes]) -> None:
        self.name = name
        self.identity = identity
        self.pending = pending


def tree(path: str) -> None:
    """Remove the directory `path` with all that is below. Nothing there is success.

    Raises StoreError that names the entry: another file system mounted inside, an immutable file that cannot be
    made mutable, a full or failing disk.
    """
    parent, name = os.path.split(path)
    try:
        above = os.open(parent, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _remove(above, os.fsencode(name))
    except OSError as error:
        shown = os.fsdecode(error.filename) if error.filename else name
        raise StoreError(
            f'cannot remove "{path}": {os.strerror(error.errno or 0)} at {shown!r}',
            "unmount what is mounted there, or see lsattr(1), then try again",
        ) from error
    finally:
        os.close(above)


def _remove(above: int, name: bytes) -> None:
    """Depth first. `here` is the directory at the end of `levels`; its parent is reached by "..", and checked."""
    try:
        here = os.open(name, _DIRECTORY, dir_fd=above)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        _unlink(above, name, directory=False)
        return
    device = os.fstat(above).st_dev
    try:
        levels = [_enter(here, name, device)]
        while levels:
            level = levels[-1]
            if level.pending:
                child = level.pending.pop()
                try:
                    below = os.open(child, _DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    continue  # somebody else is removing the same tree
                os.close(here)
                here = below
                levels.append(_enter(here, child, device))
            else:
                levels.pop()
                if levels:
                    here = _ascend(here, levels[-1].identity)
                    _unlink(here, level.name, directory=True)
    finally:
        os.close(here)
    _unlink(above, name, directory=True)


def _enter(here: int, name: bytes, device: int) -> _Level:
    """Remove all but the directories in `here`; these are pending."""
    status = os.fstat(here)
    if status.st_dev != device:
        raise OSError(errno.EXDEV, "another file system is mounted here", name)
    pending: list[bytes] = []
    with os.scandir(here) as entries:
        names = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for child, is_directory in names:
        if is_directory:
            pending.append(child)
        else:
            _unlink(here, child, directory=False)
    return _Level(name, (status.st_dev, status.st_ino), pending)


def _ascend(here: int, identity: tuple[int, int]) -> int:
    """The parent of `here`, which must be the directory that we came from."""
    above = os.open("..", _DIRECTORY, dir_fd=here)
    status = os.fstat(above)
    if (status.st_dev, status.st_ino) != identity:
        os.close(above)
        raise OSError(errno.ESTALE, "the directory was moved while it was removed", b"..")
    os.close(here)
    return above


def _unlink(above: int, name: bytes, directory: bool) -> None:
    for mutable in (False, True):
        try:
            if directory:
                os.rmdir(name, dir_fd=above)
            else:
                os.unlink(name, dir_fd=above)
            return
        except FileNotFoundError:
            return
        except PermissionError as error:
            if mutable or not (_make_mutable(above, name) | _make_mutable(above, b".")):
                raise OSError(error.errno, error.strerror, name) from None
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None


def _make_mutable(above: int, name: bytes) -> bool:
    """chattr -ia on a file or directory of ours: a container with CAP_LINUX_IMMUTABLE can set them. False: it was
    mutable already, or cannot be made so. Devices and pipes are not opened."""
    try:
        mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
        if (mode & 0o170000) not in (0o100000, 0o040000):
            return False
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
    except OSError:
        return False
    try:
        flags = int.from_bytes(fcntl.ioctl(fd, _GETFLAGS, bytes(8)), "little")
        if not flags & _IMMUTABLE_OR_APPEND:
            return False
        fcntl.ioctl(fd, _SETFLAGS, (flags & ~_IMMUTABLE_OR_APPEND).to_bytes(8, "little"))
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
