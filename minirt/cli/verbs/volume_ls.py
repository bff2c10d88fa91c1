# SPDX-License-Identifier: Apache-2.0
"""`minirt volume ls`: list volumes (docker-volume-ls(1))."""

from __future__ import annotations

from minirt.cli import formatting, output, prune
from minirt.cli.evaluate import Record
from minirt.cli.parse import FALSE, LIST, STRING, TRUE, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import volumes
from minirt.errors import InvalidValue

TITLES = {"Driver": "DRIVER", "Name": "VOLUME NAME", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Links": "LINKS"}
COMMAND = Command(
    "volume ls",
    "[OPTIONS]",
    "List volumes",
    (
        Option("filter", "f", LIST, 'Provide filter values (e.g. "dangling=true")', None, "filter", prune.check),
        Option("format", "", STRING, formatting.HELP),
        Option("quiet", "q", help="Only display volume names"),
    ),
    maximum=0,
    aliases=("volume ls", "volume list"),
)


def run(session: Session, parsed: Parsed) -> int:
    found = volumes.volumes(session.engine)
    for text in parsed.list("filter"):
        key, _, value = text.partition("=")
        if key == "name":
            found = [one for one in found if value in one.name]
        elif key == "dangling" and value in (*TRUE, *FALSE):
            found = [one for one in found if bool(one.users) != (value in TRUE)]
        else:
            raise InvalidValue(f"invalid filter '{text}'", "there are name=TEXT and dangling=true or false")
    if parsed.flag("quiet"):
        output.lines([one.name for one in found])
        return 0
    records = [
        Record(
            {
                "Driver": "local",
                "Links": str(len(one.users)),
                "Mountpoint": one.path,
                "Name": one.name,
                "Scope": "local",
            },
            {},
        )
        for one in found
    ]
    output.formatted(formatting.rows(parsed.text("format"), records, TITLES, ("Driver", "Name")))
    return 0
