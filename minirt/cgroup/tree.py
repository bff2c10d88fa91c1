# SPDX-License-Identifier: Apache-2.0
"""The cgroup v2 tree: one directory per container (home.py says where; cgroups(7), cgroup-v2.rst).

A container's cgroup groups its processes so that all of them can be counted, frozen and killed, whatever they
fork. Works on a pure v2 host and on a hybrid one, where v1 controllers are mounted beside the v2 tree: grouping,
freezing and killing need no controller. Every wait is bounded. Knows nothing of kernel, plan or runtime.
"""

from __future__ import annotations

import os
import select
import time
from _signal import SIGKILL, pidfd_send_signal  # type: ignore[import-not-found]  # signal costs an enum
from errno import EAGAIN, EBUSY, EINTR, ENODEV, ENOENT, ENOTEMPTY, EOPNOTSUPP

from minirt.errors import HostError

PARENT = "minirt"  # without systemd all our cgroups lie below <mount>/minirt
_GONE = (ENOENT, ENODEV)  # removed before, and removed while one of its files was open


def mount_point(mountinfo: str = "/proc/self/mountinfo") -> str:
    """Where the v2 tree is mounted: /sys/fs/cgroup, on a hybrid host /sys/fs/cgroup/unified. HostError if nowhere."""
    with open(mountinfo, "rb", buffering=0) as file:
        text = file.read()
    for line in text.splitlines() if b" - cgroup2 " in text else ():
        fields, _, filesystem = line.partition(b" - ")
        if filesystem.startswith(b"cgroup2 "):
            return os.fsdecode(_unescape(fields.split(b" ")[4]))
    raise HostError(
        "no cgroup v2 hierarchy is mounted",
        "mount it: mount -t cgroup2 none /sys/fs/cgroup (or boot with systemd.unified_cgroup_hierarchy=1)",
    )


def delegates_namespaces(mountinfo: str = "/proc/self/mountinfo") -> bool:
    """Whether the v2 tree is mounted with nsdelegate: then a cgroup namespace's root keeps its limits from those inside
    (cgroup-v2.rst, "Mounting")."""
    with open(mountinfo) as file:
        lines = [line.rstrip("\n").rpartition(" - ")[2].split(" ") for line in file if " - cgroup2 " in line]
    return any("nsdelegate" in line[-1].split(",") for line in lines)


def of(pid: int) -> str | None:
    """The directory of the cgroup that a process is in. None: it is gone, or in one that we cannot see."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            found = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "/..")
    except OSError:
        return None
    return None if "/.." in found or found.endswith(" (deleted)") else mount_point() + found.rstrip("/")


def _unescape(field: bytes) -> bytes:
    """proc_pid_mountinfo(5): blank, tab, newline and backslash appear as three octal digits."""
    for code, byte in ((rb"\040", b" "), (rb"\011", b"\t"), (rb"\012", b"\n"), (rb"\134", b"\\")):
        field = field.replace(code, byte)
    return field


def create(parent: str, name: str) -> str:
    """Make <parent>/<name> and whatever lacks above it. The last container's end removes an empty parent at the
    same time as the next one's start makes it, so a vanished parent is made again. FileExistsError if taken,
    HostError if it cannot be made."""
    path = f"{parent}/{name}"
    for _ in range(100):
        try:
            os.mkdir(path, 0o755)
            return path
        except FileNotFoundError:
            try:
                os.makedirs(parent, 0o755, exist_ok=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise cannot_create(path, error) from error
        except FileExistsError:
            raise
        except OSError as error:
            raise cannot_create(path, error) from error
    raise HostError(f'cannot create the cgroup "{path}": its parent keeps vanishing')


def cannot_create(path: str, error: OSError) -> HostError:
    why = os.strerror(error.errno or 0).lower()
    return HostError(
        f'cannot create the cgroup "{path}": {why}',
        "the cgroup v2 tree must be writable; see also cgroup.max.descendants above it",
    )


def remove(path: str, timeout_s: float = 2.0) -> bool:
    """Remove a cgroup with all cgroups that were made below it, deepest first, then an empty parent. A cgroup is
    busy until its last dead process is reaped: that is waited for. False: still busy after `timeout_s`.

    Walks by one descriptor and "..", so neither the depth nor the length of names that a container chose counts.
    """
    deadline = time.monotonic() + timeout_s
    parent, name = os.path.split(path)
    try:
        above = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        while not _rmdir(above, name):
            if time.monotonic() > deadline:
                return False
            if not _remove_below(above, name, deadline):
                time.sleep(0.001)
    finally:
        os.close(above)
    if os.path.basename(parent) == PARENT:
        try:
            os.rmdir(parent)
        except OSError:
            pass  # in use by another container, or removed by its end: both are fine
    return True


def _rmdir(directory: int, name: str) -> bool:
    """True: it is gone. False: busy, or cgroups lie below it."""
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (EBUSY, ENOTEMPTY, EAGAIN, EINTR):
            return False
        if error.errno not in _GONE:
            raise
    return True


def _remove_below(directory: int, name: str, deadline: float) -> bool:
    """Remove the cgroups below `name` once, depth first. True: at least one went."""
    removed = False
    here = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    names: list[str] = []  # the way down from `name` to `here`
    busy: list[set[str]] = [set()]  # on each level of it: the children that would not go
    try:
        while time.monotonic() < deadline:
            child = _child(here, busy[-1])
            if child is not None:
                here = _move(here, child)
                names.append(child)
                busy.append(set())
            elif names:
                here = _move(here, "..")
                busy.pop()
                if _rmdir(here, done := names.pop()):
                    removed = True
                else:
                    busy[-1].add(done)
            else:
                break
    finally:
        os.close(here)
    return removed


def _move(here: int, name: str) -> int:
    """Exchange one directory for another below or above it."""
    there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
    os.close(here)
    return there


def _child(directory: int, skip: set[str]) -> str | None:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.name not in skip:
                return entry.name
    return None


def kill(path: str) -> bool:
    """SIGKILL to every process in the cgroup and below it, frozen ones too. False: there is no such cgroup.

    cgroup.kill does it at once and leaves no room for a fork. A threaded cgroup refuses it (EOPNOTSUPP): there
    the members are frozen, so that none forks, and killed one by one.
    """
    try:
        write(path, "cgroup.kill", "1")
    except OSError as error:
        if error.errno in _GONE and not os.path.isdir(path):
            return False
        if error.errno not in (EOPNOTSUPP, ENOENT):
            raise
        return _kill_each(path)
    return True


def _kill_each(path: str, rounds: int = 50) -> bool:
    """Kill by pidfd what cgroup.procs lists, until it lists nobody, here and in every cgroup below."""
    try:
        write(path, "cgroup.freeze", "1")
        for _ in range(rounds):
            members = processes(path)
            for pid in members:
                _kill_process(pid)
            if not members:
                break
            time.sleep(0.002)
        write(path, "cgroup.freeze", "0")
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return os.path.isdir(path)
    return True


def _kill_process(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        pidfd_send_signal(pidfd, SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def processes(path: str) -> list[int]:
    """The processes in the cgroup and in all below it, as pids of our own pid namespace (those of none are 0: left
    out). Empty where there is no cgroup. Walks as `remove` does: a container chooses depth and names."""
    found: list[int] = []
    try:
        here = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return found
    below: list[list[str]] = []  # on each level of the way down: the children that are still to be looked at
    try:
        found += _members(here)
        below.append(_children(here))
        while below:
            if not below[-1]:
                below.pop()
                here = _move(here, "..") if below else here
                continue
            try:
                here = _move(here, below[-1].pop())
            except FileNotFoundError:
                continue
            found += _members(here)
            below.append(_children(here))
    except FileNotFoundError:
        pass  # the way back is gone as well: the container has ended
    finally:
        os.close(here)
    return found


def _children(directory: int) -> list[str]:
    """The last one first."""
    with os.scandir(directory) as entries:
        return sorted((entry.name for entry in entries if entry.is_dir(follow_symlinks=False)), reverse=True)


def _members(directory: int) -> list[int]:
    """What cgroup.procs lists; nothing where the cgroup is gone, or threaded."""
    try:
        file = os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            parts = []
            while part := os.read(file, 65536):
                parts.append(part)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in (*_GONE, EOPNOTSUPP):
            return []
        raise
    return [pid for pid in map(int, b"".join(parts).split()) if pid]


def populated(path: str) -> bool:
    """Whether a live process is in the cgroup or below it (cgroup.events). False where there is no cgroup."""
    return event(path, "populated") == 1


def wait_event(path: str, key: str, value: int, timeout_s: float) -> bool:
    """Wait until `key` of cgroup.events has `value`, or the cgroup is gone. False: not within `timeout_s`.

    The kernel wakes POLLPRI on every change of cgroup.events.
    """
    deadline = time.monotonic() + timeout_s
    try:
        file = os.open(f"{path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        poll = select.poll()
        poll.register(file, select.POLLPRI)
        while True:
            try:
                text = os.pread(file, 4096, 0).decode()
            except OSError as error:
                if error.errno in _GONE:
                    return True
                raise
            if _value(text, key) == value:
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            # A cgroup removed meanwhile may leave a poller asleep: look again four times a second.
            poll.poll(min(left_s, 0.25) * 1000)
    finally:
        os.close(file)


def event(path: str, key: str) -> int | None:
    """One number of cgroup.events. None where there is no cgroup or no such key."""
    try:
        return _value(read(path, "cgroup.events"), key)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _value(text: str, key: str) -> int | None:
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == key:
            return int(number)
    return None


def read(path: str, name: str) -> str:
    """The text of one file of a cgroup."""
    file = os.open(f"{path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(file, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(file)


def optional(path: str, name: str) -> str | None:
    """The text of one file of a cgroup. None where there is no such file: no cgroup, no controller, no PSI."""
    try:
        return read(path, name)
    except OSError as error:
        if error.errno in (*_GONE, EOPNOTSUPP):
            return None
        raise


def numbers(text: str) -> dict[str, int]:
    """A flat keyed file (cgroup-v2.rst, "Format"): one "key number" in each line."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found


def limit(text: str | None) -> int | None:
    """A limit as a file of a cgroup has it; None for "max" and where there is no file."""
    return None if text is None or text.strip() == "max" else int(text)


def write(path: str, name: str, text: str) -> None:
    """One write(2) to one file of a cgroup: never creates it."""
    file = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
