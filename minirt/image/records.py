# SPDX-License-Identifier: Apache-2.0
"""What `find` reads instead of the layout's documents: small JSON files under <root>/records, written at load.

    names.json           {"index": [mtime_ns, size, inode] of the index.json that it was made from,
                          "names": {reference: id}, "manifests": {digest: id},      ids and digests: 64 hex digits
                          "digests": {repository@digest: id}}                       what registries call images
    image-<id>.json      one image: its layers, what `run` needs of its config, what `images` shows
    layer-<diff-id>.json one unpacked layer (LayerRecord)

They only repeat what the layout says: where names.json does not fit index.json (another program changed it), all
are made anew. Written under the layout's lock.
"""

from __future__ import annotations

import contextlib
import os

from minirt.errors import ImageError, InvalidValue, StoreError
from minirt.image import config, document, manifest
from minirt.image import names as names_
from minirt.image.layout import Layout, replace
from minirt.image.overlay import is_opaque
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOT = (0o755, 0, 0)


class LayerRecord:
    """`size` and `entries` of the uncompressed layer; `root`: the (mode, uid, gid) it gave its root, or None;
    `implicit`: directories it did not describe; `blobs`: the digests of blobs known to hold this very layer."""

    __slots__ = ("diff_id", "size", "entries", "root", "implicit", "blobs")

    def __init__(
        self,
        diff_id: str,
        size: int,
        entries: int,
        root: tuple[int, int, int] | None,
        implicit: list[bytes],
        blobs: set[str],
    ) -> None:
        self.diff_id = diff_id
        self.size = size
        self.entries = entries
        self.root = root
        self.implicit = implicit
        self.blobs = blobs


def layer_record(layout: Layout, diff_id: str) -> LayerRecord | None:
    """The record of a layer that lies unpacked in the store; None where either is missing."""
    if not os.path.isdir(layout.layer_path(diff_id)):
        return None
    try:
        found = _load(_path(layout, f"layer-{diff_id}"))
        root = found["root"]
        return LayerRecord(
            diff_id,
            found["size"],
            found["entries"],
            (root[0], root[1], root[2]) if root else None,
            [os.fsencode(path) for path in found["implicit"]],
            set(found["blobs"]),
        )
    except (OSError, InvalidValue, KeyError, TypeError, IndexError):
        return None


def layer_path(layout: Layout, diff_id: str) -> str:
    return _path(layout, f"layer-{diff_id}")


def layer_document(record: LayerRecord) -> bytes:
    """Paths that are not UTF-8 are left out of `implicit`: JSON cannot hold them."""
    implicit = []
    for path in record.implicit:
        with contextlib.suppress(UnicodeDecodeError):
            implicit.append(path.decode())
    found = {
        "size": record.size,
        "entries": record.entries,
        "root": record.root,
        "implicit": implicit,
        "blobs": sorted(record.blobs),
    }
    return document.write(found)


def refresh(layout: Layout) -> None:
    """Writes names.json, and the records of images that have none. Under the layout's lock.

    A damaged image, or one that is no container image, goes without a record: `find` does not see it.
    """
    names: dict[str, str] = {}
    manifests: dict[str, str] = {}
    digests: dict[str, str] = {}
    stamp = index_stamp(layout.root)
    for descriptor in layout.descriptors():
        with contextlib.suppress(ImageError, StoreError, OSError):
            identity = manifests.get(descriptor.hex) or _image(layout, descriptor)
            manifests[descriptor.hex] = identity
            name = names_.canonical(descriptor.ref_name)
            if name:
                names[name] = identity
            digests |= {text: identity for text in names_.digests_of(descriptor) if names_.canonical(text) == text}
    _save(_path(layout, "names"), {"index": stamp, "names": names, "manifests": manifests, "digests": digests})
    kept = {f"image-{identity}.json" for identity in manifests.values()}
    for name in os.listdir(os.path.join(layout.root, "records")):
        if name.startswith("image-") and name not in kept:
            os.unlink(os.path.join(layout.root, "records", name))


def index_stamp(root: str) -> list[int]:
    there = os.stat(os.path.join(root, "images", "index.json"))
    return [there.st_mtime_ns, there.st_size, there.st_ino]


def _image(layout: Layout, descriptor: manifest.Descriptor) -> str:
    """Writes the record of one image where it is missing; returns its id, the digest of its config."""
    document_ = layout.document(descriptor, f"manifest {descriptor.digest[:19]}")
    if manifest.is_index(document_, descriptor.media_type, "manifest"):
        return _image(layout, chosen(document_, "index"))
    image = manifest.read(document_, "manifest")
    path = _path(layout, f"image-{image.config.hex}")
    if not _sound(path):
        whole = layout.document(image.config, "image config")
        _save(path, _described(layout, whole, descriptor, image))
    return image.config.hex


def chosen(index: dict[str, Any], what: str) -> manifest.Descriptor:
    """The manifest in an index that suits this machine. An index in an index is not looked into."""
    listed = manifest.descriptors(index, "manifests", what)
    architecture = manifest.host_architecture()
    for descriptor in listed:
        if descriptor.suits(architecture) and descriptor.media_type not in manifest.INDEXES:
            return descriptor
    raise ImageError(f"{what} has no image for linux/{architecture}")


def _described(
    layout: Layout, whole: dict[str, Any], descriptor: manifest.Descriptor, image: manifest.Manifest
) -> dict[str, Any]:
    diff_ids = config.layers(whole, len(image.layers))
    layers = [diff_id for at, diff_id in enumerate(diff_ids) if diff_id not in diff_ids[at + 1 :]]
    known = [layer_record(layout, diff_id) for diff_id in layers]
    roots = [record.root for record in known if record is not None and record.root is not None]
    return {
        "id": image.config.hex,
        "manifest": descriptor.hex,
        "created": whole.get("created") or "",
        "architecture": whole.get("architecture") or "",
        "size": sum(record.size for record in known if record is not None),
        "root": roots[-1] if roots else _ROOT,
        "layers": _shown(layout, layers),
        "blobs": [[diff_id, layer.hex, layer.size] for diff_id, layer in zip(diff_ids, image.layers, strict=True)],
        "config": whole.get("config") or {},
    }


def _shown(layout: Layout, layers: list[str]) -> list[str]:
    """Those to be mounted. An opaque root hides every layer below (layer.md), but overlayfs looks for the mark in
    directories only, not in the roots of its layers."""
    for at in range(len(layers) - 1, 0, -1):
        if is_opaque(layout.layer_path(layers[at])):
            return layers[at:]
    return layers


def _sound(path: str) -> bool:
    try:
        return _load(path)["id"] in path
    except (OSError, InvalidValue, KeyError, TypeError):
        return False


def _path(layout: Layout, name: str) -> str:
    return os.path.join(layout.root, "records", f"{name}.json")


def _save(path: str, found: dict[str, Any]) -> None:
    replace(path, document.write(found))


def _load(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        found = json.loads(file.read())
    if not isinstance(found, dict):
        raise InvalidValue("a record is not an object")
    return found
