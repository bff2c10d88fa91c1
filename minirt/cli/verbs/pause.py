# SPDX-License-Identifier: Apache-2.0
"""`minirt pause`: cgroup.freeze stops every process of a container, and nothing of it runs (docker-pause(1))."""

from __future__ import annotations

from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session, each
from minirt.engine import pause as pause_

COMMAND = Command(
    "pause",
    "CONTAINER [CONTAINER...]",
    "Pause all processes within one or more containers",
    minimum=1,
    aliases=("container pause", "pause"),
)


def run(session: Session, parsed: Parsed) -> int:
    return each(parsed.arguments, lambda reference: pause_.pause(session.engine, reference))
