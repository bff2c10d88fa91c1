# SPDX-License-Identifier: Apache-2.0
"""The archive of `docker save`, also written by podman and skopeo: manifest.json names configs and layer tars.

(moby image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format".) It has no manifest that could be
verified; the image's id is the digest of its config, and the config's diff_ids verify the layers. An OCI manifest
is made, with the layers as they are in the archive, uncompressed as a rule.
"""

from __future__ import annotations

import functools

from minirt.errors import ImageError
from minirt.image import config, document, manifest
from minirt.image.commit import Ready
from minirt.image.staging import Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.image.archive import Source
    from minirt.image.load import Choice

IMAGES_LIMIT = 1000


def stage(staging: Staging, source: Source, choice: Choice) -> list[Ready]:
    """Stages every image of the archive."""
    listed = document.parse_list(source.read("manifest.json"), "manifest.json")
    if not listed or len(listed) > IMAGES_LIMIT:
        raise ImageError(f"malformed manifest.json: not a list of 1 to {IMAGES_LIMIT} images")
    return [_image(staging, source, choice, item, f"manifest.json: /{index}") for index, item in enumerate(listed)]


def _image(staging: Staging, source: Source, choice: Choice, item: Any, what: str) -> Ready:
    if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
        raise ImageError(f"malformed {what}: not an image with a Config")
    names = [manifest.checked_name(tag) for tag in _texts(item.get("RepoTags"), f"{what}/RepoTags")]
    layers = _texts(item.get("Layers"), f"{what}/Layers")
    data = source.read(item["Config"])
    whole = document.parse(data, "image config")
    choice.check(whole)
    diff_ids = config.layers(whole, len(layers), what)
    blobs = staging.add_archived(
        [(functools.partial(source.chunks, name), diff_id) for name, diff_id in zip(layers, diff_ids, strict=True)]
    )
    settings = staging.add_document(data)
    settings.document["mediaType"] = manifest.OCI_CONFIG
    listed = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": _ordered(settings.document),
        "layers": [_ordered(blob.document) for blob in blobs],
    }
    made = staging.add_document(document.write(listed))
    made.document["mediaType"] = manifest.OCI_MANIFEST
    return Ready(
        manifest.Descriptor(_ordered(made.document), what),
        manifest.read(listed, what),
        list(dict.fromkeys(names)),
        diff_ids,
    )


def _ordered(descriptor: dict[str, Any]) -> dict[str, Any]:
    return {key: descriptor[key] for key in ("mediaType", "digest", "size")}


def _texts(value: Any, what: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ImageError(f"malformed {what}: not a list of names")
    return value
