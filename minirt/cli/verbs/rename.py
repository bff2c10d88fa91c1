# SPDX-License-Identifier: Apache-2.0
"""`minirt rename` (docker-rename(1))."""

from __future__ import annotations

from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import rename as rename_

COMMAND = Command(
    "rename",
    "CONTAINER NEW_NAME",
    "Rename a container",
    minimum=2,
    maximum=2,
    aliases=("container rename", "rename"),
)


def run(session: Session, parsed: Parsed) -> int:
    rename_.rename(session.engine, parsed.arguments[0], parsed.arguments[1])
    return 0
