# SPDX-License-Identifier: Apache-2.0
"""`minirt network disconnect`: one network less for a container (docker-network-disconnect(1))."""

from __future__ import annotations

from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import connect

COMMAND = Command(
    "network disconnect",
    "[OPTIONS] NETWORK CONTAINER",
    "Disconnect a container from a network",
    (Option("force", "f", help="Force the container to disconnect from a network"),),
    minimum=2,
    maximum=2,
)


def run(session: Session, parsed: Parsed) -> int:
    connect.disconnect(session.engine, parsed.arguments[0], parsed.arguments[1], parsed.flag("force"))
    return 0
