# SPDX-License-Identifier: Apache-2.0
"""One lock per container: flock(2) on its own directory, so there is no lock file to leave behind.

Verbs that change a container hold it; the kernel drops it when its holder dies, however it dies. A directory
that was removed while we waited is noticed, because the path no longer leads to what was locked. Must not import
anything but errors.
"""

from __future__ import annotations

import fcntl
import os
import time

from minirt.errors import Conflict

WAIT_S = 60.0


class Lock:
    """The exclusive lock on one directory; a context manager. `fd` is the directory's descriptor while held."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def acquire(path: str, wait_s: float = WAIT_S) -> Lock | None:
    """The lock, or None: there is no such directory (any more). Conflict if it is not free within `wait_s`.

    The first try is at once. Then it asks again, at first after a millisecond, at last every 50: flock(2) itself
    can wait, but only without a limit, and a verb that hangs for ever behind a stopped one is no answer.
    """
    deadline = time.monotonic() + wait_s
    pause_s = 0.001
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if _try(fd):
            if _leads_to(path, fd):
                return Lock(path, fd)
            os.close(fd)  # removed, or made anew, while we waited
            continue
        os.close(fd)
        if time.monotonic() >= deadline:
            raise Conflict(
                f"container {os.path.basename(path)} is busy: another command has held it for {wait_s:g} s",
                "wait for it, or see who it is: fuser -v " + path,
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


def attempt(path: str) -> Lock | None:
    """The lock if it is free this moment. None: somebody holds it, or there is no such directory."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if _try(fd) and _leads_to(path, fd):
        return Lock(path, fd)
    os.close(fd)
    return None


def share(path: str, alone: bool = False) -> Lock:
    """The lock on a directory, made if missing, together with all others who share it; `alone` waits for them."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass  # somebody was faster
        fd = os.open(path, flags)
    fcntl.flock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    return Lock(path, fd)


def held(path: str) -> bool:
    """Whether somebody holds it now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _try(fd)
    finally:
        os.close(fd)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _leads_to(path: str, fd: int) -> bool:
    try:
        there, here = os.stat(path, follow_symlinks=False), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
