# SPDX-License-Identifier: Apache-2.0
"""`ps`: which containers there are and what is true of each (docker-ps(1)).

Five hundred rows come from one statement; run directories are looked into only where there is one. On the way,
what has ended is written down and what a crash has left is removed. Must not import plan, image or the options.
"""

from __future__ import annotations

import os

from minirt.engine import lifecycle, network_db, network_flags, publications, reconcile
from minirt.errors import HostError, StoreError
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.publications import Binding
    from minirt.engine.store import Engine


class Listed:
    """One line of ps: the row, and the truth about it. exit_code None: unknown, or none yet. ports: while it runs."""

    __slots__ = (
        "command", "created_ns", "exit_code", "finished_ns", "id", "image", "image_id", "name", "pid", "ports",
        "started_ns", "status",
    )  # fmt: skip

    def __init__(self, row: Row, seen: reconcile.Seen) -> None:
        self.id = row.id
        self.name = row.name
        self.image = row.image
        self.image_id = row.image_id
        self.created_ns = row.created_ns
        self.command: list[str] = json.loads(row.command)
        self.status = seen.status
        self.exit_code = seen.exit_code
        self.started_ns = seen.started_ns
        self.finished_ns = seen.finished_ns
        self.pid = seen.pid
        self.ports: list[Binding] = []


def ps(engine: Engine, all: bool = False) -> list[Listed]:
    """Newest first; without `all` only what runs or is paused."""
    found: list[tuple[Row, reconcile.Seen]] = []
    gone: set[str] = set()
    database = engine.database
    running, holders = _listing(engine.roots.state), network_db.holders(database)
    for row in database.all():
        if row.id not in running and row.status in (lifecycle.CREATED, lifecycle.EXITED):
            seen = reconcile.Seen(row, None)
        else:
            seen = reconcile.look(engine, row)
        leaves = row.id in holders and seen.status not in lifecycle.ALIVE
        if seen.stale or leaves or row.status == lifecycle.REMOVING:
            settled = _settled(engine, row, seen)
            if settled is None:
                gone.add(row.id)
                continue
            seen = settled
        if seen.born and (all or seen.status in (*lifecycle.ALIVE, lifecycle.RESTARTING)):
            found.append((row, seen))
    gone |= _swept(engine)
    listed = [Listed(row, seen) for row, seen in found if row.id not in gone]
    _add_ports(engine, {one.id: one for one in listed if one.status in lifecycle.ALIVE})
    return listed


def _add_ports(engine: Engine, running: dict[str, Listed]) -> None:
    """What each has published, and what is open besides."""
    published = network_db.ports_by_container(engine.database)
    opened = engine.database.with_open_ports()
    for identity in running.keys() & (published.keys() | opened.keys()):
        found = publications.bindings(published.get(identity, ()))
        values = json.loads(opened[identity]) if identity in opened else {"options": {}, "config": {}}
        texts = network_flags.exposed(values["options"].get("expose", ()), values["config"])
        running[identity].ports = publications.with_open(found, texts)


def _listing(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()


def _settled(engine: Engine, row: Row, seen: reconcile.Seen) -> reconcile.Seen | None:
    """Bring one container in order, if that is quick; what it is then. None: it is gone."""
    if seen.status == lifecycle.REMOVING and seen.state is not None and seen.state.alive():
        return seen  # whoever removes it has waited for it in vain already
    try:
        current = reconcile.settle_if_free(engine, row)
    except (HostError, StoreError):
        return seen  # it is listed as it is; rm -f will say what is wrong
    return reconcile.look_ahead(engine, current) if current is not None else None


def _swept(engine: Engine) -> set[str]:
    try:
        return reconcile.sweep(engine)
    except (HostError, StoreError):
        return set()
