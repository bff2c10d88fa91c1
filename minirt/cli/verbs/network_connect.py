# SPDX-License-Identifier: Apache-2.0
"""`minirt network connect`: one more network for a container (docker-network-connect(1))."""

from __future__ import annotations

from minirt.cli.parse import LIST, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import connect, network_flags
from minirt.engine.network_flags import Wanted
from minirt.errors import InvalidValue

COMMAND = Command(
    "network connect",
    "[OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    (
        Option("alias", "", LIST, "Add network-scoped alias for the container"),
        Option("ip", "", STRING, 'IPv4 address (e.g., "172.30.100.104")'),
        Option("ip6", "", STRING, 'IPv6 address (e.g., "2001:db8::33")'),
        *[Option(name, "", LIST, hidden=True) for name in ("driver-opt", "gw-priority", "link", "link-local-ip")],
    ),
    minimum=2,
    maximum=2,
    notes="A container that runs gets the interface at once; one that does not, when it starts.",
)


def run(session: Session, parsed: Parsed) -> int:
    for name in ("driver-opt", "gw-priority", "link", "link-local-ip"):
        if name in parsed.given:
            raise InvalidValue(f"--{name} is not supported yet", "leave it out")
    network, container = parsed.arguments
    wanted = Wanted(network)
    wanted.aliases = [network_flags.alias(text) for text in parsed.list("alias")]
    wanted.address4 = network_flags.address4(parsed.text("ip")) if parsed.text("ip") else ""
    wanted.address6 = network_flags.address6(parsed.text("ip6")) if parsed.text("ip6") else ""
    connect.connect(session.engine, network, container, wanted)
    return 0
