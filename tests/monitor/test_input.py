# SPDX-License-Identifier: Apache-2.0
"""Standard input and terminals: sizes, pastes, ends (attacks EXE-12, RES-04)."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Callable

import pytest

from minirt.kernel import channel
from minirt.kernel import monitor as kernel_monitor
from session import Session, wait_until

Start = Callable[..., Session]
PASTE = 10 << 20


def paste(one: Session, data: bytes, end: bool) -> threading.Thread:
    def feed() -> None:
        for start in range(0, len(data), channel.PAYLOAD):
            one.say(channel.STDIN, data[start : start + channel.PAYLOAD])
        if end:
            one.say(channel.STDIN_EOF)

    thread = threading.Thread(target=feed)
    thread.start()
    return thread


def test_end_of_file(monitor: Start) -> None:
    one = monitor("cat", stdin=True).started()
    one.say(channel.STDIN, b"no newline")
    one.say(channel.STDIN_EOF)
    assert one.exited() == (0, 0)
    assert one.output() == b"no newline"


def test_paste_through_a_pipe(monitor: Start) -> None:
    """RES-04: in and out at the same time, and nobody waits for ever."""
    one = monitor("cat", stdin=True, log=False).started()
    data = os.urandom(PASTE)
    thread = paste(one, data, end=True)
    assert one.exited() == (0, 0)
    thread.join()
    assert one.output() == data


def test_paste_into_a_terminal(monitor: Start) -> None:
    script = f"stty raw -echo; echo ready; head -c {PASTE} | tail -c 3"
    one = monitor("sh", "-c", script, tty=True, stdin=True).started()
    assert one.hear() == (channel.STDOUT, b"ready\n")
    thread = paste(one, os.urandom(PASTE - 3) + b"END", end=False)
    assert one.exited() == (0, 0)
    thread.join()
    assert one.output() == b"ready\nEND"


def test_nobody_reads_it(monitor: Start) -> None:
    """The paste is still on its way when the workload ends: its code comes through all the same."""
    one = monitor("sleep", "0.3", stdin=True).started()
    os.set_blocking(one.control, False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(1000):
            one.say(channel.STDIN, bytes(channel.PAYLOAD))
    os.set_blocking(one.control, True)
    assert one.exited() == (0, 0)


def test_workload_closes_it(monitor: Start) -> None:
    one = monitor("sh", "-c", "exec <&-; sleep 0.3; exit 2", stdin=True).started()
    time.sleep(0.1)
    for _ in range(10):
        one.say(channel.STDIN, bytes(1000))
    assert one.exited() == (2, 0)


def test_not_asked_for(monitor: Start) -> None:
    one = monitor("sh", "-c", "cat; readlink /proc/self/fd/0").started()
    one.say(channel.STDIN, b"ignored\n")
    assert one.exited() == (0, 0)
    assert one.output() == b"/dev/null\n"


def test_stays_open_without_clients(monitor: Start) -> None:
    one = monitor("cat", stdin=True).started()
    one.say(channel.STDIN, b"one\n")
    one.close()
    client = one.attach()
    client.send(bytes((channel.STDIN,)) + b"two\n")
    client.send(bytes((channel.STDIN_EOF,)))
    wait_until((one.run / "exit").exists, "the end")
    assert [content for _, _, content in one.log()] == ["one", "two"]


def test_once(monitor: Start) -> None:
    """It ends with the first client that used it, and not with one that did not."""
    one = monitor("cat", stdin=True, flags=kernel_monitor.STDIN_ONCE).started()
    watcher = one.attach()
    watcher.recv(100)
    watcher.close()
    time.sleep(0.1)
    one.say(channel.STDIN, b"mine\n")
    assert one.hear() == (channel.STDOUT, b"mine\n")
    assert not (one.run / "exit").exists()
    one.close()
    wait_until((one.run / "exit").exists, "the end")


def test_window_size(monitor: Start) -> None:
    """A size that came before there was a terminal is the terminal's; each new one is a SIGWINCH. The program may run
    a moment before the monitor has the terminal in hand."""
    wait = "until [ \"$(stty size)\" = '40 100' ]; do sleep 0.01; done"
    script = f"{wait}; trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 0.05; done"
    one = monitor("sh", "-c", script, tty=True, stdin=True)
    one.say(channel.RESIZE, struct.pack("<HH", 40, 100))
    assert one.started().hear() == (channel.STDOUT, b"40 100\r\n")
    one.say(channel.RESIZE, struct.pack("<HH", 65535, 1))
    assert one.exited() == (4, 0)
    assert one.output() == b"40 100\r\n65535 1\r\n"


@pytest.mark.parametrize("body", [b"", b"\0" * 4, b"\1\0\0\0", b"\0\0\1\0", b"\1\0\1", b"9" * 10000])
def test_bad_window_size(monitor: Start, body: bytes) -> None:
    one = monitor("sh", "-c", "read x; stty size", tty=True, stdin=True).started()
    one.say(channel.RESIZE, struct.pack("<HH", 24, 80))
    one.say(channel.RESIZE, body)
    one.say(channel.STDIN, b"\n")
    assert one.exited() == (0, 0)
    assert one.output().endswith(b"24 80\r\n")


def test_terminal_is_logged(monitor: Start) -> None:
    one = monitor("sh", "-c", "tty >/dev/null && echo yes", tty=True).started()
    assert one.exited() == (0, 0)
    assert one.log() == [("stdout", "F", "yes\r")]


def test_terminal_flood(monitor: Start) -> None:
    """Nobody attached, then the end: the master is drained to the last byte."""
    one = monitor("sh", "-c", "stty -opost; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end", tty=True).started()
    one.close()
    wait_until((one.run / "exit").exists, "the end")
    records = one.log()
    assert sum(len(content) for _, _, content in records) == 3_000_003
    assert records[-1] == ("stdout", "F", "end")


def test_terminal_that_nobody_has_open(monitor: Start) -> None:
    """Every end is closed for a while: no busy loop, and what comes later is not lost."""
    script = "t=$(tty); exec </dev/null >/dev/null 2>&1; sleep 0.6; echo again >$t; exit 2"
    one = monitor("sh", "-c", script, tty=True).started()
    assert one.exited() == (2, 0)
    assert one.output() == b"again\r\n"
    with open(f"/proc/{one.pid}/stat") as stat:
        assert int(stat.read().split()[13]) < 10


def test_ctrl_c(monitor: Start) -> None:
    one = monitor("cat", tty=True, stdin=True, namespaces="0").started()
    one.say(channel.STDIN, b"\x03")
    assert one.exited() == (130, 2)
    assert one.output() == b"^C"
