# SPDX-License-Identifier: Apache-2.0
"""Images: pull, load and push of a real Debian (debian.py) by minirt and its peers, in interleaved rounds.

Registries are Debian's docker-registry on loopback over plain HTTP (tests/registries.py). Each peer has its own
storage, which is empty before a cold pull or a load; each push goes to a registry that is empty. What had not
reached the disk before an act is written out first, so that nobody pays for somebody else. Must not import minirt.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import peers
from debian import Debian, debian
from figures import Table, Target
from registries import Registry

AGAIN = "pull again, nothing changed"
LOAD, PUSH = "load of a docker archive", "push to an empty registry"
PEAK = "peak memory of pull (MB)"
SHARED = "bytes of blobs, a second image on the base"
BESIDE = "bytes of other blobs than its own"
TARGETS = (
    Target("pull", 3.0, ("docker", "podman", "skopeo")),
    Target(AGAIN, most=60.0, unit="ms"),
    Target(LOAD, 3.0, ("docker", "podman")),
    Target(PUSH, 2.0, ("docker", "podman", "skopeo")),
    Target(PEAK, most=120.0, unit="MB"),
    Target("blobs asked for by it", most=0.0, unit="requests"),
    Target(BESIDE, most=0.0, unit="bytes"),
)
Commands = list[list[str]]


class Store:
    """What one peer does with images: each act is a row of commands."""

    def __init__(self, peer: peers.Peer, scratch: Path) -> None:
        self.name, self.client = peer.name, peer.client
        self.home = scratch / f"{peer.name}-images"

    def pull(self, name: str) -> Commands:
        return [[*self.client, "pull", name]]

    def pull_again(self, name: str) -> Commands:
        return self.pull(name)

    def load(self, archive: Path) -> Commands:
        return [[*self.client, "load", "-i", str(archive)]]

    def name_for_push(self, name: str, target: str) -> Commands:
        return [[*self.client, "tag", name, target]]

    def push(self, name: str, target: str) -> Commands:
        return [[*self.client, "push", target]]

    def clear(self, *names: str) -> None:
        """Every image of that name goes, and every layer that nothing else needs."""
        for name in names:
            subprocess.run([*self.client, "rmi", "-f", name], capture_output=True)

    def begin(self) -> None:
        """Whatever a daemon needs from now on counts."""

    def daemon(self) -> peers.Took:
        """What the daemon has needed since then."""
        return peers.Took(0.0, 0.0, 0.0)

    def take(self, commands: Commands) -> peers.Took:
        """All commands of an act, after everything older has reached the disk."""
        os.sync()
        self.begin()
        each = [*(peers.do(argv) for argv in commands), self.daemon()]
        return peers.Took(
            sum(one.ms for one in each), sum(one.cpu_ms for one in each), max(one.peak_mb for one in each)
        )


class Minirt(Store):
    def __init__(self, peer: peers.Peer, scratch: Path) -> None:
        super().__init__(peer, scratch)
        self.client = [peer.client[0], "--root", str(self.home), "--state", str(scratch / "minirt-images-run")]

    def clear(self, *names: str) -> None:
        shutil.rmtree(self.home, ignore_errors=True)


class Docker(Store):
    """What the daemon needs counts, and its memory beyond what it had before."""

    def __init__(self, peer: peers.Docker, scratch: Path) -> None:
        super().__init__(peer, scratch)
        self.process = Path(f"/proc/{peer.daemon.pid}")

    def begin(self) -> None:
        (self.process / "clear_refs").write_text("5")  # the peak begins anew: proc_pid_clear_refs(5)
        self.before = self._needs("VmRSS")

    def daemon(self) -> peers.Took:
        now = self._needs("VmHWM")
        return peers.Took(0.0, now.cpu_ms - self.before.cpu_ms, now.peak_mb - self.before.peak_mb)

    def _needs(self, key: str) -> peers.Took:
        """Processor time, its ended children's too, and one line of its memory."""
        fields = (self.process / "stat").read_text().rpartition(")")[2].split()
        lines = (self.process / "status").read_text().splitlines()
        memory = next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))
        ticks = sum(int(field) for field in fields[11:15])
        return peers.Took(0.0, ticks * 1000 / os.sysconf("SC_CLK_TCK"), memory)


class Podman(Store):
    def pull(self, name: str) -> Commands:
        return [[*self.client, "pull", "--tls-verify=false", name]]

    def push(self, name: str, target: str) -> Commands:
        return [[*self.client, "push", "--tls-verify=false", target]]


class Skopeo(Store):
    """An OCI layout, and a bundle as umoci unpacks it; `pull again` leaves the bundle as it is."""

    def copy(self, source: str, target: str, *options: str) -> list[str]:
        return ["skopeo", "copy", "--insecure-policy", *options, source, target]

    @property
    def oci(self) -> str:
        return f"{self.home}/oci:two"

    def pull(self, name: str) -> Commands:
        return [*self.pull_again(name), ["umoci", "unpack", "--image", self.oci, f"{self.home}/bundle"]]

    def pull_again(self, name: str) -> Commands:
        self.home.mkdir(exist_ok=True)
        shutil.rmtree(self.home / "bundle", ignore_errors=True)
        return [self.copy(f"docker://{name}", f"oci:{self.oci}", "--src-tls-verify=false")]

    def load(self, archive: Path) -> Commands:
        self.home.mkdir(exist_ok=True)
        unpack = ["umoci", "unpack", "--image", self.oci, f"{self.home}/bundle"]
        return [self.copy(f"docker-archive:{archive}", f"oci:{self.oci}"), unpack]

    def name_for_push(self, name: str, target: str) -> Commands:
        return []

    def push(self, name: str, target: str) -> Commands:
        return [self.copy(f"oci:{self.oci}", f"docker://{target}", "--dest-tls-verify=false")]

    def clear(self, *names: str) -> None:
        shutil.rmtree(self.home, ignore_errors=True)


KINDS: dict[str, Callable[..., Store]] = {"minirt": Minirt, "docker": Docker, "podman": Podman, "skopeo": Skopeo}


class Images:
    """The peers' stores, the image, and the registry that has it."""

    def __init__(self, stores: list[Store], table: Table, image: Debian, registry: Registry) -> None:
        self.stores, self.table, self.image, self.registry = stores, table, image, registry
        self.name, self.other = f"{registry.host}/debian:two", f"{registry.host}/debian:other"

    def blobs(self) -> list[tuple[str, int]]:
        """What the registry was asked for since it forgot: (path, bytes sent) of each blob."""
        return [(one.path, one.sent) for one in self.registry.log if one.method == "GET" and "/blobs/" in one.path]

    def act(self, row: str, store: Store, commands: Commands) -> peers.Took:
        done = store.take(commands)
        self.table.note(row, store.name, done.ms)
        self.table.note(f"processor time of {row}", store.name, done.cpu_ms)
        return done

    def pull(self, store: Store) -> None:
        store.clear(self.name, self.other)
        done = self.act("pull", store, store.pull(self.name))
        self.table.note(PEAK, store.name, done.peak_mb)

    def again(self, store: Store) -> None:
        self.registry.forget()
        self.act(AGAIN, store, store.pull_again(self.name))
        self.table.note("blobs asked for by it", store.name, len(self.blobs()))

    def push(self, store: Store) -> None:
        with Registry() as empty:
            target = f"{empty.host}/debian:two"
            for argv in store.name_for_push(self.name, target):
                peers.do(argv)
            self.act(PUSH, store, store.push(self.name, target))
            assert empty.digest("debian:two")
            if not isinstance(store, Minirt | Skopeo):
                store.clear(target)

    def share(self, store: Store) -> None:
        """The other image while the first is there: what crosses the wire beside its own layer and configuration."""
        self.registry.forget()
        store.take(store.pull_again(self.other))
        own = self.image.own_blobs("other", "two")
        self.table.note(SHARED, store.name, sum(sent for _, sent in self.blobs()))
        beside = sum(sent for path, sent in self.blobs() if path.rpartition("/")[2] not in own)
        self.table.note(BESIDE, store.name, beside)

    def load(self, store: Store) -> None:
        store.clear(self.name, self.other, "localhost/debian:two")
        self.act(LOAD, store, store.load(self.image.archive))
        store.clear("localhost/debian:two")

    def round(self, number: int) -> None:
        turn = number % len(self.stores)
        order = self.stores[turn:] + self.stores[:turn]
        acts = [self.pull, self.again, self.push, *([self.share] if number == 0 else []), self.load]
        for act in acts:
            for store in order:
                act(store)


def measure(all_peers: list[peers.Peer], table: Table, rounds: int, scratch: Path) -> None:
    """All rows, by those peers that know images."""
    stores = [KINDS[peer.name](peer, scratch) for peer in all_peers if peer.name in KINDS]
    if not stores:
        return
    image = debian()
    with Registry() as registry:
        for tag in ("two", "other"):
            registry.push(f"oci:{image.layout}:{tag}", f"debian:{tag}")
        images = Images(stores, table, image, registry)
        for number in range(rounds):
            images.round(number)
            print(f"  round {number + 1} of {rounds} of images", flush=True)
        for store in stores:
            store.clear(images.name, images.other)
