# SPDX-License-Identifier: Apache-2.0
"""minirt:proxy's bounds: hostile peers, too many of them, too few descriptors; its powers, its memory, its end."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirt.kernel import proxy
from own import inside
from proxied import SPARE_PIPES, Proxy, echo, end, exchange, living, open_client, run, settled, started, watched

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) resets


@pytest.fixture
def one() -> Iterator[Proxy]:
    with living() as made:
        yield made


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
        watching = watched()
        os.dup2(door.fileno(), 0)
        pid = proxy.spawn([(0, "tcp", "127.0.0.1", target.getsockname()[1])], watch := os.pidfd_open(watching.pid))
        os.close(watch)
        with socket.create_connection(door.getsockname(), timeout=30) as client:
            door.close()
            os.close(0)
            client.sendall(b"through 0")
            assert target.accept()[0].recv(100) == b"through 0"
        end(watching)
        assert os.waitpid(pid, 0)[1] == 0

    inside(body, "CLONE_NEWNS")


def test_many_ports() -> None:
    """A published range: every socket leads where it should."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(500)]
        watching = watched()
        watch = os.pidfd_open(watching.pid)
        pid = proxy.spawn([(door.fileno(), "tcp", *target.getsockname()) for door in doors], watch)
        os.close(watch)
        for door in doors:
            with socket.create_connection(door.getsockname(), timeout=30) as client, target.accept()[0] as server:
                client.sendall(b"x")
                assert server.recv(1) == b"x"
            door.close()
        end(watching)
        assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        (0, "sctp", "127.0.0.1", 80),
        (0, "tcp", "localhost", 80),
        (0, "tcp", "", 80),
        (0, "tcp", "127.0.0.1", 0),
        (0, "udp", "1/2", 80),
    ],
)
def test_what_is_no_target(wrong: tuple[int, str, str, int]) -> None:
    with pytest.raises(ValueError):
        proxy.spawn([wrong], 0)


def test_too_many() -> None:
    with pytest.raises(ValueError, match="too many"):
        proxy.spawn([(0, "tcp", "127.0.0.1", 80)] * (proxy.SOCKETS + 1), 0)
