# SPDX-License-Identifier: Apache-2.0
"""Blobs on their way from a registry: <root>/partial/<hex>, held by flock(2) while somebody fetches one.

What a killed process or a broken network left stays there; the next pull of that blob hashes it again, asks only for
the rest, and starts over by itself where the whole is not what its digest says. A blob leaves by rename when its
image is entered (commit.py). One that nobody came back for is removed after a week.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time

from minirt.errors import ImageError, StoreError
from minirt.image.stream import CHUNK
from minirt.kernel import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirt.image.layout import Layout

WEEK_S = 7 * 86400
WRITE_BACK = 8 << 20  # bytes between two requests to begin writing to the disk
_OPENED = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Partial:
    """A file that is held. `path` may be renamed away by whoever holds it."""

    __slots__ = ("path", "fd")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def empty(self) -> None:
        os.truncate(self.fd, 0)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def close(self) -> None:
        """Lets go; a file without content is not kept."""
        with contextlib.suppress(OSError):
            if self.size() == 0 and _is_at(self.fd, self.path):
                os.unlink(self.path)
        os.close(self.fd)

    def chunks(self, source: Callable[[int], Iterator[bytes]], size: int) -> Iterator[bytes]:
        """The blob of `size` bytes: what is there, then what `source` yields from that offset on, kept as it comes."""
        offset = 0
        while chunk := os.pread(self.fd, CHUNK, offset):
            offset += len(chunk)
            yield chunk
        if offset < size:
            for chunk in source(offset):
                if offset + len(chunk) > size:
                    raise ImageError(f"a layer is longer than the {size} bytes that its descriptor states")
                write(self.fd, chunk, offset)
                offset += len(chunk)
                yield chunk


def claim(layout: Layout, digest_hex: str, wait: bool) -> Partial | None:
    """The partial blob of that digest, alone; None where somebody holds it and `wait` is False."""
    path = os.path.join(layout.partial, digest_hex)
    while True:
        try:
            fd = os.open(path, _OPENED, 0o600)
        except OSError as error:
            raise StoreError(f"write {path!r}: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise StoreError(f"write {path!r}: not a regular file", "remove it")
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(fd, path):
                return Partial(path, fd)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # whoever held it has renamed or removed it


def remove_abandoned(layout: Layout, older_than_s: float = WEEK_S) -> list[tuple[str, int]]:
    """Removes the partial blobs that nobody holds and nobody has written to for so long: (digest, bytes) of each."""
    removed = []
    before = time.time() - older_than_s
    for name in os.listdir(layout.partial):
        path = os.path.join(layout.partial, name)
        with contextlib.suppress(OSError):
            if os.lstat(path).st_mtime > before:
                continue
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(fd, path):
                    os.unlink(path)
                    removed.append((name, os.fstat(fd).st_size))
            finally:
                os.close(fd)
    return removed


def write(fd: int, chunk: bytes, offset: int) -> None:
    """All of `chunk` at `offset`. Writing back begins early, so that the last sync finds little left."""
    view = memoryview(chunk)
    at = offset
    try:
        while view:
            count = os.pwrite(fd, view, at)
            at += count
            view = view[count:]
        if at // WRITE_BACK != offset // WRITE_BACK:
            call.write_back(fd, 0, at)
    except OSError as error:
        raise StoreError(f"write a blob: {error.strerror}", "see df and df -i of the store") from error


def _is_at(fd: int, path: str) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
