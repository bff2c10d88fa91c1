# SPDX-License-Identifier: Apache-2.0
"""`minirt stop`: the container's stop signal, a while to obey, then SIGKILL (docker-stop(1))."""

from __future__ import annotations

from minirt.cli.commands import TIMEOUT, timeout
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session, each
from minirt.engine import stop as stop_

COMMAND = Command(
    "stop",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop one or more running containers",
    TIMEOUT,
    minimum=1,
    aliases=("container stop", "stop"),
)


def run(session: Session, parsed: Parsed) -> int:
    signo, timeout_s = timeout(parsed)
    return each(
        parsed.arguments,
        lambda reference: stop_.stop(session.engine, reference, timeout_s, signo),
    )
