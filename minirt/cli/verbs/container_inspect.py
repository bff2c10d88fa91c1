# SPDX-License-Identifier: Apache-2.0
"""`minirt container inspect`: as `inspect`, for containers alone (docker-container-inspect(1))."""

from __future__ import annotations

from minirt.cli import formatting
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.cli.verbs.inspect import show

COMMAND = Command(
    "container inspect",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Display detailed information on one or more containers",
    (Option("format", "f", STRING, formatting.HELP_ONE),),
    minimum=1,
)


def run(session: Session, parsed: Parsed) -> int:
    return show(session, parsed, "container")
