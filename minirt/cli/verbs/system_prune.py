# SPDX-License-Identifier: Apache-2.0
"""`minirt system prune`: remove what is not used (docker-system-prune(1))."""

from __future__ import annotations

from minirt.cli import prune
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import networks, volumes
from minirt.engine import prune as prune_
from minirt.engine.prune_filter import Filter
from minirt.errors import InvalidValue

COMMAND = Command(
    "system prune",
    "[OPTIONS]",
    "Remove unused data",
    (
        Option("all", "a", help="Remove all unused images not just dangling ones"),
        prune.option('"label=<key>=<value>"'),
        prune.FORCE,
        Option("volumes", help="Prune anonymous volumes"),
    ),
    maximum=0,
)


def run(session: Session, parsed: Parsed) -> int:
    wanted, _ = prune.read(parsed)
    if wanted.until_ns is not None and parsed.flag("volumes"):
        raise InvalidValue('the "until" filter is not supported with "--volumes"', "prune volumes by themselves")
    if not prune.agreed(parsed, _warning(parsed)):
        return 0
    removed, size = prune_.containers(session.engine, wanted)
    prune.show("Deleted Containers:", removed)
    prune.show("Deleted Networks:", networks.prune(session.engine, wanted))
    if parsed.flag("volumes"):
        removed, more = volumes.prune(session.engine, False, wanted if wanted.labels else Filter())
        prune.show("Deleted Volumes:", removed)
        size += more
    lines, more = prune_.images(session.engine, parsed.flag("all"), wanted)
    prune.show("Deleted Images:", prune.lower(lines))
    prune.total(size + more)
    return 0


def _warning(parsed: Parsed) -> str:
    images = "all images without at least one container associated to them"
    things = ["all stopped containers", "all networks not used by at least one container"]
    things.append(images if parsed.flag("all") else "all dangling images")
    if parsed.flag("volumes"):
        things.insert(2, "all anonymous volumes not used by at least one container")
    things.append("what interrupted pulls and loads have left")
    text = "WARNING! This will remove:\n" + "".join(f"  - {thing}\n" for thing in things)
    if parsed.list("filter"):
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {one}\n" for one in parsed.list("filter"))
    return text
