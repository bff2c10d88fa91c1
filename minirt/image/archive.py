# SPDX-License-Identifier: Apache-2.0
"""What `load` reads from: a directory, or a tar archive, plain or compressed; files in it by name, nothing else.

Both are hostile. A directory's files are opened below it without any symlink (openat2(2)). An archive is only
indexed: nothing of it is extracted, names are compared, never joined to a path, and a symlink in it can only mean
another member (Docker's older archives link layers that occur twice). No name may occur twice.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat

from minirt.errors import ImageError, InvalidValue, NotFound, StoreError
from minirt.image import header, tar
from minirt.image.document import SIZE_LIMIT
from minirt.image.expand import Limits, expand
from minirt.image.stream import CHUNK, Stream, write_all
from minirt.kernel import rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS_LIMIT = 100_000


class Source:
    """A set of named files. A name is relative, with single slashes, without "." and "..": anything else is
    absent."""

    def __contains__(self, name: str) -> bool:
        raise NotImplementedError

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file; ImageError where there is none of that name."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """A whole small file: a JSON document."""
        parts, size = [], 0
        for chunk in self.chunks(name):
            parts.append(chunk)
            size += len(chunk)
            if size > SIZE_LIMIT:
                raise ImageError(f"{name!r} is larger than the limit of {SIZE_LIMIT} bytes")
        return b"".join(parts)


class Directory(Source):
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def _open(self, name: str) -> int:
        if not _plain(name):
            raise ImageError(f"hostile image: the name {name!r}")
        try:
            fd = rooted.open_in_root(
                self._fd, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, no_symlinks=True
            )
        except OSError as error:
            raise ImageError(f"malformed image: read {name!r}: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageError(f"hostile image: {name!r} is not a regular file")
        return fd

    def __contains__(self, name: str) -> bool:
        try:
            os.close(self._open(name))
        except ImageError:
            return False
        return True

    def chunks(self, name: str) -> Iterator[bytes]:
        fd = self._open(name)
        try:
            while chunk := os.read(fd, CHUNK):
                yield chunk
        finally:
            os.close(fd)


class Archive(Source):
    """`fd`: a seekable, uncompressed tar."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        stream = _Seeking(fd)
        if tar.is_header(os.pread(fd, tar.BLOCK, 0)):
            for entry in tar.entries(stream):
                self._add(entry, stream.offset)
        if not self._members:
            raise ImageError("the archive is empty, or not an archive", "load reads OCI and docker archives")

    def _add(self, entry: header.Entry, offset: int) -> None:
        if entry.kind == header.DIRECTORY:
            return
        name = entry.name.decode("utf-8", "backslashreplace").removeprefix("./")
        if not _plain(name) or entry.sparse is not None:
            raise ImageError(f"hostile archive: the member {header.show(entry.name)}")
        if name in self._members or name in self._links:
            raise ImageError(f"hostile archive: {name!r} occurs twice")
        if len(self._members) + len(self._links) >= MEMBERS_LIMIT:
            raise ImageError(f"the archive holds more than the limit of {MEMBERS_LIMIT} members")
        if entry.kind == header.REGULAR:
            self._members[name] = (offset, entry.size)
        elif entry.kind in (header.SYMLINK, header.LINK):
            target = entry.link.decode("utf-8", "backslashreplace")
            base = posixpath.dirname(name) if entry.kind == header.SYMLINK else ""
            self._links[name] = posixpath.normpath(posixpath.join(base, target))
        else:
            raise ImageError(f"hostile archive: {name!r} is neither a file nor a directory")

    def _find(self, name: str) -> tuple[int, int] | None:
        return self._members.get(name) or self._members.get(self._links.get(name, ""))

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def chunks(self, name: str) -> Iterator[bytes]:
        found = self._find(name)
        if found is None:
            raise ImageError(f"malformed archive: it has no file {name[:200]!a}")
        offset, left = found
        while left:
            chunk = os.pread(self._fd, min(CHUNK, left), offset)
            if not chunk:
                raise ImageError(f"truncated archive: it ends inside {name!r}")
            offset += len(chunk)
            left -= len(chunk)
            yield chunk


class _Seeking(Stream):
    """Reads the headers of a file and seeks over what they describe."""

    __slots__ = ("_fd", "_end")

    def __init__(self, fd: int) -> None:
        super().__init__(())
        self._fd = fd
        self._end = os.fstat(fd).st_size

    def some(self, limit: int) -> memoryview:
        piece = os.pread(self._fd, limit, self.offset)
        self.offset += len(piece)
        return memoryview(piece)

    def skip(self, size: int) -> None:
        if self.offset + size > self._end:
            raise ImageError("truncated archive: it ends inside a file")
        self.offset += size


@contextlib.contextmanager
def opened(path: str, scratch: str, limits: Limits) -> Iterator[Source]:
    """A source for the directory or archive at `path`; "-" is standard input.

    What is compressed or cannot be sought in is written to a nameless file in the directory `scratch` first.
    """
    try:
        fd = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise NotFound(
            f"no such file: {path!r}", "load reads an OCI archive, an OCI directory or a docker archive"
        ) from None
    except OSError as error:
        raise InvalidValue(f"open {path!r}: {error.strerror}") from None
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            yield Directory(fd)
            return
        if not stat.S_ISREG(kind) or _compressed(fd):
            expanded = _expanded(fd, scratch, limits)
            os.close(fd)
            fd = expanded
        yield Archive(fd)
    finally:
        os.close(fd)


def _compressed(fd: int) -> bool:
    head = os.pread(fd, 6, 0)
    return head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh"))


def _expanded(fd: int, scratch: str, limits: Limits) -> int:
    try:
        target = os.open(scratch, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"write to {scratch!r}: {error.strerror}") from error
    try:
        for chunk in expand(iter(lambda: os.read(fd, CHUNK), b""), limits):
            write_all(target, chunk)
    except OSError as error:
        os.close(target)
        raise StoreError(f"write to {scratch!r}: {error.strerror}", "see df of the store") from error
    except BaseException:
        os.close(target)
        raise
    return target


def _plain(name: str) -> bool:
    """Whether a name is a path of ordinary components."""
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\0" not in name
