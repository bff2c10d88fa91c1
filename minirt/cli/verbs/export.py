# SPDX-License-Identifier: Apache-2.0
"""`minirt export`: a container's file system as a tar archive (docker-export(1))."""

from __future__ import annotations

from minirt.cli import destination
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import export as export_
from minirt.image.sink import FileSink

COMMAND = Command(
    "export",
    "[OPTIONS] CONTAINER",
    "Export a container's filesystem as a tar archive",
    (Option("output", "o", STRING, "Write to a file, instead of STDOUT"),),
    minimum=1,
    maximum=1,
    aliases=("container export", "export"),
)


def run(session: Session, parsed: Parsed) -> int:
    with destination.opened(parsed.text("output")) as fd:
        export_.export(session.engine, parsed.arguments[0], FileSink(fd), destination.warner())
    return 0
