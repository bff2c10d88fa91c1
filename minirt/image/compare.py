# SPDX-License-Identifier: Apache-2.0
"""The first difference between two directory trees: names, types, modes, owners, times, attributes and content."""

from __future__ import annotations

import itertools
import os
import stat

from minirt.image.header import show
from minirt.image.overlay import is_whiteout
from minirt.image.walk import Found, walk

CHUNK = 1 << 20
_OPENED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def difference(whole: str, found: str, loosely: set[bytes]) -> str:
    """What is not in `found` as it is in `whole`, "" for nothing. loosely: directories of which only the existence
    counts; "" is the root."""
    left, right = os.open(whole, _OPENED), os.open(found, _OPENED)
    try:
        late = ""
        for wanted, there in itertools.zip_longest(walk(left, _ignore), walk(right, _ignore)):
            what = _entry(wanted, there, loosely)
            if what:
                return what
            late = late or _time(wanted, there, loosely)
        return late
    finally:
        os.close(left)
        os.close(right)


def _ignore(text: str) -> None:
    del text


def _entry(wanted: Found | None, there: Found | None, loosely: set[bytes]) -> str:
    if there is None or (wanted is not None and _before(wanted, there)):
        return f"{show(wanted.path)} is missing" if wanted is not None else ""
    if wanted is None or _before(there, wanted):
        return f"{show(there.path)} does not belong to it"
    name = show(wanted.path)
    one, other = wanted.status, there.status
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode):
        return f"{name} is of another type"
    if wanted.path in loosely and stat.S_ISDIR(one.st_mode):
        return ""
    if (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
        return f"{name} has another mode or owner"
    if stat.S_ISREG(one.st_mode) and not _same_content(wanted.fd, there.fd, one.st_size):
        return f"{name} has other content"
    if (one.st_rdev, wanted.link) != (other.st_rdev, there.link):
        return f"{name} leads elsewhere"
    if wanted.fd >= 0 and _attributes(wanted.fd) != _attributes(there.fd):
        return f"{name} has other attributes"
    return ""


def _time(wanted: Found | None, there: Found | None, loosely: set[bytes]) -> str:
    """Said last: what changes a directory changes its time too. A whiteout has the time at which it was made."""
    if wanted is None or there is None or wanted.path in loosely or is_whiteout(wanted.status):
        return ""
    same = wanted.status.st_mtime_ns == there.status.st_mtime_ns
    return "" if same else f"{show(wanted.path)} has another time"


def _before(one: Found, other: Found) -> bool:
    """Whether a walk comes to it first."""
    return one.path.split(b"/") < other.path.split(b"/")


def _attributes(fd: int) -> dict[str, bytes]:
    return {name: os.getxattr(fd, name) for name in os.listxattr(fd)}


def _same_content(one: int, other: int, size: int) -> bool:
    if os.fstat(other).st_size != size:
        return False
    offset = 0
    while offset < size:
        chunk = os.pread(one, CHUNK, offset)
        if chunk != os.pread(other, CHUNK, offset) or not chunk:
            return False
        offset += len(chunk)
    return True
