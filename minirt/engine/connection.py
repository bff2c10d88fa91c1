# SPDX-License-Identifier: Apache-2.0
"""One more place in one more network for a container that runs, and its end (docker-network-connect(1)).

Rows, nftables and names, as at a start; the link itself is made and removed by network/live.py. Must not import image.
"""

from __future__ import annotations

from minirt.engine import endpoints, leases, network_db, release
from minirt.errors import Conflict, InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.network_flags import Wanted
    from minirt.engine.record import Record
    from minirt.engine.store import Engine
    from minirt.model.network import Endpoint, Network, Port
    from minirt.plan.network import Link


def take_one(engine: Engine, row: Row, wanted: Wanted) -> tuple[Network, Endpoint, Link]:
    """Lease a place; the link is the caller's to make, and `give_one` to call if that fails. The caller holds the
    container's lock, and it runs. Raises NotFound (network), Conflict, InvalidValue, StepFailed."""
    with endpoints.ready(engine, (wanted,)):
        network = network_db.network_by(engine.database, wanted.network)
        mine = network_db.endpoints(engine.database, row.id)
        if any(one.network == network.id for one in mine):
            raise Conflict(f"endpoint with name {row.name} already exists in network {network.name}")
        numbers = {one.index - leases.FIRST_NUMBER for one in mine}
        number = next(number for number in range(len(numbers) + 1) if number not in numbers)

        def choose() -> tuple[list[Endpoint], list[Port]]:
            return [leases.endpoint(engine.database, row.id, network, wanted, number)], []

        [one], _ = network_db.lease(engine.database, row.id, choose)
        try:
            endpoints.pin(engine, [one])
        except BaseException:
            network_db.release(engine.database, row.id, network.id)
            raise
        [link] = endpoints.links([(network, wanted)], [one])
    release.refresh_names(engine, [network.id])
    return network, one, link


def give_one(engine: Engine, row: Row, network: Network) -> None:
    """Give the place back, its link being gone. Raises Conflict where published ports lead there: their proxy would
    go on to an address that is another's tomorrow."""
    with release.shared(engine):
        left = network_db.endpoints(engine.database, row.id, network.id)
        refuse_publishing(engine, row, network)
        release.drop_elements(engine, left, ())
        network_db.release(engine.database, row.id, network.id)
    release.refresh_names(engine, [network.id])


def write_files(engine: Engine, row: Row, record: Record) -> None:
    """hosts and resolv.conf of a container that runs, after its networks changed. Where host-gateway means nothing any
    more they stay as they are."""
    places = []
    for one in network_db.endpoints(engine.database, row.id):
        network = network_db.find(engine.database, one.network)
        if network is not None:
            places.append((network, one))
    try:
        endpoints.write_files(engine, row.id, record, places)
    except InvalidValue:
        pass


def refuse_publishing(engine: Engine, row: Row, network: Network) -> None:
    """Raises Conflict where the container's published ports lead through this network."""
    addresses = {one.address4 for one in network_db.endpoints(engine.database, row.id, network.id) if one.address4}
    if any(port.target4 in addresses for port in network_db.ports(engine.database, row.id)):
        raise Conflict(
            f"container {row.name} publishes ports through the network {network.name}",
            f"stop it first: minirt stop {row.name}",
        )
