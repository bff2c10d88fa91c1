# SPDX-License-Identifier: Apache-2.0
"""`minirt wait`: block until containers stop, then print their exit codes (docker-wait(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session, each
from minirt.engine import wait as wait_
from minirt.errors import MinirtError

COMMAND = Command(
    "wait",
    "CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    minimum=1,
    aliases=("container wait", "wait"),
)


def run(session: Session, parsed: Parsed) -> int:
    def one(reference: str) -> None:
        code = wait_.wait(session.engine, reference)
        if code is None:
            raise MinirtError(
                f'the exit code of "{reference}" is unknown: nobody saw it end',
                "its monitor was killed, or the host went down",
            )
        output.line(str(code))

    return each(parsed.arguments, one, show=False)
