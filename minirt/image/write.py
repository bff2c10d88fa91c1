# SPDX-License-Identifier: Apache-2.0
"""Members of a tar as bytes (POSIX.1-2001 pax(1), "ustar Interchange Format"), always the same for the same input.

What a ustar header cannot hold is refused by ValueError: those who write such names write PAX records. Pure.
"""

from __future__ import annotations

_BLOCK = 512


def member(
    name: str, kind: bytes, mode: int, data: bytes = b"", link: str = "", uid: int = 0, gid: int = 0, mtime_s: int = 0
) -> bytes:
    """One member with its data and padding. kind: a type flag of ustar, "0" file, "2" symlink, "5" directory."""
    fields = (
        (_text(name, 100), 100),
        (b"%07o\0" % mode, 8),
        (b"%07o\0" % uid, 8),
        (b"%07o\0" % gid, 8),
        (b"%011o\0" % len(data), 12),
        (b"%011o\0" % mtime_s, 12),
        (b" " * 8, 8),
        (kind, 1),
        (_text(link, 100), 100),
        (b"ustar\00000", 8),
    )
    for field, width in fields:
        if len(field) > width:
            raise ValueError(f"{field!r} does not fit into {width} bytes of a tar header")
    header = b"".join(field.ljust(width, b"\0") for field, width in fields).ljust(_BLOCK, b"\0")
    header = header[:148] + b"%06o\0 " % sum(header) + header[156:]
    return header + data + b"\0" * (-len(data) % _BLOCK)


def trailer() -> bytes:
    """The two blocks of zeros that end a tar."""
    return b"\0" * (2 * _BLOCK)


def _text(text: str, width: int) -> bytes:
    data = text.encode()
    if len(data) > width:
        raise ValueError(f"{text!r} is longer than the {width} bytes of a tar header")
    return data
