# SPDX-License-Identifier: Apache-2.0
"""Where an archive goes: into a descriptor, or piece by piece to whoever digests and compresses it.

A descriptor takes the content of files by sendfile(2), which never enters this process. What goes wrong on this
side is SinkError, so that it is told from what goes wrong in reading. Knows no tar.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 1 << 20
_GATHER = 1 << 18


class SinkError(OSError):
    """The other side took no more: a full disk, a closed pipe."""


class Sink:
    """Gathers small writes; `take` is handed bytes that it must use up before it returns."""

    __slots__ = ("size", "_take", "_waiting", "_buffer")

    def __init__(self, take: Callable[[bytes | memoryview], object]) -> None:
        self.size = 0
        self._take = take
        self._waiting = bytearray()
        self._buffer: bytearray | None = None

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if len(data) >= _GATHER:
            self.flush()
            self._take(data)
            return
        self._waiting += data
        if len(self._waiting) >= _GATHER:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            data, self._waiting = self._waiting, bytearray()
            self._take(memoryview(data))

    def zeros(self, size: int) -> None:
        """`size` bytes of zeros, however many."""
        if size <= _GATHER:
            self.write(bytes(size))
            return
        self.flush()
        self.size += size
        zeros = memoryview(bytes(PIECE))
        while size:
            piece = zeros[:size]
            self._take(piece)
            size -= len(piece)

    def copy(self, fd: int, offset: int, size: int) -> int:
        """At most `size` bytes of the file `fd` from `offset` on; how many it had."""
        if self._buffer is None:
            self._buffer = bytearray(PIECE)
        if size <= _GATHER:
            return self._copy_small(fd, offset, size)
        self.flush()
        done = 0
        while done < size:
            view = memoryview(self._buffer)[: size - done]
            count = os.preadv(fd, [view], offset + done)
            if not count:
                break
            self._take(view[:count])
            done += count
        self.size += done
        return done

    def _copy_small(self, fd: int, offset: int, size: int) -> int:
        done = 0
        while done < size:
            data = os.pread(fd, size - done, offset + done)
            if not data:
                break
            self.write(data)
            done += len(data)
        return done


class FileSink(Sink):
    """Into a descriptor, a file's or a pipe's."""

    __slots__ = ("fd", "_sends")

    def __init__(self, fd: int) -> None:
        super().__init__(self._write)
        self.fd = fd
        self._sends = True

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                self._wait()
            except OSError as error:
                raise SinkError(error.errno, error.strerror) from error

    def copy(self, fd: int, offset: int, size: int) -> int:
        """As Sink.copy; what cannot be sent (an old file system, /proc) is read and written."""
        if size <= _GATHER or not self._sends:
            return super().copy(fd, offset, size)
        self.flush()
        done = 0
        while done < size:
            try:
                count = os.sendfile(self.fd, fd, offset + done, min(size - done, 1 << 30))
            except BlockingIOError:
                self._wait()
                continue
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise SinkError(error.errno, error.strerror) from error
                self._sends = False
                self.size += done
                return done + super().copy(fd, offset + done, size - done)
            if not count:
                break
            done += count
        self.size += done
        return done

    def _wait(self) -> None:
        """Somebody made the descriptor non-blocking."""
        import select

        waiter = select.poll()
        waiter.register(self.fd, select.POLLOUT)
        waiter.poll()
