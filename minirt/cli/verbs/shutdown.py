# SPDX-License-Identifier: Apache-2.0
"""`minirt internal-shutdown`: what minirt.service runs before the system ends."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import boot as boot_

COMMAND = Command("internal-shutdown", "", "Stop all containers, to be started at the next boot", maximum=0)


def run(session: Session, parsed: Parsed) -> int:
    failed = boot_.shutdown(session.engine)
    for name, why in failed:
        output.complain(f"{name}: {why}")
    return int(bool(failed))
