# SPDX-License-Identifier: Apache-2.0
"""One header block of a tar (ustar and GNU, with what PAX records say of it) as a checked value.

Every number is bounded, names stay bytes, and what a header cannot mean is refused (POSIX.1-2001 pax(1), "ustar
Interchange Format"). Reads nothing: tar.py brings the bytes.
"""

from __future__ import annotations

from minirt.errors import ImageError

NAME_LIMIT = 4095  # PATH_MAX without its NUL
ID_LIMIT = (1 << 32) - 2  # (uid_t)-1 means "leave it"
TIME_LIMIT_S = 1 << 33  # the year 2242; file systems end between 2038 and 2446

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_FILES = (b"0", b"\0", b"7")
_KINDS = (LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)
_XATTR = b"SCHILY.xattr."


class Entry:
    """One member. `size` is the file's length, `stored` the bytes that follow in the stream.

    `name` and `link` are bytes as in the archive; `xattrs` maps bytes to bytes; `sparse` is None or the
    (offset, length) pairs of the parts that are stored, in order.
    """

    __slots__ = (
        "name", "kind", "mode", "uid", "gid", "size", "stored", "mtime_ns", "link", "major", "minor",
        "xattrs", "sparse",
    )  # fmt: skip

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    stored: int
    mtime_ns: int
    link: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes]
    sparse: tuple[tuple[int, int], ...] | None


def entry_of(header: bytes, pax: dict[bytes, bytes]) -> Entry:
    entry = Entry()
    kind = header[156:157]
    entry.name = pax.get(b"path") or _name(header)
    entry.link = pax.get(b"linkpath") or header[157:257].split(b"\0", 1)[0]
    if kind in _FILES:
        entry.kind = DIRECTORY if kind == b"\0" and entry.name.endswith(b"/") else REGULAR
    elif kind == b"S":
        entry.kind = REGULAR
    elif kind in _KINDS:
        entry.kind = kind
    else:
        raise ImageError(f"malformed layer: {show(entry.name)} is of the unknown type {kind!r}")
    _check_name(entry.name)
    _check_name(entry.link)
    entry.mode = number(header[100:108], "mode") & 0o7777
    entry.uid = _identifier(pax.get(b"uid"), header[108:116], "uid")
    entry.gid = _identifier(pax.get(b"gid"), header[116:124], "gid")
    size = _decimal(pax[b"size"], "size") if pax.get(b"size") else number(header[124:136], "size")
    entry.size = entry.stored = size if entry.kind == REGULAR else 0
    entry.mtime_ns = _time(pax[b"mtime"]) if pax.get(b"mtime") else _seconds(header[136:148])
    entry.major = entry.minor = 0
    if entry.kind in (CHARACTER, BLOCK_DEVICE):
        entry.major, entry.minor = number(header[329:337], "major"), number(header[337:345], "minor")
        if entry.major >= 1 << 12 or entry.minor >= 1 << 20:
            raise ImageError(f"malformed layer: {show(entry.name)} is a device of an impossible number")
    entry.xattrs = {key[len(_XATTR) :]: value for key, value in pax.items() if key.startswith(_XATTR)}
    if any(b"\0" in key for key in entry.xattrs):
        raise ImageError(f"malformed layer: an attribute of {show(entry.name)} has a name with a NUL")
    entry.sparse = None
    return entry


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _check_name(name: bytes) -> None:
    if b"\0" in name:
        raise ImageError(f"malformed layer: the name {show(name)} holds a NUL")
    if len(name) > NAME_LIMIT:
        raise ImageError(f"malformed layer: a name of {len(name)} bytes, more than {NAME_LIMIT}: {show(name)}")


def number(field: bytes, what: str) -> int:
    """A number in a header: octal digits between spaces or NULs, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        value = _base_256(field)
        if not 0 <= value < 1 << 63:
            raise ImageError(f"malformed layer: a {what} out of range in a header")
        return value
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise ImageError(f"malformed layer: the {what} {field!r} in a header is not octal")
    return int(digits, 8) if digits else 0


def _base_256(field: bytes) -> int:
    """GNU's: the first byte is 0x80 before a positive number, 0xff before a negative one."""
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")


def _seconds(field: bytes) -> int:
    """A time beyond reason becomes the limit, as file systems do."""
    value = _base_256(field) if field[0] & 0x80 else number(field, "mtime")
    return max(-TIME_LIMIT_S, min(value, TIME_LIMIT_S)) * 1_000_000_000


def _time(text: bytes) -> int:
    """PAX time: [-]seconds[.fraction], in nanoseconds; digits beyond nanoseconds are cut."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if len(text) > 64 or not whole.isdigit() or (fraction and not fraction.isdigit()):
        raise ImageError(f"malformed layer: the PAX time {show(text)}")
    return sign * (min(int(whole), TIME_LIMIT_S) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))


def _decimal(text: bytes, what: str) -> int:
    if len(text) > 19 or not text.isdigit() or int(text) >= 1 << 63:
        raise ImageError(f"malformed layer: the PAX {what} {show(text)} is not a number of a file")
    return int(text)


def _identifier(pax: bytes | None, field: bytes, what: str) -> int:
    value = _decimal(pax, what) if pax else number(field, what)
    if value > ID_LIMIT:
        raise ImageError(f"malformed layer: the {what} {value} is beyond {ID_LIMIT}")
    return value


def show(name: bytes) -> str:
    """A name for an error's text: control bytes escaped, the end of a long one cut."""
    return ascii((name if len(name) <= 120 else name[:120] + b"...").decode("utf-8", "surrogateescape"))
