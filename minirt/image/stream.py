# SPDX-License-Identifier: Apache-2.0
"""Bytes that come in order, once: taken in exact amounts, their digest and size checked as they pass.

Every stage is an iterator of chunks that pulls from the one before, so that a layer is received, hashed, stored,
decompressed, hashed again and unpacked in one pass with bounded memory (decompression: expand.py). The digests are
those of the OCI image specification, descriptor.md. Knows no file name.
"""

from __future__ import annotations

import hashlib
import os

from minirt.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK = 1 << 18


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until all of it is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Stream:
    """Takes exact amounts from chunks. `offset` counts what was taken. Ending early is ImageError."""

    __slots__ = ("_chunks", "_view", "_at", "offset")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._view = memoryview(b"")
        self._at = 0
        self.offset = 0

    def _more(self) -> bool:
        """Whether there are untaken bytes; fetches the next chunk where the last is used up."""
        while self._at == len(self._view):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._view, self._at = memoryview(chunk), 0
        return True

    def some(self, limit: int) -> memoryview:
        """At most `limit` bytes without a copy; empty only at the end."""
        if not self._more():
            return memoryview(b"")
        piece = self._view[self._at : self._at + limit]
        self._at += len(piece)
        self.offset += len(piece)
        return piece

    def peek(self) -> memoryview:
        """Bytes that come next, untaken; empty only at the end."""
        return self._view[self._at :] if self._more() else memoryview(b"")

    def take(self, size: int) -> None:
        """Takes `size` of the bytes that were peeked at."""
        self._at += size
        self.offset += size

    def join(self) -> bool:
        """Puts more behind what `peek` shows; False at the end."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        rest = self._view[self._at :]
        self._view, self._at = memoryview(b"".join((rest, chunk)) if rest else chunk), 0
        return True

    def upto(self, size: int) -> bytes:
        """`size` bytes, or fewer where the stream ends."""
        piece = self.some(size)
        if len(piece) == size:
            return bytes(piece)
        parts = [piece]
        size -= len(piece)
        while size and (piece := self.some(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        data = self.upto(size)
        if len(data) < size:
            raise ImageError("truncated layer: it ends inside an entry")
        return data

    def pieces(self, size: int) -> Iterator[memoryview]:
        """`size` bytes, piece by piece."""
        while size:
            piece = self.some(size)
            if not piece:
                raise ImageError("truncated layer: it ends inside a file")
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        for _ in self.pieces(size):
            pass

    def drain(self) -> None:
        while self.some(CHUNK):
            pass


class Sum:
    """SHA-256 and length of what has passed."""

    __slots__ = ("_hash", "size")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()


def verified(chunks: Iterable[bytes], digest_hex: str, size: int, what: str) -> Iterator[bytes]:
    """Passes chunks on; stops at the first byte beyond `size`, and raises where size or SHA-256 differ at the
    end."""
    seen = Sum()
    for chunk in seen.passing(chunks):
        if seen.size > size:
            raise ImageError(f"{what} is longer than the {size} bytes that its descriptor states")
        yield chunk
    if seen.size < size:
        raise ImageError(f"truncated {what}: {seen.size} of {size} bytes")
    if seen.hex != digest_hex:
        raise ImageError(f"digest mismatch: {what} is sha256:{seen.hex}, not sha256:{digest_hex}")
