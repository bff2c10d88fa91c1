# SPDX-License-Identifier: Apache-2.0
"""Part of an open file, as a piece of a body: the kernel sends it by itself (sendfile(2)) where nothing encrypts it.

It saves two copies of each byte, which count where the registry is on the same host or the network is fast.
"""

from __future__ import annotations

import os

from minirt.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 1 << 20


class Span:
    """`size` bytes of the open file `fd` from `offset` on; bytes(span) reads them."""

    __slots__ = ("fd", "offset", "size")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.fd = fd
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        data = os.pread(self.fd, self.size, self.offset)
        if len(data) < self.size:
            raise _shorter()
        return data

    def send(self, sink: int, timeout_s: float) -> None:
        """Into the non-blocking socket `sink`, each part within the timeout: TimeoutError, or another OSError."""
        import select

        poll = select.poll()
        poll.register(sink, select.POLLOUT)
        offset, end = self.offset, self.offset + self.size
        while offset < end:
            try:
                sent = os.sendfile(sink, self.fd, offset, end - offset)
            except BlockingIOError:
                if not poll.poll(timeout_s * 1000):
                    raise TimeoutError from None
                continue
            if not sent:
                raise _shorter()
            offset += sent


def spans(path: str) -> Iterator[Span]:
    """A whole file. Good until the next one is asked for."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        for offset in range(0, size, SIZE):
            yield Span(fd, offset, min(SIZE, size - offset))
    finally:
        os.close(fd)


def _shorter() -> StoreError:
    return StoreError("a file became shorter while it was sent")
