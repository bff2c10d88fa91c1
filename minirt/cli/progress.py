# SPDX-License-Identifier: Apache-2.0
"""What `pull` and `push` show while they work: a bar for each layer on a terminal (ECMA-48), else Docker's lines.

A terminal's block of lines is drawn over itself: cursor up by as many rows as it takes at the width of now, lines
cut to that width, the rest erased. Where the layers are more than the screen has rows, those that move are shown
and the others counted. On every way out the cursor is back and the block stays as it was last. Told from several
threads. Must not import engine or image.
"""

from __future__ import annotations

import os
import threading
import time

from minirt.cli import interrupt, output, phrase
from minirt.image import progress as states
from minirt.image.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

PERIOD_S = 0.1
MOVING = (states.DOWNLOADING, states.EXTRACTING, states.VERIFYING, states.PUSHING)
LAST = (states.COMPLETE, states.EXISTS, states.PUSHED, states.LAYER_EXISTS)
SILENT = (states.DOWNLOADING, states.EXTRACTING, states.PUSHING)
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
BAR = 50
SIZE = (80, 24)


class Shown(Progress):
    """A context manager that shows nothing: -q. `fd` is 1, or 2 for what `run` pulls."""

    __slots__ = ("fd", "lock")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.lock = threading.Lock()

    def __enter__(self) -> Shown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def warn(self, text: str) -> None:
        with self.lock:
            self._settle()
            output.hint(f"WARNING! {output.safe(text)}\n")

    def _settle(self) -> None:
        """Ends what is half shown."""

    def write(self, text: str) -> None:
        """Standard output that is lost ends the command; standard error does not."""
        try:
            output.write_all(self.fd, output.encode(text))
        except OSError as error:
            if self.fd != 2:
                raise output.lost(error) from None


class Plain(Shown):
    """One line for each new state of a layer, as Docker prints them to a pipe."""

    __slots__ = ("seen",)

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.seen: dict[str, str] = {}

    def tell(self, digest_hex: str, state: str, done: int = 0, total: int = 0) -> None:
        if state in SILENT:
            return
        with self.lock:
            if self.seen.get(digest_hex) == state:
                return
            self.seen[digest_hex] = state
            self.write(f"{digest_hex[:12]}: {output.safe(state)}\n")

    def say(self, text: str) -> None:
        with self.lock:
            self.seen.clear()
            self.write(f"{output.safe(text)}\n")


class Live(Shown):
    """A block of lines, one for each layer in the order in which they were first told."""

    __slots__ = ("drawn", "hidden", "next_s", "rows")

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.rows: dict[str, tuple[str, int, int]] = {}
        self.drawn: list[int] = []  # how wide each line of the block is
        self.hidden = False
        self.next_s = 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.lock:
            try:
                self._settle()
            finally:
                self._show_cursor()

    def tell(self, digest_hex: str, state: str, done: int = 0, total: int = 0) -> None:
        with self.lock:
            before = self.rows.get(digest_hex)
            self.rows[digest_hex] = (state, done, total)
            now = time.monotonic()
            if before is None or before[0] != state or now >= self.next_s:
                self.next_s = now + PERIOD_S
                self._draw(False)

    def say(self, text: str) -> None:
        with self.lock:
            self._settle()
            self.write(f"{output.safe(text)}\n")

    def _settle(self) -> None:
        """What is shown now is left behind, whole, and a new block begins."""
        if self.rows:
            self._draw(True)
        self.rows, self.drawn = {}, []

    def _draw(self, whole: bool) -> None:
        width, height = self._size()
        lines = self._lines(width, height, whole)
        up = sum(max(1, -(-length // width)) for length in self.drawn)
        text = f"\x1b[{up}A" if up else ""
        text += "".join(f"\r{line}\x1b[K\n" for line in lines) + "\x1b[J"
        if not self.hidden:
            self.hidden = True
            interrupt.HANDLER.last_resort = self._show_cursor
            text = HIDE + text
        self.drawn = [len(line) for line in lines]
        self.write(text)

    def _lines(self, width: int, height: int, whole: bool) -> list[str]:
        rows = list(self.rows.items())
        room = max(height - 1, 1)
        if whole or len(rows) <= room:
            return [_line(digest, row, width) for digest, row in rows]
        ended = sum(1 for _, row in rows if _is_last(row[0]))
        moving = [(digest, row) for digest, row in rows if row[0] in MOVING][: room - 1]
        lines = [_line(digest, row, width) for digest, row in moving]
        waiting = len(rows) - ended - len(moving)
        return [*lines, f"{len(rows)} layers: {ended} complete, {waiting} waiting"[: width - 1]]

    def _size(self) -> tuple[int, int]:
        try:
            shape = os.get_terminal_size(self.fd)
        except OSError:
            return SIZE
        return max(shape.columns, 2) if shape.columns else SIZE[0], shape.lines or SIZE[1]

    def _show_cursor(self) -> None:
        """Also on the last way out, when the third Ctrl-C ends the process without asking."""
        if self.hidden:
            self.hidden = False
            interrupt.HANDLER.last_resort = None
            try:
                output.write_all(self.fd, SHOW.encode())
            except OSError:
                pass  # the terminal is gone


def shown(fd: int, quiet: bool) -> Shown:
    """What suits `fd`."""
    if quiet:
        return Shown(fd)
    if os.isatty(fd) and os.environ.get("TERM", "dumb") not in ("", "dumb"):
        return Live(fd)
    return Plain(fd)


def _is_last(state: str) -> bool:
    return state in LAST or state.startswith(states.MOUNTED)


def _line(digest_hex: str, row: tuple[str, int, int], width: int) -> str:
    state, done, total = row
    text = f"{digest_hex[:12]}: {output.safe(state)}"
    if total and state in MOVING:
        numbers = f"{amount(min(done, total)):>8}/{amount(total)}"
        room = min(BAR, width - len(text) - len(numbers) - 6)
        if room >= 5:
            filled = room * min(done, total) // total
            text += f" [{'=' * filled}>{' ' * (room - filled)}]"
        text += f" {numbers}"
    return text[: width - 1]


def amount(count: int) -> str:
    """Decimal units with four significant digits, as Docker's bars have them: 31.36MB."""
    return phrase.size(count, 4)
