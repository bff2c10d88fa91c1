# SPDX-License-Identifier: Apache-2.0
"""A directory tree as a PAX archive, in an order and with bytes that depend on nothing but the tree (pax(1)).

Hard links, file capabilities, ACLs, user attributes, devices, fifos, holes and times to the nanosecond are kept;
sockets and overlay's own attributes are not. A file has the size that it had when it was opened: one that shrinks
meanwhile is filled with zeros, one that grows is cut, each with a warning. The tree is hostile and may change
(walk.py). Must not import tarfile.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.errors import StoreError
from minirt.image import header, pax
from minirt.image.header import show
from minirt.image.pax import Member
from minirt.image.sink import SinkError
from minirt.image.walk import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.image.sink import Sink
    from minirt.image.walk import Found

_KINDS = {
    stat.S_IFREG: header.REGULAR,
    stat.S_IFDIR: header.DIRECTORY,
    stat.S_IFLNK: header.SYMLINK,
    stat.S_IFCHR: header.CHARACTER,
    stat.S_IFBLK: header.BLOCK_DEVICE,
    stat.S_IFIFO: header.FIFO,
}
KEPT = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_HOLES_LIMIT = 10_000  # parts of one file; with more it is written out
_HOLES_READ = 1 << 16  # bytes of holes in a file that are worth to be looked for
# Bytes of holes in one archive from which on they are written as holes. Docker and podman read such a member, but
# cannot put it together again (vbatts/tar-split): they can neither save nor push that layer. Fewer become zeros.
_HOLES_KEPT = 1 << 30


class Packer:
    """Writes members to a sink; `finish` ends the archive. `count` counts the members."""

    __slots__ = ("sink", "warn", "count", "_links", "_zeros")

    def __init__(self, sink: Sink, warn: Callable[[str], None]) -> None:
        self.sink = sink
        self.warn = warn
        self.count = 0
        self._zeros = 0
        self._links: dict[tuple[int, int], bytes] = {}

    def add(self, found: Found) -> None:
        status = found.status
        kind = stat.S_IFMT(status.st_mode)
        name = found.path + b"/" if kind == stat.S_IFDIR else found.path
        member = Member(
            name or b"./", _KINDS[kind], stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns
        )
        if kind != stat.S_IFDIR and status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), found.path)
            if first != found.path:
                member.kind, member.link = header.LINK, first
                self.put(member)
                return
        if kind == stat.S_IFLNK:
            member.link = found.link
        else:
            member.xattrs = self._xattrs(found)
        if kind == stat.S_IFREG:
            self._put_file(member, found)
            return
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            member.major, member.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self.put(member)

    def put(self, member: Member, data: bytes = b"") -> None:
        """A member and its data, which are at hand."""
        member.size = len(data)
        self.sink.write(pax.encode(member) + data + pax.padding(len(data)))
        self.count += 1

    def finish(self) -> None:
        self.sink.write(pax.END)
        self.sink.flush()

    def _put_file(self, member: Member, found: Found) -> None:
        size = found.status.st_size
        parts = _parts(found.fd, found.status)
        stored = sum(length for _, length in parts)
        member.size, table = size, b""
        if size - stored + self._zeros < _HOLES_KEPT:
            self._zeros += size - stored
        else:
            self.warn(
                f"{show(found.path)} keeps its holes of {size - stored} bytes: docker and podman cannot save it again"
            )
            table = _table(parts, size)
            member.size, member.holes = len(table) + stored, size
        self.sink.write(pax.encode(member) + table)
        self.count += 1
        missing = self._copy(found, parts, size, zeros=not table)
        self.sink.write(pax.padding(member.size))
        now = os.fstat(found.fd).st_size
        if missing or now < size:
            self.warn(
                f"{show(found.path)} shrank while it was read: {missing} bytes of zeros stand for what is missing"
            )
        elif now > size:
            self.warn(f"{show(found.path)} grew while it was read: {now - size} bytes at its end are left out")

    def _copy(self, found: Found, parts: list[tuple[int, int]], size: int, zeros: bool) -> int:
        """The parts, with zeros for what lies between them if asked for; how many bytes the file lacked."""
        missing = at = 0
        try:
            for offset, length in parts:
                self.sink.zeros(offset - at if zeros else 0)
                done = self.sink.copy(found.fd, offset, length)
                self.sink.zeros(length - done)
                missing, at = missing + length - done, offset + length
        except SinkError:
            raise
        except OSError as error:
            raise StoreError(f"read {show(found.path)}: {error.strerror}") from error
        self.sink.zeros(size - at if zeros else 0)
        return missing

    def _xattrs(self, found: Found) -> dict[bytes, bytes]:
        """Those that a layer may set (unpack.py takes the same): never overlay's, never a security module's label."""
        target: int | bytes = found.fd if found.fd >= 0 else found.at()
        kept: dict[bytes, bytes] = {}
        try:
            for name in _listed(target):
                if name in KEPT or (name.startswith("user.") and not name.startswith("user.overlay.")):
                    if "=" in name:
                        self.warn(
                            f"{show(found.path)}: the attribute {name!a} is left out: no archive can hold its name"
                        )
                        continue
                    kept[os.fsencode(name)] = (
                        os.getxattr(target, name, follow_symlinks=False)
                        if isinstance(target, bytes)
                        else os.getxattr(target, name)
                    )
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENODATA, errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise StoreError(f"read the attributes of {show(found.path)}: {error.strerror}") from error
        return kept


def pack(root: int, sink: Sink, warn: Callable[[str], None]) -> int:
    """The whole tree below the descriptor `root`, without an entry for the root itself; how many members."""
    packer = Packer(sink, warn)
    for found in walk(root, warn):
        if found.path:
            packer.add(found)
    packer.finish()
    return packer.count


def _listed(target: int | bytes) -> list[str]:
    return os.listxattr(target, follow_symlinks=False) if isinstance(target, bytes) else os.listxattr(target)


def _table(parts: list[tuple[int, int]], size: int) -> bytes:
    """The map before the data (GNU.sparse 1.0). GNU tar ends it so where the file ends in a hole."""
    ended = parts if parts and sum(parts[-1]) == size else [*parts, (size, 0)]
    table = b"%d\n" % len(ended) + b"".join(b"%d\n%d\n" % part for part in ended)
    return table + pax.padding(len(table))


def _parts(fd: int, status: os.stat_result) -> list[tuple[int, int]]:
    """(offset, length) of what a file really stores (lseek(2), SEEK_DATA), all of it where holes are not worth it."""
    size = status.st_size
    whole = [(0, size)]
    if size - status.st_blocks * 512 < _HOLES_READ:
        return whole
    parts: list[tuple[int, int]] = []
    offset = 0
    try:
        while offset < size:
            start = os.lseek(fd, offset, os.SEEK_DATA)
            if start >= size or len(parts) == _HOLES_LIMIT:
                break
            offset = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            parts.append((start, offset - start))
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data any more
            return whole
    return parts if len(parts) < _HOLES_LIMIT else whole
