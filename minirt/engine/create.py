# SPDX-License-Identifier: Apache-2.0
"""`create`: a container on disk and in the database, nothing running yet (docker-create(1)).

    directory (locked) ── etc files ── root filesystem, detached ── who is the user ── config.json ── row

The row comes last, so a row always has a whole directory behind it, and what a `kill -9` leaves before it is a
directory without a row, which the next command removes. The UNIQUE constraint decides who gets a name.
"""

from __future__ import annotations

import os
import stat
import time

from minirt.cgroup import home
from minirt.engine import erase, etc, events, flags, join, lifecycle, lock, names, options, reconcile, spec
from minirt.engine.db import NameTaken, Row
from minirt.engine.record import Record
from minirt.errors import Conflict, InvalidValue, NotFound, StoreError
from minirt.image import find as images
from minirt.kernel import host
from minirt.model import json
from minirt.plan.rootfs import Directory, Overlay
from minirt.runtime import bundle, start, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import RunOptions
    from minirt.engine.store import Engine
    from minirt.image.find import Image

NAME_TRIES = 20
PROFILE_LIMIT_BYTES = 4 << 20


class Made:
    """A container that was just created, with its lock held and its root filesystem still mounted, for `run` to
    start at once. `close` gives both up."""

    __slots__ = ("lock", "mounted", "record", "row", "spec")

    def __init__(self, row: Row, record: Record, spec: dict[str, Any], mounted: start.Mounted, held: lock.Lock) -> None:
        self.row = row
        self.record = record
        self.spec = spec
        self.mounted: start.Mounted | None = mounted
        self.lock = held

    def close(self) -> None:
        if self.mounted is not None:
            os.close(self.mounted.fd)
            self.mounted = None
        self.lock.release()


def create(engine: Engine, wanted: RunOptions) -> str:
    """The new container's id. Raises NotFound (image), Conflict (name), InvalidValue, HostError, StepFailed; nothing
    is left then."""
    made = make(engine, wanted, lifecycle.CREATED)
    made.close()
    return made.row.id


def make(engine: Engine, wanted: RunOptions, status: str) -> Made:
    """`create`, keeping the lock and the root filesystem. status: RUNNING for a container that `run` will start:
    until it has a start time it counts as unborn, and a crash takes it away whole."""
    options.settle(wanted, os.environ)
    engine.database  # noqa: B018 - first of all: it makes the directories
    if wanted.name:
        wanted.name = names.checked_name(wanted.name)
        free_name(engine, wanted.name)
    join.normalise(engine, wanted)
    with lock.share(f"{engine.roots.root}/layers"):  # until the row is there, no collection may take a layer away
        return _make(engine, wanted, status)


def _make(engine: Engine, wanted: RunOptions, status: str) -> Made:
    image = _image(engine, wanted)
    record = Record(wanted, image.config if image else {}, list(image.layers) if image else [])
    identity, held = _claim(engine, image)
    mounted = None
    try:
        mounted, built = _fill(engine, identity, held.fd, record, status != lifecycle.RUNNING)
        row = _row(identity, record, built, image, status)
        _insert(engine, row, record, wanted.name)
        events.add(engine, events.CONTAINER, "create", identity, events.attributes(row, record))
        return Made(row, record, built, mounted, held)
    except BaseException:
        if mounted is not None:
            os.close(mounted.fd)
        engine.database.delete(identity)
        erase.tree(engine.roots.container(identity))
        held.release()
        raise


def free_name(engine: Engine, name: str) -> None:
    """Raises NameTaken, unless who has the name died before its birth or has ended and asked for --rm."""
    holder = engine.database.by_name(name)
    if holder is not None:
        reconcile.settle_if_free(engine, holder)
        holder = engine.database.by_name(name)
    if holder is not None:
        raise NameTaken(name, holder.id)


def _image(engine: Engine, wanted: RunOptions) -> Image | None:
    if wanted.rootfs:
        rootfs_option(wanted.rootfs)
        return None
    return images.find(engine.roots.root, wanted.image)


def rootfs_option(text: str) -> tuple[str, bool]:
    """--rootfs DIR[:O] → (absolute path, whether a throw-away overlay goes on top)."""
    path, colon, word = text.rpartition(":")
    if not colon or "/" in word:
        path, word = text, ""
    if word not in ("", "O"):
        raise InvalidValue(f'invalid option "{word}" in --rootfs {text}', "write --rootfs DIR or --rootfs DIR:O")
    if not path:
        raise InvalidValue(f'no directory in --rootfs "{text}"', "write --rootfs DIR or --rootfs DIR:O")
    path = os.path.abspath(path)
    if not os.path.isdir(path):
        raise NotFound(f'no such directory: "{path}"', "--rootfs takes the directory that becomes the container's /")
    return path, word == "O"


def root_filesystem(record: Record, path: str, only_look: bool = False) -> Overlay | Directory:
    """What the container's "/" is made of; `path` is its bundle. only_look: for a mount that nothing is written to.
    What --rm throws away at its end need not survive a power cut either."""
    place = bundle.Bundle(path)
    volatile = record.options.auto_remove or only_look
    if record.options.rootfs:
        directory, overlay = rootfs_option(record.options.rootfs)
        if not overlay:
            return Directory(directory, "--rootfs")
        return Overlay((directory,), place.upper, place.work, "--rootfs", place.rootfs, volatile)
    lower = tuple(reversed(record.layers)) or (place.rootfs,)
    return Overlay(tuple(str(layer) for layer in lower), place.upper, place.work, "/root", place.rootfs, volatile)


def _claim(engine: Engine, image: Image | None) -> tuple[str, lock.Lock]:
    """A new id, with its directory made and locked."""
    while True:
        identity = names.new_id()
        path = engine.roots.container(identity)
        try:
            made = bundle.create(path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and os.path.isdir(engine.roots.containers):
                continue  # swept before it was locked
            raise StoreError(
                f'cannot create "{path}": {os.strerror(error.errno or 0)}', "see df, and whether root can write there"
            ) from error
        if image is not None:
            mode, uid, gid = image.root
            os.chown(made.upper, uid, gid)
            os.chmod(made.upper, stat.S_IMODE(mode))
        held = lock.attempt(path)
        if held is not None:
            return identity, held


def _fill(
    engine: Engine, identity: str, directory: int, record: Record, only_look: bool
) -> tuple[start.Mounted, dict[str, Any]]:
    """Everything below the container's directory. The root filesystem comes back mounted."""
    path, wanted = engine.roots.container(identity), record.options
    facts = host.facts()
    resources, nodes = limits(wanted)
    place = spec.Place(
        identity, path, lambda volume: _locate(engine, volume), join.placeholders(wanted), _profile(wanted), nodes,
        _throttled(), os.uname().nodename, resources, home.available(home.home(facts.cgroup_mount)),
    )  # fmt: skip
    built = spec.build(record, facts, place)
    _make_sources(record)
    etc.write(directory, record.hostname, wanted)
    mounted = start.mount_rootfs(root_filesystem(record, path, only_look), facts)
    try:
        who = user.resolve(mounted.fd, built.user, wanted.group_add)
        spec.finish(built, who.uid, who.gid, who.groups, who.home)
        bundle.write_spec(path, built.spec)
    except BaseException:
        os.close(mounted.fd)
        raise
    return mounted, built.spec


def _locate(engine: Engine, volume: flags.Volume) -> str:
    if volume.is_bind:
        return volume.source
    return f"{engine.roots.volumes}/{volume.source or names.new_id()}/_data"


def _make_sources(record: Record) -> None:
    """-v makes a missing directory of the host, as Docker's does; --rootfs and files are never made."""
    for kind, _, source, *_ in record.volumes:
        if kind == "bind" and not os.path.lexists(str(source)):
            try:
                os.makedirs(str(source), 0o755, exist_ok=True)
            except OSError as error:
                raise InvalidValue(
                    f"error while creating mount source path '{source}': {os.strerror(error.errno or 0)}"
                ) from error


def make_volumes(engine: Engine, record: Record) -> None:
    """The directories of named and anonymous volumes, as far as they are missing."""
    for kind, name, source, *_ in record.volumes:
        if kind == "volume" and not os.path.isdir(str(source)):
            os.makedirs(str(source), exist_ok=True)
            events.add(engine, events.VOLUME, "create", str(name), {"driver": "local"})
            os.chmod(str(source), 0o755)  # whatever the umask says: every user inside may look
            os.chmod(f"{engine.roots.volumes}/{name}", 0o701)


def _row(identity: str, record: Record, built: dict[str, Any], image: Image | None, status: str) -> Row:
    wanted = record.options
    return Row(
        identity, wanted.name or names.new_name(), wanted.image, image.id if image else None,
        json.dumps(built["process"]["args"]), time.time_ns(), status, record.to_json(), int(wanted.auto_remove),
        None, None, None, None, None,
    )  # fmt: skip


def _insert(engine: Engine, row: Row, record: Record, asked: str) -> None:
    """The row, under another random name where the first is taken; then the directories of its volumes."""
    volumes = tuple(
        (str(name), str(destination), names.is_id(str(name)))
        for kind, name, _, destination, *_ in record.volumes
        if kind == "volume"
    )
    for _ in range(NAME_TRIES):
        try:
            engine.database.insert(row, volumes)
            break
        except NameTaken:
            if asked:
                raise
            row.name = names.new_name()
    else:
        raise Conflict("no free name was found", "name the container: --name NAME")
    make_volumes(engine, record)


def _profile(wanted: RunOptions) -> dict[str, Any] | None:
    """The profile of --security-opt seccomp=FILE; None for the default one and for unconfined."""
    path = flags.security(wanted.security_opt).seccomp
    if path in ("", "unconfined"):
        return None
    try:
        with open(path, "rb") as file:
            text = file.read(PROFILE_LIMIT_BYTES)
    except OSError as error:
        raise InvalidValue(
            f"opening seccomp profile ({path}) failed: {os.strerror(error.errno or 0)}",
            "give a file, or seccomp=unconfined",
        ) from error
    try:
        profile = json.loads(text)
    except InvalidValue as error:
        raise InvalidValue(f"decoding seccomp profile ({path}) failed: {error.message}") from error
    if not isinstance(profile, dict):
        raise InvalidValue(f"decoding seccomp profile ({path}) failed: it is no JSON object")
    return profile


def limits(wanted: RunOptions) -> tuple[dict[str, Any], list[dict[str, object]]]:
    """(linux.resources, linux.devices) as far as somebody asked for them. Raises InvalidValue, HostError."""
    resources: dict[str, Any] = {}
    nodes: list[dict[str, object]] = []
    if any(getattr(wanted, name) != options.DEFAULTS[name] for name in options.LIMITS):
        from minirt.engine import limits

        settled = limits.settle(wanted)
        resources, nodes = settled.resources, settled.devices
    if wanted.security_opt and flags.security(wanted.security_opt).writable_cgroups and not wanted.privileged:
        from minirt.engine import limits

        limits.writable(wanted)
    if wanted.privileged:
        from minirt.engine import devices

        asked = {node["path"] for node in nodes}
        nodes += [node for node in devices.of_host() if node["path"] not in asked]
    return resources, nodes


def _throttled() -> int:
    """How many processors have a thermal_throttle directory: it tells one container of another's work."""
    return (os.cpu_count() or 0) if os.path.isdir("/sys/devices/system/cpu/cpu0/thermal_throttle") else 0
