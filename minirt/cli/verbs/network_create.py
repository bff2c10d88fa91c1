# SPDX-License-Identifier: Apache-2.0
"""`minirt network create`: make a network (docker-network-create(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import LIST, MAP, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import networks
from minirt.engine.network_config import Request
from minirt.errors import InvalidValue

NOTES = """Options (-o): mtu=BYTES; with --driver macvlan parent=INTERFACE, an interface of the host.

The subnet is picked so that it collides with no route of this host; --ipv6 adds an IPv6 one (fd00::/8). From an
--internal network nothing leaves. Containers on different networks do not reach one another."""
COMMAND = Command(
    "network create",
    "[OPTIONS] NETWORK",
    "Create a network",
    (
        Option("attachable", hidden=True),
        Option("driver", "d", STRING, 'Driver to manage the Network ("bridge" or "macvlan")', default="bridge"),
        Option("gateway", "", LIST, "IPv4 or IPv6 Gateway for the subnet", metavar="address"),
        Option("internal", help="Restrict external access to the network"),
        Option("ip-range", "", LIST, "Allocate container ip from a sub-range", metavar="subnet"),
        Option("ipv4", hidden=True, default=True),
        Option("ipv6", help="Enable IPv6 on the network"),
        Option("label", "", LIST, "Set metadata on a network"),
        Option("opt", "o", MAP, "Set driver specific options", metavar="key=value"),
        Option("subnet", "", LIST, "Subnet in CIDR format that represents a network segment", metavar="subnet"),
        Option("scope", "", STRING, hidden=True, default="local"),
        Option("ipam-driver", "", STRING, hidden=True, default="default"),
        *[Option(name, "", LIST, hidden=True) for name in ("aux-address", "config-from", "ipam-opt")],
        *[Option(name, hidden=True) for name in ("config-only", "ingress")],
    ),
    minimum=1,
    maximum=1,
    notes=NOTES,
)
REFUSED = ("aux-address", "config-from", "config-only", "ingress", "ipam-opt")


def run(session: Session, parsed: Parsed) -> int:
    for name in REFUSED:
        if name in parsed.given:
            raise InvalidValue(f"--{name} is not supported yet", "leave it out")
    for name, only in (("scope", "local"), ("ipam-driver", "default")):
        if parsed.text(name) != only:
            raise InvalidValue(f'--{name} "{parsed.text(name)}" is not supported yet', f"there is {only}")
    if not parsed.flag("ipv4"):
        raise InvalidValue("--ipv4=false is not supported yet", "leave it out")
    request = Request(parsed.arguments[0])
    request.driver = parsed.text("driver")
    request.subnets, request.gateways, request.ranges = (
        [word for text in parsed.list(name) for word in text.split(",")] for name in ("subnet", "gateway", "ip-range")
    )
    request.options, request.labels = parsed.list("opt"), parsed.list("label")
    request.internal, request.ipv6 = parsed.flag("internal"), parsed.flag("ipv6")
    output.line(networks.create(session.engine, request).id)
    return 0
