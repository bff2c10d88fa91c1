# SPDX-License-Identifier: Apache-2.0
"""`minirt network rm`: remove networks on which no container runs (docker-network-rm(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import networks
from minirt.errors import MinirtError, NotFound

COMMAND = Command(
    "network rm",
    "NETWORK [NETWORK...]",
    "Remove one or more networks",
    (Option("force", "f", help="A network that does not exist is no failure"),),
    minimum=1,
    aliases=("network rm", "network remove"),
)


def run(session: Session, parsed: Parsed) -> int:
    failed = 0
    for name in parsed.arguments:
        try:
            networks.remove(session.engine, name)
        except MinirtError as error:
            if not (parsed.flag("force") and isinstance(error, NotFound)):
                output.complain(error.message, error.remedy)
                failed = 1
            continue
        output.line(name)
    return failed
