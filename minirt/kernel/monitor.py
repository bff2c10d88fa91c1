# SPDX-License-Identifier: Apache-2.0
"""Starts minirt-monitor: memfd_create(2), F_ADD_SEALS in fcntl(2), open_tree(2), mount_setattr(2), execveat(2).

A container can reach the program of each process on its way into it as /proc/<pid>/exe, and must not be able to
write it (CVE-2019-5736). So the file is executed from a mount of its own that is read-only and attached nowhere;
where such a mount cannot be made, from a sealed copy in memory. Must not import runtime.
"""

from __future__ import annotations

import fcntl
import os

from minirt.errors import HostError
from minirt.kernel import call
from minirt.kernel._csrc import ffi, lib
from minirt.kernel.flat import Flat
from minirt.kernel.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CLEAN_UP", "LOG", "RECORD", "STDIN", "STDIN_ONCE", "TTY", "Settings", "execute", "open_program", "spawn"]

TTY: int = lib.MRT_TTY
STDIN: int = lib.MRT_KEEP_STDIN
LOG: int = lib.MRT_LOG
RECORD: int = lib.MRT_RECORD
STDIN_ONCE: int = lib.MRT_STDIN_ONCE
CLEAN_UP: int = lib.MRT_CLEAN_UP

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "minirt-monitor")
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def open_program() -> int:
    """A descriptor of the monitor's file (which is minirt-init as well) that nobody can write through."""
    try:
        fd = call.open_tree(call.AT_FDCWD, PROGRAM, "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")
        try:
            call.mount_setattr(fd, "", "AT_EMPTY_PATH", "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV")
        except OSError:
            os.close(fd)
            raise
        return fd
    except FileNotFoundError:
        raise HostError(f"{PROGRAM} is missing", "install minirt again") from None
    except OSError:
        return _copy()


def _copy() -> int:
    with open(PROGRAM, "rb") as file:
        return sealed("minirt-monitor", file.read())


def sealed(name: str, data: bytes | bytearray) -> int:
    """A memfd with `data` that nobody can change any more."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def spawn(flat: Flat, keep: tuple[int, ...]) -> int:
    """Start a monitor on a plan whose host steps are done; its pid. HostError. Else as execute()."""
    plan = sealed("minirt-plan", flat.buffer)
    try:
        return execute((b"minirt:monitor", b"%d" % plan), (plan, *keep))
    finally:
        os.close(plan)


def execute(argv: Sequence[bytes], keep: Sequence[int]) -> int:
    """Start the program in the role that argv[0] names; its pid. It leads a session, has default signals, an empty
    environment, this process's 0 to 2, and the descriptors of `keep` under the same numbers. HostError."""
    program = open_program()
    try:
        texts = [ffi.new("char[]", text) for text in argv]
        spawn = ffi.new("struct mrt_spawn *")
        pointers = ffi.new("char *[]", [*texts, ffi.NULL])
        nothing = ffi.new("char *[]", [ffi.NULL])
        numbers = ffi.new("int[]", tuple(keep))
        spawn.program, spawn.argv, spawn.envp = program, pointers, nothing
        spawn.keep, spawn.keep_count = numbers, len(keep)
        pid = lib.mrt_spawn(spawn)
        if pid < 0:
            reason = os.strerror(ffi.errno).lower()
            raise HostError(f'cannot execute "{PROGRAM}": {reason}', "install minirt again")
        return pid
    finally:
        os.close(program)
