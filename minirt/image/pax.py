# SPDX-License-Identifier: Apache-2.0
"""The header of one tar member as bytes: ustar, with PAX records for what ustar cannot say (POSIX.1-2001 pax(1)).

A record is written only where it is needed: a name that no split fits, a number beyond its octal digits, a time
with a fraction, extended attributes (SCHILY.xattr.*, star(1)), a file with holes (GNU.sparse 1.0, GNU tar manual,
"Sparse Formats"). Names are bytes and stay so, as in GNU tar. The same member always becomes the same bytes. Pure.
"""

from __future__ import annotations

from minirt.errors import ImageError
from minirt.image import header
from minirt.image.header import NAME_LIMIT, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK = 512
RECORDS_LIMIT = 1 << 20  # what tar.py, and Go's archive/tar, read of one
_NAME, _PREFIX = 100, 155
_ID_LIMIT, _SIZE_LIMIT = 1 << 21, 1 << 33
_XATTR = b"SCHILY.xattr."
_EXTENDED = b"PaxHeaders.0/pax"
END = bytes(2 * BLOCK)


class Member:
    """What a header says. `name` without a leading slash; a directory's ends in one. `size`: the bytes that follow
    the header. `holes`: None, or the file's real size where those bytes begin with a sparse map."""

    __slots__ = (
        "name", "kind", "mode", "uid", "gid", "size", "mtime_ns", "link", "major", "minor", "xattrs", "holes",
    )  # fmt: skip

    def __init__(self, name: bytes, kind: bytes, mode: int = 0, uid: int = 0, gid: int = 0, mtime_ns: int = 0) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = 0
        self.mtime_ns = mtime_ns
        self.link = b""
        self.major = self.minor = 0
        self.xattrs: Mapping[bytes, bytes] = {}
        self.holes: int | None = None


def encode(member: Member) -> bytes:
    """The header blocks of a member. ImageError for a name or attributes that no reader would take."""
    for text in (member.name, member.link):
        if len(text) > NAME_LIMIT:
            raise ImageError(f"a path of {len(text)} bytes does not go into an archive: {show(text)}", "rename it")
    records: dict[bytes, bytes] = {}
    prefix, name = _split(member.name, records)
    if member.holes is not None:
        records[b"GNU.sparse.major"], records[b"GNU.sparse.minor"] = b"1", b"0"
        records[b"GNU.sparse.name"], records[b"GNU.sparse.realsize"] = member.name, b"%d" % member.holes
    if len(member.link) > _NAME:
        records[b"linkpath"] = member.link
    seconds, fraction = divmod(member.mtime_ns, 1_000_000_000)
    if fraction or not 0 <= seconds < _SIZE_LIMIT:
        records[b"mtime"] = _time(member.mtime_ns)
    for key, value in member.xattrs.items():
        records[_XATTR + key] = value
    block = _block(
        name, member.kind, member.mode,
        _number(member.uid, _ID_LIMIT, b"uid", records), _number(member.gid, _ID_LIMIT, b"gid", records),
        _number(member.size, _SIZE_LIMIT, b"size", records), seconds if 0 <= seconds < _SIZE_LIMIT else 0,
        member.link[:_NAME], member.major, member.minor, prefix,
    )  # fmt: skip
    return _extended(member, records) + block if records else block


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _extended(member: Member, records: dict[bytes, bytes]) -> bytes:
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    if len(data) > RECORDS_LIMIT:
        raise ImageError(
            f"the extended attributes of {show(member.name)} are more than {RECORDS_LIMIT} bytes",
            "remove some: getfattr -d -m - FILE shows them",
        )
    return _block(_EXTENDED, b"x", 0o644, 0, 0, len(data), 0, b"", 0, 0, b"") + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """Decimal length, space, key, "=", value, newline; the length counts all of it, its own digits too."""
    rest = len(key) + len(value) + 3
    size = rest + len(b"%d" % rest)
    size = rest + len(b"%d" % size)
    return b"%d %b=%b\n" % (size, key, value)


def _split(name: bytes, records: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """(prefix, name) as ustar divides a long path at a slash; a record where it cannot."""
    if len(name) <= _NAME:
        return b"", name
    at = name.rfind(b"/", 0, min(_PREFIX + 1, len(name) - 1))
    if at > 0 and len(name) - at - 1 <= _NAME:
        return name[:at], name[at + 1 :]
    records[b"path"] = name
    return b"", name[:_NAME]


def _number(value: int, limit: int, key: bytes, records: dict[bytes, bytes]) -> int:
    if value < limit:
        return value
    records[key] = b"%d" % value
    return 0


def _time(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    text = b"%d.%09d" % (seconds, fraction) if fraction else b"%d" % seconds
    return (b"-" if nanoseconds < 0 else b"") + (text.rstrip(b"0") if fraction else text)


def _block(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime_s: int, link: bytes,
    major: int, minor: int, prefix: bytes,
) -> bytes:  # fmt: skip
    device = b"%07o\0%07o\0" % (major, minor) if kind in (header.CHARACTER, header.BLOCK_DEVICE) else bytes(16)
    block = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\00000%b%b%b" % (
        name.ljust(100, b"\0"), mode, uid, gid, size, mtime_s, kind, link.ljust(100, b"\0"),
        bytes(64), device, prefix.ljust(167, b"\0"),
    )  # fmt: skip
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])
