# SPDX-License-Identifier: Apache-2.0
"""minirt.db: which containers and volumes there are (SQLite in WAL mode; the tables are in schema.sql).

Whatever must be unique is unique in the schema. Every statement that the engine uses stands here, one function
each; those about networks in network_db.py. The connection is never closed: closing would checkpoint and fsync
while a user waits, and the next process reads the log instead. Must not import anything of minirt but errors.
"""

from __future__ import annotations

import os

from minirt.engine import sqlite
from minirt.errors import Conflict, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

VERSION = 3
FULL = "database or disk is full"
BUSY_TIMEOUT_S = 10.0
RESERVE_BYTES = 128 << 10  # kept beside the database, so that on a full disk containers can still be removed
CHECKPOINT_PAGES = 200  # a process that opens a database nobody has open reads the whole log: 4 kB a page

COLUMNS = (
    "id", "name", "image", "image_id", "command", "created_ns", "status", "options", "auto_remove", "boot_id",
    "started_ns", "finished_ns", "exit_code", "error", "oom_killed", "restart_count", "delay_ms", "by_hand",
)  # fmt: skip
_ALL = ", ".join(COLUMNS)
_BRIEF = ", ".join("'' AS options" if column == "options" else column for column in COLUMNS)


class Row:
    """One row of `containers`. None is SQL's NULL: unknown, or not yet."""

    __slots__ = COLUMNS

    id: str
    name: str
    image: str
    image_id: str | None
    command: str
    created_ns: int
    status: str
    options: str
    auto_remove: int
    boot_id: str | None
    started_ns: int | None
    finished_ns: int | None
    exit_code: int | None
    error: str | None
    oom_killed: int | None
    restart_count: int | None
    delay_ms: int | None
    by_hand: int | None

    def __init__(self, *values: object) -> None:
        """In the order of COLUMNS; the last ones may be left out."""
        for column, value in zip(COLUMNS, (*values, *(None,) * (len(COLUMNS) - len(values))), strict=True):
            setattr(self, column, value)


class NameTaken(Conflict):
    """Docker's words for it; `holder` is the id of the container that has the name."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
            f"minirt rm {name}",
        )
        self.holder = holder


class Database:
    """One connection. Each method is one transaction; SQLite's errors come out as StoreError."""

    __slots__ = ("connection", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        fresh = not os.path.exists(path)
        try:
            self.connection = sqlite.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            if fresh:
                os.chmod(path, 0o600)
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("PRAGMA foreign_keys = ON")
            self.connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if version < VERSION:
                version = self._create()
        except (sqlite.Error, OSError) as error:
            raise damaged(path, error) from error
        if version != VERSION:
            raise StoreError(
                f'"{path}" has schema version {version}, this minirt knows {VERSION}',
                "use the minirt that wrote it, or another --root",
            )

    def _create(self) -> int:
        """Make the tables, or those that a later version has brought. Several first commands may run at once: the one
        that gets the write lock does it."""
        with open(f"{os.path.dirname(__file__)}/schema.sql", encoding="utf-8") as file:
            versions = file.read().split("\n-- version ")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("BEGIN IMMEDIATE")
        version = int(self.connection.execute("PRAGMA user_version").fetchone()[0])
        if version < VERSION:
            # executescript() would commit first, and let another process create the tables in between.
            for statement in _statements("-- " + "\n-- ".join(versions[version:])):
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version = {VERSION}")
            version = VERSION
        self.connection.execute("COMMIT")
        return version

    def run(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """One statement as one transaction; its rows. IntegrityError is left to the caller."""
        try:
            return self.connection.execute(statement, values).fetchall()
        except sqlite.IntegrityError:
            raise
        except sqlite.Error as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise damaged(self.path, error) from error

    # Containers

    def insert(self, row: Row, volumes: tuple[tuple[str, str, bool], ...] = ()) -> None:
        """A container with its volumes: (name, destination, whether it is anonymous) each. Raises NameTaken: which
        of two at the same time wins is decided by the UNIQUE constraint alone."""
        values = tuple(getattr(row, column) for column in COLUMNS)
        if volumes:
            self.run("BEGIN IMMEDIATE")
        try:
            self.run(f"INSERT INTO containers ({_ALL}) VALUES ({', '.join('?' * len(COLUMNS))})", values)
            for name, destination, anonymous in volumes:
                self.run("INSERT OR IGNORE INTO volumes VALUES (?, ?, ?)", (name, row.created_ns, anonymous))
                self.run("INSERT INTO container_volumes VALUES (?, ?, ?)", (row.id, name, destination))
        except sqlite.IntegrityError as error:
            if volumes:
                self.run("ROLLBACK")
            raise self._taken(row.name, error) from error
        if volumes:
            self.run("COMMIT")
        self._keep_reserve()

    def rename(self, identity: str, name: str) -> None:
        try:
            self.run("UPDATE containers SET name = ? WHERE id = ?", (name, identity))
        except sqlite.IntegrityError as error:
            raise self._taken(name, error) from error

    def _taken(self, name: str, error: Exception) -> Exception:
        holder = self.run("SELECT id FROM containers WHERE name = ?", (name,))
        return NameTaken(name, str(holder[0][0])) if holder else damaged(self.path, error)

    def update(self, identity: str, **values: object) -> None:
        """Set some columns of a row; nothing happens where the row is gone."""
        words = ", ".join(f"{column} = ?" for column in values)
        statement = f"UPDATE containers SET {words} WHERE id = ?"
        self.pressing(lambda: self.run(statement, (*values.values(), identity)))

    def delete(self, identity: str, volumes: bool = False) -> list[str]:
        """Remove the row, with `volumes` also its anonymous volumes that no other container has. Their names."""
        return self.pressing(lambda: self._delete(identity, volumes))

    def pressing(self, work: Callable[[], Result]) -> Result:
        """What ends in free space may use the room that is kept for it, where there is no other."""
        try:
            return work()
        except StoreError as error:
            if FULL not in error.message:
                raise
            try:
                os.unlink(self.path + "-reserve")
            except FileNotFoundError:
                raise error from None
            return work()

    def _keep_reserve(self) -> None:
        try:
            fd = os.open(self.path + "-reserve", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:  # it is there
            return
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError:  # there is no room for it now
            os.unlink(self.path + "-reserve")
        finally:
            os.close(fd)

    def _delete(self, identity: str, volumes: bool) -> list[str]:
        if not volumes:
            self.run("DELETE FROM containers WHERE id = ?", (identity,))
            return []
        self.run("BEGIN IMMEDIATE")
        found = self.run(
            "SELECT volume FROM container_volumes JOIN volumes ON name = volume WHERE container = ? AND anonymous"
            " AND NOT EXISTS (SELECT 1 FROM container_volumes AS other WHERE other.volume = name"
            " AND other.container <> ?)",
            (identity, identity),
        )
        self.run("DELETE FROM containers WHERE id = ?", (identity,))
        for (name,) in found:
            self.run("DELETE FROM volumes WHERE name = ?", (name,))
        self.run("COMMIT")
        return [str(name) for (name,) in found]

    def by_id(self, identity: str) -> Row | None:
        return self._one("id = ?", identity)

    def by_name(self, name: str) -> Row | None:
        return self._one("name = ?", name)

    def by_prefix(self, prefix: str) -> list[Row]:
        """At most two: enough to know whether the prefix is unique. `prefix` is hex digits only."""
        found = self.run(f"SELECT {_ALL} FROM containers WHERE id >= ? AND id < ? LIMIT 2", (prefix, prefix + "g"))
        return [Row(*values) for values in found]

    def _one(self, condition: str, value: str) -> Row | None:
        found = self.run(f"SELECT {_ALL} FROM containers WHERE {condition}", (value,))
        return Row(*found[0]) if found else None

    def all(self) -> list[Row]:
        """Newest first, without the options: what ps needs of five hundred."""
        found = self.run(f"SELECT {_BRIEF} FROM containers ORDER BY created_ns DESC, rowid DESC")
        return [Row(*values) for values in found]

    def options(self) -> list[tuple[str, str]]:
        """(name, what creation settled about it: record.py) of each container, as it is stored."""
        return [(str(name), str(text)) for name, text in self.run("SELECT name, options FROM containers")]

    def with_open_ports(self) -> dict[str, str]:
        """{id: what is stored about it} of those that have been started and may name ports of their own."""
        return {
            str(identity): str(text)
            for identity, text in self.run(
                "SELECT id, options FROM containers WHERE status NOT IN ('created', 'exited')"
                """ AND (instr(options, '"ExposedPorts"') OR instr(options, '"expose"'))"""
            )
        }

    def ids(self) -> set[str]:
        return {str(values[0]) for values in self.run("SELECT id FROM containers")}

    def problems(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        found = [str(values[0]) for values in self.run("PRAGMA quick_check(10)")]
        return [] if found == ["ok"] else found

    # Volumes

    def volumes(self) -> list[tuple[str, int, bool, list[str]]]:
        """(name, created_ns, whether it is anonymous, ids of the containers that have it) each, by name."""
        users: dict[str, list[str]] = {}
        for volume, container in self.run("SELECT DISTINCT volume, container FROM container_volumes"):
            users.setdefault(str(volume), []).append(str(container))
        found = self.run("SELECT name, created_ns, anonymous FROM volumes ORDER BY name")
        return [(str(name), int(str(ns)), bool(flag), users.get(str(name), [])) for name, ns, flag in found]

    def insert_volume(self, name: str, created_ns: int, anonymous: bool) -> None:
        """Nothing happens where there is one of that name."""
        self.run("INSERT OR IGNORE INTO volumes VALUES (?, ?, ?)", (name, created_ns, int(anonymous)))

    def delete_volume(self, name: str) -> None:
        """Nothing happens where a container has it."""
        self.run(
            "DELETE FROM volumes WHERE name = ? AND NOT EXISTS"
            " (SELECT 1 FROM container_volumes WHERE volume = volumes.name)",
            (name,),
        )


def damaged(path: str, error: Exception) -> StoreError:
    text = str(error.strerror if isinstance(error, OSError) else error)
    remedy = {
        "database is locked": "another minirt holds it: see fuser(1)",
        FULL: "free some space: df, minirt rm",
        "unable to open database file": "see that root can write its directory: minirt doctor",
    }.get(text, "move the file away to begin with an empty one, or restore it")
    return StoreError(f'"{path}": {text}', remedy)


def _statements(schema: str) -> list[str]:
    lines = [line.partition("--")[0] for line in schema.splitlines()]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]
