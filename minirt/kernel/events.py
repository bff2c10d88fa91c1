# SPDX-License-Identifier: Apache-2.0
"""<state>/events: appending lines to it (csrc/events.c) and waiting for what others append (inotify(7)).

Lines come from commands and from monitors, and only the kernel knows when. Must not import runtime.
"""

from __future__ import annotations

import os
import select

from minirt.kernel._csrc import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # `signal` makes enumerations: importing enum costs 4 ms

LIMIT_BYTES: int = lib.MRT_EVENTS_LIMIT
_CHANGED: int = lib.IN_MODIFY | lib.IN_DELETE
_GONE: int = lib.IN_DELETE_SELF | lib.IN_MOVE_SELF
_HEAD_BYTES = 16  # struct inotify_event without its name
_MOST_BYTES = 65536
LONGEST_WAIT_S = 86400.0  # poll(2) takes no more than 24 days at once


def append(path: str, lines: bytes, limit_bytes: int = LIMIT_BYTES) -> None:
    """Whole lines in one write(2); then the file is rotated if it has reached the limit. OSError."""
    if lib.mrt_events_append(os.fsencode(path), lines, len(lines), limit_bytes):
        raise OSError(ffi.errno, os.strerror(ffi.errno), path)


class Watch:
    """Wakes when a file in the directory is written to or removed; a context manager. A signal that has a handler in
    Python ends a wait as well, even one that comes just before it (signal.set_wakeup_fd)."""

    __slots__ = ("_before", "_fd", "_poll", "_wakers")

    def __init__(self, directory: str) -> None:
        """OSError: no such directory, or no more watches (/proc/sys/fs/inotify/max_user_watches)."""
        self._fd = lib.inotify_init1(lib.IN_CLOEXEC | lib.IN_NONBLOCK)
        if self._fd < 0:
            raise OSError(ffi.errno, os.strerror(ffi.errno), "inotify_init1")
        if lib.inotify_add_watch(self._fd, os.fsencode(directory), _CHANGED | _GONE) < 0:
            errno = ffi.errno
            os.close(self._fd)
            raise OSError(errno, os.strerror(errno), directory)
        self._wakers = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = _signal.set_wakeup_fd(self._wakers[1], warn_on_full_buffer=False)
        self._poll = select.poll()
        for descriptor in (self._fd, self._wakers[0]):
            self._poll.register(descriptor, select.POLLIN)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        _signal.set_wakeup_fd(self._before)
        for descriptor in (self._fd, *self._wakers):
            os.close(descriptor)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until something has changed since the last wait, or for so long. False: the directory is gone. The
        kernel says so once nobody has a file of it open."""
        self._poll.poll(None if timeout_s is None else max(0.0, min(timeout_s, LONGEST_WAIT_S)) * 1000)
        there = True
        for descriptor in (self._wakers[0], self._fd):
            try:
                data = os.read(descriptor, _MOST_BYTES)
            except BlockingIOError:
                continue
            there = there and (descriptor != self._fd or not _has_gone(data))
        return there


def _has_gone(data: bytes) -> bool:
    """Whether one of these struct inotify_event says so: int wd; uint32_t mask, cookie, len; char name[len]."""
    place = 0
    while place + _HEAD_BYTES <= len(data):
        mask = int.from_bytes(data[place + 4 : place + 8], "little")
        if mask & _GONE:
            return True
        place += _HEAD_BYTES + int.from_bytes(data[place + 12 : place + 16], "little")
    return False
