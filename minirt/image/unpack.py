# SPDX-License-Identifier: Apache-2.0
"""One layer, as a stream of tar entries, into one directory as OverlayFS wants it (OCI image specification,
layer.md).

Whiteouts become what overlayfs.rst calls them: `.wh.x` a character device 0:0 named x, `.wh..wh..opq` the xattr
trusted.overlay.opaque=y on its directory. A layer is hostile: what it may name is in tree.py, what its headers may
say in header.py. Runs as root on the host, in the host's namespaces. Must not import tarfile; hot with many small
files.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.errors import HostError, ImageError, StoreError
from minirt.image import header, tar
from minirt.image.expand import Limits, expand
from minirt.image.header import Entry, show
from minirt.image.overlay import OPAQUE, is_whiteout
from minirt.image.stream import Stream, Sum, write_all
from minirt.image.tree import Tree, components
from minirt.kernel.unpack import END, MORE, NOTES_LIMIT, Unpacker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_WHITEOUT, _AUFS, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Unpacked:
    """What a layer was: bytes and entries, the (mode, uid, gid) that it gave its root or None, and the directories
    that it did not describe."""

    __slots__ = ("size", "entries", "root", "implicit")

    def __init__(self, size: int, entries: int, root: tuple[int, int, int] | None, implicit: list[bytes]) -> None:
        self.size = size
        self.entries = entries
        self.root = root
        self.implicit = implicit


def unpack(
    directory: int,
    chunks: Iterable[bytes],
    diff_id: str,
    limits: Limits,
    ahead: Callable[[Iterator[bytes]], Iterator[bytes]] = iter,
) -> Unpacked:
    """Unpacks compressed or plain `chunks` into the empty `directory` and takes in all of the stream.

    `diff_id` is the SHA-256, in hex, that the uncompressed stream must have. `ahead` may run the decompression in a
    thread (flow.py). On failure the directory holds rubbish; it is the caller's to remove.
    """
    seen = Sum()
    stream = Stream(ahead(seen.passing(expand(chunks, limits))))
    layer = _Layer(directory, limits.entries)
    try:
        while layer.take(stream):
            pass
        stream.drain()
        layer.finish()
        found = Unpacked(stream.offset, layer.plain.entries, layer.root, layer.plain.implicit())
    finally:
        layer.close()
    if seen.hex != diff_id:
        raise ImageError(
            f"digest mismatch: a layer is sha256:{seen.hex} uncompressed, not the diff_id sha256:{diff_id} of its image"
        )
    return found


class _Layer:
    """Plain entries are made by `plain`, many in one call; this class knows what to do with the others."""

    __slots__ = ("tree", "plain", "root", "_limit", "_root_time")

    def __init__(self, directory: int, limit: int) -> None:
        self.plain = Unpacker(directory, limit)
        self.tree = Tree(directory, self.plain.imply, self._uncover)
        self.root: tuple[int, int, int] | None = None
        self._limit = limit
        self._root_time: int | None = None

    def close(self) -> None:
        self.tree.close()
        self.plain.close()

    def take(self, stream: Stream) -> bool:
        """Takes in all plain entries that are at hand and the odd one behind them; False at the end."""
        data = stream.peek()
        try:
            state, used = self.plain.feed(data)
        except OSError as error:
            raise _explained(error, self.plain.path) from error
        stream.take(used)
        if state == END or (state == MORE and (used == len(data) > 0 or stream.join())):
            return state != END
        if self.plain.inside:
            raise ImageError("truncated layer: it ends inside a file")
        return self._take_odd(stream)

    def _take_odd(self, stream: Stream) -> bool:
        found = tar.member(stream)
        if found is None:
            return False
        entry, end = found
        if self.plain.entries >= self._limit:
            raise ImageError(f"a layer holds more than the limit of {self._limit} entries")
        self.plain.count()
        self.add(entry, stream)
        self.plain.forget()
        stream.skip(end - stream.offset)
        return True

    def add(self, entry: Entry, stream: Stream) -> None:
        parts = components(entry.name)
        try:
            if not parts:
                self._add_root(entry)
            elif parts[-1].startswith(_WHITEOUT):
                self._add_whiteout(parts)
            else:
                self._add_named(entry, parts, stream)
        except OSError as error:
            raise _explained(error, entry.name) from error

    def finish(self) -> None:
        self.plain.finish()
        if self._root_time is not None:
            os.utime(self.tree.root, ns=(self._root_time, self._root_time))

    def _add_root(self, entry: Entry) -> None:
        """Owner and mode are the image's to choose; that it is a directory is not."""
        if entry.kind != header.DIRECTORY:
            raise ImageError("hostile layer: its root is something other than a directory")
        self.root = (entry.mode, entry.uid, entry.gid)
        _dress(self.tree.root, entry)
        self._root_time = entry.mtime_ns

    def _add_whiteout(self, parts: list[bytes]) -> None:
        """A whiteout hides what lower layers have: never what this layer brought before it."""
        self._refuse_whiteout_parents(parts)
        parent = self.tree.parent(parts)
        if parts[-1] == _OPAQUE:
            self._hide_below(parent, b".")
        elif not parts[-1].startswith(_AUFS):
            self._hide(parent, parts[-1][len(_WHITEOUT) :])

    def _hide(self, parent: int, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise ImageError(f"hostile layer: a whiteout of {show(name)}")
        there = self.tree.kind(parent, name)
        if there is None:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        elif stat.S_ISDIR(there.st_mode):
            self._hide_below(parent, name)

    def _hide_below(self, parent: int, name: bytes) -> None:
        os.setxattr(_by_descriptor(parent, name), OPAQUE, b"y", follow_symlinks=False)

    def _uncover(self, parent: int, name: bytes) -> bool:
        """A directory in place of a whiteout is a new one: it shows nothing of what lies below."""
        there = self.tree.kind(parent, name)
        if there is None or not is_whiteout(there):
            return False
        os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o700, dir_fd=parent)
        self._hide_below(parent, name)
        return True

    def _refuse_whiteout_parents(self, parts: list[bytes]) -> None:
        if any(part.startswith(_WHITEOUT) for part in parts[:-1]):
            raise ImageError(f"hostile layer: {show(b'/'.join(parts))} lies below a whiteout")

    def _add_named(self, entry: Entry, parts: list[bytes], stream: Stream) -> None:
        self._refuse_whiteout_parents(parts)
        parent, name = self.tree.parent(parts), parts[-1]
        if entry.kind == header.DIRECTORY:
            self._add_directory(entry, parent, name)
            self.plain.describe(b"/".join(parts), entry.mtime_ns)
        elif entry.kind == header.REGULAR:
            self._add_file(entry, parent, name, stream)
        elif entry.kind == header.LINK:
            self._add_link(entry, parts)
        elif entry.kind == header.SYMLINK:
            self.tree.fresh(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent))
            self._dress_by_name(entry, parent, name)
        elif entry.kind == header.CHARACTER and (entry.major, entry.minor) == (0, 0):
            self._hide(parent, name)  # overlay's own whiteout given as a device means the same as .wh.
        else:
            self._add_node(entry, parent, name)

    def _add_directory(self, entry: Entry, parent: int, name: bytes) -> None:
        """A directory entry on a directory only changes what describes it; on anything else it replaces that."""
        there = self.tree.kind(parent, name)
        if (there is None or not stat.S_ISDIR(there.st_mode)) and not self._uncover(parent, name):
            self.tree.remove(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _LISTED, dir_fd=parent)
        try:
            _dress(fd, entry)
        finally:
            os.close(fd)

    def _add_file(self, entry: Entry, parent: int, name: bytes, stream: Stream) -> None:
        fd = self.tree.fresh(parent, name, lambda: os.open(name, _NEW_FILE, 0o600, dir_fd=parent))
        assert fd is not None
        try:
            if entry.sparse is None:
                for piece in stream.pieces(entry.size):
                    write_all(fd, piece)
            else:
                os.truncate(fd, entry.size)
                for offset, length in entry.sparse:
                    os.lseek(fd, offset, os.SEEK_SET)
                    for piece in stream.pieces(length):
                        write_all(fd, piece)
            _dress(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _add_link(self, entry: Entry, parts: list[bytes]) -> None:
        """A hard link to an entry of this same layer, to the symlink itself where it is one. Its owner and mode
        are those of its target: nothing is set through it (CVE-2021-32760)."""
        target = components(entry.link)
        if not target:
            raise ImageError(f"hostile layer: {show(entry.name)} is a hard link to the root")
        if target == parts:
            raise ImageError(f"malformed layer: {show(entry.name)} is a hard link to itself")
        source = os.dup(self.tree.parent(target))
        try:
            there = self.tree.kind(source, target[-1])
            if there is None or stat.S_ISDIR(there.st_mode) or is_whiteout(there):
                raise ImageError(
                    f"malformed layer: {show(entry.name)} is a hard link to {show(entry.link)}, "
                    "which is no file of this layer"
                )
            parent, name = self.tree.parent(parts), parts[-1]
            self.tree.fresh(
                parent,
                name,
                lambda: os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
            )
        finally:
            os.close(source)

    def _add_node(self, entry: Entry, parent: int, name: bytes) -> None:
        kinds = {
            header.CHARACTER: stat.S_IFCHR,
            header.BLOCK_DEVICE: stat.S_IFBLK,
            header.FIFO: stat.S_IFIFO,
        }
        mode, device = kinds[entry.kind] | 0o600, os.makedev(entry.major, entry.minor)
        self.tree.fresh(parent, name, lambda: os.mknod(name, mode, device, dir_fd=parent))
        self._dress_by_name(entry, parent, name)

    def _dress_by_name(self, entry: Entry, parent: int, name: bytes) -> None:
        """What cannot be opened: a device's driver or a fifo's writer must not notice us."""
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != header.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)
        for key, value in _kept(entry):
            _set_xattr(_by_descriptor(parent, name), key, value, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _dress(fd: int, entry: Entry) -> None:
    """Owner before mode before xattrs: chown(2) clears set-id bits and file capabilities."""
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    for key, value in _kept(entry):
        _set_xattr(fd, key, value)


def _kept(entry: Entry) -> list[tuple[bytes, bytes]]:
    """The xattrs that a layer may set: file capabilities, POSIX ACLs, and the user's own.

    Never overlay's (trusted.overlay.*, user.overlay.*: they would redirect a lookup), nor labels of the host's
    security modules. An empty capability is none: the kernel would keep one that nobody can read.
    """
    return [
        (key, value)
        for key, value in entry.xattrs.items()
        if (value and key in (b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"))
        or (key.startswith(b"user.") and not key.startswith(b"user.overlay."))
    ]


def _set_xattr(target: int | bytes, key: bytes, value: bytes, follow_symlinks: bool = True) -> None:
    """A file system without ACLs, and a symlink or device without user xattrs, go without; all else is an
    error."""
    try:
        if isinstance(target, int):
            os.setxattr(target, key, value)
        else:
            os.setxattr(target, key, value, follow_symlinks=follow_symlinks)
    except OSError as error:
        tolerated = error.errno == errno.ENOTSUP or (error.errno == errno.EPERM and key.startswith(b"user."))
        if not tolerated:
            raise


def _by_descriptor(parent: int, name: bytes) -> bytes:
    """There is no setxattrat(2) before Linux 6.13; the last component is still not followed."""
    return b"/proc/self/fd/%d/%s" % (parent, name)


def _explained(error: OSError, name: bytes) -> ImageError | StoreError | HostError:
    if error.errno == errno.EOVERFLOW:
        return ImageError(f"the names of a layer's directories take more than the limit of {NOTES_LIMIT} bytes")
    why = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_SPACE:
        return StoreError(f"unpack {show(name)}: {why}", "see df and df -i of the store")
    if error.errno == errno.EPERM:
        return HostError(f"unpack {show(name)}: {why}", "run as root, with CAP_MKNOD, CAP_CHOWN and CAP_SYS_ADMIN")
    return ImageError(f"malformed layer: {show(name)}: {why}")
