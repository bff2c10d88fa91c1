# SPDX-License-Identifier: Apache-2.0
"""Sparse members of a tar: GNU's old type S and its PAX forms 0.0, 0.1 and 1.0 (GNU tar manual, "Sparse Formats").

All four say where in the file the stored parts belong. They are reduced to one form: (offset, length) pairs in
order, that fill exactly the stored bytes and lie inside the file. Touches no file.
"""

from __future__ import annotations

from minirt.errors import ImageError
from minirt.image.header import NAME_LIMIT, Entry, number
from minirt.image.stream import Stream

PARTS_LIMIT = 100_000
_BLOCK = 512


def read_map(
    stream: Stream, entry: Entry, header: bytes, pax: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]
) -> None:
    """Sets entry.sparse, .size, .stored and .name where the member is sparse; may read the map from `stream`."""
    if header[156:157] == b"S":
        parts, size = _old(stream, header)
    elif pax.get(b"GNU.sparse.major") == b"1" and pax.get(b"GNU.sparse.minor") == b"0":
        parts, size = _version_1(stream, entry), _number(pax.get(b"GNU.sparse.realsize", b""))
    elif b"GNU.sparse.map" in pax:
        numbers = _numbers(pax[b"GNU.sparse.map"].split(b","))
        parts, size = _paired(numbers), _number(pax.get(b"GNU.sparse.size", b""))
    elif pairs:
        parts = _paired(_alternating(pairs))
        size = _number(pax.get(b"GNU.sparse.size", b""))
    else:
        return
    if pax.get(b"GNU.sparse.name"):
        entry.name = pax[b"GNU.sparse.name"]
        if b"\0" in entry.name or len(entry.name) > NAME_LIMIT:
            raise ImageError("malformed layer: the name of a sparse file is malformed")
    _check(parts, size, entry.stored)
    entry.sparse, entry.size = tuple(parts), size


def _check(parts: list[tuple[int, int]], size: int, stored: int) -> None:
    end = 0
    for offset, length in parts:
        if offset < end:
            raise ImageError("malformed layer: the parts of a sparse file overlap")
        end = offset + length
    if end > size:
        raise ImageError("malformed layer: a part of a sparse file lies beyond its end")
    if sum(length for _, length in parts) != stored:
        raise ImageError("malformed layer: the parts of a sparse file do not add up to what is stored")


def _old(stream: Stream, header: bytes) -> tuple[list[tuple[int, int]], int]:
    """Four pairs in the header at 386; where byte 482 is set, blocks of 21 pairs follow, chained by byte 504."""

    def take(block: bytes, start: int, count: int) -> None:
        for at in range(start, start + 24 * count, 24):
            if not block[at]:
                return
            parts.append((number(block[at : at + 12], "offset"), number(block[at + 12 : at + 24], "length")))

    parts: list[tuple[int, int]] = []
    take(header, 386, 4)
    more = header[482]
    while more:
        block = stream.exactly(_BLOCK)
        take(block, 0, 21)
        more = block[504]
        if len(parts) > PARTS_LIMIT:
            raise ImageError(f"malformed layer: a sparse file of more than {PARTS_LIMIT} parts")
    return parts, number(header[483:495], "size")


def _version_1(stream: Stream, entry: Entry) -> list[tuple[int, int]]:
    """The map stands before the data: decimal lines, the count first, filled up to a whole block."""
    lines: list[bytes] = []
    rest = b""
    wanted = 1
    while len(lines) < wanted:
        if entry.stored < _BLOCK:
            raise ImageError("malformed layer: the map of a sparse file is cut short")
        entry.stored -= _BLOCK
        *found, rest = (rest + stream.exactly(_BLOCK)).split(b"\n")
        lines += found
        if lines:
            wanted = 1 + 2 * min(_number(lines[0]), PARTS_LIMIT + 1)
        if wanted > 2 * PARTS_LIMIT or (len(lines) < wanted and len(rest) > 24):
            raise ImageError("malformed layer: the map of a sparse file is malformed or too long")
    return _paired(_numbers(lines[1:wanted]))


def _alternating(pairs: list[tuple[bytes, bytes]]) -> list[int]:
    names = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"] * (len(pairs) // 2)
    if [key for key, _ in pairs] != names:
        raise ImageError("malformed layer: offsets and lengths of a sparse file do not alternate")
    return _numbers([value for _, value in pairs])


def _paired(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * PARTS_LIMIT:
        raise ImageError("malformed layer: the map of a sparse file is malformed or too long")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _numbers(texts: list[bytes]) -> list[int]:
    return [_number(text) for text in texts]


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19 or int(text) >= 1 << 63:
        raise ImageError(f"malformed layer: {text[:24]!r} in the map of a sparse file is not a number")
    return int(text)
