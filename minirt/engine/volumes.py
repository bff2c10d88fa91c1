# SPDX-License-Identifier: Apache-2.0
"""`volume`: named and anonymous directories that outlive containers (docker-volume(1)).

A volume is a row and <root>/volumes/<name>/_data. It is removed while nobody can be between finding it and entering a
container that uses it: the same lock that keeps a collection from layers. Its directory is renamed before its row
goes, so that no later volume of that name finds old data, and removed when the lock is given up.
"""

from __future__ import annotations

import os

from minirt.engine import erase, events, flags, lock, names, usage
from minirt.errors import Conflict, InvalidValue, NotFound, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.prune_filter import Filter
    from minirt.engine.store import Engine

GONE = ".removed-"


class Volume:
    """users: ids of the containers that have it. size: in bytes; None until somebody measures it."""

    __slots__ = ("anonymous", "created_ns", "name", "path", "size", "users")

    def __init__(self, name: str, created_ns: int, anonymous: bool, users: list[str], path: str) -> None:
        self.name = name
        self.created_ns = created_ns
        self.anonymous = anonymous
        self.users = users
        self.path = path
        self.size: int | None = None

    def measure(self) -> int:
        self.size = usage.tree(self.path)
        return self.size


def volumes(engine: Engine) -> list[Volume]:
    """All of them by name."""
    return [
        Volume(name, created_ns, anonymous, users, f"{engine.roots.volumes}/{name}/_data")
        for name, created_ns, anonymous, users in engine.database.volumes()
    ]


def find(engine: Engine, name: str) -> Volume:
    found = next((volume for volume in volumes(engine) if volume.name == name), None)
    if found is None:
        raise NotFound(f"get {name[:255]}: no such volume", "see which there are: minirt volume ls")
    return found


def create(engine: Engine, name: str, created_ns: int) -> str:
    """The name of the volume, a new one or the one that has it. An empty name asks for an anonymous one."""
    if name:
        _check(name)
    made = name or names.new_id()
    engine.database  # noqa: B018 - it makes the directories
    with lock.share(f"{engine.roots.root}/layers"):
        engine.database.insert_volume(made, created_ns, not name)
        path = f"{engine.roots.volumes}/{made}"
        try:
            if not os.path.isdir(f"{path}/_data"):
                os.makedirs(f"{path}/_data")
                events.add(engine, events.VOLUME, "create", made, {"driver": "local"})
                os.chmod(f"{path}/_data", 0o755)  # whatever the umask says: every user inside may look
            os.chmod(path, 0o701)
        except OSError as error:
            raise StoreError(f'cannot create "{path}": {os.strerror(error.errno or 0)}', "see df") from error
    return made


def _check(name: str) -> None:
    """By the same rule as -v NAME:/PATH."""
    try:
        plain = ":" not in name and not flags.volume(f"{name}:/x").is_bind
    except InvalidValue:
        plain = False
    if not plain:
        raise InvalidValue(
            f'create {name[:255]}: "{name[:255]}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
            "choose another name",
        )


def remove(engine: Engine, name: str) -> None:
    """Raises NotFound, or Conflict while a container has it."""
    find(engine, name)
    with _alone(engine):
        volume = find(engine, name)
        if volume.users:
            raise Conflict(
                f"remove {name}: volume is in use - [{', '.join(volume.users)}]", "remove the container first"
            )
        _bury(engine, volume)
    sweep(engine)


def prune(engine: Engine, every: bool, wanted: Filter) -> tuple[list[str], int]:
    """Removes the volumes that no container has: (names, bytes). every: also named ones."""
    removed, size = [], 0
    engine.database  # noqa: B018 - it makes the directories
    with _alone(engine):
        for volume in volumes(engine):
            if not volume.users and (volume.anonymous or every) and wanted.passes(volume.created_ns, {}):
                _bury(engine, volume)
                removed.append(volume.name)
    for name in _buried(engine):
        size += usage.tree(f"{engine.roots.volumes}/{name}")
    sweep(engine)
    return removed, size


def sweep(engine: Engine) -> None:
    """Removes the directories of removed volumes, also those that a killed process left."""
    for name in _buried(engine):
        erase.tree(f"{engine.roots.volumes}/{name}")


def _buried(engine: Engine) -> list[str]:
    return [name for name in os.listdir(engine.roots.volumes) if name.startswith(GONE)]


def _bury(engine: Engine, volume: Volume) -> None:
    path = f"{engine.roots.volumes}/{volume.name}"
    try:
        os.rename(path, f"{engine.roots.volumes}/{GONE}{os.urandom(8).hex()}")
    except FileNotFoundError:
        pass  # its row is all there is of it
    except OSError as error:
        raise StoreError(f'cannot remove "{path}": {os.strerror(error.errno or 0)}') from error
    engine.database.delete_volume(volume.name)
    events.tell(engine, events.VOLUME, "destroy", volume.name, {"driver": "local"})


def _alone(engine: Engine) -> lock.Lock:
    return lock.share(f"{engine.roots.root}/layers", alone=True)
