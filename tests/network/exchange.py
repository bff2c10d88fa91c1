# SPDX-License-Identifier: Apache-2.0
"""Asking a server of tests/network/answerer.py from the current network namespace, and servers in namespaces.

`ask` returns who answered and whom it saw; `silent` says that nobody did. Must not import minirt.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import runner

ANSWERER = Path(__file__).with_name("answerer.py")
PYTHON = "/usr/bin/python3"
PATIENCE_S = 5.0
"""How long an answer may take where there must be one."""
SILENCE_S = 0.6
"""How long nobody may answer where nobody must: a packet that is let through needs a thousandth of it."""


class Answer(NamedTuple):
    """name: of the server. peer: the address that it saw us by. data: what it sent back."""

    name: str
    peer: str
    data: bytes


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask(
    address: str,
    port: int,
    protocol: str = "tcp",
    data: bytes = b"",
    *,
    source: tuple[str, int] | None = None,
    patience_s: float = PATIENCE_S,
) -> Answer:
    """Sends `data`, and takes what comes back until the other side ends. OSError (also for a connection that ends
    without a word, ECONNRESET) if there is no answer. "fe80::1%eth0" is an address too."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(family_of(address), kind) as mine:
        mine.settimeout(patience_s)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source:
            mine.bind(source)
        mine.connect(socket.getaddrinfo(address, port, type=kind)[0][4])
        told = _datagram(mine, data) if protocol == "udp" else _stream(mine, data)
    if not told:
        raise ConnectionResetError(errno.ECONNRESET, f"{address} port {port} ended without a word")
    line, _, rest = told.partition(b"\n")
    name, _, peer = line.decode().partition(" ")
    return Answer(name, peer, rest)


def _datagram(mine: socket.socket, data: bytes) -> bytes:
    mine.send(data)
    return mine.recv(1 << 16)


def _stream(mine: socket.socket, data: bytes) -> bytes:
    """Sends and receives by turns, so that neither side's buffers fill up."""
    told, sent = [mine.recv(1 << 16)], 0
    while told[-1] and sent < len(data):
        sent += mine.send(data[sent : sent + (1 << 15)])
        if sum(map(len, told)) < sent:
            told.append(mine.recv(1 << 16))
    mine.shutdown(socket.SHUT_WR)
    while told[-1]:
        told.append(mine.recv(1 << 16))
    return b"".join(told)


def silent(
    addresses: str | Iterable[str],
    ports: int | Iterable[int],
    protocols: str | Iterable[str] = ("tcp", "udp"),
    source: str = "",
) -> bool:
    """Nobody answers anywhere: refused, unreachable, or not a word. All are asked at once, each by a thread, which is
    in the namespace of the one that started it."""
    addresses = [addresses] if isinstance(addresses, str) else list(addresses)
    ports = [ports] if isinstance(ports, int) else list(ports)
    protocols = [protocols] if isinstance(protocols, str) else list(protocols)
    heard = []

    def one(address: str, port: int, protocol: str) -> None:
        try:
            told = ask(address, port, protocol, b"?", source=(source, 0) if source else None, patience_s=SILENCE_S)
            heard.append((address, port, protocol, told))
        except OSError:
            pass

    threads = [threading.Thread(target=one, args=target) for target in itertools.product(addresses, ports, protocols)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if heard:
        sys.stderr.write(f"answers: {heard}\n")  # what pytest shows of a test that fails
    return not heard


@contextlib.contextmanager
def program(*words: str | Path, ready: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A program in the current namespace as long as this context lasts. `ready`: "tcp:PORT" or "udp:PORT" that it has
    to have taken before this returns; looked up in the namespace's own tables."""
    running = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        if ready:
            runner.eventually(lambda: running.poll() is not None or taken(ready))
            assert running.poll() is None, f"{words[0]} has ended with {running.returncode}"
        yield running
    finally:
        running.kill()
        running.wait()


def taken(what: str, pid: str = "self") -> bool:
    """Somebody has bound "tcp:80" (and listens) or "udp:53" in the namespace of that process (proc(5), net/tcp)."""
    protocol, _, port = what.partition(":")
    wanted = f":{int(port):04X}"
    for table in (protocol, protocol + "6"):
        rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        for row in rows:
            fields = row.split()
            if fields[1].endswith(wanted) and (protocol == "udp" or fields[3] == "0A"):
                return True
    return False


@contextlib.contextmanager
def answering(name: str, *ports: int, address: str = "") -> Iterator[None]:
    """A server in the current namespace. It must be entered and left there."""
    words: list[str | Path] = [PYTHON, "-IS", ANSWERER, name, *map(str, ports), *([address] if address else [])]
    with program(*words, ready=f"udp:{ports[-1]}"):
        yield
