# SPDX-License-Identifier: Apache-2.0
"""The sockets of published ports: bound before a container starts, so that the kernel itself refuses the port to
everybody else, then handed to minirt:proxy, who serves the host's loopback addresses (kernel/proxy.py).

Port 53 of every address is bound on the loopback addresses alone: on its gateway address each user network has a
resolver of minirt's, with which a socket of all addresses would collide. Who else has it is looked up in /proc/net.
Must not import image.
"""

from __future__ import annotations

import os
from errno import EADDRINUSE

from minirt.engine import leases, network_db, release
from minirt.errors import Conflict, MinirtError, StepFailed
from minirt.model.network import Port
from minirt.network import firewall
from minirt.plan import publish
from minirt.plan.step import Fd, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirt.engine.store import Engine
    from minirt.model.network import Endpoint

    Bound = tuple[int, Port, str]  # descriptor, what it serves, "4" or "6"

NAMES_PORT = 53
LOOPBACK6 = "0" * 31 + "1"
LOOPBACKS = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # of those for every address


class PortTaken(Exception):
    """A process has the port: endpoints.take passes it over or explains it."""

    def __init__(self, port: Port, owner: str | None = None) -> None:
        super().__init__(port.host_port)
        self.port = port
        self._owner = owner

    def owner(self) -> str:
        """ "nginx[123]"; "" where it is not to be seen."""
        from minirt.network import port_owner

        return port_owner.find(self.port.protocol, self.port.host_port) if self._owner is None else self._owner

    def explained(self, who: str) -> Conflict:
        where = leases.shown(self.port.host_address, self.port.host_port)
        by = f" by process {who}" if who else ""
        return Conflict(
            f"Bind for {where} failed: port is already allocated{by}", "choose another port, or end what has it"
        )


def take(engine: Engine, endpoints: Sequence[Endpoint], ports: Sequence[Port]) -> tuple[list[Bound], Plan]:
    """The sockets of `ports`, and the elements of both in nftables; what was done. Raises PortTaken, StepFailed: then
    no socket is left open."""
    table = firewall.table_name(engine.roots.root)
    pinned = [one for one in endpoints if one.veth]
    bound: list[Bound] = []
    steps: list[Plan] = []
    size = release.SOCKETS_PER_PLAN // 2  # one for each family
    try:
        for begin in range(0, len(ports) or 1, size):
            part = ports[begin : begin + size]
            places = [(one, port) for port in part for one in places_of(engine, port)]
            plan = publish.take(table, () if begin else pinned, part, [one for one, _ in places])
            bound += _carry_out(engine, plan, places)
            steps.append(plan)
    except BaseException:
        for descriptor, *_ in bound:
            os.close(descriptor)
        raise
    return bound, Plan(tuple(step for plan in steps for step in plan.steps))


def places_of(engine: Engine, port: Port) -> list[Port]:
    """What is bound for a port: itself, or the loopback addresses. PortTaken for port 53 where another than minirt's
    resolvers has it."""
    if port.host_address not in LOOPBACKS or port.host_port != NAMES_PORT:
        return [port]
    from minirt.network import port_owner

    gateways = {gateway for one in network_db.networks(engine.database) for gateway in (one.gateway4, one.gateway6)}
    who = port_owner.find(port.protocol, port.host_port, passed=lambda at: at in gateways or at.startswith("127."))
    if who:
        raise PortTaken(port, who)
    return [
        Port(port.protocol, address, port.host_port, port.container_port, port.target4, port.target6)
        for address in LOOPBACKS[port.host_address]
        if address != "::1" or _has_loopback6()
    ]


def _has_loopback6() -> bool:
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            return LOOPBACK6 in file.read()
    except OSError:
        return False


def _carry_out(engine: Engine, plan: Plan, places: Sequence[tuple[Port, Port]]) -> list[Bound]:
    """places: (what is bound, for which port)."""
    wanted = {id(one): port for one, port in places}
    slots = [(wanted[id(one)], family) for one, family in publish.sockets([one for one, _ in places])]
    try:
        made = release.carry_out(plan)
    except StepFailed as error:
        step = plan.steps[error.index]
        if error.errno == EADDRINUSE and isinstance(step.args[0], Fd):
            raise PortTaken(slots[int(step.args[0].name.rpartition("-")[2])][0]) from None
        raise
    found = []
    for index, (port, family) in enumerate(slots):
        if (descriptor := made.pop(f"port-{index}", -1)) >= 0:  # none for IPv6 on a host without it
            found.append((descriptor, port, family))
    engine.sockets += made.values()
    return found


def serve(bound: Sequence[Bound], pid: int, start_ticks: int) -> None:
    """A proxy for them that lives as long as this process, a container's first: its monitor may go on as whoever cleans
    up. The caller closes its own. HostError, OSError."""
    if not bound:
        return
    from minirt.kernel import process, proxy

    served = []
    for fd, port, family in bound:
        first, second = (port.target4, port.target6) if family == "4" else (port.target6, port.target4)
        served.append((fd, port.protocol, first or second, port.container_port))
    watch = process.open_pidfd(pid, start_ticks)
    if watch < 0:
        return  # it has ended already
    try:
        for begin in range(0, len(served), proxy.SOCKETS):
            proxy.spawn(served[begin : begin + proxy.SOCKETS], watch)
    finally:
        os.close(watch)


def revive(engine: Engine, container: str, pid: int, start_ticks: int) -> None:
    """The ports of a running container that nobody serves: whoever started it was killed just before it could hand
    them over, or the proxy was. One that cannot be bound is served."""
    for port in network_db.ports(engine.database, container):
        try:
            bound, _ = take(engine, (), (port,))
        except (PortTaken, MinirtError):
            continue
        try:
            serve(bound, pid, start_ticks)
        finally:
            for descriptor, *_ in bound:
                os.close(descriptor)
