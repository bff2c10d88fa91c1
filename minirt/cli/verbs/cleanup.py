# SPDX-License-Identifier: Apache-2.0
"""`minirt internal-cleanup ID`: what the monitor runs after a container's end when nobody else will."""

from __future__ import annotations

from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import cleanup as cleanup_

COMMAND = Command("internal-cleanup", "ID", "Clean up after a container that has exited", minimum=1, maximum=1)


def run(session: Session, parsed: Parsed) -> int:
    cleanup_.cleanup(session.engine, parsed.arguments[0])
    return 0
