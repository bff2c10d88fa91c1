# SPDX-License-Identifier: Apache-2.0
"""minirt.db: unique names decide races, half-made databases do not exist, damage is one clear error."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from minirt.engine.db import COLUMNS, Database, NameTaken, Row
from minirt.errors import StoreError


def row(identity: str, name: str) -> Row:
    values = dict.fromkeys(COLUMNS, None)
    values.update(id=identity.ljust(64, "0"), name=name, image="i", command="[]", created_ns=1, status="created")
    values.update(options="{}", auto_remove=0)
    return Row(*values.values())


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "minirt.db"))


def test_rows_come_back(database: Database) -> None:
    database.insert(row("a1", "one"))
    database.insert(row("a2", "two"))
    found = database.by_name("one")
    assert found is not None and found.id == "a1".ljust(64, "0") and found.exit_code is None
    assert [each.name for each in database.by_prefix("a")] == ["two", "one"] or len(database.by_prefix("a")) == 2
    assert [each.name for each in database.by_prefix("a2")] == ["two"]
    database.update(found.id, exit_code=3, status="exited")
    changed = database.by_id(found.id)
    assert changed is not None and (changed.exit_code, changed.status) == (3, "exited")
    database.delete(found.id)
    assert database.by_id(found.id) is None and database.ids() == {"a2".ljust(64, "0")}


def test_name_conflict_in_dockers_words(database: Database) -> None:
    database.insert(row("a1", "web"))
    holder = "a1".ljust(64, "0")
    with pytest.raises(NameTaken) as caught:
        database.insert(row("b1", "web"))
    assert caught.value.message == (
        f'Conflict. The container name "/web" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    database.insert(row("b2", "db"))
    with pytest.raises(NameTaken):
        database.rename("b2".ljust(64, "0"), "web")


def test_cra_11_same_name_twice_at_once(tmp_path: Path) -> None:
    """CRA-11: of many creators of one name exactly one wins, with the database itself being created meanwhile."""
    path, outcomes = str(tmp_path / "minirt.db"), []

    def contend(number: int) -> None:
        try:
            Database(path).insert(row(f"{number:02x}", "same"))
            outcomes.append("won")
        except NameTaken:
            outcomes.append("taken")

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["taken"] * 15 + ["won"]


def test_anonymous_volumes_go_with_their_last_container(database: Database) -> None:
    anonymous, named = "f" * 64, "data"
    database.insert(row("a1", "one"), ((anonymous, "/a", True), (named, "/b", False)))
    database.insert(row("a2", "two"), ((named, "/b", False),))
    assert database.delete("a2".ljust(64, "0"), volumes=True) == []
    assert database.delete("a1".ljust(64, "0"), volumes=True) == [anonymous]
    assert database.run("SELECT name FROM volumes") == [(named,)]


def test_conflict_leaves_no_transaction_open(database: Database) -> None:
    database.insert(row("a1", "web"))
    with pytest.raises(NameTaken):
        database.insert(row("b1", "web"), (("v" * 3, "/a", False),))
    assert not database.connection.in_transaction
    assert database.run("SELECT * FROM volumes") == []


def test_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "minirt.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        Database(str(path))


def test_future_schema_is_refused(database: Database) -> None:
    database.run("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        Database(database.path)


def test_unwritable_place(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open database file"):
        Database(str(tmp_path / "absent" / "minirt.db"))


def test_file_is_private_and_in_wal_mode(database: Database) -> None:
    assert os.stat(database.path).st_mode & 0o777 == 0o600
    assert sqlite3.connect(database.path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
