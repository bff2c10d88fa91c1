# SPDX-License-Identifier: Apache-2.0
"""`network connect` and `disconnect`: a container's networks, changed after it was made (docker-network-connect(1)).

What it wants stands in its options, for the next start; one that runs gets the interface, or loses it, at once.
Published ports stay with the network that they were published through. Must not import image.
"""

from __future__ import annotations

from minirt.engine import (
    connection,
    default_network,
    events,
    lifecycle,
    network_db,
    network_flags,
    networks,
    reconcile,
    store,
)
from minirt.engine.leases import Held
from minirt.errors import Conflict, InvalidValue, MinirtError, NotFound
from minirt.model.network import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.network_flags import Wanted
    from minirt.engine.record import Record
    from minirt.engine.store import Engine
    from minirt.model.network import Endpoint, Network

HOST_MODE = "container cannot be disconnected from host network or connected to host network"
SHARED = "container sharing network namespace with another container or host cannot be connected to any other network"
NONE_MODE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


def connect(engine: Engine, ref: str, container: str, wanted: Wanted) -> None:
    """Raises NotFound, Conflict (it is there already, an address is taken), InvalidValue, HostError, StepFailed."""
    if ref in networks.SPECIAL:
        raise InvalidValue(HOST_MODE if ref == network_flags.HOST else NONE_MODE, "there is nothing to connect it to")
    if ref in (DEFAULT, "default"):
        if wanted.aliases:
            raise InvalidValue(network_flags.ALIAS_FAULT, network_flags.ALIAS_REMEDY)
        default_network.ensure(engine)
    network = network_db.network_by(engine.database, ref)
    row, held = engine.locked(container)
    with held:
        settled = _settled(engine, row, container)
        record = store.record(settled)
        _check_mode(record)
        asked = network_flags.wanted(record.options)
        if any(_is(engine, one, network) for one in asked):
            raise Conflict(
                f"endpoint with name {row.name} already exists in network {network.name}",
                f"see its networks: minirt inspect {row.name}",
            )
        for half_made in network_db.endpoints(engine.database, settled.id, network.id):
            _detach(engine, settled, network, half_made, force=True)  # of a connect that was killed
        if settled.status in lifecycle.ALIVE:
            _attach(engine, settled, network, wanted)
            connection.write_files(engine, settled, record)
        wanted.network = network.name
        _rewrite(engine, settled, record, [*asked, wanted])


def disconnect(engine: Engine, ref: str, container: str, force: bool = False) -> None:
    """Raises NotFound, Conflict (it is not connected). A network that is gone is left by the name that the container
    knows it by, or nothing could start it again. force: also where its interface can't be reached."""
    if ref == network_flags.HOST:
        raise InvalidValue(HOST_MODE, "its network is the host's as long as it lives")
    gone: NotFound | None = None
    network = None
    try:
        network = networks.find(engine, ref) if ref != network_flags.NONE else None
    except NotFound as error:
        gone = error
    row, held = engine.locked(container)
    with held:
        settled = _settled(engine, row, container)
        record = store.record(settled)
        asked = network_flags.wanted(record.options)
        if network is None:
            kept = [one for one in asked if one.network != ref]
            if len(kept) == len(asked):
                raise gone or _not_connected(row, ref)
            _rewrite(engine, settled, record, kept)
            return
        kept = [one for one in asked if not _is(engine, one, network)]
        there = network_db.endpoints(engine.database, settled.id, network.id)
        if len(kept) == len(asked) and not there:
            raise _not_connected(row, network.name)
        for endpoint in there:
            _detach(engine, settled, network, endpoint, force)
        if there:
            connection.write_files(engine, settled, record)
        _rewrite(engine, settled, record, kept)


def _attach(engine: Engine, row: Row, network: Network, wanted: Wanted) -> None:
    """The interface in a container that runs; its way out stays the one that it has."""
    from minirt.network import live

    try:
        _, _, link = connection.take_one(engine, row, wanted)
    except Held:
        networks.settle_holders(engine, network.id)  # who has ended unnoticed gives back its addresses
        _, _, link = connection.take_one(engine, row, wanted)
    try:
        live.attach(_pid(engine, row), link)
    except BaseException:
        connection.give_one(engine, row, network)
        raise
    events.of_network(engine, network, "connect", row.id)


def _detach(engine: Engine, row: Row, network: Network, endpoint: Endpoint, force: bool) -> None:
    """force: its row goes even if its interface can't be reached."""
    from minirt.network import live

    connection.refuse_publishing(engine, row, network)
    try:
        live.detach(_pid(engine, row), endpoint)
    except MinirtError:
        if not force:
            raise
    connection.give_one(engine, row, network)
    events.of_network(engine, network, "disconnect", row.id)
    _lead_out(engine, row)


def _lead_out(engine: Engine, row: Row) -> None:
    """Each family's default route may have gone with its network: then it leads through the first one that is left and
    has a way out. A container that cannot be given one has at least lost what it was to lose."""
    from minirt.network import live

    for one in network_db.endpoints(engine.database, row.id):
        network = network_db.find(engine.database, one.network)
        if network is None or network.internal:
            continue
        gateways = (network.gateway4, "" if network.is_default else network.gateway6)
        try:
            live.lead_out(_pid(engine, row), one, tuple(gateway for gateway in gateways if gateway))
        except MinirtError:
            pass


def _pid(engine: Engine, row: Row) -> int:
    pid = reconcile.look(engine, row).pid
    if not pid:
        raise Conflict(f"container {row.name} is not running", f"minirt start {row.name}")
    return pid


def _settled(engine: Engine, row: Row, ref: str) -> Row:
    settled = reconcile.settle(engine, row)
    if settled is None:
        raise store.missing(ref)
    return settled


def _not_connected(row: Row, network: str) -> Conflict:
    return Conflict(
        f"container {row.id} is not connected to network {network}", f"see its networks: minirt inspect {row.name}"
    )


def _check_mode(record: Record) -> None:
    kind, _ = network_flags.mode(record.options)
    if kind == network_flags.HOST:
        raise Conflict(HOST_MODE, "its network is the host's as long as it lives")
    if kind == network_flags.CONTAINER:
        raise Conflict(SHARED, "connect the other container")
    if kind == network_flags.NONE and record.options.network:
        raise Conflict(NONE_MODE, "make it without --network none")


def _is(engine: Engine, one: Wanted, network: Network) -> bool:
    try:
        return networks.find(engine, one.network).id == network.id
    except (NotFound, Conflict):
        return False


def _rewrite(engine: Engine, row: Row, record: Record, wanted: list[Wanted]) -> None:
    """The container's networks as one list in --network's long form, so that the flags that are for the first one do
    not come to mean another."""
    options = record.options
    options.network = [network_flags.written(one) for one in wanted]
    options.network_alias, options.ip, options.ip6, options.mac_address = [], "", "", ""
    engine.database.update(row.id, options=record.to_json())
