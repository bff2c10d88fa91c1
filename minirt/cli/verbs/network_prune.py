# SPDX-License-Identifier: Apache-2.0
"""`minirt network prune`: remove networks on which no container runs (docker-network-prune(1))."""

from __future__ import annotations

from minirt.cli import prune
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import networks

COMMAND = Command("network prune", "[OPTIONS]", "Remove all unused networks", (prune.option(), prune.FORCE), maximum=0)


def run(session: Session, parsed: Parsed) -> int:
    wanted, _ = prune.read(parsed)
    warning = "WARNING! This will remove all custom networks not used by at least one container."
    if prune.agreed(parsed, warning):
        prune.show("Deleted Networks:", networks.prune(session.engine, wanted))
    return 0
