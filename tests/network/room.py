# SPDX-License-Identifier: Apache-2.0
"""The network room without an engine: bridges, rules and containers' links made by minirt.network alone.

A container here is a network namespace with a process that sleeps in it; its link is made as `network connect` makes
one. Everything happens in the current namespace, which the fixture `here` makes for each test.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import namespaces
import runner
from minirt.model.network import BRIDGE, Endpoint, Network, Port
from minirt.network import addresses, bridge, firewall, live
from minirt.plan.network import Link

TABLE = "minirt-0123abcd"


def network(number: int = 1, *, internal: bool = False, six: bool = False, mtu: int = 0) -> Network:
    """The network 10.77.<number>.0/24, and fd00:77:<number>::/64."""
    identity = f"{number:02x}" * 32
    return Network(
        identity,
        f"net{number}",
        BRIDGE,
        f"mr-{identity[:12]}",
        subnet4=f"10.77.{number}.0/24",
        gateway4=f"10.77.{number}.1",
        subnet6=f"fd00:77:{number}::/64" if six else "",
        gateway6=f"fd00:77:{number}::1" if six else "",
        internal=internal,
        mtu=mtu,
    )


class Container:
    """`with container:` runs in it. address4, address6 on its network."""

    def __init__(
        self, home: Network, endpoint: Endpoint, link: Link, namespace: namespaces.Namespace, pid: int
    ) -> None:
        self.home, self.endpoint, self.link, self.namespace, self.pid = home, endpoint, link, namespace, pid
        self.address4, self.address6, self.mac = endpoint.address4, endpoint.address6, endpoint.mac

    def __enter__(self) -> Container:
        self.namespace.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.namespace.__exit__()


class Room:
    """What a database would hold, and the host that it is loaded into."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.networks: list[Network] = []
        self.containers: list[Container] = []
        self.ports: list[Port] = []

    def add(self, made: Network) -> Network:
        bridge.ensure(made)
        self.networks.append(made)
        self.load()
        return made

    def load(self) -> None:
        firewall.load(TABLE, self.networks, [one.endpoint for one in self.containers], self.ports)

    def publish(self, *ports: Port) -> None:
        self.ports += ports
        self.load()

    def container(self, home: Network) -> Container:
        """One more, numbered from 2 on; eth0 leads to its network."""
        count = len(self.containers) + 2
        address4 = f"{home.subnet4[:-4]}{count}"
        address6 = f"{home.subnet6[:-3]}{count}" if home.subnet6 else ""
        mac, veth = addresses.mac_of(address4), f"veth{count:07x}"
        endpoint = Endpoint(
            home.id, f"{count:064x}", "eth0", 100, veth, mac, address4, 24, address6, 64 if address6 else 0
        )
        pairs = [(address4, 24), (address6, 64)] if address6 else [(address4, 24)]
        gateways = () if home.internal else tuple(word for word in (home.gateway4, home.gateway6) if word)
        link = Link(BRIDGE, "eth0", 100, mac, home.mtu, veth, bridge.ensure(home), tuple(pairs), gateways, "--network")
        namespace = self.stack.enter_context(namespaces.new())
        with namespace:
            process = subprocess.Popen(["sleep", "1000"])
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        made = Container(home, endpoint, link, namespace, process.pid)
        self.containers.append(made)
        self.load()
        live.attach(process.pid, link)
        # both ends hear of it a moment later (linkwatch): what is sent before is lost
        runner.eventually(lambda: Path(f"/sys/class/net/{veth}/brport/state").read_text() == "3\n")
        with made:
            runner.eventually(lambda: "state UP" in subprocess.check_output(["ip", "link", "show", "eth0"], text=True))
        return made


@contextlib.contextmanager
def make() -> Iterator[Room]:
    with contextlib.ExitStack() as stack:
        yield Room(stack)
