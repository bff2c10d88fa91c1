# SPDX-License-Identifier: Apache-2.0
"""What the monitor and its clients say to each other: packets of csrc/monitor.h, where the protocol is drawn.

One packet of a SOCK_SEQPACKET socket (unix(7)) is one message, its first byte the type. Nothing here waits longer
than the descriptor does: a non-blocking one raises BlockingIOError. Must not import runtime.
"""

from __future__ import annotations

import os
from errno import EPROTO
from struct import Struct, error

from minirt.kernel._csrc import lib

FAILED: int = lib.MRT_FAILED
STARTED: int = lib.MRT_STARTED
STDOUT: int = lib.MRT_STDOUT
STDERR: int = lib.MRT_STDERR
EXITED: int = lib.MRT_EXITED
STDIN: int = lib.MRT_STDIN
STDIN_EOF: int = lib.MRT_STDIN_EOF
RESIZE: int = lib.MRT_RESIZE
GO: int = lib.MRT_GO
PAYLOAD: int = lib.MRT_PAYLOAD  # the most bytes of one message
_PACKET = PAYLOAD + 1
_TWO = Struct("@ii")  # struct mrt_failed, struct mrt_exited
_STARTED = Struct("@iiQ")  # struct mrt_started
_SIZE = Struct("@HH")  # struct mrt_size


def read(fd: int) -> tuple[int, bytes]:
    """The next message: its type and body; (0, b"") when the other side has closed."""
    try:
        packet = os.read(fd, _PACKET)
    except ConnectionResetError:  # it closed while something of ours was unread
        packet = b""
    return (packet[0], packet[1:]) if packet else (0, b"")


def send(fd: int, kind: int, body: bytes = b"") -> None:
    """One message. BrokenPipeError when nobody will read it; CPython ignores SIGPIPE."""
    os.write(fd, bytes((kind,)) + body)


def failed(body: bytes) -> tuple[int, int]:
    """(step, errno); step -1: a call of the monitor's own."""
    step, errno = _unpack(_TWO, body)
    return step, errno


def started(body: bytes) -> tuple[int, int]:
    """(pid, start_ticks): pid as the host sees it, its start as /proc/<pid>/stat shows it."""
    pid, _, start_ticks = _unpack(_STARTED, body)
    return pid, start_ticks


def exited(body: bytes) -> tuple[int, int]:
    """(code, signal): the code as a shell shows it, 128 + n for signal n; signal 0 for an exit."""
    code, signal = _unpack(_TWO, body)
    return code, signal


def size(rows: int, columns: int) -> bytes:
    """The body of RESIZE."""
    return _SIZE.pack(rows, columns)


def _unpack(layout: Struct, body: bytes) -> tuple[int, ...]:
    try:
        return layout.unpack(body)
    except error:
        raise OSError(EPROTO, "a malformed message from the monitor") from None
