# SPDX-License-Identifier: Apache-2.0
"""`minirt images`: what is in the image store (docker-images(1)).

A row is an image under one of its tags; what came by digest alone has a row for its repository, without a tag.
"""

from __future__ import annotations

import time

from minirt.cli import filters, formatting, image_filters, output, phrase
from minirt.cli.evaluate import Record
from minirt.cli.parse import LIST, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import images as images_
from minirt.image import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.images import Known

NONE = "<none>"
TITLES = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}
COMMAND = Command(
    "images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    (
        Option("all", "a", help="Show all images"),
        Option("digests", help="Show digests"),
        Option("filter", "f", LIST, "Filter output based on conditions provided", check=filters.check),
        Option("format", "", STRING, formatting.HELP),
        Option("no-trunc", help="Don't truncate output"),
        Option("quiet", "q", help="Only show image IDs"),
    ),
    maximum=1,
    aliases=("image ls", "image list", "images"),
)


def run(session: Session, parsed: Parsed) -> int:
    engine, now_ns = session.engine, time.time_ns()
    wanted = image_filters.read(parsed.list("filter"))
    patterns = [*wanted.pop("reference", []), *parsed.arguments]
    known = image_filters.chosen(
        images_.images(engine), wanted, lambda text: find.find(engine.roots.root, text).id, now_ns
    )
    known.sort(key=lambda one: image_filters.created_ns(one.listed.created), reverse=True)
    digests = parsed.flag("digests")
    records = [
        _record(one, row, now_ns, parsed.flag("no-trunc")) for one in known for row in _rows(one, patterns, digests)
    ]
    if parsed.flag("quiet"):
        output.lines([str(record["ID"]) for record in records])
        return 0
    layout = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if digests:
        layout.insert(2, "Digest")
    output.formatted(formatting.rows(parsed.text("format"), records, TITLES, tuple(layout)))
    return 0


def _rows(one: Known, patterns: list[str], digests: bool) -> list[tuple[str, str, str]]:
    """(repository, tag, digest) of each row that shows the image."""
    rows, tagged = [], set()
    named = [name for name in (*one.tags, *one.digests) if not patterns or image_filters.matches(name, patterns)]
    for name in named:
        if name.digest is None:
            tagged.add(name.name)
            listed = (one.of_repository(name.name) if digests else []) or [NONE]
            rows += [(name.familiar, name.tag or NONE, digest) for digest in listed]
    for name in named:
        if name.digest is not None and name.name not in tagged:
            rows.append((name.familiar, NONE, name.digest if digests else NONE))
    if not rows and not patterns:
        rows.append((NONE, NONE, NONE))
    return list(dict.fromkeys(rows))


def _record(one: Known, row: tuple[str, str, str], now_ns: int, whole: bool) -> Record:
    listed = one.listed
    created_ns = image_filters.created_ns(listed.created)
    return Record(
        {
            "Containers": "N/A",
            "CreatedAt": phrase.local(created_ns) if created_ns else "N/A",
            "CreatedSince": f"{phrase.ago(now_ns - created_ns)} ago" if created_ns else "N/A",
            "Digest": row[2],
            "ID": listed.id if whole else listed.id.partition(":")[2][:12],
            "Repository": row[0],
            "SharedSize": "N/A",
            "Size": phrase.size(listed.size),
            "Tag": row[1],
            "UniqueSize": "N/A",
            "VirtualSize": phrase.size(listed.size),
        },
        {},
    )
