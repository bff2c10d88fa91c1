# SPDX-License-Identifier: Apache-2.0
"""`events`: reading <state>/events from a moment on, and what is appended, as long as somebody listens (inotify(7)).

The file is events, and what it was before its last rotation events.1 (csrc/events.h). A reader watches the directory
before it opens anything, so nothing comes unseen between; it keeps the older file open beside the younger, because a
writer may have opened that before it was renamed. Must not import plan, runtime or image.
"""

from __future__ import annotations

import os
import time

from minirt.engine import events
from minirt.errors import HostError, InvalidValue
from minirt.kernel.events import Watch
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirt.engine.store import Engine

CHUNK_BYTES = 65536
REST_LIMIT_BYTES = 1 << 20  # nobody writes such a line
BEGIN = b'{"timeNano":'
SECOND = 1_000_000_000


class Event:
    """time_ns since the epoch; kind: "container", "image", "network" or "volume"."""

    __slots__ = ("action", "attributes", "id", "kind", "time_ns")

    def __init__(self, time_ns: int, kind: str, action: str, identity: str, attributes: dict[str, str]) -> None:
        self.time_ns = time_ns
        self.kind = kind
        self.action = action
        self.id = identity
        self.attributes = attributes


def follow(engine: Engine, since_ns: int | None = None, until_ns: int | None = None) -> Iterator[Event]:
    """What happens from now on, or has happened since since_ns; without end, or to until_ns. With until_ns alone, from
    the first that is known. Raises HostError where nothing can be watched."""
    engine.roots.prepare()
    try:
        watch = Watch(engine.roots.state)
    except OSError as error:
        raise HostError(
            f'cannot watch "{engine.roots.state}": {os.strerror(error.errno or 0).lower()}',
            "see /proc/sys/fs/inotify/max_user_instances and max_user_watches",
        ) from error
    with watch:
        reader = Reader(events.path(engine), since_ns is not None or until_ns is not None)
        try:
            while True:
                now_ns = time.time_ns()
                for event in reader.present():
                    if (since_ns or 0) <= event.time_ns and (until_ns is None or event.time_ns <= until_ns):
                        yield event
                if until_ns is not None and now_ns >= until_ns:
                    return
                if not watch.wait(None if until_ns is None else (until_ns - now_ns) / SECOND):
                    return  # somebody has removed the state directory
        finally:
            reader.close()


class Reader:
    """history: from the oldest line that there is; else from the end."""

    __slots__ = ("_files", "_path")

    def __init__(self, path: str, history: bool) -> None:
        self._path = path
        self._files: list[_File] = []  # at most two, the older first
        present, older = _open(path), _open(f"{path}.1")
        for descriptor in (older, present):
            self._add(descriptor)
        for file in () if history else self._files:
            os.lseek(file.fd, 0, os.SEEK_END)

    def close(self) -> None:
        while self._files:
            os.close(self._files.pop().fd)

    def present(self) -> Iterator[Event]:
        """All that has been written by now and was not given yet."""
        while True:
            for file in tuple(self._files):
                yield from file.events()
            if not self._advance():
                break
        for file in [file for file in self._files if os.fstat(file.fd).st_nlink == 0]:
            self._files.remove(file)  # somebody has removed it: open it would keep the directory from going
            os.close(file.fd)

    def _advance(self) -> bool:
        """Whether there is a younger file than ours; it is opened then. Where there are two, both are."""
        try:
            there = _identity(os.stat(self._path, follow_symlinks=False))
        except FileNotFoundError:
            return False
        if any(file.identity == there for file in self._files):
            return False
        self._add(_open(f"{self._path}.1"))
        self._add(_open(self._path))
        return True

    def _add(self, descriptor: int) -> None:
        """Unless it is none, or one that we have."""
        if descriptor < 0:
            return
        file = _File(descriptor)
        if any(file.identity == other.identity for other in self._files):
            os.close(descriptor)
            return
        self._files.append(file)
        if len(self._files) > 2:
            os.close(self._files.pop(0).fd)


class _File:
    __slots__ = ("_rest", "fd", "identity")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.identity = _identity(os.fstat(fd))
        self._rest = b""

    def events(self) -> Iterator[Event]:
        """From where the last call came to, to the end."""
        while data := os.read(self.fd, CHUNK_BYTES):
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()[:REST_LIMIT_BYTES]
            for line in lines:
                event = parse(line)
                if event is not None:
                    yield event


def parse(line: bytes) -> Event | None:
    """None for what is no event. A full disk may have cut a line short, and the next one follows on the same line: no
    text inside a line can begin as a line does, for its quotes are escaped there."""
    whole = line[max(line.rfind(BEGIN), 0) :]
    try:
        found = json.loads(whole)
        time_ns, *texts = [found[key] for key in ("timeNano", "Type", "Action", "ID")]
        attributes = found["Attributes"]
        strings = [*texts, *attributes.keys(), *attributes.values()]
    except (InvalidValue, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(time_ns, int) or not all(isinstance(text, str) for text in strings):
        return None
    return Event(time_ns, texts[0], texts[1], texts[2], attributes)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _identity(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)
