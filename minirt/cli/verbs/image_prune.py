# SPDX-License-Identifier: Apache-2.0
"""`minirt image prune`: remove images that have no name, or no container (docker-image-prune(1))."""

from __future__ import annotations

from minirt.cli import prune
from minirt.cli.parse import FALSE, TRUE, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import prune as prune_
from minirt.errors import InvalidValue

DANGLING = "WARNING! This will remove all dangling images."
UNUSED = "WARNING! This will remove all images without at least one container associated to them."
COMMAND = Command(
    "image prune",
    "[OPTIONS]",
    "Remove unused images",
    (Option("all", "a", help="Remove all unused images, not just dangling ones"), prune.option(), prune.FORCE),
    maximum=0,
    notes="Blobs that were fetched in part, and what killed pulls and loads have left, go too.",
)


def run(session: Session, parsed: Parsed) -> int:
    wanted, others = prune.read(parsed, ("until", "label", "label!", "dangling"))
    every = parsed.flag("all")
    for text in others.get("dangling", []):
        if text not in (*TRUE, *FALSE):
            raise InvalidValue(f"invalid filter 'dangling={text}'", "write dangling=true or dangling=false")
        every = every or text in FALSE
    if not prune.agreed(parsed, UNUSED if every else DANGLING):
        return 0
    lines, size = prune_.images(session.engine, every, wanted)
    prune.show("Deleted Images:", prune.lower(lines))
    prune.total(size)
    return 0
