# SPDX-License-Identifier: Apache-2.0
"""minirt:proxy with real sockets on loopback: bytes, ends, many peers, hostile ones, its powers and its own end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from minirt.kernel import proxy

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) resets
SPARE_FILES = 2 * 16  # MRT_SPARE_PIPES in csrc/proxy.h

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Proxy:
    """A proxy with one TCP and one UDP socket; `pid`, `watched`, and where it listens and leads."""

    def __init__(self, outside: int = 4, inside: int = 4, any_address: bool = False) -> None:
        self.watched = subprocess.Popen(["sleep", "600"])
        self.target = socket.create_server((LOOPBACK[inside], 0), family=FAMILY[inside], backlog=1000)
        self.udp_target = socket.socket(FAMILY[inside], socket.SOCK_DGRAM)
        self.udp_target.bind((LOOPBACK[inside], 0))
        self.udp_target.settimeout(30)
        door = socket.create_server((LOOPBACK[outside], 0), family=FAMILY[outside])
        udp_door = socket.socket(FAMILY[outside], socket.SOCK_DGRAM)
        udp_door.bind(("" if any_address else LOOPBACK[outside], 0))
        self.address: tuple[str, int] = door.getsockname()[:2]
        self.udp_port: int = udp_door.getsockname()[1]
        watch = os.pidfd_open(self.watched.pid)
        wanted = [
            (door.fileno(), "tcp", LOOPBACK[inside], self.target.getsockname()[1]),
            (udp_door.fileno(), "udp", LOOPBACK[inside], self.udp_target.getsockname()[1]),
        ]
        self.pid = proxy.spawn(wanted, watch)
        os.close(watch)
        door.close()
        udp_door.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A connection through the proxy: the client's end, the target's."""
        client = self.connect()
        self.target.settimeout(30)
        server, _ = self.target.accept()
        server.settimeout(30)
        return client, server

    def datagrams(self) -> socket.socket:
        client = socket.socket(FAMILY[6 if ":" in self.address[0] else 4], socket.SOCK_DGRAM)
        client.settimeout(30)
        client.connect((self.address[0], self.udp_port))
        return client

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def finish(self) -> int:
        """End the watched process; the proxy's exit code, once it has followed."""
        self.watched.kill()
        self.watched.wait()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.target.close()
        self.udp_target.close()
        return code


@pytest.fixture
def one() -> Iterator[Proxy]:
    """An IPv4 proxy that must have lived through the test."""
    made = Proxy(any_address=True)
    yield made
    assert made.finish() == 0


def started(made: Proxy) -> None:
    """It has done what it does before its first client: dropping its powers is the last of that."""
    client, server = made.pair()
    client.close()
    assert server.recv(1) == b""
    server.close()


async def settled(made: Proxy, files: int) -> None:
    """Wait until it holds no more than that, spare pipes apart."""
    while made.files() > files + SPARE_FILES:
        await asyncio.sleep(0.01)


def run(made: Proxy, serve: Serve, clients: Callable[[], Awaitable[None]]) -> None:
    """`clients` against a target that serves each connection by `serve`, in one event loop; an end in any case."""

    async def whole() -> None:
        server = await asyncio.start_server(serve, sock=made.target.dup(), limit=1 << 20)
        async with server:
            await asyncio.wait_for(clients(), 240)

    asyncio.run(whole())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def open_client(made: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*made.address, limit=1 << 20)


async def exchange(made: Proxy, size: int, seed: int) -> None:
    """Write `size` bytes and read them back, at once, each its own sequence; then the end."""
    reader, writer = await open_client(made)
    block = hashlib.shake_128(b"%d" % seed).digest(min(size, 1 << 20))
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def send() -> None:
        for _ in range(size // len(block)):
            sent.update(block)
            writer.write(block)
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    received = 0
    while data := await reader.read(1 << 18):
        got.update(data)
        received += len(data)
    await sending
    writer.close()
    await writer.wait_closed()
    assert received == size
    assert got.digest() == sent.digest()


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
        await settled(one, files)

    started(one)
    files = one.files()
    run(one, echo, clients)


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
        client = one.connect()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()
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
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    senders = {}
    for _ in clients:
        data, sender = one.udp_target.recvfrom(100)
        senders[data] = sender
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


def test_more_udp_clients_than_places(one: Proxy) -> None:
    """The table is bounded: who was never answered goes first, and whoever was is still known."""
    known = one.datagrams()
    known.send(b"x")
    _, sender = one.udp_target.recvfrom(100)
    one.udp_target.sendto(b"first", sender)
    assert known.recv(100) == b"first"
    for _ in range(3000):
        with one.datagrams() as flood:
            flood.send(b"x")
        one.udp_target.recv(100)
    assert one.files() < 1024 + 40
    one.udp_target.sendto(b"second", sender)
    assert known.recv(100) == b"second"
    known.close()


def test_hostile_peers(one: Proxy) -> None:
    """Those that come and go, say nothing, hang up in the middle, send urgent data or empty datagrams."""
    started(one)
    files = one.files()

    async def one_of(kind: int) -> None:
        reader, writer = await open_client(one)
        end = writer.get_extra_info("socket")
        if kind % 2:
            writer.write(b"x" * (kind * 1000))
        if kind % 3 == 0:
            await reader.read(10) if kind % 2 else await asyncio.sleep(0)
        if kind % 5 == 0:
            os.set_blocking(end.fileno(), False)
            socket.socket(fileno=os.dup(end.fileno())).send(b"!", socket.MSG_OOB)
        if kind % 7 == 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    async def clients() -> None:
        silent = [await open_client(one) for _ in range(100)]
        for start in range(0, 1000, 50):
            await asyncio.gather(*(one_of(kind) for kind in range(start, start + 50)))
        await exchange(one, 1 << 20, 1)
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        await settled(one, files)

    run(one, echo, clients)


def test_urgent_data_is_data(one: Proxy) -> None:
    client, server = one.pair()
    client.send(b"ab", socket.MSG_OOB)
    client.send(b"cd")
    client.send(b"e", socket.MSG_OOB)
    client.close()
    assert server.makefile("rb").read() == b"abcde"
    server.close()


def limited(files: int) -> Proxy:
    """A proxy whose hard limit of descriptors is that: started by a child that has lowered its own."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], before[1]))
        made = Proxy.__new__(Proxy)
        spawn = proxy.spawn

        def lowered(sockets: list[tuple[int, str, str, int]], watch: int) -> int:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], before[1]))
                os.write(writing, b"%d" % spawn(sockets, watch))
                os._exit(0)
            os.waitpid(child, 0)
            return int(os.read(reading, 20))

        return made
    finally:
        pass
