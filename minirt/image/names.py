# SPDX-License-Identifier: Apache-2.0
"""Names of images on the descriptors of index.json: tags, and what registries call them (annotations.md).

A descriptor's annotation org.opencontainers.image.ref.name is the image's name, "docker.io/library/x:latest", or
"docker.io/library/x@sha256:…" for one that was pulled by digest. org.minirt.image.digests is a JSON list of
"repository@sha256:…": what the name stood for at registries it came from or went to, an index's digest where there is
one. org.minirt.image.platform is the platform that was asked for.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue
from minirt.image import manifest
from minirt.model import json, reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.image.layout import Layout
    from minirt.model.reference import Reference

DIGESTS = "org.minirt.image.digests"
PLATFORM = "org.minirt.image.platform"
NOTED_LIMIT = 100


def stored(name: Reference) -> str:
    """Under which name the store keeps what `name` asks a registry for: a digest wins over a tag."""
    return f"{name.name}@{name.digest}" if name.digest else str(name.tagged())


def digest_of(name: Reference, digest: str) -> str:
    return f"{name.name}@{digest}"


def digests_of(descriptor: manifest.Descriptor) -> list[str]:
    """What is noted on a descriptor; nothing where another program wrote something else there."""
    text = _annotation(descriptor, DIGESTS)
    try:
        found = json.loads(text) if text else []
    except InvalidValue:
        return []
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def platform_of(descriptor: manifest.Descriptor) -> str:
    return _annotation(descriptor, PLATFORM)


def named(layout: Layout, name: str) -> manifest.Descriptor | None:
    """The descriptor that has this name, in full, else one on which it is noted; None where there is none, or no
    store."""
    there = layout.descriptors() if os.path.exists(layout.index_path) else []
    found = next((one for one in there if canonical(one.ref_name) == name), None)
    if found is None and "@" in name:
        found = next((one for one in there if name in digests_of(one)), None)
    return found


def canonical(text: str) -> str:
    """The full form of a name that another program may have put into the index; "" for none or a malformed one."""
    try:
        return str(reference.parse(text).tagged()) if text else ""
    except InvalidValue:
        return ""


def noting(layout: Layout, digest: str, noted: list[str], platform: str) -> dict[str, str]:
    """Those of a descriptor of the manifest `digest`: what others of it have noted, and this."""
    there = layout.descriptors() if os.path.exists(layout.index_path) else []
    known = [text for one in there if one.digest == digest for text in digests_of(one)]
    return {DIGESTS: json.dumps(list(dict.fromkeys(known + noted))[-NOTED_LIMIT:]), PLATFORM: platform}


def noted(descriptor: manifest.Descriptor, digest: str) -> str:
    return json.dumps(list(dict.fromkeys([*digests_of(descriptor), digest]))[-NOTED_LIMIT:])


def renamed(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A descriptor with this name, or with none: its other annotations stay."""
    return annotated(document, manifest.REF_NAME, name)


def annotated(document: dict[str, Any], key: str, text: str) -> dict[str, Any]:
    """A descriptor with this annotation, or without it where `text` is empty: its others stay."""
    kept = {one: value for one, value in annotations_of(document).items() if one != key}
    if text:
        kept[key] = text
    rest = {one: value for one, value in document.items() if one != "annotations"}
    return {**rest, "annotations": kept} if kept else rest


def annotations_of(document: dict[str, Any]) -> dict[str, Any]:
    """Those of a descriptor; another program may have written anything there."""
    found = document.get("annotations")
    return found if isinstance(found, dict) else {}


def _annotation(descriptor: manifest.Descriptor, key: str) -> str:
    text = annotations_of(descriptor.document).get(key)
    return text if isinstance(text, str) else ""
