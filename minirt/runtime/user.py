# SPDX-License-Identifier: Apache-2.0
"""Who the workload runs as: `user[:group]` and --group-add against the container's /etc/passwd and /etc/group
(passwd(5), group(5); image-spec config.md, "User").

The two files are the image's, so hostile: they are opened below the root by openat2, regular files only, read up
to a limit and parsed line by line. What looks like a number is one, in decimal, and is never looked up as a name.
Not the host's user database: must not import pwd, grp or the C library's lookups.
"""

from __future__ import annotations

import io
import os
from errno import EFBIG

from minirt.errors import InvalidValue
from minirt.kernel import rooted

LIMIT_BYTES = 10 << 20  # of either file, as containerd has it
MAX_ID = (1 << 31) - 1  # as Docker: what is above is a negative number to somebody
MAX_GROUPS = 65536  # NGROUPS_MAX
_MAX_SPEC = 256  # characters of one name: useradd(8) allows 32
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-$@\\+")


class User:
    """uid, gid; groups: every supplementary group, the primary one first; home: absolute."""

    __slots__ = ("uid", "gid", "groups", "home", "name")

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...], home: str, name: str = "") -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.name = name


class _Account:
    __slots__ = ("name", "uid", "gid", "home")

    def __init__(self, name: bytes, uid: int, gid: int, home: str) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home


def resolve(root: int, user: str, group_add: list[str] | tuple[str, ...] = ()) -> User:
    """The user that `user` names in the root filesystem `root` (a directory descriptor).

    "" is uid 0. `name` or `uid` takes its group, home and memberships from the files; `:group` replaces group and
    memberships. A uid without an entry runs with group 0 and home "/". A name without an entry is InvalidValue.
    """
    user_part, colon, group_part = user.partition(":")
    if colon and not (user_part and group_part):
        raise InvalidValue(f"invalid user {_quoted(user)}: want name|uid[:group|gid]")
    if user and not _is_name(user_part):
        raise _malformed("user", user_part)
    number = 0 if not user else _number("user", user_part)
    named = number is None
    passwd = _read(root, "etc/passwd", needed=named)
    account = _find_account(passwd, user_part.encode() if named else None, number)
    if account is None:
        if named:
            raise InvalidValue(
                f"unable to find user {user_part}: no matching entries in passwd file",
                "name a user of the image, or give a number: -u 1000:1000",
            )
        account = _Account(b"", number or 0, 0, "/")
    wanted = [str(group) for group in group_add]
    names_needed = any(not entry.isdecimal() for entry in (group_part or "0", *wanted))
    group_file = _read(root, "etc/group", needed=names_needed)
    gid = _find_group(group_file, group_part) if group_part else account.gid
    groups = {gid: None}
    if not group_part and account.name:
        groups.update(dict.fromkeys(_memberships(group_file, account.name)))
    groups.update(dict.fromkeys(_find_group(group_file, entry) for entry in wanted))
    if len(groups) > MAX_GROUPS:
        raise InvalidValue(f"user {_quoted(user)} is in {len(groups)} groups; the kernel allows {MAX_GROUPS}")
    return User(account.uid, gid, tuple(groups), account.home, account.name.decode(errors="replace"))


def _quoted(text: str) -> str:
    """As it is shown in an error: short, and without control characters."""
    shown = text if len(text) <= 64 else text[:64] + "…"
    return '"' + "".join(c if c.isprintable() else "?" for c in shown) + '"'


def _malformed(what: str, text: str) -> InvalidValue:
    return InvalidValue(f"invalid {what} {_quoted(text)}", f"want a name of the image or a number from 0 to {MAX_ID}")


def _is_name(text: str) -> bool:
    """Portable user names (passwd(5)), and what directory services add to them."""
    return 0 < len(text) <= _MAX_SPEC and _NAME.issuperset(text)


def _number(what: str, text: str) -> int | None:
    """The number that `text` is; None: it is a name. What starts as a number must be one to its end and in range:
    0x0, 1e0, -1, +1, 4294967296 are neither a number nor a name (CVE-2024-40635, CVE-2026-46680)."""
    if not text[0].isdigit() and text[0] not in "+-":
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > MAX_ID:
        raise _malformed(what, text)
    return int(text)


def _read(root: int, path: str, needed: bool) -> bytes:
    """The file's bytes; empty where there is none. One that is no regular file, or too long, is an error only if a
    name has to be found in it: a number needs no file."""
    try:
        data = rooted.read_file(root, path, LIMIT_BYTES + 1)
        if len(data) > LIMIT_BYTES:  # half a line must not be taken for a whole one
            raise OSError(EFBIG, os.strerror(EFBIG))
        return data
    except FileNotFoundError:
        return b""
    except OSError as error:
        if needed:
            raise InvalidValue(
                f"cannot read /{path} of the container: {error.strerror}",
                f"it must be a regular file of at most {LIMIT_BYTES >> 20} MiB; or give numbers: -u 1000:1000",
            ) from error
        return b""


def _id(field: bytes) -> int | None:
    """A number in a file. A line with any other is skipped: it must not become uid 0 by accident."""
    if not field.isdigit() or len(field) > 10 or int(field) > MAX_ID:
        return None
    return int(field)


def _find_account(passwd: bytes, name: bytes | None, uid: int | None) -> _Account | None:
    """The first line name:password:uid:gid:gecos:home:shell that has this name, or else this uid."""
    wanted = name + b":" if name is not None else b":%d:" % (uid or 0)
    for line in io.BytesIO(passwd):
        if wanted not in line:
            continue
        fields = line.rstrip(b"\r\n").split(b":")
        if len(fields) < 4 or not fields[0]:
            continue
        found, group = _id(fields[2]), _id(fields[3])
        if found is None or group is None or (fields[0] != name if name is not None else found != uid):
            continue
        home = fields[5] if len(fields) > 5 else b""
        safe = home.startswith(b"/") and b"\0" not in home and len(home) < 4096
        return _Account(fields[0], found, group, home.decode(errors="surrogateescape") if safe else "/")
    return None


def _find_group(group_file: bytes, text: str) -> int:
    """The gid that `text` means: a number, or the first line name:password:gid:members with that name."""
    if not _is_name(text):
        raise _malformed("group", text)
    number = _number("group", text)
    if number is not None:
        return number
    name = text.encode()
    for line in io.BytesIO(group_file):
        if line.startswith(name + b":"):
            fields = line.rstrip(b"\r\n").split(b":")
            gid = _id(fields[2]) if len(fields) > 2 else None
            if gid is not None:
                return gid
    raise InvalidValue(
        f"unable to find group {text}: no matching entries in group file",
        "name a group of the image, or give a number",
    )


def _memberships(group_file: bytes, name: bytes) -> list[int]:
    """The gids of all groups whose member list has `name`."""
    found: list[int] = []
    for line in io.BytesIO(group_file):
        if name not in line:
            continue
        fields = line.rstrip(b"\r\n").split(b":")
        if len(fields) > 3 and name in fields[3].split(b","):
            gid = _id(fields[2])
            if gid is not None:
                found.append(gid)
            if len(found) > 2 * MAX_GROUPS:
                break
    return found
