# SPDX-License-Identifier: Apache-2.0
"""`minirt volume prune`: remove volumes that no container has (docker-volume-prune(1))."""

from __future__ import annotations

from minirt.cli import prune
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import volumes
from minirt.engine.prune_filter import Filter

ANONYMOUS = "WARNING! This will remove anonymous local volumes not used by at least one container."
EVERY = "WARNING! This will remove all local volumes not used by at least one container."
COMMAND = Command(
    "volume prune",
    "[OPTIONS]",
    "Remove unused local volumes",
    (Option("all", "a", help="Remove all unused volumes, not just anonymous ones"), prune.FORCE),
    maximum=0,
)


def run(session: Session, parsed: Parsed) -> int:
    every = parsed.flag("all")
    if not prune.agreed(parsed, EVERY if every else ANONYMOUS):
        return 0
    removed, size = volumes.prune(session.engine, every, Filter())
    prune.show("Deleted Volumes:", removed)
    prune.total(size)
    return 0
