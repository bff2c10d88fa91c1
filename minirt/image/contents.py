# SPDX-License-Identifier: Apache-2.0
"""What one unpacked layer holds, counted: files, directories, links, devices, whiteouts (overlayfs.rst, layer.md).

Layers are hostile: the walk is by descriptors, follows nothing, and is as deep as they are. Nothing here writes.
"""

from __future__ import annotations

import os
import stat

from minirt.errors import StoreError
from minirt.image.overlay import is_opaque, is_whiteout

_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Contents:
    """entries: of everything below the layer's root. bytes: of regular files, each hard link once."""

    __slots__ = ("_seen", "bytes", "directories", "files", "opaque", "others", "symlinks", "whiteouts")

    def __init__(self) -> None:
        self.files = self.directories = self.symlinks = self.others = self.whiteouts = self.opaque = self.bytes = 0
        self._seen: set[int] = set()

    @property
    def entries(self) -> int:
        return self.files + self.directories + self.symlinks + self.others + self.whiteouts

    def count(self, status: os.stat_result) -> None:
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            self.directories += 1
        elif stat.S_ISLNK(mode):
            self.symlinks += 1
        elif is_whiteout(status):
            self.whiteouts += 1
        elif stat.S_ISREG(mode):
            self.files += 1
            if status.st_nlink == 1 or status.st_ino not in self._seen:
                self.bytes += status.st_size
            if status.st_nlink > 1:
                self._seen.add(status.st_ino)
        else:
            self.others += 1


def contents(path: str) -> Contents:
    """StoreError where the layer directory cannot be read."""
    found = Contents()
    try:
        here = os.open(path, _LISTED)
        try:
            waiting = [_level(here, found)]
            while waiting:
                if waiting[-1]:
                    here = _step(here, waiting[-1].pop())
                    waiting.append(_level(here, found))
                else:
                    waiting.pop()
                    here = _step(here, "..") if waiting else here
        finally:
            os.close(here)
    except OSError as error:
        raise StoreError(f"read the layer {path!r}: {error.strerror}", "minirt system check") from error
    return found


def _step(here: int, name: str) -> int:
    inner = os.open(name, _LISTED, dir_fd=here)
    os.close(here)
    return inner


def _level(here: int, found: Contents) -> list[str]:
    """Counts one directory; its own directories by name."""
    found.opaque += is_opaque(here)
    names = []
    with os.scandir(here) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            found.count(status)
            if stat.S_ISDIR(status.st_mode):
                names.append(entry.name)
    return names
