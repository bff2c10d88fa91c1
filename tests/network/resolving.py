# SPDX-License-Identifier: Apache-2.0
"""A network made here for its resolver alone: a bridge, a client on it, the outside's name server behind the host.

`made(folder)` gives a Site: its `ensure` starts the resolver, its `ask` asks from the client.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns
import exchange
import namespaces
import runner
import world
from minirt.model.network import Network
from minirt.network import resolver

GATEWAY, GATEWAY6 = "172.30.0.1", "fd00:30::1"
UPSTREAM, UPSTREAM6 = "192.0.2.53", "2001:db8:1::53"
NAMES = {
    "172.30.0.2": ["Web_1", "0123456789ab", "api"],
    "fd00:30::2": ["Web_1", "0123456789ab", "api"],
    "172.30.0.3": ["db.example", "api"],
}
NAMESERVER = Path(__file__).with_name("nameserver.py")


class Site:
    """A network with a client on it, and the outside's name server behind the host. `ensure` starts the resolver."""

    def __init__(self, folder: Path, client: namespaces.Namespace, outside: namespaces.Namespace) -> None:
        self.directory = str(folder / "closed" / folder.name)
        self.log = folder / "asked"
        self.client, self.outside = client, outside
        self.network = bridged("mr-names", GATEWAY, GATEWAY6)

    def ensure(self, names: dict[str, list[str]] | None = None, upstream: tuple[str, ...] | None = (UPSTREAM,)) -> None:
        resolver.ensure(self.directory, self.network, NAMES if names is None else names, upstream)

    def ask(self, name: str, kind: str = "A", **options: object) -> dns.Reply:
        with self.client:
            return dns.ask(name, kind, **({"server": GATEWAY} | options))  # type: ignore[arg-type]

    def silent(self, name: str) -> bool:
        with self.client:
            return dns.silent(name, server=GATEWAY)

    def asked(self) -> list[str]:
        """The names that the outside was asked for."""
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    @property
    def pid(self) -> int:
        return int(Path(self.directory, "pid").read_text())


def bridged(interface: str, gateway: str, gateway6: str = "", internal: bool = False) -> Network:
    subnet6 = gateway6.removesuffix("1") + "/64" if gateway6 else ""
    return Network(
        "a" * 64, "names", "bridge", interface, subnet4=gateway.rpartition(".")[0] + ".0/24", gateway4=gateway,
        subnet6=subnet6, gateway6=gateway6, internal=internal,
    )  # fmt: skip


@contextlib.contextmanager
def plugged(interface: str, *addresses: str, routes: tuple[str, ...] = ()) -> Iterator[namespaces.Namespace]:
    """A namespace whose eth0 hangs on that bridge."""
    with namespaces.new() as made:
        world.ip(
            f"link add {interface}p type veth peer name eth0 index 99 netns {made.path}",
            f"link set {interface}p up master {interface}",
        )
        with made:
            lines = (f"address add {address} dev eth0 {'nodad' * (':' in address)}" for address in addresses)
            world.ip("link set eth0 up", *lines, *routes)
        yield made


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Site]:
    """A Site on a host of its own; afterwards its resolver is stopped, and must be gone."""
    (folder / "closed").mkdir(mode=0o700)
    (folder / "asked").write_text("")
    with namespaces.host():
        world.ip(
            "link add mr-names type bridge", f"address add {GATEWAY}/24 dev mr-names",
            f"address add {GATEWAY6}/64 dev mr-names nodad", "link set mr-names up",
            "link add wire type bridge", "address add 192.0.2.2/24 dev wire",
            "address add 2001:db8:1::2/64 dev wire nodad", "link set wire up",
        )  # fmt: skip
        lines = ("route add default via 192.0.2.2",)
        with (
            plugged(
                "mr-names", "172.30.0.9/24", "fd00:30::9/64", routes=(f"route add default via {GATEWAY}",)
            ) as client,
            plugged("wire", f"{UPSTREAM}/24", f"{UPSTREAM6}/64", routes=lines) as outside,
        ):
            there = Site(folder, client, outside)
            with outside:
                server = subprocess.Popen(
                    [exchange.PYTHON, "-IS", str(NAMESERVER), str(there.log), UPSTREAM, UPSTREAM6], stdout=2
                )
                runner.eventually(lambda: exchange.taken("udp:53"))
            try:
                yield there
                resolver.stop(there.directory)
                assert not Path(resolver._cgroup(there.directory)).exists()
                runner.eventually(lambda: not dnsmasqs(there.directory))  # those of TCP connections are told to go
            finally:
                server.kill()
                server.wait()


def dnsmasqs(directory: str) -> list[int]:
    """Living processes that were started for this directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MINIRT_RESOLVER={directory}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            pass
    return found
