# SPDX-License-Identifier: Apache-2.0
"""What pull and push draw: a terminal's screen as ECMA-48 leaves it, and the lines that a pipe gets."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator

import pytest

from minirt.cli import interrupt, progress
from minirt.image import progress as states

ROWS, COLUMNS = 10, 60


class Screen:
    """A terminal of some rows and columns with what was written to it; lines that left it at its top are `gone`."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.lines, self.gone = [""], list[str]()
        self.row = self.column = 0
        self.cursor = True
        self.begun = ""

    def down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
        if len(self.lines) > self.rows:
            self.gone.append(self.lines.pop(0))
            self.row -= 1

    def feed(self, text: str) -> None:
        """A read may end inside of a sequence: its beginning waits for the rest."""
        text = self.begun + text
        self.begun = "".join(re.findall(r"\x1b(?:\[[?0-9]*)?$", text))
        text = text.removesuffix(self.begun)
        for control, letter in re.findall(r"\x1b\[([?0-9]*[A-Za-z])|(.)", text, re.DOTALL):
            if control.endswith("A"):
                self.row = max(0, self.row - int(control[:-1] or 1))
            elif control == "K":
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif control == "J":
                self.lines[self.row] = self.lines[self.row][: self.column]
                del self.lines[self.row + 1 :]
            elif control in ("?25l", "?25h"):
                self.cursor = control == "?25h"
            elif control:
                raise AssertionError(f"unknown control {control!r}")
            elif letter == "\r":
                self.column = 0
            elif letter == "\n":
                self.down()
            else:
                assert letter >= " ", f"a control byte reaches the terminal: {letter!r}"
                if self.column == self.columns:
                    self.column = 0
                    self.down()
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
                self.column += 1

    def resize(self, columns: int) -> None:
        """As terminals do that wrap anew: a line longer than the screen is wide becomes several."""
        self.lines = [line[at : at + columns] for line in self.lines for at in range(0, max(len(line), 1), columns)]
        self.columns, self.row = columns, len(self.lines) - 1

    @property
    def text(self) -> list[str]:
        return [line.rstrip() for line in self.gone + self.lines]


class Terminal:
    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.screen = Screen(ROWS, COLUMNS)
        self.size(ROWS, COLUMNS)

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> Screen:
        while True:
            try:
                self.screen.feed(os.read(self.ours, 1 << 16).decode())
            except BlockingIOError:
                return self.screen


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PERIOD_S", 0.0)
    made = Terminal()
    yield made
    os.close(made.ours)
    os.close(made.theirs)


def layer(number: int) -> str:
    return f"{number:064x}"[::-1]


def short(number: int) -> str:
    return layer(number)[:12]


def test_a_bar_for_each_layer(terminal: Terminal) -> None:
    with progress.shown(terminal.theirs, False) as shown:
        shown.say("latest: Pulling from library/x")
        shown.tell(layer(1), states.PULLING)
        shown.tell(layer(2), states.EXISTS)
        shown.tell(layer(1), states.DOWNLOADING, 500_000, 1_000_000)
        screen = terminal.read()
        assert screen.text[0] == "latest: Pulling from library/x"
        assert re.fullmatch(rf"{short(1)}: Downloading \[=+> +\]\s+500kB/1MB", screen.text[1]), screen.text
        assert screen.text[2] == f"{short(2)}: Already exists"
        assert not screen.cursor
        shown.tell(layer(1), states.COMPLETE)
        shown.say("Digest: sha256:1")
    screen = terminal.read()
    assert screen.text == [
        "latest: Pulling from library/x", f"{short(1)}: Pull complete", f"{short(2)}: Already exists",
        "Digest: sha256:1", "",
    ]  # fmt: skip
    assert screen.cursor


def test_more_layers_than_rows(terminal: Terminal) -> None:
    """Those that move are shown and the rest is counted; at the end there is a line for each, none of them twice."""
    with progress.shown(terminal.theirs, False) as shown:
        for number in range(30):
            shown.tell(layer(number), states.PULLING)
        for number in range(5):
            shown.tell(layer(number), states.COMPLETE)
        for number in range(5, 8):
            shown.tell(layer(number), states.DOWNLOADING, 1, 10)
        screen = terminal.read()
        assert [line[:12] for line in screen.text[:3]] == [short(5), short(6), short(7)]
        assert screen.text[3] == "30 layers: 5 complete, 22 waiting"
        assert screen.gone == [] or len(screen.text) <= ROWS
        for number in range(30):
            shown.tell(layer(number), states.COMPLETE)
    assert terminal.read().text == [f"{short(number)}: Pull complete" for number in range(30)] + [""]


def test_narrower_while_it_runs(terminal: Terminal) -> None:
    """The lines drawn before have become several rows each: all of them are drawn over."""
    with progress.shown(terminal.theirs, False) as shown:
        shown.say("before")
        for number in range(3):
            shown.tell(layer(number), states.DOWNLOADING, 5, 10)
        terminal.read().resize(22)
        terminal.size(ROWS, 22)
        shown.tell(layer(0), states.DOWNLOADING, 6, 10)
        assert all(len(line) < 22 for line in terminal.read().text)
        terminal.size(ROWS, 80)
        terminal.screen.columns = 80
        for number in range(3):
            shown.tell(layer(number), states.COMPLETE)
    assert terminal.read().text == ["before", *(f"{short(number)}: Pull complete" for number in range(3)), ""]


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (0, 0), (500, 1000)])
def test_odd_sizes(terminal: Terminal, size: tuple[int, int]) -> None:
    terminal.size(*size)
    with progress.shown(terminal.theirs, False) as shown:
        for number in range(4):
            shown.tell(layer(number), states.DOWNLOADING, 1, 10**12)
    os.read(terminal.ours, 1 << 20)


@pytest.mark.parametrize("kind", [interrupt.Interrupted(2), ValueError("disk")])
def test_the_cursor_comes_back(terminal: Terminal, kind: BaseException) -> None:
    """After Ctrl-C and after an error; what was drawn stays, and the next line begins at the left."""
    with pytest.raises(type(kind)), progress.shown(terminal.theirs, False) as shown:
        shown.tell(layer(1), states.DOWNLOADING, 5, 10)
        assert interrupt.HANDLER.last_resort is not None
        raise kind
    screen = terminal.read()
    assert screen.cursor
    assert screen.text[0].startswith(short(1)) and screen.text[1:] == [""]
    assert interrupt.HANDLER.last_resort is None


def test_told_by_many_threads(terminal: Terminal) -> None:
    with progress.shown(terminal.theirs, False) as shown:

        def work(number: int) -> None:
            for done in range(20):
                shown.tell(layer(number), states.DOWNLOADING, done, 20)
            shown.tell(layer(number), states.COMPLETE)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            terminal.read()
    assert sorted(terminal.read().text) == sorted([f"{short(number)}: Pull complete" for number in range(4)] + [""])


def test_control_bytes_of_a_registry(terminal: Terminal) -> None:
    """A repository's name in "Mounted from" or a message cannot draw: the screen asserts that no control arrives."""
    with progress.shown(terminal.theirs, False) as shown:
        shown.tell(layer(1), f"{states.MOUNTED} \x1b]0;x\x07")
        shown.say("a\x1b[2Jb")
    assert terminal.read().text[:2] == [rf"{short(1)}: Mounted from \x1b]0;x\x07", r"a\x1b[2Jb"]


def test_lines_for_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    """One line for each new state, none for what only moves."""
    with progress.shown(1, False) as shown:
        shown.say("latest: Pulling from x")
        for state in (states.PULLING, states.PULLING, states.DOWNLOADING, states.DOWNLOADED, states.EXTRACTING):
            shown.tell(layer(1), state, 1, 2)
        shown.tell(layer(1), states.COMPLETE)
        shown.say("Digest: y")
    expected = ["latest: Pulling from x"]
    expected += [f"{short(1)}: {state}" for state in (states.PULLING, states.DOWNLOADED, states.COMPLETE)]
    assert capfd.readouterr().out.splitlines() == [*expected, "Digest: y"]


def test_quiet(terminal: Terminal) -> None:
    with progress.shown(terminal.theirs, True) as shown:
        shown.say("x")
        shown.tell(layer(1), states.DOWNLOADING, 1, 2)
    assert terminal.read().text == [""]


def test_a_dumb_terminal_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress.shown(terminal.theirs, False)) is progress.Plain


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (31_357_624, "31.36MB"), (10**18, "1000PB")]
)
def test_amounts(count: int, text: str) -> None:
    assert progress.amount(count) == text
