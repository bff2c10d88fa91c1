# SPDX-License-Identifier: Apache-2.0
"""The headers of a tar stream: ustar, PAX (POSIX.1-2001 pax(1)) and GNU, read strictly, one entry at a time.

Own code rather than `tarfile`: names stay bytes, every length is bounded before it is read, and nothing here can
write a file. As in Go's archive/tar, which Docker and umoci read with, a global PAX header is passed over, and
links, directories and devices carry no data whatever size they state. Sparse maps are in image/sparse.py. Must not
import tarfile; touches no file.
"""

from __future__ import annotations

from minirt.errors import ImageError
from minirt.image import sparse
from minirt.image.header import Entry, entry_of, number
from minirt.image.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
EXTENSION_LIMIT = 1 << 20  # bytes of one PAX or GNU extension header
EXTENSIONS_LIMIT = 8  # extension headers before one entry


def entries(stream: Stream) -> Iterator[Entry]:
    """The members in order. The consumer may read `entry.stored` bytes from `stream`; the rest is passed over."""
    while (found := member(stream)) is not None:
        entry, end = found
        yield entry
        stream.skip(end - stream.offset)


def member(stream: Stream) -> tuple[Entry, int] | None:
    """The next member, and the offset in `stream` where the one after it begins; None at the end."""
    header = _header(stream)
    if header is None:
        return None
    pax: dict[bytes, bytes] = {}
    sparse_pairs: list[tuple[bytes, bytes]] = []
    for _ in range(EXTENSIONS_LIMIT):
        if not _extension(stream, header, pax, sparse_pairs):
            break
        header = _header(stream)
        if header is None:
            raise ImageError("malformed layer: the archive ends after an extension header")
    else:
        raise ImageError(f"malformed layer: more than {EXTENSIONS_LIMIT} extension headers before one entry")
    entry = entry_of(header, pax)
    size = _padded_size(entry)
    start = stream.offset
    sparse.read_map(stream, entry, header, pax, sparse_pairs)
    if header[156:157] == b"S":
        start = stream.offset  # GNU's old map is not counted in the size
    return entry, start + size


def _padded_size(entry: Entry) -> int:
    return -(-entry.stored // BLOCK) * BLOCK


def is_header(block: bytes) -> bool:
    """Whether a whole block is one, by its checksum."""
    try:
        return len(block) == BLOCK and sum(block) - sum(block[148:156]) + 8 * 32 == number(block[148:156], "checksum")
    except ImageError:
        return False


def _header(stream: Stream) -> bytes | None:
    """The next header; None at the end: a zero block, or the end of the stream between two entries."""
    block = stream.upto(BLOCK)
    if not block or not any(block):
        return None
    if len(block) < BLOCK:
        raise ImageError("truncated layer: the archive ends inside a header")
    if not is_header(block):
        raise ImageError("malformed layer: a header's checksum does not match")
    return block


def _extension(stream: Stream, header: bytes, pax: dict[bytes, bytes], sparse_pairs: list[tuple[bytes, bytes]]) -> bool:
    """Whether `header` only announces something about the next one; if so, it is taken into `pax`."""
    kind = header[156:157]
    if kind not in (b"x", b"g", b"L", b"K"):
        return False
    size = number(header[124:136], "size")
    if size > EXTENSION_LIMIT:
        raise ImageError(f"malformed layer: an extension header of {size} bytes, more than {EXTENSION_LIMIT}")
    data = stream.exactly(size)
    stream.skip(-size % BLOCK)
    if kind == b"x":
        for key, value in _records(data):
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                sparse_pairs.append((key, value))
            pax[key] = value
    elif kind != b"g":
        pax.setdefault(b"path" if kind == b"L" else b"linkpath", data.split(b"\0", 1)[0])
    return True


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """PAX records: decimal length, space, key, "=", value, newline; the length counts all of it."""
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        digits = data[at : max(space, at)]
        if not digits.isdigit():
            raise ImageError("malformed layer: a PAX record without a length")
        end = at + int(digits)
        if not space + 1 < end <= len(data) or data[end - 1] != 0x0A:
            raise ImageError("malformed layer: a PAX record's length does not fit")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise ImageError("malformed layer: a PAX record without a key")
        yield key, value
        at = end
