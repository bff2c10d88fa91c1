# SPDX-License-Identifier: Apache-2.0
"""`minirt image inspect`: an image's config and layers in Docker's shape (docker-image-inspect(1))."""

from __future__ import annotations

from minirt.cli import formatting, output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import images
from minirt.errors import MinirtError

COMMAND = Command(
    "image inspect",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Display detailed information on one or more images",
    (Option("format", "f", STRING, formatting.HELP_ONE),),
    minimum=1,
)


def run(session: Session, parsed: Parsed) -> int:
    found, failed = [], 0
    for text in parsed.arguments:
        try:
            found.append(images.inspect(session.engine, text))
        except MinirtError as error:
            output.complain(error.message, error.remedy)
            failed = 1
    if found or not parsed.text("format"):
        output.formatted(formatting.objects(parsed.text("format"), found))
    return failed
