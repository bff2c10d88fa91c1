# SPDX-License-Identifier: Apache-2.0
"""`minirt volume rm`: remove volumes that no container has (docker-volume-rm(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import volumes
from minirt.errors import MinirtError, NotFound

COMMAND = Command(
    "volume rm",
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes",
    (Option("force", "f", help="A volume that does not exist is no failure"),),
    minimum=1,
    aliases=("volume rm", "volume remove"),
)


def run(session: Session, parsed: Parsed) -> int:
    failed = 0
    for name in parsed.arguments:
        try:
            volumes.remove(session.engine, name)
        except MinirtError as error:
            if not (parsed.flag("force") and isinstance(error, NotFound)):
                output.complain(error.message, error.remedy)
                failed = 1
                continue
        output.line(name)
    return failed
