# SPDX-License-Identifier: Apache-2.0
"""`minirt internal-boot`: what minirt.service runs when the system has started.

What cannot be started is told and tried again; that is no failure of the service, which would then not be asked to stop
the others at the system's end.
"""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import boot as boot_

COMMAND = Command("internal-boot", "", "Start the containers whose restart policy asks for it", maximum=0)


def run(session: Session, parsed: Parsed) -> int:
    for name, why in boot_.boot(session.engine):
        output.complain(f"{name}: {why}", "it is tried again: minirt ps")
    return 0
