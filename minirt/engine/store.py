# SPDX-License-Identifier: Apache-2.0
"""The engine: two directory trees and a database, opened when first needed. Every verb takes one.

`find` is how every verb comes from what the user wrote to a row. Must not import plan or image.
"""

from __future__ import annotations

import os

from minirt.cgroup import home
from minirt.engine import lock, names
from minirt.engine.db import Database, Row
from minirt.engine.paths import Roots
from minirt.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.options import RunOptions
    from minirt.engine.record import Record


class Engine:
    """roots: where everything lies. database: opened, and the directories made, on first use. sockets: those to
    nftables (engine/release.py), closed at the end, `deleting` those by which something was deleted. events: lines that
    engine/events.py is to write."""

    __slots__ = ("_cgroups", "_database", "deleting", "events", "roots", "sockets")

    def __init__(self, roots: Roots | None = None) -> None:
        self.roots = roots or Roots()
        self._database: Database | None = None
        self._cgroups: str | None = None
        self.sockets: list[int] = []
        self.deleting: list[int] = []
        self.events: list[bytes] = []

    def close(self) -> None:
        """The command has done what it had to: nobody waits for what the kernel still does."""
        if self.events:
            from minirt.engine import events

            events.flush(self)
        if self.deleting:
            from minirt.kernel import linger

            late, self.deleting = self.deleting, []
            linger.close(late)

    @property
    def database(self) -> Database:
        """Raises HostError (not root) or StoreError."""
        if self._database is None:
            self.roots.prepare()
            self._database = Database(self.roots.database)
        return self._database

    def has_containers(self) -> bool:
        """Whether there may be any. No database is made to find that out: on a full disk that could not be done, and
        images could not be removed."""
        return os.path.exists(self.roots.database) and os.path.getsize(self.roots.database) > 0

    def cgroup(self, identity: str) -> str:
        """The cgroup directory of a container. Raises HostError where no cgroup v2 is mounted."""
        if self._cgroups is None:
            self._cgroups = home.home()
        row = self.database.by_id(identity)
        if row is None or '"cgroup_parent"' not in row.options:  # nearly always: the record is not read for it
            return f"{self._cgroups}/{identity}"
        return f"{self.cgroup_parent(record(row).options)}/{identity}"

    def cgroup_parent(self, options: RunOptions) -> str:
        """The cgroup above a container's: --cgroup-parent is a path below where all containers are."""
        if self._cgroups is None:
            self._cgroups = home.home()
        below = options.cgroup_parent.strip("/")
        return f"{self._cgroups}/{below}" if below else self._cgroups

    def find(self, ref: str) -> Row:
        """A container by its id, else its name, else the beginning of its id (Docker's order).

        Raises NotFound, or Conflict where more than one id begins so. No path is made of `ref`.
        """
        if names.is_id(ref) and (row := self.database.by_id(ref)):
            return row
        if row := self.database.by_name(ref.removeprefix("/")):
            return row
        found = self.database.by_prefix(ref) if names.is_prefix(ref) else []
        if len(found) > 1:
            raise Conflict(f"multiple IDs found with provided prefix: {ref}", "write more of the id")
        if not found:
            raise missing(ref)
        return found[0]

    def options(self, ref: str) -> RunOptions:
        """What the container was asked to be. Raises NotFound."""
        return record(self.find(ref)).options

    def locked(self, ref: str) -> tuple[Row, lock.Lock]:
        """The row as it is once its lock is ours. Raises NotFound, also if it was removed while we waited."""
        row = self.find(ref)
        held = lock.acquire(self.roots.container(row.id))
        current = self.database.by_id(row.id) if held else None
        if held is None or current is None:
            if held:
                held.release()
            raise missing(ref)
        return current, held


def missing(ref: str) -> NotFound:
    shown = ref if ref.isprintable() and len(ref) <= 255 else ascii(ref[:64])
    return NotFound(f"No such container: {shown}", "see which there are: minirt ps -a")


def record(row: Row) -> Record:
    """What creation settled about the container (imported late: ps does not need it)."""
    from minirt.engine.record import Record

    return Record.from_json(row.options)
