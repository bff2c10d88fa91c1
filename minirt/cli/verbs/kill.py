# SPDX-License-Identifier: Apache-2.0
"""`minirt kill`: send a signal, SIGKILL unless said otherwise, to a container's first process (docker-kill(1))."""

from __future__ import annotations

from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session, each
from minirt.engine import kill as kill_
from minirt.model import signals

COMMAND = Command(
    "kill",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Kill one or more running containers",
    (Option("signal", "s", STRING, "Signal to send to the container", default="KILL"),),
    minimum=1,
    aliases=("container kill", "kill"),
)


def run(session: Session, parsed: Parsed) -> int:
    signo = signals.number(parsed.text("signal"))
    return each(parsed.arguments, lambda reference: kill_.kill(session.engine, reference, signo))
