# SPDX-License-Identifier: Apache-2.0
"""Networks: births with an address, published ports, and what goes through the wires, in interleaved rounds.

Each runtime, dockerd too, is on a host of its own, a network namespace made here with one machine outside of it: none
pays for the firewall rules of another, and the machine's own network is neither seen nor touched. Throughput is shown
as milliseconds for a gigabyte, so that in this table, too, less is better. Must not import minirt.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
LOW, HIGH, FIRST_PORT = 5201, 5202, 20000


@contextmanager
def world(space: namespaces.Namespace) -> Iterator[None]:
    """A host of its own: 192.0.2.2 on eth0, and a machine at the other end that everything else goes by way of."""
    with namespaces.new() as outside, space:
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
    """One runtime: how it is asked for a container with a network. `with side:` is on its host."""

    def __init__(self, peer: peers.Peer, space: namespaces.Namespace, scratch: Path, rootfs: Path) -> None:
        self.peer = peer
        self.space = space
        self.name = peer.name
        archive = scratch / "iperf.tar"
        if not archive.exists():
            peers.sh("tar", "-C", rootfs, "-cf", archive, ".")
        peers.sh(*peer.client, "import", archive, IMAGE)
        self.port = FIRST_PORT

    def __enter__(self) -> None:
        self.space.__enter__()

    def __exit__(self, *_: object) -> None:
        self.space.__exit__()

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
                with side:
                    took = peers.do(side.run("--rm", *published)).ms
                if note:
                    self.table.note(row, side.name, took)

    def crowd(self, count: int) -> None:
        """Many that stay, WIDTH of them at a time."""
        for side in self.sides:
            names = [f"crowd-{number}" for number in range(count)]
            with side:
                try:
                    took = together([side.run("-d", "--name", name, command=("sleep", "100000")) for name in names])
                    self.table.note(CROWD.format(count=count), side.name, took / count)
                finally:
                    side.remove(*names)

    def ports(self, rounds: int) -> None:
        """What publishing one port costs when there is none, and when there are 199."""
        self.cost(FIRST, rounds)
        others, first = PORTS - 1, FIRST_PORT - 1000
        span = f"{first}-{first + others - 1}:1000-{1000 + others - 1}"
        try:
            for side in self.sides:
                with side:
                    peers.sh(*side.run("-d", "--name", "ports", "-p", span, command=("sleep", "100000")))
            self.cost(LAST, rounds)
        finally:
            for side in self.sides:
                with side:
                    side.remove("ports")

    def cost(self, row: str, rounds: int) -> None:
        for number in range(rounds):
            for side in self.order(number):
                with side:
                    self.table.note(row, side.name, peers.do(side.run("--rm", "-p", f"{side.free_port()}:80")).ms)

    def wires(self, rounds: int) -> None:
        """iperf3, one pair of processes at a time."""
        server = ("iperf3", "-s", "-p", str(LOW))
        own = []
        try:
            for side in self.sides:
                with side:
                    own.append(subprocess.Popen(server, stdout=subprocess.DEVNULL))
                    peers.sh(*side.run("-d", "--name", "server", "-p", f"{HIGH}:{LOW}", image=IMAGE, command=server))
                    peers.sh(*side.run("-d", "--name", "client", image=IMAGE, command=("sleep", "100000")))
            for number in range(rounds):
                for side in self.order(number):
                    with side:
                        self.stream(side)
        finally:
            for process in own:
                process.kill()
                process.wait()
            for side in self.sides:
                with side:
                    side.remove("server", "client")

    def stream(self, side: Side) -> None:
        inside = [*side.peer.client, "exec", "client"]
        acts: tuple[tuple[str, list[str], str, int], ...] = (
            (TO_HOST, inside, HOST, LOW),
            (TO_PORT, [], HOST, HIGH),
            (TO_LOOPBACK, [], "127.0.0.1", HIGH),
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
    content = iperf_rootfs(scratch / "iperf-rootfs")
    sides: list[Side] = []
    with ExitStack() as stack:
        for name in ("docker", "podman", "minirt"):  # minirt last: it reads sysfs, which shows one network only
            if wanted and name not in wanted.split(","):
                continue
            space = stack.enter_context(namespaces.host() if name == "minirt" else namespaces.new())
            stack.enter_context(world(space))
            with space:
                peer = makers[name]()
                stack.callback(peer.close)
                sides.append(Side(peer, space, scratch, content))
            print(f"  {name:8} {peer.version()}, on a host of its own", flush=True)
        _measure(Networks(sides, table), rounds, count)


def _measure(networks: Networks, rounds: int, count: int) -> None:
    for number in range(rounds + 2):
        networks.births(number, note=number >= 2)
    print("  births are measured", flush=True)
    if count:
        networks.crowd(count)
    networks.ports(max(3, rounds // 3))
    print("  published ports are measured", flush=True)
    networks.wires(max(3, rounds // 5))
