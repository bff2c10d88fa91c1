# SPDX-License-Identifier: Apache-2.0
"""`minirt network reload`: put back what somebody has taken out of nftables, or removed: podman-network-reload(1)."""

from __future__ import annotations

from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import reload

COMMAND = Command(
    "network reload",
    "",
    "Restore bridges, firewall rules and resolvers of all networks",
    maximum=0,
    notes="""Whoever flushes nftables takes the published ports and the walls between networks away. The next 'run' or
'start' puts all of it back, and so does this.""",
)


def run(session: Session, parsed: Parsed) -> int:
    reload.reload(session.engine)
    return 0
