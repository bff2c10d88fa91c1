# SPDX-License-Identifier: Apache-2.0
"""Which layer provides a path, as OverlayFS merges them (overlayfs.rst: "whiteouts and opaque directories").

Top to bottom: the first layer that has the path provides it. A whiteout, a file or a symbolic link in the path's way,
or an opaque directory hides what lies below; directories are merged. Each layer is asked alone, by descriptor and one
name at a time (openat(2), O_NOFOLLOW): a link is followed here, in the merged view, and never leaves the image.
Nothing here writes.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.errors import InvalidValue
from minirt.image.overlay import is_opaque, is_whiteout

LINKS_LIMIT = 40  # as the kernel's MAXSYMLINKS
PATH_LIMIT = 4096
PROVIDES, MERGED, HIDDEN, REMOVES = "provides", "merged", "hidden", "removes"


class Layered:
    """What one layer says about a path. at: its place, 1 is the bottom. what: PROVIDES, MERGED into the directory that
    is provided above, HIDDEN, or REMOVES (it has a whiteout). why: of what is hidden, by what; of a removal, by which
    entry. status: of the entry itself; None for a removal. link: where a symbolic link points."""

    __slots__ = ("at", "link", "opaque", "status", "what", "why")

    def __init__(self, at: int, what: str, why: str, status: os.stat_result | None, link: bytes, opaque: bool) -> None:
        self.at = at
        self.what = what
        self.why = why
        self.status = status
        self.link = link
        self.opaque = opaque


class Looked:
    """A path without symbolic links before its last component, and what the layers say, top first."""

    __slots__ = ("layers", "path")

    def __init__(self, path: bytes, layers: list[Layered]) -> None:
        self.path = path
        self.layers = layers

    @property
    def provider(self) -> Layered | None:
        return next((one for one in self.layers if one.what == PROVIDES), None)


class _Own:
    """A path in one layer alone. hides: why it lets nothing through from below, "" where it does."""

    __slots__ = ("hides", "link", "opaque", "removes", "status")

    def __init__(self, hides: str) -> None:
        self.status: os.stat_result | None = None
        self.hides = hides
        self.link = b""
        self.opaque = self.removes = False


class _Cursor:
    """How far one layer follows a path: `fd` is the directory that it has come to, -1 where it ends before."""

    __slots__ = ("at", "fd", "hides", "root")

    def __init__(self, at: int, root: int) -> None:
        self.at = at
        self.root = root
        self.fd = os.dup(root)
        self.hides = ""

    def leave(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def start(self) -> _Own:
        """Back at the root."""
        self.leave()
        self.fd, self.hides = os.dup(self.root), ""
        own = _Own("")
        own.status = os.fstat(self.fd)
        return own

    def enter(self, name: bytes, path: str) -> _Own:
        """One component on; `path` is how it is called in full."""
        own = _Own(self.hides)
        if self.fd < 0:
            return own
        try:
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                raise
            self.leave()
            return own
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            own.status, own.opaque = status, self._opaque(name)
            if own.opaque and not self.hides:
                self.hides = own.hides = f"by layer {self.at}, in which {path} is an opaque directory"
            self.leave()
            self.fd = fd
            return own
        if is_whiteout(status):
            own.removes = True
            self.hides = own.hides = self.hides or f"by layer {self.at}, which has a whiteout of {path}"
        else:
            own.status = status
            own.link = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else b""
            own.hides = self.hides or f"by layer {self.at}, which has it"
            self.hides = self.hides or f"by layer {self.at}, in which {path} is no directory"
        os.close(fd)
        self.leave()
        return own

    def _opaque(self, name: bytes) -> bool:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            return is_opaque(fd)
        finally:
            os.close(fd)


def look(layers: tuple[str, ...], path: bytes) -> list[Looked]:
    """`path` step by step: each symbolic link on the way, then what it leads to, last. `layers` bottom first.

    InvalidValue for a path that is too long, or that has too many links.
    """
    if len(path) > PATH_LIMIT or b"\0" in path:
        raise InvalidValue("the path is too long or holds a NUL", f"at most {PATH_LIMIT} bytes")
    cursors: list[_Cursor] = []
    try:
        for at, layer in enumerate(layers, 1):
            root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            cursors.insert(0, _Cursor(at, root))
        return _resolve(cursors, path)
    finally:
        for cursor in cursors:
            cursor.leave()
            os.close(cursor.root)


def _resolve(cursors: list[_Cursor], path: bytes) -> list[Looked]:
    rest = _parts(path)
    done: list[bytes] = []
    steps: list[Looked] = []
    found = _replayed(cursors, done)
    while rest:
        part = rest.pop(0)
        if part == b"..":
            done = done[:-1]
            found = _replayed(cursors, done)
            continue
        found = _entered(cursors, [*done, part])
        provider = found.provider
        if provider is None:  # what the layers say about the rest explains why
            for name in rest:
                if name != b"..":
                    done.append(part)
                    part = name
                    found = _entered(cursors, [*done, part])
            return [*steps, found]
        if provider.link:
            steps.append(found)
            rest[:0] = _parts(provider.link)
            done = [] if provider.link.startswith(b"/") else done
            if len(steps) > LINKS_LIMIT or len(rest) > PATH_LIMIT:
                raise InvalidValue("too many symbolic links in the path", "see them: minirt image which of each")
            found = _replayed(cursors, done)
        else:
            done.append(part)
    return [*steps, found]


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part and part != b"."]


def _replayed(cursors: list[_Cursor], done: list[bytes]) -> Looked:
    """Every layer from its root along `done`."""
    found = _merged(b"/", [(cursor.at, cursor.start()) for cursor in cursors])
    for count in range(1, len(done) + 1):
        found = _entered(cursors, done[:count])
    return found


def _entered(cursors: list[_Cursor], parts: list[bytes]) -> Looked:
    """Every layer one component on, the last of `parts`."""
    path = b"/" + b"/".join(parts)
    shown = path.decode(errors="backslashreplace")
    return _merged(path, [(cursor.at, cursor.enter(parts[-1], shown)) for cursor in cursors])


def _merged(path: bytes, owns: list[tuple[int, _Own]]) -> Looked:
    """What the layers together make of a path whose parents are directories; top first."""
    found: list[Layered] = []
    provider: _Own | None = None
    hidden = ""
    for at, own in owns:
        if own.removes:
            what = REMOVES if provider is None and not hidden else HIDDEN
            found.append(Layered(at, what, hidden or own.hides, None, b"", False))
        elif own.status is not None:
            what = HIDDEN if hidden else (MERGED if provider is not None else PROVIDES)
            why = hidden
            if what == MERGED and not stat.S_ISDIR(own.status.st_mode):
                what, why = HIDDEN, "by the directory above it"
            found.append(Layered(at, what, why, own.status, own.link, own.opaque))
            provider = provider or (own if not hidden else None)
        hidden = hidden or own.hides
    return Looked(path, found)
