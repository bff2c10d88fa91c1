# SPDX-License-Identifier: Apache-2.0
"""How run, start -a, attach and exec join the user to a process, and what its ending means for the exit code.

Signals of ours go to the container's first process as `kill` would send them (--sig-proxy); the terminal, when
there is one, is raw meanwhile. Shared by four verbs; must not be imported by any other.
"""

from __future__ import annotations

import os

from minirt.cli import output
from minirt.cli.stream import DETACHED, LOST, Streams, join
from minirt.errors import MinirtError
from minirt.kernel import process
from minirt.model import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.cli.terminal import KeyWatch, Terminal

SIGPIPE, SIGKILL, SIGINT = [signals.number(name) for name in ("SIGPIPE", "SIGKILL", "SIGINT")]


class Wanted:
    """What the command line asked for, checked before anything is made."""

    __slots__ = ("keys", "stderr", "stdin", "stdout", "tty")

    def __init__(self, stdin: bool, tty: bool, detach_keys: str = "", streams: list[str] | None = None) -> None:
        """streams: the words of -a; none: all. Raises when -t and -i have no terminal to read from."""
        words = [word.lower() for word in streams or ()]
        self.stdin = stdin and (not words or "stdin" in words)
        self.stdout = not words or "stdout" in words
        self.stderr = not words or "stderr" in words
        self.tty = tty
        self.keys = b""
        if tty:
            from minirt.cli import terminal

            terminal.require(tty, self.stdin)
            self.keys = terminal.keys(detach_keys or terminal.DETACH_KEYS)
        elif detach_keys:
            from minirt.cli import terminal

            terminal.keys(detach_keys)


def attach(wanted: Wanted, control: int, forward: Callable[[int], None] | None) -> int:
    """Stay until the process exits. Returns its exit code, or 0 when the user typed the detach keys."""
    terminal: Terminal | None = None
    watch: KeyWatch | None = None
    if wanted.tty:
        from minirt.cli.terminal import KeyWatch, of_caller

        terminal, watch = of_caller(), KeyWatch(wanted.keys)
    streams = Streams(control, wanted.stdin, wanted.stdout, wanted.stderr, terminal, watch, forward)
    code = join(streams)
    if code == DETACHED:
        output.hint("read escape sequence\n")
        return 0
    if code == LOST:
        raise MinirtError(
            "the monitor hung up before the process ended: its exit code is unknown",
            "it was killed, has 64 attached already, or we were too slow: 'minirt ps -a' shows what is left",
        )
    return code or (125 if streams.failed else 0)


def proxy(pid: int, start_ticks: int, name: str = "") -> Callable[[int], None]:
    """Send a signal of ours to a process of the container, known by pid and start time. name: the container's,
    where that process is its first.

    Pid 1 of a namespace ignores what it does not handle (pid_namespaces(7)). For SIGPIPE that would keep a
    `yes` alive behind a `head` that has gone, so the default action is carried out here. For SIGINT it is as
    with Docker; somebody at a terminal is told once why Ctrl-C does nothing.
    """
    told = not name or not os.isatty(2)

    def send(signo: int) -> None:
        nonlocal told
        if signo == SIGPIPE and _defaults(pid, signo):
            signo = SIGKILL
        elif signo == SIGINT and not told and _defaults(pid, signo):
            told = True
            output.complain(
                "the container's first process does not handle SIGINT, so the kernel withholds it",
                f"end it: minirt stop {name}; next time: minirt run --init",
            )
        try:
            process.send(pid, start_ticks, signo)
        except OSError:
            pass  # it has just exited; EXITED is on its way

    return send


def _defaults(pid: int, signo: int) -> bool:
    """Whether a process neither catches, blocks nor ignores a signal (/proc/pid/status, proc_pid_status(5))."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            masks = [line.split()[1] for line in file if line.startswith(("SigBlk:", "SigCgt:", "SigIgn:"))]
    except OSError:
        return False
    return len(masks) == 3 and not any(int(mask, 16) >> (signo - 1) & 1 for mask in masks)
