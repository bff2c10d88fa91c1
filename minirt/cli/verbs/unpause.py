# SPDX-License-Identifier: Apache-2.0
"""`minirt unpause`: what `pause` froze goes on (docker-unpause(1))."""

from __future__ import annotations

from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session, each
from minirt.engine import pause as pause_

COMMAND = Command(
    "unpause",
    "CONTAINER [CONTAINER...]",
    "Unpause all processes within one or more containers",
    minimum=1,
    aliases=("container unpause", "unpause"),
)


def run(session: Session, parsed: Parsed) -> int:
    return each(parsed.arguments, lambda reference: pause_.unpause(session.engine, reference))
