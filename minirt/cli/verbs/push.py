# SPDX-License-Identifier: Apache-2.0
"""`minirt push`: upload an image to a registry (docker-push(1))."""

from __future__ import annotations

from minirt.cli import output, progress
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import push as push_
from minirt.model import reference

COMMAND = Command(
    "push",
    "[OPTIONS] NAME[:TAG]",
    "Upload an image to a registry",
    (
        Option("all-tags", "a", help="Push all tags of an image to the repository"),
        Option("disable-content-trust", help="Skip image signing", default=True, hidden=True),
        Option("quiet", "q", help="Suppress verbose output"),
    ),
    minimum=1,
    maximum=1,
    aliases=("image push", "push"),
)


def run(session: Session, parsed: Parsed) -> int:
    text, every = parsed.arguments[0], parsed.flag("all-tags")
    found = push_.named(session.engine, text, every)
    with progress.shown(1, parsed.flag("quiet")) as shown:
        if not every and reference.parse(text).tag is None:
            shown.say(f"Using default tag: {reference.DEFAULT_TAG}")
        shown.say(f"The push refers to repository [{found[0].name}]")
        for name in found:
            pushed = push_.push(session.engine, name, shown)
            shown.say(f"{name.tag}: digest: {pushed.digest} size: {pushed.size}")
    if parsed.flag("quiet"):
        output.line(found[0].name if every else str(found[0]))
    return 0
