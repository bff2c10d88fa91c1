# SPDX-License-Identifier: Apache-2.0
"""Which names an image has in index.json, and index.json without some of them (Docker's image_delete.go).

An image is what its config's digest says. Its references are tags ("docker.io/library/x:1") and what registries call
it ("docker.io/library/x@sha256:…": the name of one that was pulled by digest, or noted on a descriptor, names.py).
An image that is damaged goes by the digest of its manifest, so that it can be removed too. Nothing here writes.
"""

from __future__ import annotations

import contextlib

from minirt.errors import ImageError, InvalidValue, NotFound
from minirt.image import garbage, manifest, names, records
from minirt.model import json, reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.image.layout import Layout
    from minirt.image.manifest import Descriptor
    from minirt.model.reference import Reference


class Owner:
    """One image with all its descriptors. `tags` and `digests` are its references in full; the caller may take some
    out. kept: it stays in the index, even without any. diff_ids: its layers, bottom first, as far as they are known.
    damaged: its manifest or config cannot be read."""

    __slots__ = ("damaged", "descriptors", "diff_ids", "digests", "id", "kept", "labels", "created", "tags")

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.descriptors: list[Descriptor] = []
        self.tags: list[str] = []
        self.digests: list[str] = []
        self.diff_ids: list[str] = []
        self.labels: dict[str, str] = {}
        self.created = ""
        self.kept = True
        self.damaged = False

    @property
    def names(self) -> list[str]:
        return self.tags + self.digests

    def in_one_repository(self) -> bool:
        """At most one tag, and every digest in its repository: an id can only mean this."""
        if len(self.names) <= 1:
            return True
        repositories = {repository(name) for name in self.names}
        return len(self.tags) <= 1 and len(repositories) == 1

    def drop(self, name: str) -> list[str]:
        """Takes out a reference; with the last tag of a repository go its digests. What went."""
        gone = [name]
        if name in self.tags:
            self.tags.remove(name)
            here = repository(name)
            if all(repository(tag) != here for tag in self.tags):
                gone += [digest for digest in self.digests if repository(digest) == here]
        self.digests = [digest for digest in self.digests if digest not in gone]
        return gone


def repository(name: str) -> str:
    return reference.parse(name).name


def shown(name: str) -> str:
    return reference.parse(name).short()


def owners(layout: Layout, there: list[Descriptor]) -> list[Owner]:
    """The images of an index, in its order."""
    found: dict[str, Owner] = {}
    for descriptor in there:
        read = documents(layout, descriptor)
        identity = read[0].config.hex if read is not None else descriptor.hex
        owner = found.setdefault(identity, Owner(identity))
        owner.damaged = read is None
        if read is not None:
            _describe(owner, read[1])
        owner.descriptors.append(descriptor)
        for name in [names.canonical(descriptor.ref_name), *names.digests_of(descriptor)]:
            _note(owner, name)
    return list(found.values())


def _note(owner: Owner, name: str) -> None:
    """What another program has noted may be no name at all."""
    with contextlib.suppress(InvalidValue):
        if name and name not in owner.names:
            (owner.digests if reference.parse(name).digest else owner.tags).append(name)


def documents(layout: Layout, descriptor: Descriptor) -> tuple[manifest.Manifest, dict[str, Any]] | None:
    """The manifest for this machine and its config; None where one is damaged, or it is no container image."""
    found = garbage.read(layout, descriptor)
    try:
        if found is not None and manifest.is_index(found, descriptor.media_type, "manifest"):
            found = garbage.read(layout, records.chosen(found, "index"))
        image = manifest.read(found, "manifest") if found is not None else None
    except ImageError:
        return None
    whole = garbage.read(layout, image.config) if image is not None else None
    return (image, whole) if image is not None and whole is not None else None


def _describe(owner: Owner, whole: dict[str, Any]) -> None:
    from minirt.image import config

    with contextlib.suppress(ImageError):
        owner.diff_ids = config.check(whole)
        owner.labels = (whole.get("config") or {}).get("Labels") or {}
        owner.created = whole.get("created") or ""


def choose(there: list[Owner], text: str) -> tuple[Owner, str]:
    """(image, reference) of what a user calls `text`, by find's rules; the reference is "" for an id. NotFound."""
    wanted = _parsed(text)
    if wanted is not None:
        for owner in there:
            if str(wanted) in owner.names:
                return owner, str(wanted)
            if wanted.digest and f"{wanted.name}@{wanted.digest}" in owner.digests:
                return owner, f"{wanted.name}@{wanted.digest}"
        for owner in there if wanted.digest else []:
            here = any(repository(name) == wanted.name for name in owner.names)
            if here and any(one.digest == wanted.digest for one in owner.descriptors):
                return owner, ""
    digits = text.removeprefix("sha256:")
    if reference.is_hex(digits):
        same = [one for one in there if any(descriptor.hex == digits for descriptor in one.descriptors)]
        found = same or [one for one in there if one.id.startswith(digits)]
        if len(found) > 1:
            raise InvalidValue(f"the id {text!r} is ambiguous: {len(found)} images begin with it", "give more digits")
        if found:
            return found[0], ""
    shown_ = wanted.short() if wanted is not None else text
    raise NotFound(f"No such image: {shown_}", "see which there are: minirt images -a")


def _parsed(text: str) -> Reference | None:
    """None for what can only be an id. InvalidValue for what is neither."""
    if text.startswith("sha256:") and reference.is_hex(text[7:]) or reference.is_id(text):
        return None
    return reference.parse(text).tagged()


def index(there: list[Descriptor], owners_: list[Owner]) -> list[dict[str, Any]]:
    """The descriptors as the owners now are, in the order in which they stood."""
    owner_of = {id(descriptor): owner for owner in owners_ for descriptor in owner.descriptors}
    documents: list[dict[str, Any]] = []
    entered: set[str] = set()
    for descriptor in there:
        owner = owner_of[id(descriptor)]
        name = names.canonical(descriptor.ref_name)
        if name and name in owner.names or not name and owner.kept and not owner.tags:
            documents.append(_dressed(descriptor, owner, descriptor.ref_name))
            entered.add(owner.id)
    for owner in owners_:
        if owner.kept and owner.id not in entered:
            documents.append(_dressed(owner.descriptors[0], owner, ""))
    return documents


def _dressed(descriptor: Descriptor, owner: Owner, name: str) -> dict[str, Any]:
    """The descriptor with this name, and of its digests those that are left."""
    document = names.renamed(descriptor.document, name) if name != descriptor.ref_name else descriptor.document
    noted = names.digests_of(descriptor)
    left = [digest for digest in noted if digest in owner.digests]
    if left == noted:
        return document
    return names.annotated(document, names.DIGESTS, json.dumps(left) if left else "")
