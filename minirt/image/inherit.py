# SPDX-License-Identifier: Apache-2.0
"""Directories that a layer uses without describing them look as they did in the layer below (layer.md,
overlayfs.rst).

A layer may hold "tmp/file" and no "tmp/". On one tree /tmp keeps its mode; on an overlay the upper directory's mode
counts, and a plain one would turn 1777 into 0755. So owner, mode and time are copied from the nearest layer below that
shows the directory, and those of the root from the layer below. A layer directory is shared by diff-id, so this is as
true as the first image that brought it.
"""

from __future__ import annotations

import errno
import os
import stat

from minirt.image.overlay import is_opaque
from minirt.image.staging import Staging
from minirt.kernel import rooted

_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def inherit(staging: Staging, diff_ids: list[str]) -> None:
    """Dresses the undescribed directories of the layers staged here; `diff_ids` bottom first."""
    for at, diff_id in enumerate(diff_ids):
        record, path = staging.layers[diff_id], staging.layer_path(diff_id)
        if path == staging.layout.layer_path(diff_id) or not at:
            continue
        if record.root is None:
            _dress(path, b".", os.stat(staging.layer_path(diff_ids[at - 1])))
        for name in record.implicit:
            below = _seen(name, [staging.layer_path(lower) for lower in reversed(diff_ids[:at])])
            if below is not None:
                _dress(path, name, below)


def _seen(name: bytes, layers: list[str]) -> os.stat_result | None:
    """The directory `name` as these layers show it, top first; None where they show none."""
    for layer in layers:
        root = os.open(layer, _LISTED)
        try:
            found, ends = _look(root, name)
        finally:
            os.close(root)
        if found is not None or ends:
            return found
    return None


def _look(root: int, name: bytes) -> tuple[os.stat_result | None, bool]:
    """What one layer has there, and whether it hides what lower ones have: by a whiteout or any other thing that
    is no directory on the way, or by an opaque directory."""
    parts = name.split(b"/")
    hides = False
    for depth in range(1, len(parts) + 1):
        try:
            fd = rooted.open_in_root(root, b"/".join(parts[:depth]), _LISTED, no_symlinks=True)
        except OSError as error:
            return None, hides or error.errno != errno.ENOENT
        try:
            hides = hides or is_opaque(fd)
            found = os.fstat(fd)
        finally:
            os.close(fd)
    return found, True


def _dress(layer: str, name: bytes, like: os.stat_result) -> None:
    root = os.open(layer, _LISTED)
    try:
        fd = rooted.open_in_root(root, name, _LISTED, no_symlinks=True)
    except OSError:
        return  # a later entry of the layer replaced it
    finally:
        os.close(root)
    try:
        os.fchown(fd, like.st_uid, like.st_gid)
        os.fchmod(fd, stat.S_IMODE(like.st_mode))
        os.utime(fd, ns=(like.st_mtime_ns, like.st_mtime_ns))
    finally:
        os.close(fd)
