# SPDX-License-Identifier: Apache-2.0
"""The world of tests/network/world.py is what the other tests take it for: who reaches whom without any container."""

from __future__ import annotations

import pytest

import exchange
import namespaces
from world import HOST, HOST6, NEIGHBOUR, NEIGHBOUR6, OUTSIDE, OUTSIDE6, World


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_everybody_reaches_the_host(world: World, protocol: str) -> None:
    with exchange.answering("host", 80):
        for place, address in ((world.neighbour, NEIGHBOUR), (world.outside, OUTSIDE)):
            with place:
                assert exchange.ask(HOST, 80, protocol, b"x" * 1000) == ("host", address, b"x" * 1000)
        for place, address in ((world.neighbour, NEIGHBOUR6), (world.outside, OUTSIDE6)):
            with place:
                assert exchange.ask(HOST6, 80, protocol, b"x") == ("host", address, b"x")


def test_the_host_reaches_the_outside(world: World) -> None:
    with world.outside, exchange.answering("outside", 80), world.host:
        assert exchange.ask(OUTSIDE, 80, data=b"x" * 300_000) == ("outside", HOST, b"x" * 300_000)
        assert exchange.silent((OUTSIDE, OUTSIDE6), 81)
        assert exchange.ask(OUTSIDE6, 80)[:2] == ("outside", HOST6)


def test_the_machine_is_somewhere_else(world: World) -> None:
    """Nothing here is the namespace that the tests were started in, and each place is one of its own."""
    places = [world.host, world.router, world.neighbour, world.outside]
    names = {place.namespace.name for place in places} | {namespaces.machine().name}
    assert len(names) == 5
    assert namespaces.current().name == world.host.namespace.name
