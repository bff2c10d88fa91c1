# SPDX-License-Identifier: Apache-2.0
"""`minirt history`: how an image came to be, newest step first (docker-image-history(1))."""

from __future__ import annotations

import time

from minirt.cli import formatting, output, phrase, table
from minirt.cli.evaluate import Record
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine.prune import created_ns
from minirt.image import find
from minirt.image.history import history
from minirt.image.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.image.history import Step

MISSING = "<missing>"
COMMAND_WIDTH = 45
TITLES = {
    "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE",
    "Comment": "COMMENT",
}  # fmt: skip
COMMAND = Command(
    "history",
    "[OPTIONS] IMAGE",
    "Show the history of an image",
    (
        Option("format", "", STRING, formatting.HELP),
        Option("human", "H", help="Print sizes and dates in human readable format", default=True),
        Option("no-trunc", help="Don't truncate output"),
        Option("quiet", "q", help="Only show image IDs"),
    ),
    minimum=1,
    maximum=1,
    aliases=("image history", "history"),
)


def run(session: Session, parsed: Parsed) -> int:
    root = session.engine.roots.root
    image = find.find(root, parsed.arguments[0])
    steps = history(Layout(root), image.id)
    whole, human, now_ns = parsed.flag("no-trunc"), parsed.flag("human"), time.time_ns()
    identity = image.id if whole else image.id.partition(":")[2][:12]
    ids = [identity] + [MISSING] * (len(steps) - 1)
    if parsed.flag("quiet"):
        output.lines(ids)
        return 0
    rows = [_record(step, name, whole, human, now_ns) for step, name in zip(reversed(steps), ids, strict=False)]
    layout = ("ID", "CreatedSince" if human else "CreatedAt", "CreatedBy", "Size", "Comment")
    titles = TITLES if human else {**TITLES, "CreatedAt": "CREATED"}
    output.formatted(formatting.rows(parsed.text("format"), rows, titles, layout))
    return 0


def _record(step: Step, identity: str, whole: bool, human: bool, now_ns: int) -> Record:
    made = created_ns(step.created)
    command = step.created_by.replace("\t", " ")
    return Record(
        {
            "ID": identity,
            "CreatedSince": f"{phrase.ago(now_ns - made)} ago" if made else "N/A",
            "CreatedAt": step.created or "N/A",
            "CreatedBy": command if whole else table.shorten(command, COMMAND_WIDTH),
            "Size": phrase.size(step.size) if human else str(step.size),
            "Comment": step.comment,
        },
        {},
    )
