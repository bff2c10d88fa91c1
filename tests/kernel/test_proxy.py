# SPDX-License-Identifier: Apache-2.0
"""minirt:proxy with real sockets on loopback: every byte arrives, ends and resets are handed on, UDP is answered."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxied import SPARE_PIPES, Proxy, echo, exchange, living, run, settled, started

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) resets


@pytest.fixture
def one() -> Iterator[Proxy]:
    with living() as made:
        yield made


@pytest.mark.parametrize("inside", [4, 6])
@pytest.mark.parametrize("outside", [4, 6])
def test_families(outside: int, inside: int) -> None:
    """An IPv6 socket may lead to an IPv4 target, and the other way round."""
    made = Proxy(outside, inside)
    client, server = made.pair()
    client.sendall(b"question")
    assert server.recv(100) == b"question"
    server.sendall(b"answer")
    assert client.recv(100) == b"answer"
    with made.datagrams() as datagrams:
        datagrams.send(b"question")
        data, sender = made.udp_target.recvfrom(100)
        assert data == b"question"
        made.udp_target.sendto(b"answer", sender)
        assert datagrams.recv(100) == b"answer"
    client.close()
    server.close()
    assert made.finish() == 0


@pytest.mark.parametrize("size", [1, 64 << 10, 64 << 20])
def test_transfer_both_ways_at_once(one: Proxy, size: int) -> None:
    run(one, echo, lambda: exchange(one, size, size))


def test_two_hundred_at_once(one: Proxy) -> None:
    async def clients() -> None:
        await asyncio.gather(*(exchange(one, 100_000 + seed, seed) for seed in range(200)))

    run(one, echo, clients)
    settled(one)
    assert one.files("pipe") <= 2 * SPARE_PIPES


def test_half_close(one: Proxy) -> None:
    """The client's end reaches the target, which may still answer; then its own end the client."""
    client, server = one.pair()
    client.sendall(b"all I have")
    client.shutdown(socket.SHUT_WR)
    assert server.makefile("rb").read() == b"all I have"
    server.sendall(b"x" * 1_000_000)
    server.close()
    assert len(client.makefile("rb").read()) == 1_000_000
    client.close()


def test_target_half_closes_first(one: Proxy) -> None:
    client, server = one.pair()
    server.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    client.sendall(b"still for you")
    assert server.recv(100) == b"still for you"
    client.close()
    assert server.recv(1) == b""
    server.close()


def test_slow_reader(one: Proxy) -> None:
    """Who does not read stops who writes, and loses nothing; the proxy keeps no more than a pipe of it."""
    client, server = one.pair()
    server.setblocking(False)
    block, total = bytes(range(256)) * 256, 0
    memory = int(Path(f"/proc/{one.pid}/statm").read_text().split()[1])
    try:
        while total < 1 << 30:
            total += server.send(block[total % 256 :])
    except BlockingIOError:
        pass
    assert 0 < total < 1 << 30
    assert int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) - memory < 64  # pages
    others = one.pair()  # and others are served meanwhile
    others[0].sendall(b"x")
    assert others[1].recv(1) == b"x"
    server.setblocking(True)
    server.shutdown(socket.SHUT_WR)
    got = client.makefile("rb").read()
    assert len(got) == total
    assert all(got[at : at + 65536] == block[: len(got[at : at + 65536])] for at in range(0, total, 65536))
    for end in (client, server, *others):
        end.close()


def test_refused(one: Proxy) -> None:
    """Nobody listens at the target: the client hears of it, and may try again when somebody does."""
    host, port = one.target.getsockname()
    one.target.close()
    for _ in range(50):
        with pytest.raises(ConnectionResetError), one.connect() as client:
            client.recv(1)
    one.target = socket.create_server((host, port))
    started(one)


def test_reset_is_handed_on(one: Proxy) -> None:
    for end in (0, 1):
        pair = one.pair()
        pair[end].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        pair[end].close()
        with pytest.raises(ConnectionResetError):
            pair[1 - end].recv(1)
        pair[1 - end].close()


def test_many_udp_clients(one: Proxy) -> None:
    """Each gets its own answer, from where it wrote to."""
    clients = [one.datagrams() for _ in range(300)]
    senders: dict[bytes, tuple[str, int]] = {}
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
        if number % 50 == 49:  # before a socket's buffer is full
            senders.update(one.udp_target.recvfrom(100) for _ in range(50))
    assert len(senders) == len(set(senders.values())) == 300
    for data, sender in senders.items():
        one.udp_target.sendto(b"answer " + data, sender)
    for number, client in enumerate(clients):
        assert client.recv(100) == b"answer %d" % number
        client.close()


def test_answers_leave_from_the_address_asked(one: Proxy) -> None:
    """The socket is bound to 0.0.0.0; a client at 127.0.0.9 is connected, and would not hear 127.0.0.1."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.connect(("127.0.0.9", one.udp_port))
        client.send(b"x" * 65507)
        data, sender = one.udp_target.recvfrom(65536)
        assert len(data) == 65507
        one.udp_target.sendto(b"", sender)
        assert client.recv(100) == b""


def test_urgent_data_is_data(one: Proxy) -> None:
    client, server = one.pair()
    client.send(b"ab", socket.MSG_OOB)
    client.send(b"cd")
    client.send(b"e", socket.MSG_OOB)
    client.close()
    assert server.makefile("rb").read() == b"abcde"
    server.close()
