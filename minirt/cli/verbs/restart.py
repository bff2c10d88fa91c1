# SPDX-License-Identifier: Apache-2.0
"""`minirt restart`: stop, then start; a container that does not run is started (docker-restart(1))."""

from __future__ import annotations

from minirt.cli.commands import TIMEOUT, timeout
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session, each
from minirt.engine import restart as restart_

COMMAND = Command(
    "restart",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Restart one or more containers",
    TIMEOUT,
    minimum=1,
    aliases=("container restart", "restart"),
)


def run(session: Session, parsed: Parsed) -> int:
    signo, timeout_s = timeout(parsed)
    return each(
        parsed.arguments,
        lambda reference: restart_.restart(session.engine, reference, timeout_s, signo),
    )
