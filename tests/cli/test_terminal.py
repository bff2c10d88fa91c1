# SPDX-License-Identifier: Apache-2.0
"""-t on a real pty: raw mode and back, the window's size, Ctrl-C, detach keys, and what a signal leaves behind."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from runner import Minirt, eventually


class Screen:
    """The far end of a terminal: what was shown so far, and typing."""

    def __init__(self, child: subprocess.Popen[bytes], fd: int) -> None:
        self.child, self.fd, self.shown = child, fd, b""

    def until(self, text: bytes, timeout_s: float = 20.0) -> bytes:
        deadline = time.monotonic() + timeout_s
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was never shown: {self.shown!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.shown += os.read(self.fd, 65536)
                except OSError:
                    raise AssertionError(f"the terminal closed before {text!r}: {self.shown!r}") from None
        head, _, self.shown = self.shown.partition(text)
        return head

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def mode(self) -> list[object]:
        return termios.tcgetattr(self.fd)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def opened(minirt: Minirt, *argv: str, rows: int = 24, columns: int = 80) -> Screen:
    """A command on a terminal of a size. The terminal is sized before the command can ask."""
    ours, theirs = os.openpty()
    screen = Screen.__new__(Screen)
    screen.fd, screen.shown = ours, b""
    screen.resize(rows, columns)
    screen.child = minirt.start(*argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.set_inheritable(theirs, False)
    screen.keep = theirs  # type: ignore[attr-defined]  # tcgetattr of a terminal that nobody has open fails
    return screen


def run(minirt: Minirt, *words: str, options: tuple[str, ...] = (), **size: int) -> Screen:
    return opened(minirt, "run", "--rm", "-it", *options, "--rootfs", str(minirt.rootfs), *words, **size)


def test_size_and_its_changes(minirt: Minirt) -> None:
    screen = run(minirt, "sh", rows=33, columns=99)
    screen.until(b"# ")
    screen.type(b"stty size\r")
    screen.until(b"33 99")
    screen.resize(44, 111)
    screen.child.send_signal(signal.SIGWINCH)
    eventually(lambda: _size(screen) == b"44 111")
    screen.type(b"exit 5\r")
    assert screen.child.wait(20) == 5


def _size(screen: Screen) -> bytes:
    screen.type(b"echo =$(stty size)=\r")
    screen.until(b")=\r\n=")
    return screen.until(b"=\r\n")


def test_terminal_is_raw_meanwhile_and_restored(minirt: Minirt) -> None:
    """EXE-13: stty is unchanged after the command."""
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    os.close(ours)
    os.close(theirs)
    screen = run(minirt, "sh")
    screen.until(b"# ")
    assert not int(str(screen.mode()[3])) & termios.ICANON
    screen.type(b"exit\r")
    assert screen.child.wait(20) == 0
    assert screen.mode()[:4] == before[:4]


@pytest.mark.parametrize("name", ["TERM", "HUP", "QUIT"])
def test_terminal_is_restored_after_a_signal(minirt: Minirt, name: str) -> None:
    screen = run(minirt, "sleep", "1000", options=("--sig-proxy=false", "--name", "xx"))
    eventually(lambda: not int(str(screen.mode()[3])) & termios.ICANON)
    screen.child.send_signal(getattr(signal, f"SIG{name}"))
    assert screen.child.wait(20) == 128 + getattr(signal, f"SIG{name}")
    assert int(str(screen.mode()[3])) & termios.ICANON
    assert minirt.ok("ps", "-q", "--filter", "name=xx")


def test_control_c_reaches_the_foreground_of_the_container(minirt: Minirt) -> None:
    screen = run(minirt, "sh")
    screen.until(b"# ")
    screen.type(b"sleep 1000\r")
    screen.until(b"sleep 1000\r\n")
    time.sleep(0.3)
    screen.type(b"\x03")
    screen.until(b"# ")
    screen.type(b"echo code=$?\r")
    screen.until(b"code=130")
    screen.type(b"exit\r")
    assert screen.child.wait(20) == 0


def test_detach_and_attach_again(minirt: Minirt) -> None:
    screen = run(minirt, "sh", options=("--name", "shell"))
    screen.until(b"# ")
    screen.type(b"x=42\r")
    screen.until(b"# ")
    screen.type(b"\x10\x11")
    assert screen.child.wait(20) == 0
    assert int(str(screen.mode()[3])) & termios.ICANON
    assert minirt.ok("ps", "--format", "{{.Names}}") == "shell"
    screen = opened(minirt, "attach", "shell")
    time.sleep(0.5)
    screen.type(b"echo x=$x; exit 6\r")
    screen.until(b"x=42\r\n")
    assert screen.child.wait(20) == 6


def test_other_detach_keys(minirt: Minirt) -> None:
    screen = run(minirt, "sh", options=("--detach-keys", "ctrl-a,d"))
    screen.until(b"# ")
    screen.type(b"\x10\x11echo a\r")
    screen.until(b"a\r\n")
    screen.type(b"\x01d")
    assert screen.child.wait(20) == 0


def test_exec_with_a_terminal(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "box", "--rootfs", minirt.rootfs, "sleep", "1000")
    screen = opened(minirt, "exec", "-it", "box", "sh", rows=20, columns=70)
    screen.until(b"# ")
    screen.type(b"stty size; tty; exit 4\r")
    screen.until(b"20 70\r\n/dev/pts/")
    assert screen.child.wait(20) == 4


def test_input_that_is_no_terminal(minirt: Minirt) -> None:
    minirt.fails(
        "run",
        "-it",
        "--rootfs",
        minirt.rootfs,
        "sh",
        code=1,
        says="minirt: the input device is not a TTY\n",
        input="",
    )
    assert minirt.ok("ps", "-aq") == ""


def test_tty_without_input(minirt: Minirt) -> None:
    """-t alone needs no terminal of ours: output comes as a terminal makes it."""
    result = minirt("run", "--rm", "-t", "--rootfs", minirt.rootfs, "sh", "-c", "echo a; tty")
    assert (result.code, result.stdout) == (
        0,
        "a\r\n/dev/pts/0\r\n",
    ) or result.stdout == "a\r\n/dev/console\r\n"


def test_no_keystroke_can_be_pushed_into_the_callers_terminal(minirt: Minirt) -> None:
    """RUN-12: the container never has the caller's terminal, with or without -t, so TIOCSTI finds none."""
    screen = opened(
        minirt,
        "run",
        "--rm",
        "--rootfs",
        str(minirt.rootfs),
        "sh",
        "-c",
        "tty; ls -l /proc/self/fd; echo .",
    )
    shown = screen.until(b".\r\n")
    assert b"not a tty" in shown
    assert b"/dev/pts" not in shown and b"/dev/tty" not in shown
    assert screen.child.wait(20) == 0
