# SPDX-License-Identifier: Apache-2.0
"""Attaching and leaving: no client, whatever it does, blocks or ends the container (attack EXE-11)."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable

import pytest

from minirt.kernel import call, channel
from session import Session, wait_until

Start = Callable[..., Session]


def everything(client: socket.socket) -> list[tuple[int, bytes]]:
    heard = []
    while packet := client.recv(65536):
        heard.append((packet[0], packet[1:]))
    return heard


def test_greeting_output_and_end(monitor: Start) -> None:
    one = monitor("sh", "-c", "read x; echo $x; exit 9", stdin=True).started()
    client = one.attach()
    assert client.recv(100)[0] == channel.STARTED
    client.send(bytes((channel.STDIN,)) + b"hello\n")
    assert one.exited() == (9, 0)
    heard = everything(client)
    assert [kind for kind, _ in heard] == [channel.STDOUT, channel.EXITED]
    assert heard[0][1] == one.output() == b"hello\n"


def test_socket(monitor: Start) -> None:
    """A path below a directory of root's, never an abstract name; gone with the container."""
    one = monitor("sleep", "0.2").started()
    status = os.stat(one.run / "attach")
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    with open("/proc/net/unix") as sockets:
        assert not [line for line in sockets if "@" in line and "minirt" in line]
    one.exited()
    with pytest.raises(FileNotFoundError):
        one.attach()


def test_long_path(monitor: Start) -> None:
    """Longer than sun_path: both sides name the socket below a descriptor."""
    one = monitor("sleep", "0.3").started()
    deep = one.run.parent / ("x" * 200)
    os.rename(one.run, deep)
    directory = os.open(deep, os.O_RDONLY | os.O_DIRECTORY)
    client = call.connect_seqpacket(directory, "attach")
    os.close(directory)
    assert os.read(client, 100)[0] == channel.STARTED
    os.close(client)
    assert one.exited() == (0, 0)


def test_hundred(monitor: Start) -> None:
    one = monitor("sh", "-c", "read x; echo $x", stdin=True).started()
    descriptors = len(os.listdir(f"/proc/{one.pid}/fd"))
    clients = [one.attach() for _ in range(100)]
    first = [client.recv(100) for client in clients]
    assert len([packet for packet in first if packet and packet[0] == channel.STARTED]) == 64
    for client in clients:
        client.close()
    wait_until(lambda: len(os.listdir(f"/proc/{one.pid}/fd")) == descriptors, "their places are free again")
    assert one.attach().recv(100)[0] == channel.STARTED
    one.say(channel.STDIN, b"x\n")
    assert one.exited() == (0, 0)


def test_one_never_reads(monitor: Start) -> None:
    """It is dropped after a second's grace; the caller, the log and another attacher miss nothing."""
    one = monitor("sh", "-c", "read x; head -c 5000000 /dev/zero", stdin=True, log=False).started()
    frozen, reader = one.attach(), one.attach()
    assert reader.recv(100)[0] == channel.STARTED
    one.say(channel.STDIN, b"\n")
    one.close()
    got = sum(len(body) for kind, body in everything(reader) if kind == channel.STDOUT)
    assert got == 5_000_000
    assert channel.EXITED not in [kind for kind, _ in everything(frozen)]


def test_slow_reader_keeps_up(monitor: Start) -> None:
    """Slow is not still: back-pressure for one that reads on."""
    one = monitor("sh", "-c", "read x; head -c 2000000 /dev/zero", stdin=True, log=False).started()
    client = one.attach()
    one.say(channel.STDIN, b"\n")
    one.close()
    got, last = 0, 0
    while packet := client.recv(65536):
        got += len(packet) - 1 if packet[0] == channel.STDOUT else 0
        last = packet[0]
        time.sleep(0.02)
    assert (got, last) == (2_000_000, channel.EXITED)


def test_killed_while_it_floods(monitor: Start) -> None:
    one = monitor("sh", "-c", "head -c 10000000 /dev/zero; exit 2").started()
    for _ in range(5):
        client = one.attach()
        client.recv(100)
        client.close()
    assert one.exited() == (2, 0)
    assert len(one.output()) == 10_000_000


@pytest.mark.parametrize(
    "packet",
    [b"\0", b"\xff" * 40, b"\x01" * 9, b"\x05" + b"\1" * 8, b"\x09", b"\x06" + b"x" * 40000],
    ids=["zero", "unknown", "failed", "exited", "go", "oversized"],
)
def test_garbage(monitor: Start, packet: bytes) -> None:
    one = monitor("cat", stdin=True).started()
    client = one.attach()
    client.recv(100)
    client.send(packet)
    one.say(channel.STDIN, b"still well\n")
    one.say(channel.STDIN_EOF)
    assert one.exited() == (0, 0)
    assert one.output() == b"still well\n"
