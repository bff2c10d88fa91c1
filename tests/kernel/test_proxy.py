# SPDX-License-Identifier: Apache-2.0
"""minirt:proxy with real sockets on loopback: bytes, ends, many peers, hostile ones, its powers and its own end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from minirt.kernel import proxy
from own import inside

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SPARE_PIPES = 16  # MRT_SPARE_PIPES in csrc/proxy.h
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) resets

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

    def files(self, kind: str = "") -> int:
        """How many descriptors it has that are called so: "socket", "pipe"."""
        count, folder = 0, f"/proc/{self.pid}/fd"
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed since
                count += os.readlink(f"{folder}/{fd}").startswith(kind)
        return count

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


def settled(made: Proxy) -> None:
    """Wait until it has no socket but the two published ones: no connection, no client's address."""
    while made.files("socket") > 2:
        time.sleep(0.01)


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

    async def one_of(kind: int) -> None:
        reader, writer = await open_client(one)
        end = writer.get_extra_info("socket")
        if kind % 2:
            writer.write(b"x" * (kind * 1000))
        if kind % 3 == 0:
            await reader.read(10) if kind % 2 else await asyncio.sleep(0)
        if kind % 5 == 0:
            with socket.socket(fileno=os.dup(end.fileno())) as same:
                same.send(b"!", socket.MSG_OOB)
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

    run(one, echo, clients)
    settled(one)
    assert one.files("pipe") <= 2 * SPARE_PIPES


def test_urgent_data_is_data(one: Proxy) -> None:
    client, server = one.pair()
    client.send(b"ab", socket.MSG_OOB)
    client.send(b"cd")
    client.send(b"e", socket.MSG_OOB)
    client.close()
    assert server.makefile("rb").read() == b"abcde"
    server.close()


def test_few_descriptors() -> None:
    """It counts what it may have before it serves: one client too many is refused, none of the others suffers."""

    def body() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        made = Proxy()
        pairs = [made.pair() for _ in range(5)]  # a quarter is for UDP, six for each connection, some its own
        for _ in range(20):
            with pytest.raises(ConnectionResetError), made.connect() as client:
                client.recv(1)
        for client, server in pairs:
            client.sendall(b"x")
            assert server.recv(2) == b"x"
            client.close()
            server.close()
        settled(made)
        started(made)
        assert made.finish() == 0

    inside(body, "CLONE_NEWNS")


FEW = """
import fcntl, os, resource, socket, sys
sys.path[:0] = {path!r}
from minirt.kernel import proxy
door = socket.create_server(("127.0.0.1", 0))
watch = os.pidfd_open(os.getpid())
high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (door.fileno(), watch)]
port = door.getsockname()[1]
door.close()
os.close(watch)
resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7))
print(proxy.spawn([(high[0], "tcp", "127.0.0.1", {port})], high[1]), port, flush=True)
os.close(high[0])
input()
"""


def test_no_descriptor_left() -> None:
    """0 to 2, two epoll descriptors, and room for one connection's two: accept4(2) fails for the next client. It waits
    until there is one, and the proxy with it."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        code = FEW.format(path=sys.path, port=target.getsockname()[1])
        caller = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert caller.stdout is not None
        pid, port = map(int, caller.stdout.readline().split())
        end = os.pidfd_open(pid)
        clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(3)]
        target.settimeout(30)
        for client in clients:
            server, _ = target.accept()
            target.settimeout(0.3)
            with pytest.raises(TimeoutError):
                target.accept()
            target.settimeout(30)
            client.close()
            with pytest.raises(ConnectionResetError):  # nor is there one for a pipe
                server.recv(1)
            server.close()
        caller.communicate(b"\n")
        assert select.select([end], [], [], 30)[0]
        os.close(end)


def test_powers(one: Proxy) -> None:
    """Nobody's, without capabilities or new ones, filtered, not to be looked into; no file but its sockets."""
    started(one)
    status = one.status()
    assert status["Name"] == "minirt:proxy"
    assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
    assert status["Groups"] == ""
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["SigIgn"], 16) == 1 << signal.SIGPIPE - 1
    assert int(status["SigCgt"], 16) == int(status["SigBlk"], 16) == 0
    folder = f"/proc/{one.pid}"
    assert os.stat(f"{folder}/fd").st_uid == 0  # proc(5): root's where a process is not dumpable, else its own user's
    assert os.getsid(one.pid) == one.pid
    assert os.readlink(f"{folder}/cwd") == "/"
    assert Path(f"{folder}/environ").read_bytes() == b""
    files = sorted(os.readlink(f"{folder}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"{folder}/fd"))
    sockets = [name for name in files if name == "socket"]
    assert len(sockets) <= 4  # the two published ones, and a connection that is about to end
    assert set(files) <= {"/dev/null", "anon_inode", "pipe", "socket"}


def test_memory(one: Proxy) -> None:
    """A proxy that has relayed little costs some tens of kilobytes of its own."""
    run(one, echo, lambda: exchange(one, 1 << 20, 1))
    lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    assert kilobytes["Private_Dirty"] < 200


def test_ends_with_the_watched_process() -> None:
    """Connections end, and the port is free again."""
    made = Proxy()
    client, server = made.pair()
    address = made.address
    assert made.finish() == 0
    assert client.recv(1) == b""
    assert server.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        made.connect()
    client.close()
    server.close()
    socket.create_server(address).close()


def test_the_watched_process_is_gone_already() -> None:
    gone = subprocess.Popen(["true"])
    watch = os.pidfd_open(gone.pid)
    gone.wait()
    with socket.create_server(("127.0.0.1", 0)) as door:
        pid = proxy.spawn([(door.fileno(), "tcp", "127.0.0.1", 1)], watch)
    os.close(watch)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_sigterm_ends_it(one: Proxy) -> None:
    other = Proxy()
    os.kill(other.pid, signal.SIGTERM)
    assert other.finish() == -signal.SIGTERM


def test_the_port_is_held(one: Proxy) -> None:
    """By the kernel, as long as the proxy lives: nobody else may bind it (NET-11)."""
    with socket.socket() as late, pytest.raises(OSError, match="in use"):
        late.bind(one.address)
    with socket.socket(type=socket.SOCK_DGRAM) as late, pytest.raises(OSError, match="in use"):
        late.bind(("127.0.0.1", one.udp_port))


def test_a_socket_where_standard_input_was() -> None:
    """A caller that was started without descriptors 0 to 2 has its sockets there."""

    def body() -> None:
        door = socket.create_server(("127.0.0.1", 0))
        target = socket.create_server(("127.0.0.1", 0))
        sleeper = subprocess.Popen(["sleep", "600"])
        os.dup2(door.fileno(), 0)
        pid = proxy.spawn([(0, "tcp", "127.0.0.1", target.getsockname()[1])], watch := os.pidfd_open(sleeper.pid))
        os.close(watch)
        with socket.create_connection(door.getsockname(), timeout=30) as client:
            door.close()
            os.close(0)
            client.sendall(b"through 0")
            assert target.accept()[0].recv(100) == b"through 0"
        sleeper.kill()
        sleeper.wait()
        assert os.waitpid(pid, 0)[1] == 0

    inside(body, "CLONE_NEWNS")


def test_many_ports() -> None:
    """A published range: every socket leads where it should."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(500)]
        sleeper = subprocess.Popen(["sleep", "600"])
        watch = os.pidfd_open(sleeper.pid)
        pid = proxy.spawn([(door.fileno(), "tcp", *target.getsockname()) for door in doors], watch)
        os.close(watch)
        for door in doors:
            with socket.create_connection(door.getsockname(), timeout=30) as client, target.accept()[0] as server:
                client.sendall(b"x")
                assert server.recv(1) == b"x"
            door.close()
        sleeper.kill()
        sleeper.wait()
        assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    "wrong",
    [(0, "sctp", "127.0.0.1", 80), (0, "tcp", "localhost", 80), (0, "tcp", "127.0.0.1", 0), (0, "udp", "1/2", 80)],
)
def test_what_is_no_target(wrong: tuple[int, str, str, int]) -> None:
    with pytest.raises(ValueError):
        proxy.spawn([wrong], 0)


def test_too_many() -> None:
    with pytest.raises(ValueError, match="too many"):
        proxy.spawn([(0, "tcp", "127.0.0.1", 80)] * (proxy.SOCKETS + 1), 0)
