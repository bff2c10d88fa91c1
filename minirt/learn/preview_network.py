# SPDX-License-Identifier: Apache-2.0
"""The network's part of the plan of a container that nobody makes: addresses as the first container would get them.

The database is root's, so what it would say is assumed, and said to be. Writes nothing, asks no kernel. Must not
import cli.
"""

from __future__ import annotations

from minirt.engine import leases, network_flags
from minirt.model.network import BRIDGE, DEFAULT, Endpoint, Port
from minirt.network import addresses
from minirt.plan import publish
from minirt.plan.network import Link
from minirt.plan.step import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import RunOptions

PREFIX = 16
VETH = "veth<random>"


class Assumed:
    """links: for the birth. plan: the host steps before it. notes: what was assumed, one line each."""

    __slots__ = ("links", "notes", "plan")

    def __init__(self) -> None:
        self.links: tuple[Link, ...] = ()
        self.plan = Plan(())
        self.notes: list[str] = []


def assume(options: RunOptions, config: dict[str, Any], identity: str) -> Assumed:
    """Raises InvalidValue for a malformed flag."""
    found = Assumed()
    endpoints: list[Endpoint] = []
    for number, wanted in enumerate(network_flags.wanted(options)):
        address = wanted.address4 or f"172.{17 + number}.0.2"
        gateway = address.rpartition(".")[0] + ".1"
        one = Endpoint(
            wanted.network, identity, f"eth{number}", leases.FIRST_NUMBER + number, VETH,
            wanted.mac or addresses.mac_of(address), address, PREFIX,
        )  # fmt: skip
        endpoints.append(one)
        bridge = "minirt0" if wanted.network == DEFAULT else "<bridge>"
        link = Link(
            BRIDGE, one.interface, one.index, one.mac, 0, one.veth, 0, ((address, PREFIX),),
            (gateway,) if number == 0 else (), f"--network {wanted.network}", bridge,
        )  # fmt: skip
        found.links += (link,)
        if not wanted.address4:
            found.notes.append(f"address {address} on the network {wanted.network}: it is leased at the start")
    if endpoints:
        found.plan = publish.take("minirt", endpoints, _ports(options, config, endpoints[0]))
    return found


def _ports(options: RunOptions, config: dict[str, Any], target: Endpoint) -> list[Port]:
    wanted = network_flags.ports(options.publish, options.publish_all, network_flags.exposed(options.expose, config))
    first = leases.DEFAULT_EPHEMERAL[0]
    return [
        Port(one.protocol, one.host_address, one.host_port or first + place, one.container_port, target.address4)
        for place, one in enumerate(wanted)
    ]
