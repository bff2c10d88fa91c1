# SPDX-License-Identifier: Apache-2.0
"""`minirt import`: an archive of a file system becomes an image (docker-import(1))."""

from __future__ import annotations

import os

from minirt.cli import output
from minirt.cli.parse import LIST, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import import_
from minirt.errors import InvalidValue

COMMAND = Command(
    "import",
    "[OPTIONS] file|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    (
        Option("change", "c", LIST, "Apply Dockerfile instruction to the created image"),
        Option("message", "m", STRING, "Set commit message for imported image"),
        Option("platform", "", STRING, "Set the platform of the image: os/architecture[/variant]"),
    ),
    minimum=1,
    maximum=2,
    aliases=("image import", "import"),
)


def run(session: Session, parsed: Parsed) -> int:
    source, *name = parsed.arguments
    if source == "-" and os.isatty(0):
        raise InvalidValue("requested import from stdin, but stdin is a terminal", "minirt import - NAME < FILE")
    output.line(
        import_.import_(
            session.engine,
            source,
            name[0] if name else "",
            parsed.list("change"),
            parsed.text("message"),
            parsed.text("platform"),
        )
    )
    return 0
