# SPDX-License-Identifier: Apache-2.0
"""The world round a test's host, in network namespaces made here (veth(4), network_namespaces(7)):

    outside 198.51.100.10, 2001:db8:2::10        knows neither the host's wire nor containers but by the router
       │
    router  198.51.100.1 │ 192.0.2.1             knows no container's subnet
       │
       ├── neighbour 192.0.2.66, 2001:db8:1::66  on the host's wire, and hostile
       │
    host    192.0.2.2, 2001:db8:1::2 on `uplink`, default route by the router: the test's own namespace

The fixture `world` (tests/conftest.py) builds it round the fixture `networked`. Must not import minirt.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import namespaces

HOST, HOST6, HOST_MAC = "192.0.2.2", "2001:db8:1::2", "02:00:00:00:00:02"
ROUTER, ROUTER6 = "192.0.2.1", "2001:db8:1::1"
NEIGHBOUR, NEIGHBOUR6 = "192.0.2.66", "2001:db8:1::66"
OUTSIDE, OUTSIDE6 = "198.51.100.10", "2001:db8:2::10"
UPLINK = "uplink"


def ip(*lines: str) -> None:
    """ip(8) commands in the current namespace, all of them by one process; the first that fails ends it."""
    told = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True)
    assert told.returncode == 0, f"{told.stderr}\n" + "\n".join(lines)


def sysctl(name: str, value: str) -> None:
    """sysctl("net.ipv4.ip_forward", "1") in the current namespace."""
    Path("/proc/sys", *name.split(".")).write_text(value)


class Place:
    """One of the world's hosts. `with place:` runs there, as with a Namespace."""

    def __init__(self, namespace: namespaces.Namespace, address4: str, address6: str) -> None:
        self.namespace = namespace
        self.address4, self.address6 = address4, address6

    def __enter__(self) -> Place:
        self.namespace.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.namespace.__exit__()

    def route(self, subnet: str, via: str) -> None:
        """A route of one's own making: what an attacker on the wire adds."""
        with self:
            ip(f"route add {subnet} via {via}")


class World:
    """host, router, neighbour, outside."""

    def __init__(self, host: Place, router: Place, neighbour: Place, outside: Place) -> None:
        self.host, self.router, self.neighbour, self.outside = host, router, neighbour, outside


def connect(host: str, router: namespaces.Namespace, neighbour: namespaces.Namespace, outside: str) -> None:
    """The wires. The router's bridge `lan` is what host and neighbour hang on. The two ends of a
    veth have different numbers: of equal ones the kernel hears no sooner than within a second that they are up."""
    ip(f"link add {UPLINK} index 77 address {HOST_MAC} type veth peer name host netns {router.path}")
    with neighbour:
        ip(f"link add eth0 index 66 type veth peer name neighbour netns {router.path}")
    with router:
        sysctl("net.ipv6.conf.default.accept_dad", "0")  # nobody waits a second for his own link-local address
        ip(
            f"link add away index 55 type veth peer name eth0 netns {outside}",
            "link add lan type bridge mcast_snooping 0",
            "link set host master lan up",
            "link set neighbour master lan up",
            f"address add {ROUTER}/24 dev lan",
            f"address add {ROUTER6}/64 dev lan nodad",
            "address add 198.51.100.1/24 dev away",
            "address add 2001:db8:2::1/64 dev away nodad",
            "link set lan up",
            "link set away up",
        )
        sysctl("net.ipv4.ip_forward", "1")
        sysctl("net.ipv6.conf.all.forwarding", "1")


def settle(place: Place, interface: str, gateway4: str, gateway6: str) -> None:
    with place:
        sysctl(f"net.ipv6.conf.{interface}.accept_dad", "0")
        ip(
            f"address add {place.address4}/24 dev {interface}",
            f"address add {place.address6}/64 dev {interface} nodad",
            f"link set {interface} up",
            f"route add default via {gateway4}",
            f"route add default via {gateway6}",
        )


@contextlib.contextmanager
def around(host: namespaces.Namespace) -> Iterator[World]:
    """Builds it round the current namespace, which is `host`; its uplink goes away at the end, the others with it."""
    with contextlib.ExitStack() as stack:
        router, neighbour, outside = (stack.enter_context(namespaces.new()) for _ in range(3))
        connect(host.path, router, neighbour, outside.path)
        stack.callback(subprocess.run, ["ip", "link", "del", UPLINK], check=True)
        world = World(
            Place(host, HOST, HOST6),
            Place(router, ROUTER, ROUTER6),
            Place(neighbour, NEIGHBOUR, NEIGHBOUR6),
            Place(outside, OUTSIDE, OUTSIDE6),
        )
        settle(world.host, UPLINK, ROUTER, ROUTER6)
        settle(world.neighbour, "eth0", ROUTER, ROUTER6)
        settle(world.outside, "eth0", "198.51.100.1", "2001:db8:2::1")
        yield world


def of_process(pid: int) -> namespaces.Namespace:
    """The network namespace of a process: of a container, by its first."""
    return namespaces.Namespace(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
