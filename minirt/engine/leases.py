# SPDX-License-Identifier: Apache-2.0
"""Which addresses and host ports a container gets: the choice, made inside the transaction that writes it down.

What was asked for by name is given or refused with the name of who has it; what was left open is the first free
address of the network, and a free port of the host's ephemeral range (ip(7), ip_local_port_range) from a random place
on. Must not import plan or kernel.
"""

from __future__ import annotations

import os

from minirt.engine import network_db
from minirt.errors import Conflict, InvalidValue
from minirt.model.network import BRIDGE, Endpoint, Port
from minirt.network import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from minirt.engine.db import Database
    from minirt.engine.network_flags import Wanted, WantedPort
    from minirt.model.network import Network

    Place = tuple[Network, Wanted]

FIRST_NUMBER = 100  # of eth0: what a kernel gives by itself begins at 1, so nothing is in the way
EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"
DEFAULT_EPHEMERAL = (32768, 60999)


class Held(Conflict):
    """Another container has it: worth another try once the dead ones of `holders` have given back theirs."""

    def __init__(self, message: str, remedy: str, holders: Iterable[str]) -> None:
        super().__init__(message, remedy)
        self.holders = set(holders)


def choose(
    database: Database,
    container: str,
    places: Sequence[Place],
    wanted: Sequence[WantedPort],
    refused: set[tuple[str, int]],
) -> tuple[list[Endpoint], list[Port]]:
    """Endpoints in the order of `places`, and ports. refused: (protocol, host port) that turned out to be taken by
    somebody who is no container. Raises Held, Conflict, InvalidValue."""
    found = [endpoint(database, container, network, one, number) for number, (network, one) in enumerate(places)]
    for (network, _), one in zip(places, found, strict=True):
        if network.driver == BRIDGE and not network.internal:
            target6 = "" if network.is_default else one.address6  # its IPv6 stays on the host
            return found, choose_ports(database, container, (one.address4, target6), wanted, refused)
    return found, []  # nothing is published where there is no way out (Docker)


def endpoint(database: Database, container: str, network: Network, wanted: Wanted, number: int) -> Endpoint:
    """Place `number` (0 is eth0) of a container."""
    four, six = network_db.taken(database, network.id)
    one = Endpoint(
        network.id, container, f"eth{number}", FIRST_NUMBER + number, new_veth() if network.driver == BRIDGE else "",
        "", aliases=tuple(wanted.aliases),
    )  # fmt: skip
    if network.subnet4:
        one.address4 = _address(
            database, network, wanted.address4, network.subnet4, network.range4, network.gateway4, four
        )
        one.prefix4 = addresses.prefix(network.subnet4)
    elif wanted.address4:
        raise _no_subnet(network, wanted.address4)
    if network.subnet6:
        one.address6 = _address(database, network, wanted.address6, network.subnet6, "", network.gateway6, six)
        one.prefix6 = addresses.prefix(network.subnet6)
    elif wanted.address6:
        raise _no_subnet(network, wanted.address6)
    one.mac = wanted.mac or (addresses.mac_of(one.address4) if one.address4 else addresses.random_mac())
    if one.mac in four:
        if wanted.mac:
            raise _held(database, f"MAC address {one.mac} is already in use on network {network.name}", four[one.mac])
        one.mac = addresses.random_mac()  # another container was given this one's by name
    return one


def _address(
    database: Database, network: Network, wanted: str, subnet: str, range_: str, gateway: str, taken: dict[str, str]
) -> str:
    if not wanted:
        free = addresses.first_free(subnet, range_, gateway, set(taken))
        if free is None:
            raise Held(
                f"no available addresses on the network {network.name} ({range_ or subnet})",
                "remove or stop a container there, or make a larger network: minirt network create --subnet",
                taken.values(),
            )
        return free
    if not addresses.contains(subnet, wanted):
        raise _no_subnet(network, wanted)
    if not addresses.usable(subnet, wanted):
        raise InvalidValue(f"invalid address {wanted}: it is the network's own or its broadcast address")
    if wanted in taken:
        raise _held(database, f"Address already in use: {wanted}", taken[wanted])
    if wanted == gateway:
        raise Conflict(f"Address already in use: {wanted}", f"it is the gateway of the network {network.name}")
    return wanted


def _no_subnet(network: Network, address: str) -> InvalidValue:
    subnets = " and ".join(one for one in (network.subnet4, network.subnet6) if one)
    return InvalidValue(
        f"invalid address {address}: It does not belong to any of this network's subnets",
        f"{network.name} has {subnets or 'none'}",
    )


def _held(database: Database, message: str, holder: str) -> Held:
    return Held(message, f"the container {name_of(database, holder)} has it", (holder,))


def name_of(database: Database, container: str) -> str:
    row = database.by_id(container)
    return row.name if row is not None else container[:12]


def new_veth() -> str:
    """The host's end: veth and 7 hex digits, the 15 bytes of IFNAMSIZ less the final NUL being more than enough."""
    return f"veth{os.urandom(4).hex()[:7]}"


# Ports


def choose_ports(
    database: Database,
    container: str,
    targets: tuple[str, str],
    wanted: Sequence[WantedPort],
    refused: set[tuple[str, int]],
) -> list[Port]:
    """First those that leave no choice, then ranges, then those that take any port. targets: the container's IPv4 and
    IPv6 address, "" for none."""
    holders = {protocol: network_db.port_holders(database, protocol) for protocol in {one.protocol for one in wanted}}
    chosen: dict[int, Port] = {}
    for place in sorted(range(len(wanted)), key=lambda place: _freedom(wanted[place])):
        one = wanted[place]
        there = holders[one.protocol]
        number = next((number for number in _candidates(one) if _free(one, number, there, refused)), 0)
        if not number:
            raise _allocated(database, one, there)
        there.setdefault(number, []).append((one.host_address, container))
        chosen[place] = Port(one.protocol, one.host_address, number, one.container_port, *targets)
    return [chosen[place] for place in range(len(wanted))]


def is_open(one: WantedPort) -> bool:
    """Whether another host port would do."""
    return one.host_port == 0 or one.host_last > one.host_port


def _freedom(one: WantedPort) -> int:
    return one.host_last - one.host_port if one.host_port else 65536


def _candidates(one: WantedPort) -> Iterator[int]:
    if one.host_port:
        yield from range(one.host_port, one.host_last + 1)
        return
    first, last = ephemeral()
    start = first + int.from_bytes(os.urandom(4), "little") % (last + 1 - first)
    yield from range(start, last + 1)
    yield from range(first, start)


def _free(one: WantedPort, number: int, there: dict[int, list[tuple[str, str]]], refused: set[tuple[str, int]]) -> bool:
    if is_open(one) and (one.protocol, number) in refused:
        return False
    return not any(_overlap(one.host_address, address) for address, _ in there.get(number, ()))


def _overlap(one: str, other: str) -> bool:
    """Whether no two sockets can have both addresses: "" is every address, 0.0.0.0 and :: are all of their family."""
    if one == other or not one or not other:
        return True
    return (":" in one) == (":" in other) and (one in ("0.0.0.0", "::") or other in ("0.0.0.0", "::"))


def _allocated(database: Database, one: WantedPort, there: dict[int, list[tuple[str, str]]]) -> Conflict:
    holders = [
        container
        for number in (range(one.host_port, one.host_last + 1) if one.host_port else ())
        for address, container in there.get(number, ())
        if _overlap(one.host_address, address)
    ]
    where = shown(one.host_address, one.host_port)
    if not one.host_port or one.host_last > one.host_port:
        return Held("all ports are allocated", f"no free host port for -p {where}-{one.host_last}", holders)
    who = name_of(database, holders[0]) if holders else "another process"
    return Held(
        f"Bind for {where} failed: port is already allocated by container {who}",
        f"choose another port, or stop it: minirt stop {who}",
        holders,
    )


def shown(address: str, port: int) -> str:
    """0.0.0.0:8080, [::1]:8080"""
    address = address or "0.0.0.0"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ephemeral() -> tuple[int, int]:
    """The ports that this host hands out by itself."""
    try:
        with open(EPHEMERAL, encoding="ascii") as file:
            first, last = file.read().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return DEFAULT_EPHEMERAL
