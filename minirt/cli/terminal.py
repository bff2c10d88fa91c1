# SPDX-License-Identifier: Apache-2.0
"""The user's terminal while a container has a pty: raw mode, its size, the keys that detach (termios(3), tty(4)).

Whoever makes it raw puts it back on every way out that can be caught. Imported only for -t and attach. Must not
import engine or kernel.
"""

from __future__ import annotations

import os
import termios

from minirt.errors import InvalidValue, MinirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any
else:
    import _signal  # `signal` makes enumerations: importing enum costs 4 ms

DETACH_KEYS = "ctrl-p,ctrl-q"
NOT_A_TTY = "the input device is not a TTY"


def require(tty: bool, stdin: bool) -> None:
    """Docker's check before -t -i: keys can only come from a terminal. Exit code 1."""
    if tty and stdin and not os.isatty(0):
        error = MinirtError(NOT_A_TTY, "leave out -t, or run it from a terminal")
        error.exit_code = 1
        raise error


def keys(text: str) -> bytes:
    """ "ctrl-p,ctrl-q" → b"\\x10\\x11": letters as they are, ctrl- with a letter or one of @ [ \\ ] ^ _."""
    found = b""
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            found += word.encode()
        elif word.lower().startswith("ctrl-") and len(word) == 6 and "@" <= word[5].upper() <= "_":
            found += bytes((ord(word[5].upper()) - 64,))
        else:
            reason = f"invalid detach keys ({text}): unknown character: '{word}'"
            raise InvalidValue(reason, "write them like ctrl-p,ctrl-q")
    return found


class Detached(Exception):
    """The user typed the detach keys. before: what was typed just before them, for the container."""

    def __init__(self, before: bytes) -> None:
        super().__init__(before)
        self.before = before


class KeyWatch:
    """Finds the detach keys in what is typed, across reads; holds a beginning back until it is decided."""

    __slots__ = ("matched", "sequence")

    def __init__(self, sequence: bytes) -> None:
        self.sequence = sequence
        self.matched = 0

    def pass_on(self, data: bytes) -> bytes:
        """What may go to the container now. Raises Detached at the last key of the sequence."""
        if not self.sequence or (not self.matched and self.sequence[0] not in data):
            return data
        out = bytearray()
        for byte in data:
            if byte != self.sequence[self.matched]:
                out += self.sequence[: self.matched]
                self.matched = 0
            if byte != self.sequence[self.matched]:
                out.append(byte)
                continue
            self.matched += 1
            if self.matched == len(self.sequence):
                raise Detached(bytes(out))
        return bytes(out)


class Terminal:
    """One terminal by its descriptor; `raw` and `restore` may be called any number of times."""

    __slots__ = ("fd", "saved")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.saved: list[Any] | None = None

    def size(self) -> tuple[int, int]:
        """(rows, columns); 0, 0 when it has none."""
        try:
            shape = os.get_terminal_size(self.fd)
        except OSError:
            return 0, 0
        return shape.lines, shape.columns

    def raw(self) -> None:
        """cfmakeraw(3): every key reaches the container, which has its own line discipline."""
        if self.saved is not None:
            return
        self.saved = termios.tcgetattr(self.fd)
        mode = termios.tcgetattr(self.fd)
        mode[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP)
        mode[0] &= ~(termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)

    def restore(self) -> None:
        """As it was. From the background too: SIGTTOU would stop us in the middle of putting things right."""
        if self.saved is None:
            return
        before = _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, self.saved)
        except (termios.error, OSError):
            pass  # the terminal is gone
        finally:
            _signal.signal(_signal.SIGTTOU, before)
        self.saved = None


def of_caller() -> Terminal | None:
    """The terminal whose size the container's pty follows: standard output's, else standard input's."""
    for fd in (1, 0, 2):
        if os.isatty(fd):
            return Terminal(fd)
    return None
