# SPDX-License-Identifier: Apache-2.0
"""What the store no longer needs is found by what exists (never by a counter) and removed: mark and sweep.

Needed is what index.json reaches by manifests and configs, what held stagings have pinned, and the layers of every
container. The order of locks is: the layers directory alone (`create` and `run` share it until their row is there),
then the layout. What goes is renamed into <root>/trash under both and removed when they are given up, so that nobody
waits for a million files; what a killed process left there goes with the next collection. index.json is always
changed first: at every moment the store is whole, or holds more than it needs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from minirt.errors import ImageError, InvalidValue, StoreError
from minirt.image import config, manifest, partial, records
from minirt.image.layout import Layout
from minirt.image.staging import pinned
from minirt.image.tree import remove_directory
from minirt.model import json
from minirt.model.reference import is_hex, is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from minirt.image.manifest import Descriptor

    Change = Callable[[list[Descriptor]], list[dict[str, Any]]]

FULL = (errno.ENOSPC, errno.EDQUOT)
DAMAGED = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
DEPTH_LIMIT = 8
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Freed:
    """What a collection took out of the store: {hex: bytes} of blobs, of layers by diff-id, and of what was left of
    broken-off work."""

    __slots__ = ("blobs", "layers", "left")

    def __init__(self) -> None:
        self.blobs: dict[str, int] = {}
        self.layers: dict[str, int] = {}
        self.left: dict[str, int] = {}

    @property
    def size(self) -> int:
        return sum(self.blobs.values()) + sum(self.layers.values()) + sum(self.left.values())


class Needed:
    """The blobs and layers that something reaches."""

    __slots__ = ("blobs", "layers")

    def __init__(self) -> None:
        self.blobs: set[str] = set()
        self.layers: set[str] = set()


def collect(
    layout: Layout, used: Callable[[], set[str]], change: Change | None = None, abandoned: bool = False
) -> Freed:
    """Changes the index by `change`, which may refuse by raising, then removes what nothing needs any more.

    used: asked under the locks for the diff-ids that containers stand on. abandoned: also removes blobs that were
    fetched in part and stagings of killed processes. StoreError where the store cannot be read or written.
    """
    freed = Freed()
    layout.create()
    try:
        if abandoned:
            freed.left.update(partial.remove_abandoned(layout, 0))
            _bury_stagings(layout)
        with alone(layout):
            spared = used()
            with layout.locked():
                there = layout.descriptors()
                documents = change(there) if change is not None else [one.document for one in there]
                needed = reachable(layout, [manifest.Descriptor(one, "index.json") for one in documents])
                _spare(needed, spared | pinned(layout))
                full = _write_index(layout, there, documents)
                _sweep(layout, needed, freed)
                if full:
                    _empty_trash(layout)
                    records.refresh(layout)
        _empty_trash(layout)
    except OSError as error:
        raise StoreError(
            f"remove from the store {layout.root!r}: {os.strerror(error.errno or errno.EIO)}", "see df and df -i of it"
        ) from error
    return freed


@contextlib.contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Nobody is between finding an image and entering a container that stands on it."""
    fd = os.open(layout.layers, _LISTED)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def reachable(layout: Layout, descriptors: list[Descriptor]) -> Needed:
    """Everything that these images consist of. Of a damaged one: what its record still says."""
    needed = Needed()
    known = _known_ids(layout)
    for descriptor in descriptors:
        _follow(layout, descriptor, needed, 0)
        identity = known.get(descriptor.hex)
        record = image_record(layout, identity) if identity else None
        if record is not None:
            needed.blobs |= {record["id"], record["manifest"]} | {blob for _, blob, _ in record["blobs"]}
            needed.layers.update(record["layers"])
    return needed


def image_record(layout: Layout, identity: str) -> dict[str, Any] | None:
    """The record of an image (records.py) if it is there and has its shape."""
    try:
        with open(os.path.join(layout.records, f"image-{identity}.json"), "rb") as file:
            found = json.loads(file.read())
        blobs = [(str(diff_id), str(blob), int(size)) for diff_id, blob, size in found["blobs"]]
        layers = [str(diff_id) for diff_id in found["layers"]]
        return {**found, "id": str(found["id"]), "manifest": str(found["manifest"]), "blobs": blobs, "layers": layers}
    except (OSError, InvalidValue, KeyError, TypeError, ValueError):
        return None


def _known_ids(layout: Layout) -> dict[str, str]:
    """{manifest: image} as names.json has it."""
    try:
        with open(os.path.join(layout.records, "names.json"), "rb") as file:
            found = json.loads(file.read())["manifests"]
        return {str(digest): str(identity) for digest, identity in found.items() if is_hex(str(identity))}
    except (OSError, InvalidValue, KeyError, TypeError, AttributeError):
        return {}


def _follow(layout: Layout, descriptor: Descriptor, needed: Needed, depth: int) -> None:
    """One descriptor and all below it, whatever it is: also what is no container image is kept whole."""
    needed.blobs.add(descriptor.hex)
    found = read(layout, descriptor)
    if found is None:
        return
    for name in ("manifests", "layers", "blobs"):
        for inner in _descriptors(found, name):
            if name == "manifests" and depth < DEPTH_LIMIT:
                _follow(layout, inner, needed, depth + 1)
            needed.blobs.add(inner.hex)
    try:
        settings = manifest.Descriptor(found.get("config"), "config")
        needed.blobs.add(settings.hex)
        whole = read(layout, settings)
        if settings.media_type in manifest.CONFIGS and whole is not None:
            needed.layers.update(config.check(whole))
    except ImageError:
        pass


def read(layout: Layout, descriptor: Descriptor) -> dict[str, Any] | None:
    """A document of the store; None where it is missing or damaged. A disk that fails is an error, not damage."""
    try:
        return layout.document(descriptor, f"document {descriptor.digest[:19]}")
    except ImageError:
        return None
    except OSError as error:
        if error.errno in DAMAGED:
            return None
        raise


def _descriptors(found: dict[str, Any], name: str) -> list[Descriptor]:
    try:
        return manifest.descriptors(found, name, "document") if name in found else []
    except ImageError:
        return []


def _spare(needed: Needed, lines: set[str]) -> None:
    """`lines`: diff-ids, and pins as staging.py writes them."""
    for line in lines:
        kind, _, digest_hex = line.rpartition(" ")
        if kind in ("", "layer"):
            needed.layers.add(digest_hex)
        else:
            needed.blobs.add(digest_hex)


def _write_index(layout: Layout, there: list[Descriptor], documents: list[dict[str, Any]]) -> bool:
    """Enters the change. On a full disk room is made of what can be made anew; True then: the records are to do."""
    if documents == [one.document for one in there]:
        return False
    try:
        layout.write_descriptors(documents)
        records.refresh(layout)
        return False
    except OSError as error:
        if error.errno not in FULL:
            raise
    for name in os.listdir(layout.records):
        if name.startswith(("names.json", "image-")):
            os.unlink(os.path.join(layout.records, name))
    _empty_trash(layout)
    layout.write_descriptors(documents)
    return True


def _sweep(layout: Layout, needed: Needed, freed: Freed) -> None:
    blobs = os.path.dirname(layout.blob_path("x"))
    for name in os.listdir(blobs):
        path = os.path.join(blobs, name)
        if is_id(name) and name not in needed.blobs:
            freed.blobs[name] = os.lstat(path).st_size
            bury(layout, path)
    for name in os.listdir(layout.layers):
        if is_id(name) and name not in needed.layers:
            record = records.layer_record(layout, name)
            if not bury(layout, layout.layer_path(name)):
                continue
            freed.layers[name] = record.size if record is not None else 0
            with contextlib.suppress(FileNotFoundError):
                os.unlink(records.layer_path(layout, name))
    images = {f"image-{identity}.json" for identity in _known_ids(layout).values()}
    for name in os.listdir(layout.records):
        if name.startswith("image-") and name.endswith(".json") and name not in images:
            os.unlink(os.path.join(layout.records, name))  # it would be made anew from what it repeats
        diff_id = name.removeprefix("layer-").removesuffix(".json")
        if name.startswith("layer-") and is_id(diff_id) and not os.path.lexists(layout.layer_path(diff_id)):
            os.unlink(os.path.join(layout.records, name))
    for folder in (layout.images, layout.records):
        for name in os.listdir(folder):
            if _is_temporary(name):  # a killed process's: writers hold our lock, or make the store
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, name))


def bury(layout: Layout, path: str) -> bool:
    """Renames it into the trash. Where a full disk has no room even for a name: a file is removed at once, a
    directory after the trash has been emptied, or by the next collection."""
    target = os.path.join(layout.root, "trash", os.urandom(8).hex())
    try:
        os.rename(path, target)
        return True
    except OSError as error:
        if error.errno not in FULL:
            raise
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
        return True
    _empty_trash(layout)
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return False
    return True


def _bury_stagings(layout: Layout) -> None:
    """Work of processes that are gone: nobody holds its directory (staging.py)."""
    folder = os.path.join(layout.root, "staging")
    door = os.open(folder, _LISTED)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        for name in os.listdir(door):
            try:
                fd = os.open(name, _LISTED, dir_fd=door)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                bury(layout, os.path.join(folder, name))
            except BlockingIOError:
                pass
            finally:
                os.close(fd)
    finally:
        os.close(door)


def _empty_trash(layout: Layout) -> None:
    """One at a time: a second collection waits until the first has removed what it would remove too."""
    fd = os.open(os.path.join(layout.root, "trash"), _LISTED)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        for name in os.listdir(fd):
            try:
                remove_directory(fd, name)
            except NotADirectoryError:
                os.unlink(name, dir_fd=fd)
            except OSError as error:
                if error.errno != errno.ELOOP:  # O_NOFOLLOW and O_DIRECTORY of a symlink
                    raise
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


def _is_temporary(name: str) -> bool:
    """<file>.<pid>.<8 hexadecimal digits>, as layout.replace names what it writes."""
    parts = name.rsplit(".", 2)
    return len(parts) == 3 and parts[1].isdecimal() and len(parts[2]) == 8 and is_hex(parts[2])
