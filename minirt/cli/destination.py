# SPDX-License-Identifier: Apache-2.0
"""Where `export` and `save` write: standard output, or a file or directory that appears whole or not at all.

A file has no name until it is complete (O_TMPFILE in open(2)), so that not even a SIGKILL leaves half of one; where a
file system cannot do that it has a name of its own until then. Docker's words for what is refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from minirt.cli import output
from minirt.errors import InvalidValue, MinirtError, StoreError
from minirt.image.sink import SinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor to write to; `path` "" is standard output. What ends the block decides whether the file appears."""
    if not path:
        if os.isatty(1):
            raise MinirtError(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect", "write -o FILE, or > FILE"
            )
        try:
            yield 1
        except SinkError as error:
            raise output.lost(error) from None
        return
    target = os.path.realpath(path)
    _check(path, target)
    folder = os.path.dirname(target)
    fd, name = _nameless(folder, target)
    try:
        yield fd
        os.fsync(fd)
        if not name:
            name = _spare(target)
            os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd)  # only with a dir_fd Python asks to follow
        os.rename(name, target)
        name = ""
    except OSError as error:
        raise StoreError(f'cannot write "{path}": {os.strerror(error.errno or errno.EIO)}', "see df") from error
    finally:
        os.close(fd)
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)


@contextlib.contextmanager
def new_directory(path: str) -> Iterator[str]:
    """A directory to fill, that gets the name `path` at the end. One that is there already must be empty."""
    target = os.path.realpath(path)
    _check_parent(path, target)
    try:
        if os.path.lexists(target) and (not os.path.isdir(target) or os.listdir(target)):
            raise InvalidValue(f'"{path}" exists and is not an empty directory', "name a new directory")
        made = _spare(target)
        os.mkdir(made, 0o755)
    except OSError as error:
        raise StoreError(f'cannot make "{path}": {os.strerror(error.errno or errno.EIO)}') from error
    try:
        yield made
        os.rename(made, target)
    except BaseException as error:
        from minirt.engine import erase

        erase.tree(made)
        if isinstance(error, OSError):
            why = os.strerror(error.errno or errno.EIO)
            raise StoreError(f'cannot write "{path}": {why}', "see df") from error
        raise


def warner() -> Callable[[str], None]:
    """Tells the first few warnings on standard error, and counts the others out of sight: a container could make a
    million."""
    told = 0

    def warn(text: str) -> None:
        nonlocal told
        told += 1
        if told <= 20:
            output.hint(f"minirt: warning: {output.safe(text)}\n")
        elif told == 21:
            output.hint("minirt: warning: and more of the kind\n")

    return warn


def _check(path: str, target: str) -> None:
    _check_parent(path, target)
    try:
        kind = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(kind):
        raise InvalidValue(f'invalid output path: "{path}" is a directory', "name a file")
    if not stat.S_ISREG(kind):
        raise InvalidValue(f'invalid output path: "{path}" must be a regular file', f"redirect instead: > {path}")


def _check_parent(path: str, target: str) -> None:
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise InvalidValue(f'invalid output path: directory "{folder}" does not exist', f"mkdir -p {folder}")


def _nameless(folder: str, target: str) -> tuple[int, str]:
    """(descriptor, name): "" for a file that has none yet."""
    try:
        try:
            return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600), ""
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
        name = _spare(target)
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), name
    except OSError as error:
        raise StoreError(f'cannot write to "{folder}": {os.strerror(error.errno or errno.EIO)}') from error


def _spare(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:200]}.{os.urandom(4).hex()}")
