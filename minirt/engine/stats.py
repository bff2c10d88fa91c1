# SPDX-License-Identifier: Apache-2.0
"""`stats`: what each container uses, from one look to the next (docker-stats(1); cgroup-v2.rst, psi.rst).

    CPU %   cpu.stat's usage between two looks, 100 for one processor      MEM     memory.current less inactive_file
    NET     /proc/<pid>/net/dev of its first process, without lo           BLOCK   io.stat        PIDS    pids.current
    PSI     "some" and "full" of the last ten seconds, for cpu, memory, io

What nobody counts is None, never 0: on a host where a v1 hierarchy has the controllers that is memory and blocks; cpu
time, tasks and pressure are counted without. Must not import plan, runtime or image.
"""

from __future__ import annotations

import os
import time

from minirt.cgroup import cpu, io, memory, owners, pids, pressure, tree
from minirt.engine import lifecycle, ps, reconcile
from minirt.errors import MinirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine

NET_LIMIT_BYTES = 1 << 20  # of /proc/<pid>/net/dev: a container may make interfaces without end
NEEDED = {"memory": "memory", "io": "block I/O"}  # controllers without which something is not counted


class Usage:
    """One container at one moment; every figure may be None: not counted, or it does not run. cpu_percent: of one
    processor. network, block: bytes (received, sent), (read, written). pressure: {resource: (some, full)} in percent.
    reference: what the user called it."""

    __slots__ = (
        "block", "cpu_percent", "id", "limit_bytes", "memory_bytes", "name", "network", "pids", "pressure",
        "reference",
    )  # fmt: skip

    def __init__(self, identity: str, name: str, reference: str) -> None:
        self.id = identity
        self.name = name
        self.reference = reference
        self.cpu_percent: float | None = None
        self.memory_bytes: int | None = None
        self.limit_bytes: int | None = None
        self.network: tuple[int, int] | None = None
        self.block: tuple[int, int] | None = None
        self.pids: int | None = None
        self.pressure: dict[str, tuple[float, float] | None] = {}

    @property
    def memory_percent(self) -> float | None:
        if self.memory_bytes is None or not self.limit_bytes:
            return None
        return 100 * self.memory_bytes / self.limit_bytes


class Watch:
    """Looks again and again at the same containers, or at all that run. Raises NotFound, Conflict for a reference
    that is none."""

    __slots__ = ("_all", "_before", "_engine", "_host_bytes", "_own_network", "_references")

    def __init__(self, engine: Engine, references: list[str], all: bool = False) -> None:
        self._engine = engine
        self._all = all
        self._references: dict[str, str] | None = None  # id → as the user wrote it
        if references:
            self._references = {engine.find(reference).id: reference for reference in references}
        self._before: dict[str, tuple[int, int]] = {}  # id → (moment in ns, usage in us)
        self._host_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._own_network = os.stat("/proc/self/ns/net").st_ino

    @property
    def over(self) -> bool:
        """Whether all that the user named are gone."""
        return self._references is not None and not self._references

    def look(self) -> list[Usage]:
        """In the order of `ps`, or in that of the references. The first look at a container knows no cpu_percent."""
        found, now = [], {}
        for identity, name, pid, reference in self._chosen():
            usage = Usage(identity, name, reference)
            found.append(usage)
            if pid:
                moment = self._fill(usage, pid)
                if moment is not None:
                    now[identity] = moment
        self._before = now
        return found

    def _chosen(self) -> list[tuple[str, str, int, str]]:
        """(id, name, pid or 0, as the user called it)."""
        if self._references is None:
            listed = ps.ps(self._engine, self._all)
            return [(one.id, one.name, one.pid, one.id[:12]) for one in listed]
        found = []
        for identity, reference in list(self._references.items()):
            row = self._engine.database.by_id(identity)
            if row is None or row.status == lifecycle.REMOVING:
                del self._references[identity]
            else:
                found.append((identity, row.name, reconcile.look(self._engine, row).pid, reference))
        return found

    def _fill(self, usage: Usage, pid: int) -> tuple[int, int] | None:
        """(moment in ns, usage in us) for the next look. Whatever ends meanwhile leaves what was read before."""
        path = self._engine.cgroup(usage.id)
        used, now_ns = cpu.read(path), time.monotonic_ns()
        if used is None:
            return None
        before = self._before.get(usage.id)
        if before is not None and now_ns > before[0] and used.usage_us >= before[1]:
            usage.cpu_percent = 100_000 * (used.usage_us - before[1]) / (now_ns - before[0])
        held = memory.read(path)
        if held is not None:
            cache = held.cache_bytes if held.cache_bytes < held.current_bytes else 0
            usage.memory_bytes = held.current_bytes - cache
            usage.limit_bytes = min(held.limit_bytes or self._host_bytes, self._host_bytes)
        blocks, tasks = io.read(path), pids.read(path)
        usage.block = (blocks.read_bytes, blocks.written_bytes) if blocks is not None else None
        usage.pids = tasks.current if tasks is not None else None
        usage.network = self._network(pid)
        for resource in pressure.RESOURCES:
            waited = pressure.read(path, resource)
            usage.pressure[resource] = (waited.some_percent, waited.full_percent) if waited is not None else None
        return now_ns, used.usage_us

    def _network(self, pid: int) -> tuple[int, int] | None:
        """None for --network host: what goes through the host's interfaces is not the container's alone."""
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino == self._own_network:
                return None
            with open(f"/proc/{pid}/net/dev", "rb") as file:
                return traffic(file.read(NET_LIMIT_BYTES))
        except OSError:  # it has ended
            return None


def traffic(text: bytes) -> tuple[int, int]:
    """(received, sent) in bytes over all interfaces but lo (proc_pid_net(5)): two lines of titles, then for each
    interface "name:", eight figures received, eight sent."""
    received = sent = 0
    for line in text.split(b"\n")[2:]:
        name, colon, rest = line.rpartition(b":")
        figures = rest.split()
        if colon and name.strip() != b"lo" and len(figures) == 16:
            received += int(figures[0])
            sent += int(figures[8])
    return received, sent


def uncounted() -> str:
    """What this host does not count, and who has the controllers: one line, "" where all is counted."""
    try:
        found = owners.owners()
    except (MinirtError, OSError):
        return ""
    missing = [name for name in NEEDED if found[name].kind != owners.V2]
    lacks_pressure = tree.optional(tree.mount_point(), "cpu.pressure") is None and not os.path.isdir("/proc/pressure")
    told = ["pressure: this kernel keeps none (psi=1)"] if lacks_pressure else []
    if missing:
        what = " and ".join(NEEDED[name] for name in missing)
        kinds = {found[name].kind for name in missing}
        who = "v1 hierarchies have these controllers" if kinds == {owners.V1} else "cgroup v2 lacks these controllers"
        told.insert(0, f"{what}: {who}, see minirt doctor")
    return "not counted on this host: " + "; ".join(told) if told else ""
