# SPDX-License-Identifier: Apache-2.0
"""The tables of networks and leases: what is unique, what goes together, and the way there from version 1."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from minirt.engine import db, network_db
from minirt.engine.db import VERSION, Database, Row
from minirt.errors import Conflict, NotFound, StoreError
from minirt.model.network import Endpoint, Network, Port

WEB, DNS = "a" * 64, "b" * 64
FRONT, BACK = "1" * 64, "2" * 64


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(str(tmp_path / "minirt.db"))
    for identity, name in ((WEB, "web"), (DNS, "dns")):
        made.insert(Row(identity, name, "", None, "[]", 1, "created", "{}", 0, None, None, None, None, None))
    return made


def network(identity: str, name: str, third: int) -> Network:
    return Network(
        identity, name, "bridge", f"mr-{identity[:12]}", subnet4=f"172.17.{third}.0/24", gateway4=f"172.17.{third}.1",
        labels={"a": "b"}, created_ns=third,
    )  # fmt: skip


def endpoint(container: str, last: int, place: str = FRONT, number: int = 100) -> Endpoint:
    return Endpoint(
        place, container, f"eth{number - 100}", number, f"veth{place[0]}{container[0]}{last:05}",
        f"02:42:ac:11:00:{last:02x}", f"172.17.0.{last}", 24, aliases=("one", "two"),
    )  # fmt: skip


def leased(database: Database, container: str, *what: Endpoint | Port) -> None:
    places = [one for one in what if isinstance(one, Endpoint)]
    published = [one for one in what if isinstance(one, Port)]
    network_db.lease(database, container, lambda: (places, published))


def test_network_comes_back_as_it_was(database: Database) -> None:
    network_db.insert_network(database, network(FRONT, "front", 0))
    [found] = network_db.networks(database)
    wanted = network(FRONT, "front", 0)
    assert [getattr(found, name) for name in Network.__slots__] == [getattr(wanted, name) for name in Network.__slots__]


def test_network_by_id_name_and_prefix(database: Database) -> None:
    network_db.insert_network(database, network(FRONT, "front", 0))
    other = network("1" * 63 + "2", "bridge", 1)
    other.interface = "minirt0"
    network_db.insert_network(database, other)
    for ref in (FRONT, "front", "1" * 64):
        assert network_db.network_by(database, ref).name == "front"
    assert network_db.network_by(database, "default").name == "bridge"
    with pytest.raises(Conflict, match="ambiguous"):
        network_db.network_by(database, "11")
    for ref in ("absent", "3", "", "a'; DROP TABLE networks", "\x1b"):
        with pytest.raises(NotFound, match="not found"):
            network_db.network_by(database, ref)


def test_what_a_network_shares_with_none_other(database: Database) -> None:
    network_db.insert_network(database, network(FRONT, "front", 0))
    with pytest.raises(Conflict, match="network with name front already exists"):
        network_db.insert_network(database, network(BACK, "front", 1))
    with pytest.raises(Conflict, match="Pool overlaps"):
        network_db.insert_network(database, network(BACK, "back", 0))
    same = network(BACK, "back", 1)
    same.interface = f"mr-{FRONT[:12]}"
    with pytest.raises(Conflict, match="belongs to the network front"):
        network_db.insert_network(database, same)


def test_network_in_use_stays(database: Database) -> None:
    network_db.insert_network(database, network(FRONT, "front", 0))
    leased(database, WEB, endpoint(WEB, 2))
    with pytest.raises(Conflict, match="active endpoints"):
        network_db.delete_network(database, FRONT)
    network_db.release(database, WEB)
    network_db.delete_network(database, FRONT)
    network_db.delete_network(database, FRONT)
    assert network_db.networks(database) == []


def test_endpoint_and_port_come_back_as_they_were(database: Database) -> None:
    network_db.insert_network(database, network(FRONT, "front", 0))
    port = Port("tcp", "", 8080, 80, "172.17.0.2", "fd00::2")
    leased(database, WEB, endpoint(WEB, 2), port)
    [found] = network_db.endpoints(database, WEB)
    wanted = endpoint(WEB, 2)
    assert [getattr(found, name) for name in Endpoint.__slots__] == [
        getattr(wanted, name) for name in Endpoint.__slots__
    ]
    [again] = network_db.ports(database, WEB)
    assert [getattr(again, name) for name in Port.__slots__] == [getattr(port, name) for name in Port.__slots__]
    assert list(network_db.ports_by_container(database)) == [WEB]
    assert network_db.holders(database) == {WEB}
    assert network_db.is_holder(database, WEB) and not network_db.is_holder(database, DNS)
    assert network_db.port_holders(database, "tcp") == {8080: [("", WEB)]}
    assert network_db.endpoints(database, network=BACK) == []


@pytest.mark.parametrize("what", ["address", "mac", "veth", "port"])
def test_lease_has_one_holder(database: Database, what: str) -> None:
    """And the loser has none of what it asked for."""
    network_db.insert_network(database, network(FRONT, "front", 0))
    first, second = endpoint(WEB, 2), endpoint(DNS, 3)
    ports = [Port("tcp", "", 8080, 80), Port("tcp", "127.0.0.1" if what != "port" else "", 8080, 80)]
    if what == "address":
        second.address4 = first.address4
    elif what != "port":
        setattr(second, what, getattr(first, what))
    leased(database, WEB, first, ports[0])
    with pytest.raises(StoreError, match="UNIQUE"):
        leased(database, DNS, second, ports[1])
    assert network_db.holders(database) == {WEB}
    assert not database.connection.in_transaction


def test_what_choose_raises_leaves_nothing(database: Database) -> None:
    def choose() -> tuple[list[Endpoint], list[Port]]:
        raise Conflict("no")

    with pytest.raises(Conflict):
        network_db.lease(database, WEB, choose)
    assert not database.connection.in_transaction


def test_release_of_one_network(database: Database) -> None:
    network_db.insert_network(database, network(FRONT, "front", 0))
    network_db.insert_network(database, network(BACK, "back", 1))
    leased(database, WEB, endpoint(WEB, 2), endpoint(WEB, 2, BACK, 101), Port("udp", "::1", 53, 53))
    network_db.release(database, WEB, BACK)
    assert [one.network for one in network_db.endpoints(database)] == [FRONT]
    assert len(network_db.ports(database)) == 1
    network_db.release(database, WEB)
    assert network_db.holders(database) == set()


def test_removing_a_container_takes_its_leases(database: Database) -> None:
    network_db.insert_network(database, network(FRONT, "front", 0))
    leased(database, WEB, endpoint(WEB, 2), Port("udp", "", 53, 53))
    database.delete(WEB)
    assert network_db.holders(database) == set()


def test_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    """What a minirt without networks has written is kept, and gets the new tables."""
    path = tmp_path / "old.db"
    first = (Path(db.__file__).parent / "schema.sql").read_text().split("\n-- version ")[0]
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(first)
        old.execute("PRAGMA user_version = 1")
        old.execute(
            "INSERT INTO containers (id, name, image, command, created_ns, status, options)"
            f" VALUES ('{WEB}', 'web', '', '[]', 1, 'created', '{{}}')"
        )
        old.commit()
    again = Database(str(path))
    assert again.run("PRAGMA user_version") == [(VERSION,)]
    assert again.ids() == {WEB}
    network_db.insert_network(again, network(FRONT, "front", 0))
    leased(again, WEB, endpoint(WEB, 2))
