# SPDX-License-Identifier: Apache-2.0
"""What a signal to the command does (signal(7)): end it, wait for a better moment, or go on to the container.

    raise    SIGINT, SIGTERM, SIGHUP, SIGQUIT become Interrupted: `finally` puts the terminal back and undoes
             what is half made, and the exit code is 128 + the signal's number
    hold     while a container is being started they are kept: a birth of some milliseconds is not torn apart
    forward  a foreground run, start -a, attach: every signal that can be caught goes to the container

The third one ends the command in any case. SIGPIPE is ignored (a write says EPIPE); SIGTSTP, SIGTTIN, SIGTTOU,
SIGCONT and SIGCHLD keep their meaning for a job of a shell. The module `_signal` and not `signal`: the latter
makes enumerations, and importing enum costs 4 ms. Imports nothing of minirt.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
else:
    import _signal  # `signal` makes enumerations: importing enum costs 4 ms

ENDING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
KEPT = (
    _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGCONT,
    _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGWINCH, _signal.SIGURG, _signal.SIGSEGV, _signal.SIGBUS,
    _signal.SIGFPE, _signal.SIGILL, _signal.SIGTRAP, _signal.SIGABRT, _signal.SIGSYS,
)  # fmt: skip
PATIENCE = 3


class Interrupted(BaseException):
    """A signal asked the command to end. Not an Exception, so that no `except Exception` swallows it."""

    def __init__(self, signo: int) -> None:
        super().__init__(signo)
        self.signo = signo


class Handler:
    """The one handler of the process; `mode` decides. Runs in the main thread, between two bytecodes."""

    __slots__ = ("held", "last_resort", "target", "urgent")

    def __init__(self) -> None:
        self.held: list[int] | None = None  # a list: hold
        self.target: Callable[[int], None] | None = None  # not None: forward
        self.urgent = 0
        self.last_resort: Callable[[], None] | None = None  # puts the terminal back

    def __call__(self, signo: int, _frame: object) -> None:
        if self.target is not None:
            self.target(signo)
            return
        self.urgent += 1
        if self.urgent >= PATIENCE:
            if self.last_resort is not None:
                self.last_resort()
            os._exit(128 + signo)
        if self.held is not None:
            self.held.append(signo)
        elif self.urgent == 1:
            raise Interrupted(signo)


HANDLER = Handler()


def install() -> None:
    """Take the ending signals, but leave alone what the caller ignores (nohup, a background job)."""
    for signo in ENDING:
        if _signal.getsignal(signo) in (_signal.SIG_DFL, _signal.default_int_handler):
            _signal.signal(signo, HANDLER)


def hold() -> None:
    HANDLER.held = []


def release() -> None:
    """End `hold`: the first signal that came meanwhile is raised now."""
    held, HANDLER.held = HANDLER.held, None
    if held:
        raise Interrupted(held[0])


def forward(target: Callable[[int], None]) -> None:
    """From now on, and for what was held: every signal that can be caught goes to `target`."""
    held, HANDLER.held = HANDLER.held or [], None
    HANDLER.target = target
    for signo in range(1, _signal.NSIG):
        if signo in KEPT or 32 <= signo < _signal.SIGRTMIN:
            continue
        if _signal.getsignal(signo) != _signal.SIG_IGN:
            _signal.signal(signo, HANDLER)
    for signo in held:
        target(signo)


def stop_forwarding() -> None:
    """The container has ended: a signal is for the command again."""
    HANDLER.target = None
