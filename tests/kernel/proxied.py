# SPDX-License-Identifier: Apache-2.0
"""A minirt:proxy for one test, with real sockets on loopback at both its ends.

`Proxy` has one TCP and one UDP socket; `run` lets clients loose on it while its target serves them, in one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from minirt.kernel import proxy

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
SPARE_PIPES = 16  # MRT_SPARE_PIPES in csrc/proxy.h
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def watched() -> subprocess.Popen[bytes]:
    """A process that ends at the latest with the test that started it: it waits for the end of a pipe."""
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


class Proxy:
    """A proxy with one TCP and one UDP socket; `pid`, `watched`, and where it listens and leads."""

    def __init__(self, outside: int = 4, inside: int = 4, any_address: bool = False) -> None:
        self.watched = watched()
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
        end(self.watched)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.target.close()
        self.udp_target.close()
        return code


@contextlib.contextmanager
def living() -> Iterator[Proxy]:
    """An IPv4 proxy that must have lived to the end."""
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
