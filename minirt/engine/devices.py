# SPDX-License-Identifier: Apache-2.0
"""The host's device nodes, for --privileged and --device (runtime-spec config-linux.md, "Devices"; devices(8) of /dev).

Imported only by a `create` that wants some. Must not import runtime or kernel.
"""

from __future__ import annotations

import os
import stat

from minirt.errors import InvalidValue
from minirt.plan import defaults

_SKIPPED_DIRECTORIES = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_MADE_ANYWAY = frozenset((*(name for name, *_ in defaults.DEVICES), "console", "ptmx"))


def of_host(directory: str = "/dev") -> list[dict[str, object]]:
    """Every character and block device below /dev that a container does not get anyway, without following a link."""
    found: list[dict[str, object]] = []
    pending = [directory]
    while pending:
        here = pending.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) and entry.name not in _SKIPPED_DIRECTORIES:
                pending.append(entry.path)
            elif here == directory and entry.name in _MADE_ANYWAY:
                continue
            elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                found.append(_node(entry.path, status))
    return found


def named(path: str, inside: str) -> list[dict[str, object]]:
    """What --device names: a node, or all of them below a directory. InvalidValue in Docker's words."""
    about = f'error gathering device information while adding custom device "{path}"'
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidValue(f"{about}: {os.strerror(error.errno or 0).lower()}", "ls -l /dev") from error
    if stat.S_ISDIR(status.st_mode):
        found = [{**node, "path": inside + str(node["path"]).removeprefix(path)} for node in of_host(path)]
        if not found:
            raise InvalidValue(f"{about}: no device nodes below it", "ls -l /dev")
        return found
    if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise InvalidValue(f"{about}: not a device node", "ls -l /dev")
    return [{**_node(path, status), "path": inside}]


def _node(path: str, status: os.stat_result) -> dict[str, object]:
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
