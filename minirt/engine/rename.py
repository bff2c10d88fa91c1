# SPDX-License-Identifier: Apache-2.0
"""`rename`: another name for a container (docker-rename(1)). One statement, in which the UNIQUE constraint decides;
then the resolvers of its networks hear of it."""

from __future__ import annotations

from minirt.engine import create, events, names, network_db, release
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def rename(engine: Engine, ref: str, name: str) -> None:
    """Raises NotFound, InvalidValue (grammar), NameTaken."""
    if not name:
        raise InvalidValue("Neither old nor new names may be empty")
    checked = names.checked_name(name)
    row = engine.find(ref)
    if checked == row.name:
        raise InvalidValue("Renaming a container with the same name as its current name")
    create.free_name(engine, checked)
    engine.database.rename(row.id, checked)
    old, row.name = row.name, checked
    events.rename(engine, row, old)
    release.refresh_names(engine, [one.network for one in network_db.endpoints(engine.database, row.id)])
