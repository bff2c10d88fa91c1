# SPDX-License-Identifier: Apache-2.0
"""`minirt top`: the processes of a container as the host sees them (docker-top(1)).

They are read from /proc by the host's own hands: no `ps` runs inside, and a process's name and arguments are
hostile text.
"""

from __future__ import annotations

from minirt.cli import output, table
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import top as top_

COMMAND = Command(
    "top",
    "CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
    minimum=1,
    interspersed=False,
    aliases=("container top", "top"),
)


def run(session: Session, parsed: Parsed) -> int:
    titles, rows = top_.top(session.engine, parsed.arguments[0], parsed.arguments[1:])
    output.raw(output.encode(table.columns([titles, *rows])))
    return 0
