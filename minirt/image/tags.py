# SPDX-License-Identifier: Apache-2.0
"""Gives images of the store names, and notes what registries call them: index.json changed under the layout's lock.

What the names look like on a descriptor is in names.py. A name belongs to one image; whichever had it before stays in
the index without.
"""

from __future__ import annotations

import os

from minirt.errors import NotFound, StoreError
from minirt.image import manifest, records
from minirt.image.names import DIGESTS, PLATFORM, annotated, canonical, noted, renamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirt.image.layout import Layout


def tag(layout: Layout, digest_hex: str, name: str, digest: str = "", platform: str = "") -> None:
    """Gives `name` to the image whose manifest is `digest_hex`; whichever had it before stays without. `digest`,
    "repository@sha256:…", and `platform` are noted on it where a pull says so."""

    def enter(there: list[manifest.Descriptor]) -> list[dict[str, Any]]:
        of = next(one for one in there if one.hex == digest_hex)
        kept = [one.document if one.hex == digest_hex else _unnamed(one, name) for one in there]
        document = renamed(of.document, name)
        if digest:
            document["annotations"] |= {DIGESTS: noted(of, digest), PLATFORM: platform}
        return [*kept, document]

    _change(layout, digest_hex, enter)


def note(layout: Layout, digest_hex: str, digest: str) -> None:
    """Notes on every name of the image that a registry now has it as `digest`, "repository@sha256:…"."""

    def enter(there: list[manifest.Descriptor]) -> list[dict[str, Any]]:
        return [
            annotated(one.document, DIGESTS, noted(one, digest)) if one.hex == digest_hex else one.document
            for one in there
        ]

    _change(layout, digest_hex, enter)


def _unnamed(one: manifest.Descriptor, name: str) -> dict[str, Any]:
    return renamed(one.document, "") if canonical(one.ref_name) == name else one.document


def _change(
    layout: Layout, digest_hex: str, enter: Callable[[list[manifest.Descriptor]], list[dict[str, Any]]]
) -> None:
    """Reads index.json, changes it, and writes it with the records that depend on it: all under the layout's lock."""
    try:
        with layout.locked():
            there = layout.descriptors()
            if all(one.hex != digest_hex for one in there):
                raise NotFound(f"no such image: sha256:{digest_hex[:12]}", "it was removed meanwhile")
            documents = _without_doubles(enter(there))
            if documents != [one.document for one in there]:
                layout.write_descriptors(documents)
                records.refresh(layout)
    except OSError as error:
        raise StoreError(f"write to the store {layout.root!r}: {os.strerror(error.errno or 0)}", "see df") from error


def _without_doubles(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each name once, and an image without a name only where it has no other."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for document in documents:
        one = manifest.Descriptor(document, "index.json")
        found[one.digest, one.ref_name] = document
    named = {digest for digest, name in found if name}
    return [document for (digest, name), document in found.items() if name or digest not in named]
