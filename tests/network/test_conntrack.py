# SPDX-License-Identifier: Apache-2.0
"""UDP entries of a published port are forgotten, and no others (NET-14). The judges: conntrack(8), real datagrams."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator

import pytest

import exchange
import namespaces
import room as rooms
import world as worlds
from minirt.model.network import Port
from minirt.network import conntrack
from test_paths import serving
from world import HOST, HOST6, OUTSIDE, World

PORT = 8080


class Scene:
    """A network with two servers; the port leads to the first one."""

    def __init__(self, room: rooms.Room, world: World) -> None:
        self.room, self.world = room, world
        net = room.add(rooms.network(six=True))
        self.first, self.second = room.container(net), room.container(net)

    def lead_to(self, place: rooms.Container, host_address: str = "") -> Port:
        port = Port("udp", host_address, PORT, 53, place.address4, place.address6)
        self.room.ports = [port]
        self.room.load()
        return port


@pytest.fixture
def scene(here: namespaces.Namespace) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(worlds.around(here))
        made = Scene(stack.enter_context(rooms.make()), world)
        stack.enter_context(serving(made.first, "first", 53))
        stack.enter_context(serving(made.second, "second", 53))
        yield made


def entries(first: str = "") -> list[str]:
    """UDP's: lines of `conntrack -L` whose original direction begins with this pattern."""
    found = []
    for family in ("ipv4", "ipv6"):
        told = subprocess.run(
            ["conntrack", "-L", "-p", "udp", "-f", family], capture_output=True, text=True, check=True
        )
        found += [line for line in told.stdout.splitlines() if re.match(f"udp +[0-9]+ +[0-9]+ {first}", line)]
    return found


class Client:
    """One that goes on sending from the same port."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(exchange.family_of(address), socket.SOCK_DGRAM)
        self.socket.settimeout(exchange.PATIENCE_S)
        self.socket.connect((address, PORT))

    def ask(self) -> str:
        self.socket.send(b"?")
        return self.socket.recv(100).decode().partition(" ")[0]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.mark.parametrize("address", [HOST, HOST6])
@pytest.mark.parametrize("published", ["", "exactly"])
def test_a_port_that_leads_elsewhere(scene: Scene, address: str, published: str) -> None:
    host_address = address if published else ""
    scene.lead_to(scene.first, host_address)
    with scene.world.outside:
        client = Client(address)
    with client:
        assert client.ask() == "first"
        port = scene.lead_to(scene.second, host_address)
        assert client.ask() == "first", "the control: the old entry lives on"
        conntrack.flush([port])
        assert client.ask() == "second"


def test_a_port_that_nobody_had(scene: Scene) -> None:
    """Who was sending before anybody listened has an entry that leads nowhere."""
    with scene.world.outside:
        client = Client(HOST)
        client.socket.send(b"?")
    with client:
        assert len(entries(f"src={OUTSIDE} dst={HOST} ")) == 1
        conntrack.flush([scene.lead_to(scene.first)])
        assert entries(f"src={OUTSIDE} dst={HOST} ") == []


def test_what_is_not_the_ports_stays(scene: Scene) -> None:
    port = scene.lead_to(scene.first)
    with serving(scene.world.outside, "outside", PORT, 53):
        with scene.second:
            assert (
                exchange.ask(OUTSIDE, PORT, "udp", b"?").name == "outside"
            )  # the same number, under the host's address
            assert exchange.ask(OUTSIDE, 53, "udp", b"?").name == "outside"
        with scene.world.outside:
            assert exchange.ask(HOST, PORT, "udp", b"?").name == "first"
    passing = entries(f"src={scene.second.address4} dst={OUTSIDE}")
    assert len(passing) == 2
    to_the_port = f"src={OUTSIDE} dst={HOST} sport=[0-9]+ dport={PORT} "
    assert len(entries(to_the_port)) == 1
    other = Port("udp", "192.0.2.77", PORT, 53, scene.first.address4)
    for untouching in (
        [],
        [Port("tcp", "", PORT, 53, scene.first.address4)],
        [Port("udp", "", PORT + 1, 53, scene.first.address4)],
        [Port("udp", "127.0.0.1", PORT, 53, scene.first.address4)],
        [other],
    ):
        before = len(entries())
        conntrack.flush(untouching)
        assert len(entries()) == before
    conntrack.flush([port])
    assert len(entries(f"src={scene.second.address4} dst={OUTSIDE}")) == 2
    assert entries(to_the_port) == []


def test_many(scene: Scene) -> None:
    """More entries than one answer of the kernel's holds."""
    port = scene.lead_to(scene.first)
    with scene.world.neighbour:
        for number in range(1000):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.bind(("", 20_000 + number))
                one.sendto(b"?", (HOST, PORT))
                if number % 50 == 49:
                    exchange.ask(HOST, PORT, "udp", b"?")  # so that no queue runs over
    to_the_port = f"src=[0-9.]+ dst={HOST} sport=[0-9]+ dport={PORT} "
    assert len(entries(to_the_port)) > 1000
    conntrack.flush([port])
    assert entries(to_the_port) == []


def test_without_any(here: namespaces.Namespace) -> None:
    conntrack.flush([Port("udp", "", PORT, 53, "10.77.1.2", "fd00:77:1::2")])
