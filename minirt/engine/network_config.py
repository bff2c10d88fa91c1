# SPDX-License-Identifier: Apache-2.0
"""What `network create` asks for, read and checked: subnets, gateways, ranges, options (docker-network-create(1)).

Docker's words for what is wrong (ValidateIPAM of moby). Text in, a Network out: whether a subnet is free on this host
is not asked here. Off the way of a run, so ipaddress (6 ms) may be imported. Must not import kernel or the database.
"""

from __future__ import annotations

import ipaddress

from minirt.engine import names
from minirt.errors import InvalidValue
from minirt.model.network import BRIDGE, MACVLAN, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

PREDEFINED = ("bridge", "default", "host", "none")
INTERFACE_LIMIT = 15  # IFNAMSIZ less its NUL
INTERFACE_OPTION = {BRIDGE: "com.docker.network.bridge.name", MACVLAN: "parent"}
LEAST_MTU, LEAST_MTU6, MOST_MTU = 68, 1280, 65535
NAME_REMEDY = "names have letters, digits, dots, hyphens and underscores, and begin with a letter or digit"
# Options of Docker's bridge driver whose default is what minirt does.
IMPLIED = {
    "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
    "com.docker.network.bridge.gateway_mode_ipv4": "nat",
    "com.docker.network.bridge.gateway_mode_ipv6": "nat",
    "macvlan_mode": BRIDGE,
}


class Request:
    """The flags of one `network create`, as written."""

    __slots__ = ("driver", "gateways", "internal", "ipv6", "labels", "name", "options", "ranges", "subnets")

    def __init__(self, name: str) -> None:
        self.name = name
        self.driver = BRIDGE
        self.subnets: list[str] = []
        self.gateways: list[str] = []
        self.ranges: list[str] = []
        self.internal = False
        self.ipv6 = False
        self.options: list[str] = []  # key=value
        self.labels: list[str] = []  # key[=value]


def network(request: Request, identity: str, created_ns: int) -> Network:
    """The network asked for; subnet4 and subnet6 "" where one is to be chosen. Raises InvalidValue."""
    check_name(request.name)
    if request.driver not in (BRIDGE, MACVLAN):
        raise InvalidValue(f'could not find a network driver plugin "{request.driver}"', "there are bridge and macvlan")
    interface, mtu = _options(request, identity)
    made = Network(
        identity, request.name, request.driver, interface, internal=request.internal, mtu=mtu,
        labels=_labels(request.labels), created_ns=created_ns,
    )  # fmt: skip
    if request.driver == MACVLAN and request.internal:
        raise InvalidValue("a macvlan network cannot be internal: its packets do not pass this host's firewall")
    subnets = [_subnet(text) for text in request.subnets]
    for subnet in subnets:
        if getattr(made, f"subnet{subnet.version}"):
            raise InvalidValue(
                f"invalid subnet {subnet}: a network has one IPv{subnet.version} subnet", "make another network"
            )
        setattr(made, f"subnet{subnet.version}", str(subnet))
        setattr(made, f"gateway{subnet.version}", str(subnet[1]))
    _place_ranges(made, request.ranges, subnets)
    _place_gateways(made, request.gateways, subnets)
    if (made.subnet6 or request.ipv6) and 0 < mtu < LEAST_MTU6:
        raise InvalidValue(f"invalid mtu {mtu}: IPv6 needs {LEAST_MTU6} at least")
    return made


def check_name(name: str) -> None:
    if name in PREDEFINED:
        raise InvalidValue(f"operation is not permitted on predefined {name} network", "choose another name")
    sound = names.ALPHABET.issuperset(name) and 1 <= len(name) <= names.NAME_LIMIT and name[0] not in "_.-"
    if not sound or names.is_id(name):
        raise InvalidValue(f"invalid network name: {ascii(name[:255])[1:-1]}", NAME_REMEDY)


def _subnet(text: str) -> Subnet:
    if "/" not in text:
        raise InvalidValue(f"invalid subnet {text}: invalid CIDR block notation", "write it like 172.30.0.0/16")
    try:
        found = ipaddress.ip_network(text, strict=False)
        exact = found.network_address == ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        raise InvalidValue(
            f"invalid subnet {text}: invalid CIDR block notation", "write it like 172.30.0.0/16"
        ) from None
    if not exact:
        raise InvalidValue(f"invalid subnet {text}: it should be {found}", f"--subnet {found}")
    if found.max_prefixlen - found.prefixlen < 2:
        raise InvalidValue(f"invalid subnet {text}: it has no room for a gateway and a container")
    odd = found.is_loopback or found.is_multicast or found.is_link_local or found.network_address.is_unspecified
    if odd or (found.version == 4 and found.network_address.is_reserved):
        raise InvalidValue(f"invalid subnet {text}: no container can have addresses of it", "take a private one")
    return found


def _place_ranges(made: Network, texts: list[str], subnets: list[Subnet]) -> None:
    for text in texts:
        try:
            found = ipaddress.ip_network(text, strict=False)
            exact = "/" in text and found.network_address == ipaddress.ip_address(text.partition("/")[0])
        except ValueError:
            raise InvalidValue(
                f"invalid ip-range {text}: invalid CIDR block notation", "write it like 172.30.1.0/24"
            ) from None
        subnet = _parent(subnets, found.version, f"no matching subnet for range {text}")
        if found.version == 6:
            raise InvalidValue(f"invalid ip-range {text}: not supported for IPv6", "leave it out")
        if found.prefixlen < subnet.prefixlen:
            raise InvalidValue(f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}")
        if not subnet.overlaps(found):
            raise InvalidValue(f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range")
        if not exact:
            raise InvalidValue(f"invalid ip-range {text}: it should be {found}", f"--ip-range {found}")
        if made.range4:
            raise InvalidValue(f"invalid ip-range {text}: a network has one", "leave the others out")
        made.range4 = str(found)


def _place_gateways(made: Network, texts: list[str], subnets: list[Subnet]) -> None:
    placed: set[int] = set()
    for text in texts:
        try:
            found = ipaddress.ip_address(text)
        except ValueError:
            raise InvalidValue(f"invalid gateway {text}: invalid address", "write it like 172.30.0.1") from None
        subnet = _parent(subnets, found.version, f"no matching subnet for gateway {text}")
        if found not in subnet:
            raise InvalidValue(f"invalid gateway {text}: parent subnet {subnet} doesn't contain this address")
        if found == subnet[0] or (found.version == 4 and found == subnet[-1]):
            raise InvalidValue(f"invalid gateway {text}: it names the whole of {subnet}")
        if found.version in placed:
            raise InvalidValue(f"invalid gateway {text}: a network has one", "leave the others out")
        placed.add(found.version)
        setattr(made, f"gateway{found.version}", str(found))


def _parent(subnets: list[Subnet], version: int, fault: str) -> Subnet:
    found = next((subnet for subnet in subnets if subnet.version == version), None)
    if found is None:
        fault = fault if subnets else "every ip-range or gateway must have a corresponding subnet"
        raise InvalidValue(fault, "give its subnet too: --subnet")
    return found


def _options(request: Request, identity: str) -> tuple[str, int]:
    """(the interface on the host, the MTU) of -o."""
    interface, mtu = (f"mr-{identity[:12]}" if request.driver == BRIDGE else ""), 0
    for text in request.options:
        key, _, value = text.partition("=")
        if key in ("mtu", "com.docker.network.driver.mtu"):
            mtu = _mtu(value)
        elif key == INTERFACE_OPTION[request.driver]:
            interface = _interface(value)
        elif IMPLIED.get(key) != value:
            raise InvalidValue(
                f"network option {ascii(text)[1:-1]} is not supported",
                "there are mtu, and parent with --driver macvlan",
            )
    if not interface:
        raise InvalidValue("a macvlan network needs an interface of the host", "name it: -o parent=eth0")
    return interface, mtu


def _mtu(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and LEAST_MTU <= int(text) <= MOST_MTU):
        raise InvalidValue(f"invalid mtu {ascii(text)[1:-1]}: from {LEAST_MTU} to {MOST_MTU} bytes", "-o mtu=1400")
    return int(text)


def _interface(text: str) -> str:
    """A name as the kernel takes one (dev_valid_name), without what would confuse anything else: "all" and "default"
    are words of /proc/sys/net."""
    sound = names.ALPHABET.issuperset(text) and 0 < len(text) <= INTERFACE_LIMIT and text[0] not in ".-"
    if not sound or text in ("all", "default"):
        raise InvalidValue(f"invalid interface name: {ascii(text)[1:-1]}", "at most 15 letters, digits, - _ and .")
    return text


def _labels(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise InvalidValue(f"invalid label format: '{ascii(text)[1:-1]}'", "write --label key=value")
        found[key] = value
    return found
