# SPDX-License-Identifier: Apache-2.0
"""`minirt volume create`: make a volume (docker-volume-create(1))."""

from __future__ import annotations

import time

from minirt.cli import output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import volumes
from minirt.errors import InvalidValue

COMMAND = Command(
    "volume create",
    "[OPTIONS] [VOLUME]",
    "Create a volume",
    (Option("driver", "d", STRING, "Specify volume driver name", default="local"),),
    maximum=1,
)


def run(session: Session, parsed: Parsed) -> int:
    if parsed.text("driver") != "local":
        raise InvalidValue(f'create: plugin "{parsed.text("driver")}" not found', "there is one driver: local")
    output.line(volumes.create(session.engine, (parsed.arguments or [""])[0], time.time_ns()))
    return 0
