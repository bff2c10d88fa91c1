# SPDX-License-Identifier: Apache-2.0
"""`minirt network dissect`: the way of a packet between a container and the world, drawn from what the kernel says."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.model import json

COMMAND = Command(
    "network dissect",
    "[OPTIONS] CONTAINER",
    "Draw the way of a packet between a container and the world",
    (
        Option("json", help="Print what was found as JSON"),
        Option("to", "", STRING, "Draw the way to this address", metavar="ADDRESS"),
    ),
    minimum=1,
    maximum=1,
    notes="Everything is looked up at this moment, and nothing is changed.",
)


def run(session: Session, parsed: Parsed) -> int:
    from minirt.learn import dissect, picture

    found = dissect.of_container(session.engine, parsed.arguments[0], parsed.text("to"))
    if parsed.flag("json"):
        output.raw(output.encode(json.dumps(dissect.document(found)) + "\n"))
        return 0
    output.raw(output.encode(output.safe(picture.draw(found), "\n")))
    return 0
