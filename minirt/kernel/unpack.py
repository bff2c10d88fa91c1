# SPDX-License-Identifier: Apache-2.0
"""The fast way for the plain entries of a layer: csrc/unpack.h, without the interpreter's lock.

What it declares odd it has not touched; the rules for that are in image/unpack.py. Must not import runtime.
"""

from __future__ import annotations

import os
import sys

from minirt.kernel._csrc import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MORE: int = lib.MRT_UNPACK_MORE
ODD: int = lib.MRT_UNPACK_ODD
END: int = lib.MRT_UNPACK_END
NOTES_LIMIT = 64 << 20  # bytes that the names of a layer's directories may take
_NOTE = 11  # bytes before a note's path (struct mrt_unpack)


class Unpacker:
    """Unpacks below the descriptor `root`, at most `limit` entries. To be closed."""

    __slots__ = ("_unpack", "_used", "_implicit")

    def __init__(self, root: int, limit: int) -> None:
        self._unpack = lib.mrt_unpack_new(root, limit, NOTES_LIMIT)
        if not self._unpack:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        self._used = ffi.new("size_t *")
        self._implicit = False

    def close(self) -> None:
        lib.mrt_unpack_free(self._unpack)

    def feed(self, data: memoryview) -> tuple[int, int]:
        """(state, bytes used). OSError where the entry `path` failed half-way, EOVERFLOW where the directories are too
        many."""
        state = lib.mrt_unpack_feed(self._unpack, ffi.from_buffer("uint8_t[]", data), len(data), self._used)
        if state < 0:
            raise _error()
        return state, self._used[0]

    @property
    def entries(self) -> int:
        """How many there were, with those that `count` was told of."""
        return int(self._unpack.entries)

    def count(self) -> None:
        self._unpack.entries += 1

    @property
    def inside(self) -> bool:
        """Whether the content or the padding of a file is awaited."""
        return bool(self._unpack.left or self._unpack.padding)

    @property
    def path(self) -> bytes:
        return ffi.string(self._unpack.entry.path)

    def forget(self) -> None:
        """The tree was changed otherwise."""
        lib.mrt_unpack_forget(self._unpack)

    def describe(self, path: bytes, mtime_ns: int) -> None:
        """A directory that was made otherwise gets its time at the end."""
        self._note(path, mtime_ns, False)

    def imply(self, path: bytes) -> None:
        """A directory that was made for what it holds."""
        self._implicit = True
        self._note(path, 0, True)

    def _note(self, path: bytes, mtime_ns: int, implicit: bool) -> None:
        if lib.mrt_unpack_note(self._unpack, path, len(path), mtime_ns, implicit):
            raise _error()

    def finish(self) -> None:
        """Directories get their times last: each entry put into one had changed it."""
        lib.mrt_unpack_finish(self._unpack)

    def implicit(self) -> list[bytes]:
        """The directories that were implied, and not described after that."""
        found: set[bytes] = set()
        if self._implicit:
            for path, implicit in self._notes():
                (found.add if implicit else found.discard)(path)
        return sorted(found)

    def _notes(self) -> Iterator[tuple[bytes, bool]]:
        notes = memoryview(ffi.buffer(self._unpack.notes, self._unpack.notes_size))
        at = 0
        while at < len(notes):
            end = at + _NOTE + int.from_bytes(notes[at + 8 : at + 10], sys.byteorder)
            yield bytes(notes[at + _NOTE : end]), bool(notes[at + 10])
            at = end


def _error() -> OSError:
    return OSError(ffi.errno, os.strerror(ffi.errno))
