# SPDX-License-Identifier: Apache-2.0
"""`minirt rm`: remove containers, with -f also running ones (docker-rm(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import rm as rm_
from minirt.errors import MinirtError, NotFound

COMMAND = Command(
    "rm",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove one or more containers",
    (
        Option("force", "f", help="Force the removal of a running container (uses SIGKILL)"),
        Option("volumes", "v", help="Remove anonymous volumes associated with the container"),
    ),
    minimum=1,
    aliases=("container rm", "container remove", "rm"),
)


def run(session: Session, parsed: Parsed) -> int:
    """-f of a container that does not exist is said, and is no failure (Docker)."""
    force, volumes = parsed.flag("force"), parsed.flag("volumes")
    failed = 0
    for reference in parsed.arguments:
        try:
            rm_.rm(session.engine, reference, force, volumes)
        except MinirtError as error:
            output.complain(error.message, error.remedy)
            failed |= not (force and isinstance(error, NotFound))
        else:
            output.line(reference)
    return failed
