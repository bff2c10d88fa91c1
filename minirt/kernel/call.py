# SPDX-License-Identifier: Apache-2.0
"""System calls that Python's os lacks, under their kernel names: mount_setattr(2), openat2(2), clone(2), capget(2) …

Each takes numbers or the kernel's words ("MS_NOSUID|MS_NODEV"), returns what the call returns, and raises OSError
with errno, the call's name and the path. They are the functions of the executor's table (csrc/execute_*.c), one
call at a time. Every descriptor is close-on-exec. Must not import runtime.
"""

from __future__ import annotations

import os
from _signal import (  # type: ignore[import-not-found]  # the module signal imports enum, 4 ms
    pidfd_send_signal as _pidfd_send_signal,
)

from minirt.kernel._csrc import ffi, lib
from minirt.kernel.flat import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AT_FDCWD: int = lib.AT_FDCWD


def _error(name: str, path: str | bytes | None = None) -> OSError:
    errno = ffi.errno
    return OSError(errno, f"{name}: {os.strerror(errno)}", path)


def _do(
    name: str,
    fds: tuple[int, ...] = (),
    numbers: tuple[int | str, ...] = (),
    texts: tuple[str | bytes | None, ...] = (),
    path: str | bytes | None = None,
) -> int:
    """One function of the executor's table, its arguments by type as csrc/ops.h has them."""
    call = ffi.new("struct mrt_call *")
    call.fd[0] = call.fd[1] = call.out[0] = call.out[1] = -1
    for index, fd in enumerate(fds):
        call.fd[index] = fd
    for index, value in enumerate(numbers):
        call.num[index] = value & 0xFFFFFFFFFFFFFFFF if isinstance(value, int) else number(value)
    kept = []
    for index, text in enumerate(texts):
        if text is not None:
            data = os.fsencode(text)
            kept.append(ffi.from_buffer(data))
            call.str[index], call.len[index] = kept[-1], len(data)
    result: int = getattr(lib, "mrt_do_" + name)(call)
    if result < 0:
        raise _error(name, path)
    return result


def openat2(dirfd: int, path: str | bytes, flags: int | str, mode: int = 0, resolve: int | str = 0) -> int:
    return _do("openat2", (dirfd,), (flags, mode, resolve), (path,), path)


def open_tree(dirfd: int, path: str | bytes, flags: int | str) -> int:
    return _do("open_tree", (dirfd,), (flags,), (path,), path)


def move_mount(from_fd: int, from_path: str | bytes, to_fd: int, to_path: str | bytes, flags: int | str) -> None:
    _do("move_mount", (from_fd, to_fd), (flags,), (from_path, to_path), to_path or from_path)


def mount_setattr(
    fd: int, path: str | bytes, flags: int | str, set_: int | str = 0, clear: int | str = 0, propagation: int | str = 0
) -> None:  # fmt: skip
    _do("mount_setattr", (fd,), (flags, set_, clear, propagation), (path,), path)


def fsopen(type_: str, flags: int | str = "FSOPEN_CLOEXEC") -> int:
    return _do("fsopen", (), (flags,), (type_,), type_)


def fsconfig(
    fd: int, command: int | str, key: str | None = None, value: str | bytes | None = None, aux: int = -1
) -> None:
    _do("fsconfig", (fd, aux), (command,), (key, value), key)


def fsmount(fd: int, flags: int | str = "FSMOUNT_CLOEXEC", attributes: int | str = 0) -> int:
    return _do("fsmount", (fd,), (flags, attributes))


def mount(source: str | None, target: str, type_: str | None, flags: int | str, data: str | None = None) -> None:
    _do("mount", (), (flags,), (source, target, type_, data), target)


def umount2(target: str, flags: int | str = 0) -> None:
    _do("umount2", (), (flags,), (target,), target)


def pivot_root(new_root: str, put_old: str) -> None:
    _do("pivot_root", (), (), (new_root, put_old), new_root)


def unshare(flags: int | str) -> None:
    _do("unshare", (), (flags,))


def setns(fd: int, flags: int | str) -> None:
    _do("setns", (fd,), (flags,))


def clone3(flags: int | str, exit_signal: int | str = "SIGCHLD", cgroup: int = -1) -> tuple[int, int]:
    """(pid, pidfd) in the parent, (0, -1) in the child. The child is a copy of an interpreter that does not know
    it: it makes system calls and ends by execve or os._exit."""
    words = [value if isinstance(value, int) else number(value) for value in (flags, exit_signal)]
    pidfd = ffi.new("int *", -1)
    pid = lib.mrt_clone3(words[0], words[1], cgroup, pidfd)
    if pid < 0:
        raise _error("clone3")
    return pid, pidfd[0]


def sethostname(name: str) -> None:
    _do("sethostname", (), (), (name,))


def close_range(first: int, last: int, flags: int | str = 0) -> None:
    _do("close_range", (), (first, last, flags))


def seccomp(code: bytes, flags: int | str = 0) -> None:
    """Load a filter: struct sock_filter[]. EACCES without CAP_SYS_ADMIN and no_new_privs."""
    _do("seccomp", (), ("SECCOMP_SET_MODE_FILTER", flags), (code,))


def keyctl_join(name: str) -> None:
    """A new session keyring (keyctl_join_session_keyring(3))."""
    _do("keyctl", (), ("KEYCTL_JOIN_SESSION_KEYRING",), (name,))


def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this process, as 64-bit masks."""
    sets = ffi.new("uint64_t[3]")
    if lib.mrt_capget(sets):
        raise _error("capget")
    return sets[0], sets[1], sets[2]


def capset(effective: int, permitted: int, inheritable: int) -> None:
    _do("capset", (), (effective, permitted, inheritable))


def bounding_set() -> int:
    """The capabilities that no execve can exceed, as a mask (PR_CAPBSET_READ in prctl(2))."""
    mask = 0
    for capability in range(64):
        found = lib.prctl(lib.PR_CAPBSET_READ, ffi.cast("long", capability))
        if found < 0:  # the first one that this kernel does not know
            break
        mask |= found << capability
    return mask


def hard_limit(resource: int | str) -> int:
    """RLIM_INFINITY is 2**64 - 1 (getrlimit(2))."""
    limit = ffi.new("uint64_t *")
    if lib.mrt_hard_limit(resource if isinstance(resource, int) else number(resource), limit):
        raise _error("prlimit64")
    return int(limit[0])


def pidfd_send_signal(pidfd: int, signo: int) -> None:
    _pidfd_send_signal(pidfd, signo)


def syncfs(fd: int) -> None:
    if lib.syncfs(fd):
        raise _error("syncfs")


def write_back(fd: int, offset: int, size: int) -> None:
    """Begins to write these bytes to the disk, and does not wait (sync_file_range(2), SYNC_FILE_RANGE_WRITE)."""
    if lib.sync_file_range(fd, offset, size, lib.SYNC_FILE_RANGE_WRITE):
        raise _error("sync_file_range")


def socketpair_seqpacket() -> tuple[int, int]:
    pair: Any = ffi.new("int[2]")
    if lib.mrt_socketpair(pair):
        raise _error("socketpair")
    return pair[0], pair[1]


def connect_seqpacket(dirfd: int, name: str) -> int:
    """A connection to the socket `name` in a directory, however long the directory's own path is (unix(7))."""
    fd = lib.mrt_connect(dirfd, os.fsencode(name))
    if fd < 0:
        raise _error("connect", name)
    return fd
