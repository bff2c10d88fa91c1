# SPDX-License-Identifier: Apache-2.0
"""`minirt container prune`: remove all containers that do not run (docker-container-prune(1))."""

from __future__ import annotations

from minirt.cli import prune
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import prune as prune_

COMMAND = Command(
    "container prune", "[OPTIONS]", "Remove all stopped containers", (prune.option(), prune.FORCE), maximum=0
)


def run(session: Session, parsed: Parsed) -> int:
    wanted, _ = prune.read(parsed)
    if not prune.agreed(parsed, "WARNING! This will remove all stopped containers."):
        return 0
    removed, size = prune_.containers(session.engine, wanted)
    prune.show("Deleted Containers:", removed)
    prune.total(size)
    return 0
