# SPDX-License-Identifier: Apache-2.0
"""`minirt load`: images from an OCI archive or directory, or a docker archive, into the store (docker-load(1))."""

from __future__ import annotations

import os

from minirt.cli import output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import events
from minirt.errors import InvalidValue
from minirt.image import find
from minirt.image import load as load_
from minirt.model import reference

COMMAND = Command(
    "load",
    "[OPTIONS]",
    "Load an image from an archive or a directory",
    (
        Option("input", "i", STRING, "Read from an archive or an OCI directory, instead of STDIN"),
        Option("platform", "", STRING, "Load only the given platform: os[/arch[/variant]]"),
        Option("quiet", "q", help="Suppress the load output"),
    ),
    maximum=0,
    aliases=("image load", "load"),
)


def run(session: Session, parsed: Parsed) -> int:
    path = parsed.text("input", "-")
    if path == "-" and os.isatty(0):
        raise InvalidValue(
            "requested load from stdin, but stdin is a terminal",
            "minirt load -i FILE, or minirt load < FILE",
        )
    session.engine.roots.prepare()
    before = {listed.name: listed.id for listed in find.images(session.engine.roots.root)}
    for loaded in load_.load(session.engine.roots.root, path, platform=parsed.text("platform")):
        events.of_image(session.engine, "load", loaded.id, loaded.id)
        for name in loaded.names:
            if before.get(name, loaded.id) != loaded.id:
                shown = reference.parse(name).short()
                output.line(
                    f"The image {shown} already exists, renaming the old one with ID {before[name]} to empty string"
                )
            output.line(f"Loaded image: {reference.parse(name).short()}")
        if not loaded.names:
            output.line(f"Loaded image ID: {loaded.id}")
    return 0
