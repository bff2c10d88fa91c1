# SPDX-License-Identifier: Apache-2.0
"""How much of a disk a directory tree takes: scandir(3), stat(2) st_blocks, by descriptors.

The tree may be a running container's, which renames and removes while we look: nothing is followed, and a directory
that ".." does not lead back from ends the walk, so that it never leaves the tree. Must not import anything of minirt.
"""

from __future__ import annotations

import os

BLOCK = 512  # stat(2): the unit of st_blocks, whatever the file system
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def tree(path: str) -> int:
    """The bytes that all below `path` takes, each hard link once; 0 where there is no such directory."""
    try:
        here = os.open(path, _DIRECTORY)
    except OSError:
        return 0
    seen: set[tuple[int, int]] = set()
    total, names = _level(here, seen)
    levels = [(_identity(here), names)]
    try:
        while levels:
            if levels[-1][1]:
                try:
                    below = os.open(levels[-1][1].pop(), _DIRECTORY, dir_fd=here)
                except OSError:
                    continue  # it has gone meanwhile
                os.close(here)
                here = below
                size, names = _level(here, seen)
                total += size
                levels.append((_identity(here), names))
            else:
                levels.pop()
                if levels:
                    above = os.open("..", _DIRECTORY, dir_fd=here)
                    os.close(here)
                    here = above
                    if _identity(here) != levels[-1][0]:
                        break
    finally:
        os.close(here)
    return total


def _level(here: int, seen: set[tuple[int, int]]) -> tuple[int, list[str]]:
    """What the entries of one directory take, and its directories that are on the same file system."""
    total, names, device = 0, [], os.fstat(here).st_dev
    with os.scandir(here) as found:
        for entry in found:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * BLOCK
            if entry.is_dir(follow_symlinks=False) and status.st_dev == device:
                names.append(entry.name)
    return total, names


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
