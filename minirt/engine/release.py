# SPDX-License-Identifier: Apache-2.0
"""What a container has leased is given back: elements out of nftables, names out of the resolver, rows out.

In this order, so that a `kill -9` in between leaves rows by which the next command does the rest. The veth pair needs
nothing: it goes with the container's network namespace. `engine/endpoints.py` takes what is given back here.

    lock on <state>/networks    shared: who takes or gives
                                alone: who loads the tables anew, makes or removes a network

So an element is never lost between the look at the database and the load. Must not import reconcile, which calls this.
"""

from __future__ import annotations

import os

from minirt.engine import events, lock, network_db
from minirt.errors import MinirtError, StepFailed
from minirt.runtime import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirt.engine.store import Engine
    from minirt.model.network import Endpoint, Network, Port
    from minirt.plan.step import Plan

MOST_SOCKETS = 50  # that are kept open until a command ends
SOCKETS_PER_PLAN = 200  # a plan's slots are counted: plan/publish.py


def folder(engine: Engine) -> str:
    """Where the resolvers' files lie, and whose lock puts takers and loaders in order."""
    return engine.roots.networks


def shared(engine: Engine) -> lock.Lock:
    """For who takes or gives back: many at once, but nobody who loads the tables. A context manager."""
    engine.database  # noqa: B018 - it makes the directories
    return lock.share(folder(engine))


def alone(engine: Engine) -> lock.Lock:
    """For who loads the tables, makes or removes a network. A context manager."""
    engine.database  # noqa: B018 - it makes the directories
    return lock.share(folder(engine), alone=True)


def give(engine: Engine, container: str) -> None:
    """Give back all that a container has leased; nothing happens where that is nothing. The caller holds the
    container's lock, and knows that it does not run."""
    database = engine.database
    if not network_db.is_holder(database, container):
        return
    with shared(engine):
        left = network_db.endpoints(database, container)
        ports = network_db.ports(database, container)
        _cut_off(engine, container, left)
        drop_elements(engine, left, ports)
        network_db.release(database, container)
    for network in _found(engine, [one.network for one in left]):
        events.about_network(engine, network, "disconnect", container)
    events.flush(engine)
    _forget_flows(ports)
    refresh_names(engine, [one.network for one in left])


def _cut_off(engine: Engine, container: str, left: Sequence[Endpoint]) -> None:
    """Where another container lives on in this one's network namespace (--network container:X), the links do not die
    by themselves: they go before the guards do and before their addresses are another's."""
    for sharer in network_db.sharers(engine.database, container):
        state = states.read(engine.roots.run(sharer))
        if state is not None and state.alive():
            from minirt.network import live

            for one in left:
                live.detach(state.pid, one)
            return


def drop_elements(engine: Engine, left: Sequence[Endpoint], ports: Sequence[Port]) -> None:
    """Out of nftables with them; what is not there is fine. StepFailed where the kernel refuses."""
    from minirt.network import firewall
    from minirt.plan import publish

    while engine.sockets:
        os.close(engine.sockets.pop())  # later that would wait for the kernel, as csrc/linger.c explains
    table, guarded = firewall.table_name(engine.roots.root), [one for one in left if one.veth]
    try:
        made = carry_out(publish.give(table, guarded, ports, at_once=True))
    except StepFailed:  # flushed, or a killed command was half done: what is there
        made = carry_out(publish.give(table, guarded, ports))
    engine.deleting += made.values()
    if len(engine.deleting) >= MOST_SOCKETS:
        engine.close()


def carry_out(plan: Plan) -> dict[str, int]:
    """Run the host steps of a plan; {slot: descriptor}. StepFailed."""
    from minirt.kernel import execute, flat
    from minirt.runtime.launch import step_failed

    if not plan.steps:
        return {}
    try:
        return execute.run(flat.encode(plan))
    except execute.StepError as error:
        raise step_failed(plan, error.index, error.errno or 0) from None


def _forget_flows(ports: Sequence[Port]) -> None:
    """UDP has no end that the kernel could see: its flows would go on to an address that is another's tomorrow."""
    datagrams = [port for port in ports if port.protocol == "udp"]
    if datagrams:
        from minirt.network import conntrack

        conntrack.flush(datagrams)


def refresh_names(engine: Engine, networks: Sequence[str]) -> None:
    """The resolver of each of these networks knows who is there now; one whose network is empty ends. A resolver that
    cannot be started is who starts a container's to report, not who ends one."""
    for network in _found(engine, networks):
        if has_names(network):
            from minirt.engine import naming

            try:
                naming.refresh(engine, network)
            except MinirtError:
                continue


def _found(engine: Engine, networks: Sequence[str]) -> list[Network]:
    there = (network_db.find(engine.database, identity) for identity in networks)
    return [network for network in there if network is not None]


def has_names(network: Network) -> bool:
    """Whether containers find each other by name there: not on the default network (Docker)."""
    return not network.is_default
