# SPDX-License-Identifier: Apache-2.0
"""What `network inspect` shows of a network, and `inspect` of a container's networks: Docker's JSON (Engine API).

A container that does not run has no addresses: they are leased while it runs. Must not import plan or image.
"""

from __future__ import annotations

import hashlib

from minirt.engine import lifecycle, moment, network_db, network_flags, networks, ps, publications, store
from minirt.errors import MinirtError
from minirt.model.network import Endpoint, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.db import Row
    from minirt.engine.network_flags import Wanted
    from minirt.engine.reconcile import Seen
    from minirt.engine.record import Record
    from minirt.engine.store import Engine


def endpoint_id(container: str, network: str) -> str:
    return hashlib.sha256(f"{network} {container}".encode()).hexdigest()


def special_id(name: str) -> str:
    """host and none are no rows: their ids are the same on every host."""
    return hashlib.sha256(f"minirt network {name}".encode()).hexdigest()


def document(engine: Engine, ref: str) -> dict[str, Any]:
    """Raises NotFound, Conflict."""
    for name in networks.SPECIAL:
        if ref == name or (len(ref) >= 4 and special_id(name).startswith(ref)):
            return _special(engine, name)
    network = networks.find(engine, ref)
    networks.settle_holders(engine, network.id)
    pools = [
        {"Subnet": subnet, **({"IPRange": range_} if range_ else {}), "Gateway": gateway}
        for subnet, range_, gateway in (
            (network.subnet4, network.range4, network.gateway4), (network.subnet6, "", network.gateway6),
        )
        if subnet
    ]  # fmt: skip
    containers = {}
    for one in network_db.endpoints(engine.database, network=network.id):
        row = engine.database.by_id(one.container)
        containers[one.container] = {
            "Name": row.name if row is not None else "",
            "EndpointID": endpoint_id(one.container, network.id),
            "MacAddress": one.mac,
            "IPv4Address": f"{one.address4}/{one.prefix4}" if one.address4 else "",
            "IPv6Address": f"{one.address6}/{one.prefix6}" if one.address6 else "",
        }
    return {
        **_head(network.name, network.id, network.driver, network.created_ns or None),
        "EnableIPv6": bool(network.subnet6),
        "IPAM": {"Driver": "default", "Options": {}, "Config": pools},
        "Internal": network.internal,
        **_tail(containers, _options(network), network.labels),
        "Minirt": {"Interface": network.interface},
    }


def _options(network: Network) -> dict[str, str]:
    found = {"com.docker.network.driver.mtu": str(network.mtu)} if network.mtu else {}
    if network.driver == network_flags.BRIDGE:
        found["com.docker.network.bridge.name"] = network.interface
    else:
        found["parent"] = network.interface
    return found


def _head(name: str, identity: str, driver: str, created_ns: int | None) -> dict[str, Any]:
    return {
        "Name": name, "Id": identity, "Created": moment.text(created_ns), "Scope": "local", "Driver": driver,
        "EnableIPv4": True,
    }  # fmt: skip


def _tail(containers: dict[str, Any], options: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    return {
        "Attachable": False, "Ingress": False, "ConfigFrom": {"Network": ""}, "ConfigOnly": False,
        "Containers": containers, "Options": options, "Labels": labels,
    }  # fmt: skip


def _special(engine: Engine, name: str) -> dict[str, Any]:
    containers = {}
    for listed in ps.ps(engine):
        row = engine.database.by_id(listed.id)
        if row is not None and network_flags.mode(store.record(row).options)[0] == name:
            containers[row.id] = {
                "Name": row.name, "EndpointID": endpoint_id(row.id, special_id(name)), "MacAddress": "",
                "IPv4Address": "", "IPv6Address": "",
            }  # fmt: skip
    return {
        **_head(name, special_id(name), "null" if name == "none" else name, None),
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": None},
        "Internal": False,
        **_tail(containers, {}, {}),
    }


def settings(engine: Engine, row: Row, record: Record, seen: Seen) -> dict[str, Any]:
    """The NetworkSettings of a container."""
    alive = seen.status in lifecycle.ALIVE
    kind, _ = network_flags.mode(record.options)
    endpoints = network_db.endpoints(engine.database, row.id) if alive else []
    published = publications.bindings(network_db.ports(engine.database, row.id)) if alive else []
    opened = network_flags.exposed(record.options.expose, record.config)
    shown: dict[str, Any] = {
        "Bridge": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "SandboxID": row.id if alive else "",
        "SandboxKey": f"/proc/{seen.pid}/ns/net" if alive and seen.pid else "",
        "Ports": publications.mapping(publications.with_open(published, opened)) if alive else {},
        "Networks": {},
    }
    first: dict[str, Any] = {}
    if kind in networks.SPECIAL and record.options.network:
        shown["Networks"][kind] = _place(special_id(kind), None, None, None, row, record)
    for one in _wanted(record):
        network = _network(engine, one)
        identity = network.id if network is not None else ""
        there = next((endpoint for endpoint in endpoints if endpoint.network == identity), None)
        place = _place(identity, network, there, one, row, record)
        shown["Networks"][network.name if network is not None else one.network] = place
        if network is not None and network.is_default:
            first = place
    for name in ("EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress"):
        shown[name] = first.get(name, "")
    for name in ("IPPrefixLen", "GlobalIPv6PrefixLen"):
        shown[name] = first.get(name, 0)
    return shown


def _wanted(record: Record) -> list[Wanted]:
    try:
        return network_flags.wanted(record.options)
    except MinirtError:
        return []


def _network(engine: Engine, one: Wanted) -> Network | None:
    try:
        return networks.find(engine, one.network)
    except MinirtError:
        return None  # it was removed while the container did not run


def _place(
    identity: str, network: Network | None, there: Endpoint | None, wanted: Wanted | None, row: Row, record: Record
) -> dict[str, Any]:
    """An EndpointSettings."""
    asked = {}
    if wanted is not None and (wanted.address4 or wanted.address6):
        asked = {"IPv4Address": wanted.address4, "IPv6Address": wanted.address6}
    aliases = list(wanted.aliases) if wanted is not None else []
    named = network is not None and not network.is_default
    gateway6 = network.gateway6 if network is not None and there is not None and there.address6 else ""
    return {
        "IPAMConfig": {key: value for key, value in asked.items() if value} or None,
        "Links": None,
        "Aliases": aliases or None,
        "DriverOpts": None,
        "GwPriority": 0,
        "NetworkID": identity,
        "EndpointID": endpoint_id(row.id, identity) if there is not None else "",
        "Gateway": network.gateway4 if network is not None and there is not None else "",
        "IPAddress": there.address4 if there is not None else "",
        "MacAddress": there.mac if there is not None else "",
        "IPPrefixLen": there.prefix4 if there is not None else 0,
        "IPv6Gateway": gateway6,
        "GlobalIPv6Address": there.address6 if there is not None else "",
        "GlobalIPv6PrefixLen": there.prefix6 if there is not None else 0,
        "DNSNames": list(dict.fromkeys([row.name, row.id[:12], *aliases, record.hostname])) if named else None,
    }


def bindings_asked(record: Record) -> dict[str, list[dict[str, str]]]:
    """HostConfig.PortBindings: what -p said, "" for what it left open."""
    shown: dict[str, list[dict[str, str]]] = {}
    for one in network_flags.ports(record.options.publish, False, ()):
        port = str(one.host_port or "") + (f"-{one.host_last}" if one.host_last > one.host_port else "")
        place = f"{one.container_port}/{one.protocol}"
        shown.setdefault(place, []).append({"HostIp": one.host_address, "HostPort": port})
    return shown
