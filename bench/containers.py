# SPDX-License-Identifier: Apache-2.0
"""Containers: births, entries and lists of minirt and its peers, in interleaved rounds.

Every round asks each peer for each act once, so that whatever else the machine does falls on all alike.
Must not import minirt.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import peers
from figures import Table, Target

TARGETS = (
    Target("run", 6.0, ("docker",)),
    Target("exec", 2.0, ("docker",)),
    Target("run -d", 5.0, ("docker",)),
    Target("PSS of one idle container's keepers", most=300.0, unit="kB"),
    Target("ps,", most=60.0, unit="ms"),
)


class Containers:
    """The peers, the figures so far, and how to get more of them."""

    def __init__(self, all_peers: list[peers.Peer], table: Table) -> None:
        self.peers, self.table = all_peers, table

    def act(self, peer: peers.Peer, act: str, name: str = "", note: bool = True) -> None:
        argv = peer.argv(act, name)
        if argv is None:
            return
        took = peers.do(argv).ms
        if note:
            self.table.note(act, peer.name, took)

    def round(self, number: int, note: bool) -> None:
        """Each act once by each peer; the peers take turns in going first."""
        turn = number % len(self.peers)
        order = self.peers[turn:] + self.peers[:turn]
        for act in ("run", "exec", "run -d"):
            for peer in order:
                name = f"bench-{number}" if act == "run -d" else "bench-idle"
                self.act(peer, act, name, note)
                if act == "run -d":
                    self.act(peer, "rm", name, note=False)

    def memory(self) -> None:
        """PSS of what each peer keeps running for one idle container, and of its daemons."""
        for peer in self.peers:
            if peer.argv("run -d", "x") is None:
                continue
            ours = {os.getpid(), 1}
            pid, total = parent(peer.pid("bench-idle")), 0.0
            while pid not in ours and pid:
                total += pss_kb(pid)
                pid = parent(pid)
            self.table.note("PSS of one idle container's keepers (kB)", peer.name, total)
            if isinstance(peer, peers.Docker):
                daemons = sum(pss_kb(daemon) for daemon in peer.daemons())
                self.table.note("PSS of daemons (kB)", peer.name, daemons)

    def crowd(self, count: int, running: int, rounds: int) -> None:
        """ps -a with `count` containers, `running` of which run."""
        row = f"ps, {count} containers, {running} running"
        crowded = [peer for peer in self.peers if peer.argv("ps") is not None]
        for peer in crowded:
            for number in range(count - 1):  # and bench-idle
                self.act(peer, "run -d" if number < running - 1 else "create", f"many-{number}", note=False)
        for _ in range(rounds):
            for peer in crowded:
                argv = peer.argv("ps")
                assert argv is not None
                self.table.note(row, peer.name, peers.do(argv).ms)


def pss_kb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return float(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def measure(all_peers: list[peers.Peer], table: Table, rounds: int, count: int, running: int) -> None:
    """All rows; afterwards no container is left."""
    containers = Containers(all_peers, table)
    crowded = False
    try:
        for peer in all_peers:
            containers.act(peer, "run -d", "bench-idle", note=False)
        for number in range(rounds + 2):
            containers.round(number, note=number >= 2)
        containers.memory()
        crowded = count > 0
        if crowded:
            containers.crowd(count, running, rounds)
    finally:
        for peer in all_peers:
            names = ["bench-idle"]
            if crowded and peer.argv("ps") is not None:
                names += [f"many-{number}" for number in range(count - 1)]
            if (argv := peer.argv("rm", "bench-idle")) is not None:
                subprocess.run([*argv[:-1], *names], capture_output=True)
