# SPDX-License-Identifier: Apache-2.0
"""minirt beside docker, podman, skopeo, runc and bubblewrap: one machine, one run, interleaved rounds, medians, ratios.

containers.py has the rows about containers, images.py those about images, networks.py those about networks. It all
runs in a mount and a pid namespace of its own (unshare(1)) with a fresh /run and /dev/shm: when it ends, however it
ends, no daemon, monitor or mount of any peer is left. Must not import minirt.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # for its real registry

import containers
import images
import networks
import peers
from figures import Table

INSIDE = "--inside"
DISK_BYTES = 32 << 30  # a hole until something is written
PARTS = {"containers": 25, "images": 5, "networks": 15}
"""What there is to measure, and how many rounds of it count."""


def cgroup_mounts() -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [Path(line.split()[4]) for line in lines if line.partition(" - ")[2].startswith("cgroup")]


def cgroup2_mount() -> Path:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return next(Path(line.split()[4]) for line in lines if line.partition(" - ")[2].startswith("cgroup2 "))


@contextmanager
def peers_cgroups() -> Iterator[None]:
    """Docker and podman leave their parent cgroups behind; those that were not there before are removed."""
    ours = [mount / name for mount in cgroup_mounts() for name in ("docker", "libpod_parent", "minirt")]
    new = [folder for folder in ours if not folder.exists()]
    try:
        yield
    finally:
        for top in new:
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass


@contextmanager
def running(options: argparse.Namespace, scratch: Path) -> Iterator[list[peers.Peer]]:
    """The peers that were asked for, set up below `scratch`."""
    rootfs = peers.make_rootfs(scratch / "rootfs")
    makers: dict[str, Callable[[], peers.Peer]] = {
        "minirt": lambda: peers.Minirt(scratch, options.minirt),
        "docker": lambda: peers.Docker(scratch, rootfs),
        "podman": lambda: peers.Podman(scratch, rootfs),
        "skopeo": peers.Skopeo,
        "runc": lambda: peers.Runc(scratch, rootfs),
        "bwrap": lambda: peers.Bubblewrap(rootfs),
        "bare C": lambda: peers.Birth(scratch, rootfs, cgroup2_mount()),
    }
    made: list[peers.Peer] = []
    try:
        for name, maker in makers.items():
            if not options.peers or name in options.peers.split(","):
                made.append(maker())
        yield made
    finally:
        for peer in made:
            peer.close()


def own_disk(scratch: Path) -> None:
    """An ext4 as mkfs makes it, in a file, for all peers alike. On a host's own file system what was there before
    counts: an ext4 without a journal steps over each inode that was deleted in the last minutes, for example."""
    disk = scratch.with_suffix(".disk")
    with open(disk, "wb") as file:
        file.truncate(DISK_BYTES)
    peers.sh("mkfs.ext4", "-q", "-F", disk)
    device = peers.sh("losetup", "--find", "--show", "--direct-io=on", disk).strip()
    try:
        peers.sh("mount", device, scratch)
    finally:
        subprocess.run(["losetup", "--detach", device])  # as soon as it is not mounted any more
        disk.unlink()


def clear(scratch: Path) -> None:
    """Unmounts what peers left mounted below scratch and removes it; the namespace would end the mounts anyway."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if line.split()[4].startswith(str(scratch)):
            subprocess.run(["umount", "-l", line.split()[4]], capture_output=True)
    shutil.rmtree(scratch, ignore_errors=True)


def measure(options: argparse.Namespace) -> Table:
    table = Table()
    scratch = Path(tempfile.mkdtemp(prefix="minirt-bench-", dir="/var/tmp"))
    try:
        own_disk(scratch)
        with peers_cgroups():
            if set(options.only) != {"networks"}:
                without_networks(options, scratch, table)
            if "networks" in options.only:
                rounds = options.rounds or PARTS["networks"]
                networks.measure(scratch, options.minirt, options.peers, table, rounds, options.crowd)
    finally:
        clear(scratch)
    return table


def without_networks(options: argparse.Namespace, scratch: Path, table: Table) -> None:
    with running(options, scratch) as all_peers:
        for peer in all_peers:
            print(f"  {peer.name:8} {peer.version()}", flush=True)
        if "containers" in options.only:
            rounds = options.rounds or PARTS["containers"]
            containers.measure(all_peers, table, rounds, options.containers, options.running)
        if "images" in options.only:
            images.measure(all_peers, table, options.rounds or PARTS["images"], scratch)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="minirt beside its peers, in one interleaved run")
    parser.add_argument("--minirt", default="minirt", help="the program to measure")
    parser.add_argument(
        "--peers", default="", help="only these, comma-separated: minirt,docker,podman,skopeo,runc,bwrap,bare C"
    )
    parser.add_argument("--only", choices=PARTS, help="measure this part only")
    parser.add_argument("--rounds", type=int, default=0, help=f"how many count; normally {PARTS}")
    parser.add_argument("--containers", type=int, default=500, help="for the ps row; 0 leaves it out")
    parser.add_argument("--running", type=int, default=100, help="how many of them run")
    parser.add_argument("--crowd", type=int, default=100, help="detached containers with addresses; 0 leaves it out")
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.only = [options.only] if options.only else list(PARTS)
    return options


def enter(options: argparse.Namespace) -> None:
    """Goes on inside a mount and a pid namespace that end with this process."""
    if os.geteuid():
        raise SystemExit("bench: containers need root\ntry sudo make bench")
    program = shutil.which(options.minirt)
    if program is None and (not options.peers or "minirt" in options.peers.split(",")):
        raise SystemExit(f"bench: no program '{options.minirt}'\nrun make demo first, or name one with --minirt")
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable]
    own = [os.path.abspath(__file__), INSIDE, *sys.argv[1:]]
    if program:
        own += ["--minirt", os.path.abspath(program)]
    debian = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # its packages, not what lies before them
    os.execvpe("unshare", [*argv, *own], debian)


def main() -> None:
    options = parse(sys.argv[1:])
    if not options.inside:
        enter(options)
    for folder in ("/run", "/dev/shm", *(place for place in ("/var/lib/cni",) if os.path.isdir(place))):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs, medians of interleaved rounds", flush=True)
    table = measure(options)
    print("\n" + table.text())
    print("\n" + "\n".join(table.verdicts(containers.TARGETS + images.TARGETS + networks.TARGETS)))
    if options.json:
        Path(options.json).write_text(json.dumps(table.rows, indent=1))


if __name__ == "__main__":
    main()
