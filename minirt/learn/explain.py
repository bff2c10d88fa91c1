# SPDX-License-Identifier: Apache-2.0
"""A plan made readable: who makes each call, what asked for it, what it isolates, how long it took, where to read on.

`minirt plan` shows it before a birth, `run --explain` after it; both show the steps that are executed, because
there is no other list. The text of a call is plan/text.py's. Pure but for `save` and `load`. Must not import cli.
"""

from __future__ import annotations

import os

from minirt.errors import StoreError
from minirt.model import json
from minirt.plan import text
from minirt.plan.step import HOST, INIT, MONITOR, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACTORS = {
    HOST: "the caller, minirt itself: root, in the host's namespaces",
    MONITOR: "minirt-monitor, the container's parent: root, in the host's namespaces",
    INIT: "pid 1 in the new namespaces, losing its powers step by step, until execve makes it the workload",
}
KINDS = {
    "root": "the file system that becomes / inside",
    "mount": "what is mounted below it; nothing of it shows in the host's mount table",
    "device": "the few devices of a container's /dev, and no others",
    "mask": "files of /proc and /sys that would tell about the host, or change it",
    "pid": "processes of its own: the first one inside is number 1, those of the host are not there",
    "network": "interfaces, addresses, ports of its own",
    "uts": "a host name of its own",
    "ipc": "message queues, semaphores and shared memory of its own",
    "cgroup": "a group of processes that is counted, frozen and killed as one",
    "time": "clocks since boot of its own",
    "user": "users that are somebody else outside",
    "identity": "who the workload is: user, groups, umask, directory",
    "capability": "the pieces of root's power that stay, and those that are given up for good",
    "seccomp": "the system calls that the kernel still answers",
    "limit": "resource limits of the process",
    "console": "the terminal inside",
    "stdio": "standard input, output and error, and no other descriptor",
    "sysctl": "kernel parameters that belong to its namespaces",
    "exec": "the workload's own program",
}
_WIDEST = 96  # columns for a call; a longer one pushes the rest of its line to the right


class Line:
    """One step as shown. call: its text. asked: a JSON pointer into config.json, a flag, or both. nanoseconds:
    how long it took, None when nobody measured."""

    __slots__ = ("actor", "asked", "call", "kind", "manual", "nanoseconds", "number")

    def __init__(
        self,
        number: int,
        actor: str,
        call: str,
        kind: str,
        asked: str,
        manual: str,
        nanoseconds: int | None,
    ) -> None:
        self.number = number
        self.actor = actor
        self.call = call
        self.kind = kind
        self.asked = asked
        self.manual = manual
        self.nanoseconds = nanoseconds

    def document(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in Line.__slots__}


def lines(
    plan: Plan, durations_ns: list[int | None] | None = None, origins: dict[str, str] | None = None
) -> list[Line]:
    """Every step in order. origins: {JSON pointer: flag} where a flag of the command line is behind a pointer."""
    found = []
    for index, step in enumerate(plan.steps):
        flag = (origins or {}).get(step.pointer, "")
        asked = f"{step.pointer} ({flag})" if flag else step.pointer
        took = durations_ns[index] if durations_ns else None
        found.append(Line(index + 1, step.actor, text.describe(step), step.kind, asked, text.manual(step), took))
    return found


def listing(found: list[Line]) -> str:
    """The steps in the order in which they happen, a heading whenever another process goes on."""
    return _table(
        found,
        [(line.actor, f"{line.actor}: {ACTORS[line.actor]}") for line in found],
    )


def by_kind(found: list[Line]) -> str:
    """The same steps by what they isolate, each group with a sentence; their numbers tell the order."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    found = sorted(found, key=lambda line: (order.get(line.kind, len(order)), line.number))
    return _table(
        found,
        [(line.kind, f"{line.kind}: {KINDS.get(line.kind, '')}".rstrip(": ")) for line in found],
    )


def _table(found: list[Line], headings: list[tuple[str, str]]) -> str:
    """Two levels of headings: the process or the kind, then what asked for the steps that follow."""
    measured = any(line.nanoseconds is not None for line in found)
    digits = len(str(len(found)))
    calls = min(max([len(line.call) for line in found], default=0), _WIDEST)
    out, before, asker = "", "", ("", "")
    for line, (key, heading) in zip(found, headings, strict=True):
        if key != before:
            out += f"{chr(10) if out else ''}{heading}\n"
            before, asker = key, ("", "")
        if (line.kind, line.asked) != asker:
            asker = (line.kind, line.asked)
            names = [name for name in (line.kind, line.asked and f"asked for by {line.asked}") if name]
            heading = ", ".join(names[1:] if key == line.kind else names)
            out += f"  {heading}\n" if heading else ""
        took = f"{_microseconds(line.nanoseconds):>10}  " if measured else ""
        out += f"  {line.number:>{digits + 2}}  {took}{line.call:<{calls}}  {line.manual}\n"
    return out + "\n" + _total(found, measured)


def _total(found: list[Line], measured: bool) -> str:
    count = f"{len(found)} system calls"
    if not measured:
        return count + "\n"
    total = sum(line.nanoseconds or 0 for line in found)
    slowest = sorted(found, key=lambda line: line.nanoseconds or 0, reverse=True)[:3]
    names = ", ".join(f"{line.number} {line.call.partition('(')[0]}" for line in slowest)
    note = "the first step of each process includes the time to start it\n"
    return f"{count} in {total / 1e6:.2f} ms; the longest: {names}\n{note}"


def _microseconds(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1000:.1f} µs"


def document(found: list[Line]) -> list[dict[str, object]]:
    """For --json: one object for each step."""
    return [line.document() for line in found]


def save(path: str, found: list[Line]) -> None:
    """Store with the container; appears by rename."""
    new = f"{path}.new"
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(document(found)))
        os.rename(new, path)
    except OSError as error:
        raise StoreError(f'cannot write "{path}": {os.strerror(error.errno or 0)}') from error


def load(path: str) -> list[Line] | None:
    """What `save` stored; None when this container was not started with --explain."""
    try:
        with open(path, encoding="utf-8") as file:
            found: list[dict[str, Any]] = json.loads(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f'cannot read "{path}": {os.strerror(error.errno or 0)}') from error
    try:
        return [Line(*[entry[name] for name in _ORDER]) for entry in found]
    except (KeyError, TypeError):
        raise StoreError(f'"{path}" is damaged', "run the container again with --explain") from None


_ORDER = ("number", "actor", "call", "kind", "asked", "manual", "nanoseconds")
