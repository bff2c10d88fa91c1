# SPDX-License-Identifier: Apache-2.0
"""Makes right what a check has found wrong, from what is sound: layers from blobs, records from documents, the index
from the records. What can be made from nothing is taken out, so that the next pull brings it again; an image whose
layers are whole stays, even where a blob of it is lost. Nothing that is sound is touched.

Layers that a running container stands on stay as they are. What is taken away goes by way of the trash.
"""

from __future__ import annotations

import contextlib
import os

from minirt.errors import ImageError, MinirtError, StoreError
from minirt.image import document, garbage, manifest, names, records, references, restore
from minirt.image.layout import Layout, replace
from minirt.model.reference import is_hex, is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirt.image.check import Checked
    from minirt.image.manifest import Descriptor


def repair(layout: Layout, found: Checked, used: Callable[[], set[str]], busy: Callable[[], set[str]]) -> list[str]:
    """What was done, one line each. used: the diff-ids that containers stand on; busy: those of running ones.

    StoreError where the store cannot be written.
    """
    done: list[str] = []
    for path in found.modes:
        os.chmod(path, 0o711 if path == layout.root else 0o700)
        done.append(f"mode of {path} set")
    layout.create(index=False)
    if not found.index:
        done.append(_index(layout))
    layout.create()
    try:
        with garbage.alone(layout):
            spared = busy()
            with layout.locked():
                done += _blobs(layout, found)
                done += _layers(layout, found, spared)
        done += _anew(layout, found)
        with layout.locked():
            _records(layout)
    except OSError as error:
        raise StoreError(f"repair the store {layout.root!r}: {error.strerror}", "see df of it") from error

    def change(there: list[Descriptor]) -> list[dict[str, Any]]:
        owners = references.owners(layout, there)
        for owner in owners:
            if owner.id in found.lost:
                owner.kept, owner.tags, owner.digests = False, [], []
                done.append(f"image {owner.id[:12]} taken out of the index")
        return references.index(there, owners)

    garbage.collect(layout, used, change)
    return done


def _index(layout: Layout) -> str:
    """A new index.json: from names.json if it is whole, else of every manifest in the store, without names. The old
    one stays beside it."""
    with layout.locked():
        with contextlib.suppress(FileNotFoundError):
            os.rename(layout.index_path, layout.index_path + ".damaged")
        documents = _from_records(layout) or _from_blobs(layout)
        replace(layout.index_path, document.write(_whole(documents)))
        records.refresh(layout)
    return f"index.json made anew: {len(documents)} entries; the old one is index.json.damaged"


def _whole(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": documents}


def _from_records(layout: Layout) -> list[dict[str, Any]]:
    """What names.json says that there was."""
    try:
        with open(os.path.join(layout.records, "names.json"), "rb") as file:
            known = document.parse(file.read(), "names.json")
        manifests = {str(digest): str(identity) for digest, identity in known["manifests"].items() if is_hex(digest)}
        texts = {str(name): str(identity) for name, identity in known["names"].items()}
    except (OSError, MinirtError, KeyError, TypeError, AttributeError):
        return []
    found = []
    for digest, identity in manifests.items():
        descriptor = _described(layout, digest)
        if descriptor is not None:
            own = [name for name, of in texts.items() if of == identity]
            found += [names.renamed(descriptor, name) for name in own or [""]]
    return found


def _from_blobs(layout: Layout) -> list[dict[str, Any]]:
    listed = sorted(os.listdir(os.path.dirname(layout.blob_path("x"))))
    found = [_described(layout, name) for name in listed if is_id(name)]
    return [one for one in found if one is not None]


def _described(layout: Layout, digest: str) -> dict[str, Any] | None:
    """A descriptor of the blob if it is a container image's manifest."""
    with contextlib.suppress(OSError, ImageError):
        size = os.lstat(layout.blob_path(digest)).st_size
        if size > document.SIZE_LIMIT:
            return None
        plain = manifest.Descriptor({"digest": f"sha256:{digest}", "size": size}, "blob")
        whole = layout.document(plain, "blob")
        manifest.read(whole, "manifest")
        media_type = whole.get("mediaType") or manifest.OCI_MANIFEST
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}
    return None


def _blobs(layout: Layout, found: Checked) -> list[str]:
    done = []
    for digest in sorted(found.bad_blobs):
        garbage.bury(layout, layout.blob_path(digest))
        done.append(f"blob sha256:{digest[:12]} removed")
    return done


def _layers(layout: Layout, found: Checked, spared: set[str]) -> list[str]:
    """Takes away the damaged ones that can be made anew."""
    done = []
    for diff_id in sorted(found.bad_layers):
        if not os.path.lexists(layout.layer_path(diff_id)):
            continue
        if diff_id in spared:
            done.append(f"layer sha256:{diff_id[:12]} left as it is: a running container stands on it")
        elif diff_id in found.sources:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(records.layer_path(layout, diff_id))
            garbage.bury(layout, layout.layer_path(diff_id))
    return done


def _records(layout: Layout) -> None:
    """All records of images are made again: they only repeat the documents."""
    for name in os.listdir(layout.records):
        if name.startswith(("names.json", "image-")):
            garbage.bury(layout, os.path.join(layout.records, name))
    records.refresh(layout)


def _anew(layout: Layout, found: Checked) -> list[str]:
    """Unpacks missing layers from their blobs, each as part of an image: what a layer does not describe looks as it
    does in the layer below."""
    done = []
    for diff_id in sorted(found.bad_layers & found.sources.keys()):
        if os.path.lexists(layout.layer_path(diff_id)):
            continue
        try:
            restore.missing_layers(layout.root, {"id": diff_id, "blobs": found.chains[diff_id]})
            done.append(f"layer sha256:{diff_id[:12]} unpacked anew")
        except MinirtError as error:
            done.append(f"layer sha256:{diff_id[:12]} cannot be made anew: {error.message}")
    return done
