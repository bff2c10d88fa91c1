# SPDX-License-Identifier: Apache-2.0
"""Bytes in quantity: the same ones come out at the other end, by every way that there is; many connections at once; and
iperf3(1) as a judge that is not ours. How fast it is, is bench/networks.py's business.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import exchange
from boxes import Box
from runner import Minirt
from world import HOST, HOST6, OUTSIDE, OUTSIDE6, Place, World

SIZES = [0, 1, 1 << 16, (1 << 16) + 1, 4 << 20]
AT_ONCE = 50


@pytest.mark.parametrize("network", ["bridge", "both"])
def test_bytes_both_ways(networked: Minirt, world: World, start: Callable[..., Box], network: str) -> None:
    """From nothing to 4 MiB, echoed: from outside, by loopback and the host's address, from a neighbour container, by
    hairpin, and from a container to the outside; in both families."""
    networked.ok("network", "create", "--ipv6", "both")
    web = start("web", "-p", "8080:80", "--network", network)
    beside = start("beside", "--network", network)
    every = [os.urandom(size) for size in SIZES]
    for data in every:
        with world.outside:
            for address in (HOST, HOST6):
                assert exchange.ask(address, 8080, data=data).data == data
        for address in ("127.0.0.1", "::1", HOST, HOST6):
            assert exchange.ask(address, 8080, data=data).data == data
        with beside:
            for address, port in ((web.address4, 80), (web.address6, 80), (HOST, 8080)):
                assert exchange.ask(address, port, data=data).data == data
        with web:
            assert exchange.ask(HOST, 8080, data=data).data == data, "hairpin"
    with world.outside, exchange.answering("outside", 80), web:
        for address in (OUTSIDE, OUTSIDE6) if network == "both" else (OUTSIDE,):
            assert exchange.ask(address, 80, data=every[-1]).data == every[-1]


@pytest.mark.parametrize("way", ["outside", "loopback", "beside"])
def test_fifty_at_once(world: World, start: Callable[..., Box], way: str) -> None:
    """Fifty connections at the same time, 64 KiB there and back on each, none mixed up with another."""
    web, beside = start("web", "-p", "8080:80"), start("beside")
    address, port = {"outside": (HOST, 8080), "loopback": ("127.0.0.1", 8080), "beside": (web.address4, 80)}[way]
    places: dict[str, Place | Box] = {"outside": world.outside, "loopback": world.host, "beside": beside}
    wrong: list[str] = []

    def one(number: int) -> None:
        data = number.to_bytes(2, "big") * (1 << 15)
        try:
            told = exchange.ask(address, port, data=data, patience_s=30)
            if told.data != data:
                wrong.append(f"{number}: {len(told.data)} bytes")
        except OSError as error:
            wrong.append(f"{number}: {error}")

    with places[way]:
        threads = [threading.Thread(target=one, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def measured(*words: str) -> dict[str, float]:
    """iperf3's client in the current namespace, 16 MiB; what its sums say."""
    argv = ["iperf3", "--json", "--bytes", "16M", "--connect-timeout", "5000", *words]
    told = subprocess.run(argv, capture_output=True, timeout=60)
    document = json.loads(told.stdout)
    assert told.returncode == 0 and "error" not in document, document.get("error")
    return {name: float(document["end"][name]["bytes"]) for name in ("sum_sent", "sum_received")}


def test_iperf3(world: World, start: Callable[..., Box]) -> None:
    """Debian's iperf3 in a container: container to outside, host to published port, container to container."""
    server = "/usr/bin/iperf3", "--server"
    box = start("box", "-p", "5201:5201", command=server, ready="tcp:5201")
    peer = start("peer")
    with world.outside, exchange.program(*server, ready="tcp:5201"), box:
        assert measured("--client", OUTSIDE)["sum_received"] > 1 << 20
    ways: list[tuple[Place | Box, str]] = [(world.host, "127.0.0.1"), (world.outside, HOST), (peer, box.address4)]
    for place, address in ways:
        with place:
            assert measured("--client", address)["sum_received"] > 1 << 20


def test_a_slow_reader_holds_up_nobody(world: World, start: Callable[..., Box]) -> None:
    """One client of the published port reads nothing; others are served meanwhile, by loopback and from outside."""
    start("web", "-p", "8080:80")
    for place, address in ((world.host, "127.0.0.1"), (world.outside, HOST)):
        with place, socket.socket() as stuck:
            stuck.connect((address, 8080))
            stuck.setblocking(False)
            try:
                while True:
                    stuck.send(b"x" * 65536)
            except BlockingIOError:
                pass
            assert exchange.ask(address, 8080, data=b"y" * 100_000).data == b"y" * 100_000


def test_offloads_are_right(world: World, start: Callable[..., Box], short_dir: Path) -> None:
    """A file of 8 MiB by busybox's own httpd and wget, whose checksum is the same on both sides of the bridge."""
    data = os.urandom(8 << 20)
    (short_dir / "file").write_bytes(data)
    files = "-v", f"{short_dir}/file:/www/file:ro"
    start("web", "-p", "8080:80", *files, command=("httpd", "-f", "-p", "80", "-h", "/www"), ready="tcp:80")
    fetch = ["curl", "-sS", "--noproxy", "*", "-m", "30", f"http://{HOST}:8080/file"]
    with world.outside:
        assert subprocess.run(fetch, capture_output=True, check=True).stdout == data
