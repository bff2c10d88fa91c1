# SPDX-License-Identifier: Apache-2.0
"""`minirt port`: where the host answers for a container's ports (docker-port(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import port as port_
from minirt.errors import InvalidValue, NotFound

COMMAND = Command(
    "port",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    minimum=1,
    maximum=2,
    aliases=("container port", "port"),
)


def run(session: Session, parsed: Parsed) -> int:
    found = port_.port(session.engine, parsed.arguments[0])
    if len(parsed.arguments) == 1:
        output.lines([f"{one.inner} -> {one.outer}" for one in found])
        return 0
    number, _, protocol = parsed.arguments[1].partition("/")
    wanted = f"{number}/{protocol.lower() or 'tcp'}"
    if not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise InvalidValue(f"invalid port '{parsed.arguments[1]}'", "write 80 or 53/udp")
    chosen = [one.outer for one in found if one.inner == wanted]
    if not chosen:
        raise NotFound(
            f"no public port '{wanted}' published for {parsed.arguments[0]}",
            f"see which there are: minirt port {parsed.arguments[0]}",
        )
    output.lines(chosen)
    return 0
