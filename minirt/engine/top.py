# SPDX-License-Identifier: Apache-2.0
"""`top`: the processes of a container as the host sees them (docker-top(1); proc_pid_stat(5), cgroups(7)).

Read from /proc of the processes in the container's cgroup. No `ps` runs, neither the host's nor one inside: names
and arguments are hostile, so /proc/<pid>/stat is split at its last ")" and what cannot be printed is escaped.
"""

from __future__ import annotations

import os
import time

from minirt.cgroup import tree
from minirt.engine import lifecycle, reconcile
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.store import Engine

LIMIT = 10_000  # processes that are shown
COMMAND_BYTES = 4096
FULL = ("uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd")


class _Process:
    """What ps(1) shows of one process. start, utime, stime in clock ticks."""

    __slots__ = ("arguments", "fields", "name", "pid", "uid")

    def __init__(self, pid: int, name: str, fields: list[str], uid: int, arguments: str) -> None:
        self.pid = pid
        self.name = name
        self.fields = fields  # of /proc/<pid>/stat from the third ("state") on
        self.uid = uid
        self.arguments = arguments

    def number(self, field: int) -> int:
        """Field `field` of proc_pid_stat(5), counted from 1."""
        return int(self.fields[field - 3])


class Clock:
    """The host's moment in ticks since boot."""

    __slots__ = ("now_s", "rate", "up_s")

    def __init__(self) -> None:
        self.rate = os.sysconf("SC_CLK_TCK")
        self.up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.now_s = time.time()

    def age_s(self, process: _Process) -> float:
        return max(0.0, self.up_s - process.number(22) / self.rate)

    def used_s(self, process: _Process) -> float:
        return (process.number(14) + process.number(15)) / self.rate


def top(engine: Engine, ref: str, arguments: list[str] | tuple[str, ...] = ()) -> tuple[list[str], list[list[str]]]:
    """(titles, one list of words per process). arguments: none, -ef, or -o with names of columns.

    Raises NotFound, Conflict (not running), InvalidValue.
    """
    columns = _columns(list(arguments))
    row = engine.find(ref)
    lifecycle.after(reconcile.look(engine, row).status, "top", row.id, row.name)
    processes = [_read(pid) for pid in tree.processes(engine.cgroup(row.id))[:LIMIT]]
    clock = Clock()
    rows = [[COLUMNS[name][1](process, clock) for name in columns] for process in processes if process]
    return [COLUMNS[name][0] for name in columns], rows


def _columns(arguments: list[str]) -> list[str]:
    if not arguments or arguments in (["-ef"], ["-fe"], ["ef"], ["-e", "-f"], ["-f"]):
        return list(FULL)
    text = ""
    if arguments[0] in ("-o", "-eo", "o", "eo") and len(arguments) == 2:
        text = arguments[1]
    elif arguments[0].startswith("-o") and len(arguments) == 1:
        text = arguments[0][2:]
    names = text.split(",") if text else []
    unknown = [name for name in names if name not in COLUMNS]
    if not names or unknown:
        shown = ", ".join(unknown) or " ".join(arguments)
        raise InvalidValue(f'ps option not supported: "{shown}"', "-ef, or -o with some of: " + ",".join(COLUMNS))
    return names


def _read(pid: int) -> _Process | None:
    """None: it has ended meanwhile."""
    try:
        stat = _file(pid, "stat", 4096)
        arguments = _file(pid, "cmdline", COMMAND_BYTES)
        uid = os.stat(f"/proc/{pid}").st_uid
        status = _file(pid, "status", 4096)
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, fields = split(stat)
    for line in status.split(b"\n"):
        if line.startswith(b"Uid:"):
            uid = int(line.split()[2])  # effective: the directory of a process that is not dumpable is root's
    words = [printable(word) for word in arguments.rstrip(b"\0").split(b"\0")] if arguments else [f"[{name}]"]
    return _Process(pid, name, fields, uid, " ".join(words))


def _file(pid: int, name: str, limit: int) -> bytes:
    fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


def split(stat: bytes) -> tuple[str, list[str]]:
    """(name, the fields after it) of /proc/<pid>/stat: a name may hold blanks, newlines and parentheses."""
    head, _, tail = stat.rpartition(b")")
    return printable(head.partition(b"(")[2]), tail.decode("ascii", "replace").split()


def printable(text: bytes) -> str:
    """No control character reaches the terminal: \\x1b for ESC, as ls -b writes it."""
    decoded = text.decode("utf-8", "backslashreplace")
    if decoded.isprintable():
        return decoded
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in decoded)


def _started(process: _Process, clock: Clock) -> str:
    age_s = clock.age_s(process)
    return time.strftime("%H:%M" if age_s < 86400 else "%b%d", time.localtime(clock.now_s - age_s))


def _share(process: _Process, clock: Clock) -> str:
    return str(min(99, int(100 * clock.used_s(process) / max(clock.age_s(process), 0.01))))


def _used(process: _Process, clock: Clock) -> str:
    seconds = int(clock.used_s(process))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _terminal(process: _Process, _: Clock) -> str:
    device = process.number(7)
    major, minor = os.major(device), os.minor(device)
    if device == 0:
        return "?"
    return f"pts/{minor}" if major == 136 else f"tty{minor}" if major == 4 else "?"


COLUMNS: dict[str, tuple[str, Callable[[_Process, Clock], str]]] = {
    "uid": ("UID", lambda process, _: str(process.uid)),
    "user": ("USER", lambda process, _: str(process.uid)),
    "pid": ("PID", lambda process, _: str(process.pid)),
    "ppid": ("PPID", lambda process, _: process.fields[1]),
    "pgid": ("PGID", lambda process, _: process.fields[2]),
    "sid": ("SID", lambda process, _: process.fields[3]),
    "state": ("S", lambda process, _: process.fields[0]),
    "stat": ("STAT", lambda process, _: process.fields[0]),
    "c": ("C", _share),
    "nice": ("NI", lambda process, _: process.fields[16]),
    "rss": ("RSS", lambda process, _: str(process.number(24) * os.sysconf("SC_PAGE_SIZE") // 1024)),
    "vsz": ("VSZ", lambda process, _: str(process.number(23) // 1024)),
    "stime": ("STIME", _started),
    "tty": ("TTY", _terminal),
    "time": ("TIME", _used),
    "comm": ("COMMAND", lambda process, _: process.name),
    "cmd": ("CMD", lambda process, _: process.arguments),
    "args": ("COMMAND", lambda process, _: process.arguments),
}
