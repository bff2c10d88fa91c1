# SPDX-License-Identifier: Apache-2.0
"""`commit`: what a container has changed becomes a layer, with its image below and its settings as configuration
(docker-commit(1)).

The container is frozen while it is read, so that what is packed belongs together, and thawed also where that fails.
Left out: volumes and everything else that is mounted, and the mount points that the runtime made (/etc/hosts …).
Its lock is held as long: nobody starts, stops or removes it meanwhile.
"""

from __future__ import annotations

import contextlib
import time

from minirt.cgroup import freezer
from minirt.engine import environment, events, files, flags, inspect, lifecycle, moment, reconcile, store
from minirt.errors import Conflict, InvalidValue
from minirt.image import commit as image_commit
from minirt.image import find as images
from minirt.image import stored
from minirt.image.derive import Layer, assemble, make_layer
from minirt.image.diff import Lower, diff
from minirt.image.expand import Limits
from minirt.image.layout import Layout
from minirt.image.staging import Staging
from minirt.model import instructions, reference, signals
from minirt.runtime import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from minirt.engine.db import Row
    from minirt.engine.lock import Lock
    from minirt.engine.record import Record
    from minirt.engine.store import Engine
    from minirt.image.sink import Sink


DEFLATE_RATIO = 1032  # the most that gzip can make of zeros: files of a container's own are no bomb


class Wanted:
    """What `commit` was asked for. name: "" or a reference."""

    __slots__ = ("author", "changes", "message", "name", "pause")

    def __init__(self, name: str, author: str, message: str, changes: list[str], pause: bool) -> None:
        self.name = name
        self.author = author
        self.message = message
        self.changes = changes
        self.pause = pause


class _Reading:
    """While the container is read: its lock, and whom to warn."""

    __slots__ = ("held", "warn")

    def __init__(self, held: Lock, warn: Callable[[str], None]) -> None:
        self.held = held
        self.warn = warn


def commit(engine: Engine, ref: str, wanted: Wanted, warn: Callable[[str], None]) -> str:
    """The new image's id, "sha256:…". Raises NotFound (container, image), Conflict, InvalidValue, StoreError."""
    names = [new_name(wanted.name)] if wanted.name else []
    row, held = engine.locked(ref)
    with held:
        settled = reconcile.settle(engine, row)
        if settled is None:
            raise store.missing(ref)
        if settled.status not in (lifecycle.CREATED, lifecycle.RUNNING, lifecycle.PAUSED, lifecycle.EXITED):
            raise Conflict(f"You cannot commit container {row.id} which is {settled.status}")
        record = store.record(settled)
        if settled.image_id is None:
            raise InvalidValue(
                f"container {row.name} was made with --rootfs: there is no image to put a layer on",
                f"minirt export {row.name} | minirt import - NAME",
            )
        settings = instructions.apply(_settings(record), wanted.changes)
        made = _commit(engine, settled, record, settings, wanted, names, _Reading(held, warn))
        about = {"comment": wanted.message, "imageID": made, "imageRef": wanted.name}
        events.of_container(engine, settled, "commit", record, **about)
        return made


def new_name(text: str) -> str:
    """A name for a new image in full. InvalidValue also for one with a digest: nobody can choose that."""
    wanted = reference.parse(text)
    if wanted.digest is not None:
        raise InvalidValue(f"refusing to create a tag with a digest reference: {text}", "write REPOSITORY[:TAG]")
    return str(wanted.tagged())


def _commit(
    engine: Engine, row: Row, record: Record, settings: dict[str, Any], wanted: Wanted, names: list[str],
    reading: _Reading,
) -> str:  # fmt: skip
    assert row.image_id is not None
    layout = Layout(engine.roots.root)
    base = stored.by_identity(layout, row.image_id)
    root = images.find(layout.root, row.image_id).root
    event = {"created": moment.text(time.time_ns()), "created_by": " ".join(settings.get("Cmd") or [])}
    event.update({key: text for key, text in (("author", wanted.author), ("comment", wanted.message)) if text})
    with Staging(layout, Limits(ratio=DEFLATE_RATIO)) as staging:
        layer = _layer(engine, row, record, root, staging, wanted.pause, reading)
        ready = assemble(staging, base, layer, settings, event, names)
        image_commit.commit(staging, [ready])
    return f"sha256:{ready.image.config.hex}"


def _layer(
    engine: Engine, row: Row, record: Record, root: tuple[int, int, int], staging: Staging, pause: bool,
    reading: _Reading,
) -> Layer | None:  # fmt: skip
    left_out = _mount_points(engine, row, record)
    with files.closing(files.lower(engine, row, record)) as lower, files.closing(files.upper(engine, row)) as upper:

        def fill(sink: Sink) -> int:
            with _still(engine, row, pause):
                members = diff(upper, Lower(lower), root, left_out, sink, reading.warn)
            reading.held.release()
            return members

        return make_layer(staging, fill)


@contextlib.contextmanager
def _still(engine: Engine, row: Row, pause: bool) -> Iterator[None]:
    """The container frozen, if it runs and was not already. Its row is not changed: cgroup.freeze is the truth."""
    cgroup = engine.cgroup(row.id)
    if not pause or row.status != lifecycle.RUNNING:
        yield
        return
    try:
        freezer.freeze(cgroup)
    except FileNotFoundError:  # it ended this moment
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            freezer.thaw(cgroup)


def _mount_points(engine: Engine, row: Row, record: Record) -> frozenset[bytes]:
    """Where the runtime mounts something by itself. Where the user does, a mount point is the image's to have, as
    with Docker."""
    mounts = bundle.read_spec(engine.roots.container(row.id)).get("mounts")
    assert isinstance(mounts, list)
    own = {str(volume[3]) for volume in record.volumes} | {flags.tmpfs(text)[0] for text in record.options.tmpfs}
    places = {str(mount["destination"]) for mount in mounts} - own
    return frozenset(place.strip("/").encode("utf-8", "surrogateescape") for place in places)


def _settings(record: Record) -> dict[str, Any]:
    """The `config` object that an image gets from its container: what its image said, with what the user said on
    top."""
    options = record.options
    made: dict[str, Any] = dict(record.config)
    image_env, labels, volumes = made.get("Env") or [], made.get("Labels") or {}, made.get("Volumes") or {}
    made["Env"] = environment.final(image_env, options.env)
    made["Entrypoint"], made["Cmd"] = inspect.entrypoint(record), inspect.command(record)
    made["Labels"] = {**labels, **dict(word.partition("=")[::2] for word in options.label)}
    nameless = [volume for volume in map(flags.volume, options.volumes) if not volume.source]
    made["Volumes"] = {**volumes, **{volume.destination: {} for volume in nameless}}
    made["User"], made["WorkingDir"] = options.user or made.get("User"), options.workdir or made.get("WorkingDir")
    if options.stop_signal:
        made["StopSignal"] = signals.name(record.stop_signal)
    return {key: value for key, value in made.items() if value}
