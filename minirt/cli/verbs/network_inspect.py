# SPDX-License-Identifier: Apache-2.0
"""`minirt network inspect`: a network's addresses and who is on it (docker-network-inspect(1))."""

from __future__ import annotations

from minirt.cli import formatting, output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import network_inspect
from minirt.errors import MinirtError

COMMAND = Command(
    "network inspect",
    "[OPTIONS] NETWORK [NETWORK...]",
    "Display detailed information on one or more networks",
    (
        Option("format", "f", STRING, formatting.HELP_ONE),
        Option("verbose", "v", hidden=True),
    ),
    minimum=1,
)


def run(session: Session, parsed: Parsed) -> int:
    found: list[dict[str, object]] = []
    failed = 0
    for name in parsed.arguments:
        try:
            found.append(network_inspect.document(session.engine, name))
        except MinirtError as error:
            output.complain(error.message, error.remedy)
            failed = 1
    if found or not parsed.text("format"):
        output.formatted(formatting.objects(parsed.text("format"), found))
    return failed
