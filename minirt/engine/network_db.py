# SPDX-License-Identifier: Apache-2.0
"""minirt.db: networks, and what containers lease of them (the tables of version 2 in schema.sql).

Every statement about networks stands here, one function each, as those about containers stand in db.py. Which of two
at the same time gets an address or a port is decided by the transaction and the UNIQUE constraints alone. Must not
import anything of minirt but errors, model and db.
"""

from __future__ import annotations

from minirt.engine import names, sqlite
from minirt.engine.db import damaged
from minirt.errors import Conflict, NotFound
from minirt.model import json
from minirt.model.network import BRIDGE, DEFAULT, Endpoint, Network, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from minirt.engine.db import Database

    Result = TypeVar("Result")
    Named = tuple[str, str, str, list[str], str, str]

_NETWORK = (
    "id, name, driver, interface, subnet4, gateway4, range4, subnet6, gateway6, internal, mtu, labels, created_ns"
)
_ENDPOINT = "network, container, interface, number, veth, mac, address4, prefix4, address6, prefix6, aliases"
_PORT = "protocol, host_address, host_port, container_port, target4, target6"


# Networks


def networks(database: Database) -> list[Network]:
    """All, the oldest first."""
    found = database.run(f"SELECT {_NETWORK} FROM networks ORDER BY created_ns, id")
    return [_network(values) for values in found]


def network_named(database: Database, name: str) -> Network | None:
    found = database.run(f"SELECT {_NETWORK} FROM networks WHERE name = ?", (_plain(name),))
    return _network(found[0]) if found else None


def find(database: Database, identity: str) -> Network | None:
    found = database.run(f"SELECT {_NETWORK} FROM networks WHERE id = ?", (identity,))
    return _network(found[0]) if found else None


def network_by(database: Database, ref: str) -> Network:
    """By its id, else its name ("default" is another word for "bridge"), else the beginning of its id. Raises
    NotFound, or Conflict where more than one id begins so."""
    found = database.run(f"SELECT {_NETWORK} FROM networks WHERE id = ?1 OR name = ?2", (ref, _plain(ref)))
    if not found and names.is_prefix(ref):
        found = database.run(f"SELECT {_NETWORK} FROM networks WHERE id >= ? AND id < ? LIMIT 2", (ref, ref + "g"))
    if len(found) > 1:
        exact = [values for values in found if values[0] == ref]
        if not exact:
            raise Conflict(f"network {ref} is ambiguous (2 matches found on ID prefix)", "write more of the id")
        found = exact
    if not found:
        shown = ref if ref.isprintable() and len(ref) <= 255 else ascii(ref[:64])
        raise NotFound(f"network {shown} not found", "see which there are: minirt network ls")
    return _network(found[0])


def insert_network(database: Database, network: Network) -> None:
    """Raises Conflict in Docker's words where its name, bridge or very subnet is taken. That subnets do not overlap
    is the caller's to see to, who holds the lock on networks alone."""
    values = (
        network.id, network.name, network.driver, network.interface, network.subnet4 or None,
        network.gateway4 or None, network.range4 or None, network.subnet6 or None, network.gateway6 or None,
        int(network.internal), network.mtu, json.dumps(network.labels), network.created_ns,
    )  # fmt: skip
    try:
        database.run(f"INSERT INTO networks ({_NETWORK}) VALUES ({', '.join('?' * len(values))})", values)
    except sqlite.IntegrityError as error:
        raise _network_taken(database, network, error) from error


def _network_taken(database: Database, network: Network, error: Exception) -> Exception:
    for other in networks(database):
        if other.name == network.name:
            return Conflict(f"network with name {network.name} already exists", f"minirt network rm {network.name}")
        if other.interface == network.interface and other.driver == network.driver != BRIDGE:
            return Conflict(f"network {other.name} is already using parent interface {network.interface}")
        if other.interface == network.interface:
            return Conflict(f"the interface {network.interface} belongs to the network {other.name}")
        if (network.subnet4 and other.subnet4 == network.subnet4) or (
            network.subnet6 and other.subnet6 == network.subnet6
        ):
            return Conflict(
                "invalid pool request: Pool overlaps with other one on this address space",
                f"{other.subnet4 or other.subnet6} is the network {other.name}; choose another --subnet",
            )
    return damaged(database.path, error)


def delete_network(database: Database, identity: str) -> None:
    """Raises Conflict where a container has an endpoint in it. Nothing happens where it is gone."""
    try:
        database.pressing(lambda: database.run("DELETE FROM networks WHERE id = ?", (identity,)))
    except sqlite.IntegrityError as error:
        raise Conflict(
            f"error while removing network: network {identity} has active endpoints",
            "stop its containers, or minirt network disconnect",
        ) from error


# Leases


def endpoints(database: Database, container: str | None = None, network: str | None = None) -> list[Endpoint]:
    """Of one container, in one network, or all; in the order of their numbers inside."""
    conditions, values = _conditions(container=container, network=network)
    found = database.run(f"SELECT {_ENDPOINT} FROM endpoints{conditions} ORDER BY container, number", values)
    return [_endpoint(row) for row in found]


def named(database: Database, network: str) -> list[Named]:
    """Who is on a network: (container, its name, hostname, aliases there, address4, address6), "" for none."""
    found = database.run(
        "SELECT e.container, c.name, json_extract(c.options, '$.hostname'), e.aliases, e.address4, e.address6"
        " FROM endpoints e LEFT JOIN containers c ON c.id = e.container WHERE e.network = ? ORDER BY e.container",
        (network,),
    )
    return [
        (
            str(row[0]),
            str(row[1] or ""),
            str(row[2] or ""),
            json.loads(str(row[3])),
            str(row[4] or ""),
            str(row[5] or ""),
        )
        for row in found
    ]


def ports(database: Database, container: str | None = None) -> list[Port]:
    """Of one container, or all."""
    conditions, values = _conditions(container=container)
    found = database.run(f"SELECT {_PORT} FROM ports{conditions} ORDER BY container_port, protocol, host_port", values)
    return [_port(row) for row in found]


def ports_by_container(database: Database) -> dict[str, list[Port]]:
    found: dict[str, list[Port]] = {}
    for container, *values in database.run(
        f"SELECT container, {_PORT} FROM ports ORDER BY container_port, protocol, host_port"
    ):
        found.setdefault(str(container), []).append(_port(tuple(values)))
    return found


def holders(database: Database) -> set[str]:
    """The ids of the containers that have leased something."""
    found = database.run("SELECT container FROM endpoints UNION SELECT container FROM ports")
    return {str(values[0]) for values in found}


def is_holder(database: Database, container: str) -> bool:
    found = database.run(
        "SELECT EXISTS (SELECT 1 FROM endpoints WHERE container = ?1) OR"
        " EXISTS (SELECT 1 FROM ports WHERE container = ?1)",
        (container,),
    )
    return bool(found[0][0])


def sharers(database: Database, container: str) -> list[str]:
    """The containers that were made to live in this one's network namespace (engine/join.py)."""
    written = json.dumps({"network": [f"container:{container}"]})[1:-1]
    found = database.run("SELECT id FROM containers WHERE instr(options, ?)", (written,))
    return [str(identity) for (identity,) in found]


def taken(database: Database, network: str) -> tuple[dict[str, str], dict[str, str]]:
    """({address or MAC: the container that has it} of one network) for IPv4 and MAC, and for IPv6."""
    four: dict[str, str] = {}
    six: dict[str, str] = {}
    for container, mac, address4, address6 in database.run(
        "SELECT container, mac, address4, address6 FROM endpoints WHERE network = ?", (network,)
    ):
        four[str(mac)] = four[str(address4)] = six[str(address6)] = str(container)
    return four, six


def port_holders(database: Database, protocol: str) -> dict[int, list[tuple[str, str]]]:
    """{host port: [(host address, the container that has it)]}."""
    found: dict[int, list[tuple[str, str]]] = {}
    for port, address, container in database.run(
        "SELECT host_port, host_address, container FROM ports WHERE protocol = ?", (protocol,)
    ):
        found.setdefault(int(str(port)), []).append((str(address), str(container)))
    return found


def lease(
    database: Database, container: str, choose: Callable[[], tuple[list[Endpoint], list[Port]]]
) -> tuple[list[Endpoint], list[Port]]:
    """Write down what `choose` picks, with nobody else picking in between. What it raises leaves nothing written."""
    database.run("BEGIN IMMEDIATE")
    try:
        wanted, published = choose()
        for one in wanted:
            insert_endpoint(database, one)
        for port in published:
            values = (
                container, port.protocol, port.host_address, port.host_port, port.container_port,
                port.target4 or None, port.target6 or None,
            )  # fmt: skip
            database.run("INSERT INTO ports VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        database.run("COMMIT")
    except BaseException as error:
        if database.connection.in_transaction:
            database.connection.execute("ROLLBACK")
        if isinstance(error, sqlite.IntegrityError):
            raise damaged(database.path, error) from error
        raise
    return wanted, published


def insert_endpoint(database: Database, one: Endpoint) -> None:
    """IntegrityError where something of it is taken."""
    values = (
        one.network, one.container, one.interface, one.index, one.veth or None, one.mac, one.address4 or None,
        one.prefix4, one.address6 or None, one.prefix6, json.dumps(list(one.aliases)),
    )  # fmt: skip
    database.run(f"INSERT INTO endpoints ({_ENDPOINT}) VALUES ({', '.join('?' * len(values))})", values)


def release(database: Database, container: str, network: str | None = None) -> None:
    """Forget what a container has leased, or only its endpoint in one network."""
    conditions, values = _conditions(container=container, network=network)
    database.pressing(lambda: database.run(f"DELETE FROM endpoints{conditions}", values))
    if network is None:
        database.pressing(lambda: database.run("DELETE FROM ports WHERE container = ?", (container,)))


def _plain(name: str) -> str:
    return DEFAULT if name == "default" else name


def _conditions(**wanted: str | None) -> tuple[str, tuple[object, ...]]:
    """(" WHERE a = ? AND b = ?", values) of what is not None."""
    given = {column: value for column, value in wanted.items() if value is not None}
    words = " AND ".join(f"{column} = ?" for column in given)
    return (f" WHERE {words}" if words else ""), tuple(given.values())


def _network(row: tuple[object, ...]) -> Network:
    identity, name, driver, interface, subnet4, gateway4, range4, subnet6, gateway6, internal, mtu, labels, at = row
    return Network(
        str(identity), str(name), str(driver), str(interface), subnet4=str(subnet4 or ""),
        gateway4=str(gateway4 or ""), range4=str(range4 or ""), subnet6=str(subnet6 or ""),
        gateway6=str(gateway6 or ""), internal=bool(internal), mtu=int(str(mtu)), labels=json.loads(str(labels)),
        created_ns=int(str(at)),
    )  # fmt: skip


def _endpoint(row: tuple[object, ...]) -> Endpoint:
    network, container, interface, number, veth, mac, address4, prefix4, address6, prefix6, aliases = row
    return Endpoint(
        str(network), str(container), str(interface), int(str(number)), str(veth or ""), str(mac),
        str(address4 or ""), int(str(prefix4)), str(address6 or ""), int(str(prefix6)),
        tuple(str(alias) for alias in json.loads(str(aliases))),
    )  # fmt: skip


def _port(row: tuple[object, ...]) -> Port:
    protocol, address, host_port, container_port, target4, target6 = row
    return Port(
        str(protocol), str(address), int(str(host_port)), int(str(container_port)), str(target4 or ""),
        str(target6 or ""),
    )  # fmt: skip
