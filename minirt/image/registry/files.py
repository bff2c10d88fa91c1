# SPDX-License-Identifier: Apache-2.0
"""Configuration files, read whole: regular files up to a limit. A fifo or device in their place blocks nothing.

A file that is not there is None; one that cannot be read, or is something else, is an error that names it.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.errors import HostError, InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 1 << 20
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def read(path: str, what: str, folder: int | None = None) -> tuple[bytes, os.stat_result] | None:
    """Content and attributes; `what` names the kind of file in errors: "auth file".

    folder: the directory of `path`, open: no symbolic link is followed then.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        if folder is None:
            fd = os.open(path, flags)
        else:
            fd = os.open(os.path.basename(path), flags | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise unreadable(path, what, error) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidValue(f'{what} "{path}" is not a regular file', "remove it, or write a file in its place")
        parts, size = [], 0
        while part := os.read(fd, LIMIT):
            parts.append(part)
            size += len(part)
            if size > LIMIT:
                raise InvalidValue(f'{what} "{path}" is larger than the limit of {LIMIT} bytes', "shorten it")
        return b"".join(parts), status
    except OSError as error:
        raise unreadable(path, what, error) from None
    finally:
        os.close(fd)


def names(folder: str, what: str) -> list[str]:
    """The entries of a directory in order; none where there is no such directory."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        if error.errno in _ABSENT:
            return []
        raise unreadable(folder, what, error) from None


def unreadable(path: str, what: str, error: OSError) -> HostError:
    reason = os.strerror(error.errno or 0)
    return HostError(f'cannot read {what} "{path}": {reason}', f"make it readable, or remove it: ls -l {path}")


def home(environ: Mapping[str, str]) -> str:
    """$HOME, or what passwd(5) says of the effective user."""
    if found := environ.get("HOME"):
        return found
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"
