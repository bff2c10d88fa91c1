# SPDX-License-Identifier: Apache-2.0
"""Networks, the places of containers in them, published ports: values that the engine keeps and network carries out.

Addresses are text as inet_ntop(3) writes it, "" for none; subnets are "172.17.0.0/16". Pure; must not import
anything: the way of a `run` leads through here.
"""

from __future__ import annotations

BRIDGE, MACVLAN = "bridge", "macvlan"
DEFAULT = "bridge"  # the name of the network that a container joins unasked, as Docker calls it


class Network:
    """One user or default network.

    id: 64 hex digits. interface: the bridge's name on the host ("minirt0", "mr-<12 of the id>"), or for macvlan the
    parent interface. subnet4, gateway4, range4 (where addresses are leased from; "" = the whole subnet), subnet6,
    gateway6: "" where it has none. internal: no way out. mtu: bytes, 0 for the kernel's own choice.
    """

    __slots__ = (
        "id", "name", "driver", "interface", "subnet4", "gateway4", "range4", "subnet6", "gateway6", "internal", "mtu",
        "labels", "created_ns",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        name: str,
        driver: str,
        interface: str,
        *,
        subnet4: str = "",
        gateway4: str = "",
        range4: str = "",
        subnet6: str = "",
        gateway6: str = "",
        internal: bool = False,
        mtu: int = 0,
        labels: dict[str, str] | None = None,
        created_ns: int = 0,
    ) -> None:
        self.id = id
        self.name = name
        self.driver = driver
        self.interface = interface
        self.subnet4 = subnet4
        self.gateway4 = gateway4
        self.range4 = range4
        self.subnet6 = subnet6
        self.gateway6 = gateway6
        self.internal = internal
        self.mtu = mtu
        self.labels = labels or {}
        self.created_ns = created_ns

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT


class Endpoint:
    """A container's place in a network: what is leased as long as it runs.

    network: its id. container: its id. interface: the name inside ("eth0"). index: its number inside, from 100 on.
    veth: the host's end ("veth1a2b3c4"; "" with macvlan). mac: "02:42:ac:11:00:02". address4, address6 with prefix4,
    prefix6 in bits. aliases: further names on this network.
    """

    __slots__ = (
        "network", "container", "interface", "index", "veth", "mac", "address4", "prefix4", "address6", "prefix6",
        "aliases",
    )  # fmt: skip

    def __init__(
        self,
        network: str,
        container: str,
        interface: str,
        index: int,
        veth: str,
        mac: str,
        address4: str = "",
        prefix4: int = 0,
        address6: str = "",
        prefix6: int = 0,
        aliases: tuple[str, ...] = (),
    ) -> None:
        self.network = network
        self.container = container
        self.interface = interface
        self.index = index
        self.veth = veth
        self.mac = mac
        self.address4 = address4
        self.prefix4 = prefix4
        self.address6 = address6
        self.prefix6 = prefix6
        self.aliases = aliases


class Port:
    """A published port. protocol: "tcp" or "udp". host_address: "" for every address of the host, both families.
    target4, target6: the container's addresses, "" where it has none."""

    __slots__ = ("protocol", "host_address", "host_port", "container_port", "target4", "target6")

    def __init__(
        self,
        protocol: str,
        host_address: str,
        host_port: int,
        container_port: int,
        target4: str = "",
        target6: str = "",
    ) -> None:
        self.protocol = protocol
        self.host_address = host_address
        self.host_port = host_port
        self.container_port = container_port
        self.target4 = target4
        self.target6 = target6

    @property
    def is_loopback(self) -> bool:
        """Never rewritten by nftables: only the proxy serves it, so no neighbour on the wire reaches it."""
        return self.host_address.startswith("127.") or self.host_address == "::1"
