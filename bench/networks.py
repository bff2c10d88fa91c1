# SPDX-License-Identifier: Apache-2.0
"""Networks: births with an address, published ports, and what goes through the wires, in interleaved rounds.

Everything, dockerd too, lives in a network namespace made here, with one machine outside of it and IPv4 forwarded: the
machine's own network is neither seen nor touched. Throughput is shown as milliseconds for a gigabyte, so that in this
table, too, less is better. Must not import minirt.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import namespaces
import peers
from figures import Table, Target

RUN, PUBLISHED = "run, default bridge", "run -p"
CROWD = "run -d, {count} with addresses, 4 at a time, each"
FIRST, LAST = "run -p, the first published port", "run -p, the 200th published port"
TO_HOST, TO_PORT, TO_PEER = "container → host, GB", "host → published port, GB", "container → container, GB"
TO_LOOPBACK = "host → published port on 127.0.0.1, GB"
TARGETS = (
    Target(RUN, 6.0, ("docker",)),
    Target(PUBLISHED, 5.0, ("docker",)),
    Target(CROWD.format(count=100), 5.0, ("docker",)),
    Target(TO_HOST, 1.0, ("docker",)),
    Target(TO_PORT, 1.0, ("docker",)),
    Target(TO_PEER, 1.0, ("docker",)),
)
IMAGE = "localhost/iperf"
HOST = "192.0.2.2"
PORTS = 200
WIDTH = 4
SECONDS = 2
DEADLINE_S = 20
LOW, FIRST_PORT = 5201, 20000


@contextmanager
def world() -> Iterator[None]:
    """A host of its own: 192.0.2.2 on eth0, and a machine at the other end that everything else goes by way of."""
    with namespaces.host(), namespaces.new() as outside:
        peers.sh("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside.path)
        peers.sh("ip", "address", "add", f"{HOST}/24", "dev", "eth0")
        peers.sh("ip", "link", "set", "eth0", "up")
        with outside:
            peers.sh("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
            peers.sh("ip", "link", "set", "eth0", "up")
        peers.sh("ip", "route", "add", "default", "via", "192.0.2.1")
        yield


def iperf_rootfs(folder: Path) -> Path:
    """busybox and iperf3 with the libraries that it names (ldd(1))."""
    rootfs = peers.make_rootfs(folder)
    listed = peers.sh("ldd", "/usr/bin/iperf3").replace("=>", " ").split()
    for path in sorted({word for word in listed if word.startswith("/")} | {"/usr/bin/iperf3"}):
        (rootfs / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        peers.sh("cp", "-L", path, rootfs / path[1:])
    return rootfs


class Side:
    """One runtime: how it is asked for a container with a network."""

    def __init__(self, peer: peers.Peer, scratch: Path, rootfs: Path) -> None:
        self.peer = peer
        self.name = peer.name
        archive = scratch / "iperf.tar"
        if not archive.exists():
            peers.sh("tar", "-C", rootfs, "-cf", archive, ".")
        peers.sh(*peer.client, "import", archive, IMAGE)
        self.port = FIRST_PORT

    def run(self, *options: str, image: str = peers.IMAGE, command: tuple[str, ...] = ("true",)) -> list[str]:
        return [*self.peer.client, "run", *options, *self.peer.extra(), image, *command]

    def free_port(self) -> str:
        """A host port that nobody was given before."""
        self.port += 1
        return str(self.port)

    def remove(self, *names: str) -> None:
        argv = self.peer.argv("rm", names[0])
        assert argv is not None
        subprocess.run([*argv[:-1], *names], capture_output=True)

    def address(self, name: str) -> str:
        settings = json.loads(peers.sh(*self.peer.client, "inspect", name))[0]["NetworkSettings"]
        return str(settings["IPAddress"] or next(iter(settings["Networks"].values()))["IPAddress"])


class Networks:
    def __init__(self, sides: list[Side], table: Table) -> None:
        self.sides, self.table = sides, table

    def order(self, number: int) -> list[Side]:
        turn = number % len(self.sides)
        return self.sides[turn:] + self.sides[:turn]

    def births(self, number: int, note: bool) -> None:
        for row in (RUN, PUBLISHED):
            for side in self.order(number):
                published = ("-p", f"{side.free_port()}:80") if row == PUBLISHED else ()
                took = peers.do(side.run("--rm", *published)).ms
                if note:
                    self.table.note(row, side.name, took)

    def crowd(self, count: int) -> None:
        """Many that stay, WIDTH of them at a time."""
        for side in self.sides:
            names = [f"crowd-{number}" for number in range(count)]
            try:
                took = together([side.run("-d", "--name", name, command=("sleep", "100000")) for name in names])
                self.table.note(CROWD.format(count=count), side.name, took / count)
            finally:
                side.remove(*names)

    def ports(self, rounds: int) -> None:
        """What publishing one port costs when there is none, and when there are 199."""
        for row, others in ((FIRST, 0), (LAST, PORTS - 1)):
            last = FIRST_PORT - 1000 + others - 1
            span = f"{FIRST_PORT - 1000}-{last}:1000-{1000 + others - 1}"
            for side in self.sides if others else ():
                peers.sh(*side.run("-d", "--name", "ports", "-p", span, command=("sleep", "100000")))
                self.cost(row, side, rounds)  # one at a time: each has the same ports
                side.remove("ports")
            for number in range(0 if others else rounds):
                for side in self.order(number):
                    self.cost(row, side, 1)

    def cost(self, row: str, side: Side, rounds: int) -> None:
        for _ in range(rounds):
            self.table.note(row, side.name, peers.do(side.run("--rm", "-p", f"{side.free_port()}:80")).ms)

    def wires(self, rounds: int) -> None:
        """iperf3, one pair of processes at a time."""
        server = subprocess.Popen(["iperf3", "-s", "-p", str(LOW)], stdout=subprocess.DEVNULL)
        try:
            for place, side in enumerate(self.sides):
                options = ("-d", "--name", "server", "-p", f"{LOW + 1 + place}:{LOW}")
                peers.sh(*side.run(*options, image=IMAGE, command=("iperf3", "-s", "-p", str(LOW))))
                peers.sh(*side.run("-d", "--name", "client", image=IMAGE, command=("sleep", "100000")))
            for number in range(rounds):
                for side in self.order(number):
                    self.stream(side, LOW + 1 + self.sides.index(side))
        finally:
            server.kill()
            server.wait()
            for side in self.sides:
                side.remove("server", "client")

    def stream(self, side: Side, port: int) -> None:
        inside = [*side.peer.client, "exec", "client"]
        acts: tuple[tuple[str, list[str], str, int], ...] = (
            (TO_HOST, inside, HOST, LOW),
            (TO_PORT, [], HOST, port),
            (TO_LOOPBACK, [], "127.0.0.1", port),
            (TO_PEER, inside, side.address("server"), LOW),
        )
        for row, prefix, address, number in acts:
            self.table.note(row, side.name, gigabyte_ms([*prefix, "iperf3", "-c", address, "-p", str(number)]))


def gigabyte_ms(client: list[str]) -> float:
    """Milliseconds for 10⁹ bytes as the receiver counts them. A server that is still starting, or has not yet let go
    of the one before, is waited for."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        done = subprocess.run([*client, "-t", str(SECONDS), "-J"], capture_output=True, text=True)
        end = json.loads(done.stdout)["end"] if done.returncode == 0 else {}
        if "sum_received" in end:
            return 8e12 / float(end["sum_received"]["bits_per_second"])
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {' '.join(client)}: {done.stdout}{done.stderr}")
        time.sleep(0.2)


def together(commands: list[list[str]]) -> float:
    """Milliseconds for all of them, WIDTH at a time; each must succeed."""
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]
    waiting = list(reversed(commands))
    running: dict[int, list[str]] = {}
    began = time.perf_counter()
    while waiting or running:
        while waiting and len(running) < WIDTH:
            argv = waiting.pop()
            running[os.posix_spawnp(argv[0], argv, os.environ, file_actions=null)] = argv
        ended, status = os.wait()
        ours = running.pop(ended, None)  # others are reaped on the way: this is pid 1 of its namespace
        if ours is not None and status:
            raise SystemExit(f"bench: {' '.join(ours)}: exit {os.waitstatus_to_exitcode(status)}")
    return (time.perf_counter() - began) * 1000


def measure(scratch: Path, minirt: str, wanted: str, table: Table, rounds: int, count: int) -> None:
    """All rows, by those of minirt, docker and podman that are wanted. Afterwards no container is left."""
    rootfs = peers.make_rootfs(scratch / "network-rootfs")
    (scratch / "network").mkdir()
    home = scratch / "network"
    makers: dict[str, Callable[[], peers.Peer]] = {
        "minirt": lambda: peers.Minirt(home, minirt),
        "docker": lambda: peers.Docker(home, rootfs, networks=True),
        "podman": lambda: peers.Podman(home, rootfs),
    }
    with world():
        made = [maker() for name, maker in makers.items() if not wanted or name in wanted.split(",")]
        for peer in made:
            print(f"  {peer.name:8} {peer.version()}, in a network of its own", flush=True)
        try:
            content = iperf_rootfs(scratch / "iperf-rootfs")
            networks = Networks([Side(peer, scratch, content) for peer in made], table)
            for number in range(rounds + 2):
                networks.births(number, note=number >= 2)
            print("  births are measured", flush=True)
            if count:
                networks.crowd(count)
            networks.ports(max(3, rounds // 3))
            print("  published ports are measured", flush=True)
            networks.wires(max(3, rounds // 5))
        finally:
            for peer in made:
                peer.close()
