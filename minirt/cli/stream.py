# SPDX-License-Identifier: Apache-2.0
"""The user's standard streams joined to a container: one poll(2) loop over the monitor's channel (csrc/monitor.h).

    standard input ──STDIN, STDIN_EOF──▶ channel        terminal's size ──RESIZE──▶ channel
    standard output ◀──STDOUT── channel                 standard error ◀──STDERR── channel ── EXITED ▶ exit code

Every byte before EXITED is delivered. A container that does not read its input never stops its output: packets
to the channel are sent without waiting and kept until it takes them. Must not import engine.
"""

from __future__ import annotations

import errno
import os
import select

from minirt.cli import interrupt, output
from minirt.errors import MinirtError
from minirt.kernel import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from minirt.cli.terminal import KeyWatch, Terminal
else:
    import _signal  # `signal` makes enumerations: importing enum costs 4 ms

# Endings that are no exit code: the user left; the monitor is gone without a word.
DETACHED, LOST = -1, -2
CHUNK = channel.PAYLOAD


class Streams:
    """What one attached command joins.

    control: the channel, STARTED already read. stdin, stdout, stderr: whether each is wanted. terminal: the
    user's, when the container has a pty: its size is sent, and with stdin it is made raw. watch: finds the
    detach keys. forward: takes a signal's number to the container; None leaves signals to the command.
    """

    __slots__ = (
        "control", "failed", "forward", "gone", "pending", "stderr", "stdin", "stdout", "terminal", "wake", "watch",
    )  # fmt: skip

    def __init__(
        self,
        control: int,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        terminal: Terminal | None = None,
        watch: KeyWatch | None = None,
        forward: Callable[[int], None] | None = None,
    ) -> None:
        self.control = control
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal
        self.watch = watch
        self.forward = forward
        self.pending: list[tuple[int, bytes]] = []  # packets that the channel did not take yet
        self.wake = -1
        self.gone = False  # nobody reads our standard output
        self.failed = False  # our standard output cannot be written


def join(streams: Streams) -> int:
    """Carry bytes until the container exits. Returns its exit code 0..255, DETACHED or LOST.

    Raises StdoutGone when nobody reads our output and no signal may be forwarded; the terminal is as it was in
    any case.
    """
    os.set_blocking(streams.control, False)
    wakers = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    streams.wake = wakers[0]
    before = _signal.set_wakeup_fd(wakers[1], warn_on_full_buffer=False)
    terminal = streams.terminal
    if streams.forward is not None:
        interrupt.forward(streams.forward)
    else:
        interrupt.release()
    try:
        if terminal is not None:
            interrupt.HANDLER.last_resort = terminal.restore
            if streams.stdin and os.isatty(0):
                terminal.fd = 0
                terminal.raw()
            _signal.signal(_signal.SIGWINCH, lambda *_: None)
            _resize(streams)
        return _loop(streams)
    finally:
        if terminal is not None:
            terminal.restore()
        interrupt.stop_forwarding()
        _signal.set_wakeup_fd(before)
        os.close(wakers[0])
        os.close(wakers[1])


def _loop(streams: Streams) -> int:
    poller = select.poll()
    poller.register(streams.control, select.POLLIN)
    poller.register(streams.wake, select.POLLIN)
    reading = sending = False
    while True:
        if (streams.stdin and not streams.pending) != reading:
            reading = not reading
            poller.register(0, select.POLLIN) if reading else poller.unregister(0)
        if bool(streams.pending) != sending:
            sending = not sending
            poller.modify(streams.control, select.POLLIN | (select.POLLOUT if sending else 0))
        for fd, events in poller.poll():
            if fd == streams.control:
                if events & select.POLLOUT:
                    _flush(streams)
                ending = _receive(streams) if events & ~select.POLLOUT else None
                if ending is not None:
                    return ending
            elif fd == streams.wake:
                if _signal.SIGWINCH in os.read(fd, 512):
                    _resize(streams)
            elif not _typed(streams):
                return DETACHED


def _receive(streams: Streams) -> int | None:
    """Take the packets that are there; the ending when EXITED or the end of the channel is among them."""
    for _ in range(64):
        try:
            kind, data = channel.read(streams.control)
        except BlockingIOError:
            return None
        except ConnectionError:
            return LOST
        if kind == channel.STDOUT:
            if streams.stdout:
                _standard_output(streams, data)
        elif kind == channel.STDERR:
            if streams.stderr:
                _standard_error(streams, data)
        elif kind == channel.EXITED:
            code = channel.exited(data)[0]
            return 128 + _signal.SIGPIPE if streams.gone and code == 128 + _signal.SIGKILL else code
        elif not kind:
            return LOST
    return None


def _standard_output(streams: Streams, data: bytes) -> None:
    """When nobody reads us, the workload gets the SIGPIPE that it would have had by writing there itself.

    A full disk or a closed descriptor is said once; the container goes on and its exit is awaited.
    """
    try:
        output.raw(data)
    except output.StdoutGone:
        streams.stdout, streams.gone = False, True
        if streams.forward is None:
            raise
        streams.forward(_signal.SIGPIPE)
    except MinirtError as error:
        streams.stdout, streams.failed = False, True
        output.complain(error.message, error.remedy)


def _standard_error(streams: Streams, data: bytes) -> None:
    """A closed or full standard error loses its bytes, not the container's output."""
    try:
        output.write_all(2, data)
    except OSError:
        streams.stderr = False


def _typed(streams: Streams) -> bool:
    """One read of standard input into the channel. False when the detach keys were typed."""
    try:
        data = os.read(0, CHUNK)
    except BlockingIOError:
        return True
    except OSError as error:
        data = b""
        if error.errno != errno.EIO:  # which is a terminal that hung up
            output.complain(f"cannot read standard input: {os.strerror(error.errno or 0)}")
    if not data:
        streams.stdin = False
        _send(streams, channel.STDIN_EOF, b"")
        return True
    if streams.watch is not None:
        from minirt.cli.terminal import Detached

        try:
            data = streams.watch.pass_on(data)
        except Detached as detached:
            if detached.before:
                _send(streams, channel.STDIN, detached.before)
            return False
    if data:
        _send(streams, channel.STDIN, data)
    return True


def _resize(streams: Streams) -> None:
    assert streams.terminal is not None
    rows, columns = streams.terminal.size()
    if rows and columns:
        _send(streams, channel.RESIZE, channel.size(rows, columns))


def _send(streams: Streams, kind: int, data: bytes) -> None:
    streams.pending.append((kind, data))
    _flush(streams)


def _flush(streams: Streams) -> None:
    """Hand over what waits, in order, until the channel is full. A channel that is gone is noticed by reading."""
    while streams.pending:
        kind, data = streams.pending[0]
        try:
            channel.send(streams.control, kind, data)
        except BlockingIOError:
            return
        except OSError:
            streams.stdin = False
            streams.pending.clear()
            return
        del streams.pending[0]
