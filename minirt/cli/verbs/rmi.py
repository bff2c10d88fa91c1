# SPDX-License-Identifier: Apache-2.0
"""`minirt rmi`: remove images, or names of them (docker-rmi(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import rmi as rmi_
from minirt.errors import MinirtError, NotFound

COMMAND = Command(
    "rmi",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    (
        Option("force", "f", help="Force removal of the image"),
        Option("no-prune", help="Do not delete untagged parents (there are none: images keep no parents)"),
    ),
    minimum=1,
    aliases=("image rm", "image remove", "rmi"),
)


def run(session: Session, parsed: Parsed) -> int:
    """-f of an image that does not exist is said, and is no failure (Docker)."""
    force, failed = parsed.flag("force"), 0
    for text in parsed.arguments:
        try:
            output.lines(rmi_.rmi(session.engine, text, force))
        except MinirtError as error:
            output.complain(error.message, error.remedy)
            failed |= not (force and isinstance(error, NotFound))
    return failed
