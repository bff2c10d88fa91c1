# SPDX-License-Identifier: Apache-2.0
"""`minirt system df`: what takes space on the disk (docker-system-df(1))."""

from __future__ import annotations

import time

from minirt.cli import formatting, output, phrase, table
from minirt.cli.evaluate import Record
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import df as df_
from minirt.engine.prune import created_ns
from minirt.errors import InvalidValue
from minirt.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.df import Kind, Report
    from minirt.image.usage import Usage

TITLES = {
    "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
}  # fmt: skip
COMMAND = Command(
    "system df",
    "[OPTIONS]",
    "Show disk usage",
    (
        Option("format", "", STRING, formatting.HELP),
        Option("verbose", "v", help="Show detailed information on space usage"),
    ),
    maximum=0,
    notes="An image takes the space of its blobs, as they came, and of its layers, unpacked.",
)


def run(session: Session, parsed: Parsed) -> int:
    if parsed.flag("verbose") and parsed.text("format"):
        raise InvalidValue("the verbose and format options conflict", "give one of them")
    report = df_.df(session.engine)
    if parsed.flag("verbose"):
        output.raw(output.encode(_details(report, time.time_ns())))
    else:
        records = [_record(kind) for kind in report.kinds]
        output.formatted(formatting.rows(parsed.text("format"), records, TITLES, tuple(TITLES)))
    return 0


def _record(kind: Kind) -> Record:
    share = f" ({kind.reclaimable * 100 // kind.size}%)" if kind.size else ""
    return Record(
        {
            "Type": kind.name,
            "TotalCount": str(kind.count),
            "Active": str(kind.active),
            "Size": phrase.size(kind.size),
            "Reclaimable": phrase.size(kind.reclaimable) + share,
        },
        {},
    )


def _details(report: Report, now_ns: int) -> str:
    images = [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]]
    for usage, users in report.images:
        images += _image(usage, users, now_ns)
    rows = [["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"]]
    held = [user for volume in report.volumes for user in volume.users]
    for one, size in report.containers:
        rows.append(
            [
                one.id[:12],
                one.image or "<rootfs>",
                table.quoted(table.shorten(" ".join(one.command), 20)),
                str(held.count(one.id)),
                phrase.size(size),
                f"{phrase.ago(now_ns - one.created_ns)} ago",
                phrase.status(one.status, one.exit_code, one.started_ns, one.finished_ns, now_ns),
                one.name,
            ]
        )
    volumes = [["VOLUME NAME", "LINKS", "SIZE"]]
    volumes += [[one.name, str(len(one.users)), phrase.size(one.size or 0)] for one in report.volumes]
    parts = (("Images", images), ("Containers", rows), ("Local Volumes", volumes))
    return "\n".join(f"{name} space usage:\n\n{table.columns(lines)}" for name, lines in parts)


def _image(usage: Usage, users: int, now_ns: int) -> list[list[str]]:
    """One line for each tag."""
    made = created_ns(usage.owner.created)
    rest = [
        usage.owner.id[:12],
        f"{phrase.ago(now_ns - made)} ago" if made else "N/A",
        phrase.size(usage.size),
        phrase.size(usage.shared),
        phrase.size(usage.size - usage.shared),
        str(users),
    ]
    names = [reference.parse(name) for name in usage.owner.tags]
    heads = [[name.familiar, name.tag or "<none>"] for name in names] or [["<none>", "<none>"]]
    return [[*head, *rest] for head in heads]
