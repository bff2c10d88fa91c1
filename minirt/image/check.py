# SPDX-License-Identifier: Apache-2.0
"""Reads the whole store again and says what is wrong with it: every blob's digest, every image's documents, every
layer entry by entry against what its blob unpacks to, every record.

While it looks, it shares the layers directory, so no collection takes anything away; what a pull adds comes by rename
and is whole. It is told of damage, never stopped by it: each fault names one object, and the rest is looked at too.
Nothing in the store is changed; repair.py does that.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat

from minirt.errors import ImageError, InvalidValue, MinirtError, StoreError
from minirt.image import config, document, intake, names, records, references
from minirt.image.compare import difference
from minirt.image.expand import Limits
from minirt.image.flow import Flow
from minirt.image.layout import Layout
from minirt.image.staging import Staging
from minirt.model.reference import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.image.manifest import Descriptor
    from minirt.image.references import Owner

PLACES = ("", "images", "images/blobs", "images/blobs/sha256", "layers", "records", "staging", "partial", "trash")


class Fault:
    """kind: store, index, image, blob, layer or record. name: which. what: what is wrong with it. remedy: what makes
    it right where --repair does not."""

    __slots__ = ("kind", "name", "remedy", "what")

    def __init__(self, kind: str, name: str, what: str, remedy: str = "") -> None:
        self.kind = kind
        self.name = name
        self.what = what
        self.remedy = remedy


class Checked:
    """What was found. bad_blobs, bad_layers: their digests. lost: images (owner.id) that can no longer be used.
    sources: {diff_id: (blob, size)} of sound blobs. chains: {diff_id: the layers of an image that has it, bottom first,
    as records have them}. modes: directories that others may enter."""

    __slots__ = (
        "bad_blobs", "bad_layers", "blobs", "chains", "faults", "images", "index", "layers", "lost", "modes", "sources",
    )  # fmt: skip

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.blobs = self.images = self.layers = 0
        self.index = True
        self.bad_blobs: set[str] = set()
        self.bad_layers: set[str] = set()
        self.lost: set[str] = set()
        self.modes: list[str] = []
        self.sources: dict[str, tuple[str, int]] = {}
        self.chains: dict[str, list[tuple[str, str, int]]] = {}

    def fault(self, kind: str, name: str, what: str, remedy: str = "") -> None:
        self.faults.append(Fault(kind, name, what, remedy))


def check(layout: Layout) -> Checked:
    """Everything there is. A store that does not exist yet is sound."""
    found = Checked()
    if not os.path.lexists(layout.images) or _is_new(layout):
        return found
    _places(layout, found)
    try:
        shared = os.open(layout.layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        found.fault("store", layout.layers, f"cannot be read: {error.strerror}", "make it anew: mkdir -m 700")
        return found
    try:
        fcntl.flock(shared, fcntl.LOCK_SH)
        there = _index(layout, found)
        _blobs(layout, found)
        used = _images(layout, there, found)
        _layers(layout, used, found)
        _records(layout, there, found)
    finally:
        os.close(shared)
    return found


def _is_new(layout: Layout) -> bool:
    """Somebody is making the store this moment: index.json comes last, and before it there is nothing."""
    try:
        blobs = os.listdir(os.path.dirname(layout.blob_path("x")))
    except OSError:
        blobs = []
    return not blobs and not os.path.lexists(layout.index_path)


def _places(layout: Layout, found: Checked) -> None:
    """Directories and files that are nobody's but ours."""
    for name in PLACES:
        path = os.path.join(layout.root, name) if name else layout.root
        status = _status(path) if name else os.stat(path)  # the root itself may be reached by a link
        if status is None:
            if name not in ("trash", "partial"):
                found.fault("store", path, "is missing", "it is made by the next load or pull")
        elif stat.S_ISLNK(status.st_mode):
            found.fault("store", path, "is a symbolic link", "put a directory there, or move the store with --root")
        elif not stat.S_ISDIR(status.st_mode):
            found.fault("store", path, "is no directory", "move it away")
        elif status.st_uid != os.geteuid():
            found.fault("store", path, f"belongs to uid {status.st_uid}", f"chown {os.geteuid()} {path}")
        elif status.st_mode & (0o022 if not name else 0o077):
            found.modes.append(path)
            found.fault("store", path, f"has mode {stat.S_IMODE(status.st_mode):04o}: others can enter it")
    for name in ("oci-layout", "index.json"):
        path = os.path.join(layout.images, name)
        status = _status(path)
        if status is None:
            found.fault("store", path, "is missing")
        elif not stat.S_ISREG(status.st_mode):
            found.fault("store", path, "is no regular file", "look where it leads, and move it away")
        elif status.st_uid != os.geteuid():
            found.fault("store", path, f"belongs to uid {status.st_uid}", f"chown {os.geteuid()} {path}")


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _index(layout: Layout, found: Checked) -> list[Descriptor]:
    try:
        there = layout.descriptors()
    except StoreError as error:
        found.index = False
        found.fault("index", "index.json", error.message)
        return []
    for descriptor in there:
        if descriptor.ref_name and not names.canonical(descriptor.ref_name):
            found.fault(
                "index", descriptor.ref_name[:255], "is no name of an image", "remove it: rmi " + descriptor.hex
            )
    return there


def _blobs(layout: Layout, found: Checked) -> None:
    folder = os.path.dirname(layout.blob_path("x"))
    for name in _listed(folder, found):
        if not is_id(name):
            found.fault("blob", name, "is no blob: its name is no digest", f"move it out of {folder}")
            continue
        found.blobs += 1
        what = _blob_fault(os.path.join(folder, name), name)
        if what:
            found.bad_blobs.add(name)
            found.fault("blob", f"sha256:{name}", what)


def _blob_fault(path: str, digest_hex: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a symbolic link"
        return f"cannot be read: {error.strerror}"
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        seen = hashlib.sha256()
        while chunk := os.read(fd, 1 << 20):
            seen.update(chunk)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    finally:
        os.close(fd)
    if seen.hexdigest() != digest_hex:
        return f"its content is sha256:{seen.hexdigest()[:12]}… ({status.st_size} bytes)"
    return "" if status.st_uid == os.geteuid() else f"belongs to uid {status.st_uid}"


def _images(layout: Layout, there: list[Descriptor], found: Checked) -> set[str]:
    """The layers that images stand on."""
    used: set[str] = set()
    owners = references.owners(layout, there)
    found.images = len(owners)
    for owner in owners:
        name = references.shown(owner.names[0]) if owner.names else owner.id[:12]
        if owner.damaged:
            found.lost.add(owner.id)
            found.fault("image", name, "its manifest or config is damaged or missing", "pull or load it again")
            continue
        for descriptor in owner.descriptors:
            used |= _image(layout, owner, descriptor, name, found)
    return used


def _image(layout: Layout, owner: Owner, descriptor: Descriptor, name: str, found: Checked) -> set[str]:
    read = references.documents(layout, descriptor)
    if read is None:
        return set()
    image, whole = read
    try:
        diff_ids = config.check(whole)
        if len(diff_ids) != len(image.layers):
            raise ImageError(f"its config lists {len(diff_ids)} layers, its manifest {len(image.layers)}")
    except ImageError as error:
        found.lost.add(owner.id)
        found.fault("image", name, error.message, "pull or load it again")
        return set()
    chain = [(diff_id, blob.hex, blob.size) for diff_id, blob in zip(diff_ids, image.layers, strict=True)]
    for diff_id, blob in zip(diff_ids, image.layers, strict=True):
        found.chains.setdefault(diff_id, chain)
        sound = layout.has_blob(blob.hex, blob.size) and blob.hex not in found.bad_blobs
        if sound:
            found.sources.setdefault(diff_id, (blob.hex, blob.size))
            continue
        if blob.hex not in found.bad_blobs:
            found.fault("image", name, f"its blob {blob.digest[:19]} is missing", "pull or load it again")
        if not os.path.isdir(layout.layer_path(diff_id)) and diff_id not in found.sources:
            found.lost.add(owner.id)
    return set(diff_ids)


def _layers(layout: Layout, used: set[str], found: Checked) -> None:
    there = set()
    for name in _listed(layout.layers, found):
        if not is_id(name):
            found.fault("layer", name, "is no layer: its name is no digest", f"move it out of {layout.layers}")
            continue
        there.add(name)
    for name in sorted(used | there):
        found.layers += 1
        try:
            what = _layer_fault(layout, name, name in used, found.sources.get(name))
        except (MinirtError, OSError) as error:
            why = error.message if isinstance(error, MinirtError) else error.strerror
            found.fault("layer", f"sha256:{name}", f"cannot be compared with its blob: {why}", "see df of the store")
            continue
        if what:
            found.bad_layers.add(name)
            remedy = "" if name in found.sources else "pull or load an image with it again"
            found.fault("layer", f"sha256:{name}", what, remedy)


def _layer_fault(layout: Layout, diff_id: str, used: bool, source: tuple[str, int] | None) -> str:
    """A layer without a record that nobody uses was left by a killed process: it goes with the next collection."""
    path = layout.layer_path(diff_id)
    status = _status(path)
    if status is None:
        return "is missing"
    if not stat.S_ISDIR(status.st_mode):
        return "is a symbolic link" if stat.S_ISLNK(status.st_mode) else "is no directory"
    record = records.layer_record(layout, diff_id)
    if record is None:
        return "its record is damaged or missing" if used else ""
    return _compared(layout, diff_id, source, record) if source is not None else ""


def _compared(layout: Layout, diff_id: str, source: tuple[str, int], record: records.LayerRecord) -> str:
    """What distinguishes the layer from what its blob unpacks to, "" for nothing."""
    blob, size = source
    with Staging(layout) as staging:
        fresh = os.path.join(staging.path, "layers", diff_id)
        with Flow() as flow:
            made = intake.take(flow, layout.blob(blob, size, "layer"), fresh, diff_id, Limits())
        if (made.size, made.entries) != (record.size, record.entries):
            return f"its record says {record.entries} entries, its blob has {made.entries}"
        return difference(fresh, layout.layer_path(diff_id), {b"", *made.implicit})


def _records(layout: Layout, there: list[Descriptor], found: Checked) -> None:
    """names.json and what it leads to. Where it only does not fit the index, the next command makes it anew."""
    for name in _listed(layout.records, found):
        path = os.path.join(layout.records, name)
        if not name.endswith(".json"):
            continue
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                whole: dict[str, Any] = document.parse(file.read(), "record")
            wanted = {"names": {"index", "names", "manifests"}, "image": {"id", "layers", "blobs", "config", "root"}}
            kind = name.partition("-")[0].removesuffix(".json")
            if not wanted.get(kind, set()) <= whole.keys():
                raise InvalidValue("it has not the fields of a record")
        except (OSError, MinirtError) as error:
            why = error.message if isinstance(error, MinirtError) else str(error.strerror)
            found.fault("record", name, why)


def _listed(folder: str, found: Checked) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        if error.errno != errno.ENOENT:
            found.fault("store", folder, f"cannot be read: {error.strerror}", "see ls -ld of it")
        return []
