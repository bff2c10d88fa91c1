# SPDX-License-Identifier: Apache-2.0
"""`minirt volume inspect`: where a volume lies and who has it (docker-volume-inspect(1))."""

from __future__ import annotations

from minirt.cli import formatting, output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import moment, volumes
from minirt.errors import MinirtError

COMMAND = Command(
    "volume inspect",
    "[OPTIONS] VOLUME [VOLUME...]",
    "Display detailed information on one or more volumes",
    (Option("format", "f", STRING, formatting.HELP_ONE),),
    minimum=1,
)


def run(session: Session, parsed: Parsed) -> int:
    found: list[dict[str, object]] = []
    failed = 0
    for name in parsed.arguments:
        try:
            one = volumes.find(session.engine, name)
        except MinirtError as error:
            output.complain(error.message, error.remedy)
            failed = 1
            continue
        found.append(
            {
                "CreatedAt": moment.text(one.created_ns),
                "Driver": "local",
                "Labels": None,
                "Mountpoint": one.path,
                "Name": one.name,
                "Options": None,
                "Scope": "local",
                "Minirt": {"Anonymous": one.anonymous, "Containers": one.users},
            }
        )
    if found or not parsed.text("format"):
        output.formatted(formatting.objects(parsed.text("format"), found))
    return failed
