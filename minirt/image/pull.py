# SPDX-License-Identifier: Apache-2.0
"""`pull`: one image of a registry into the store (OCI distribution-spec, "Pulling manifests", "Pulling blobs").

    HEAD tag ── the digest that the store notes for it? ── nothing to do
    GET tag ── index? the platform that suits ── GET manifest ── config ── layers ── commit

The manifest chosen from an index is what is stored and named. The digest that the tag stood for is noted on its
descriptor, with the platform that was asked for: the next pull compares nothing else. What unpacks layers is
imported when there are any.
"""

from __future__ import annotations

import os

from minirt.errors import ImageError, NotFound, StoreError
from minirt.image import config, document, find, manifest, names
from minirt.image.layout import Layout
from minirt.image.registry.client import Repository
from minirt.image.stream import verified
from minirt.model import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from minirt.image.find import Image
    from minirt.image.progress import Progress
    from minirt.image.registry.client import Answer
    from minirt.image.registry.settings import Settings
    from minirt.model.platform import Platform
    from minirt.model.reference import Reference

NESTED_LIMIT = 3


class Pulled:
    """`identity`: "sha256:…", the image's id. `digest`: what the tag stands for at the registry. `new`: whether
    anything has changed here."""

    __slots__ = ("digest", "identity", "name", "new")

    def __init__(self, identity: str, digest: str, name: str, new: bool) -> None:
        self.identity = identity
        self.digest = digest
        self.name = name
        self.new = new


def pull(root: str, name: Reference, settings: Settings, platform: str | None, progress: Progress) -> Pulled:
    """Brings in what `name` stands for, for `platform` or else for this machine."""
    machine = os.uname().machine
    suited = platforms.parse(platform or "linux", machine)
    with Repository(name, settings) as repository:
        return _Pull(Layout(root), name, suited, platform is not None, progress).run(repository)


def tags(name: Reference, settings: Settings) -> list[str]:
    """Every tag of the repository."""
    with Repository(name, settings) as repository:
        found = list(repository.tags())
    if not found:
        raise NotFound(f"the repository {name.familiar} has no tags", "push one, or check the name")
    return found


class _Pull:
    __slots__ = ("explicit", "layout", "name", "platform", "progress", "stored", "wanted")

    def __init__(self, layout: Layout, name: Reference, platform: Platform, explicit: bool, progress: Progress) -> None:
        self.layout = layout
        self.name = name.tagged()
        self.platform = platform
        self.explicit = explicit
        self.progress = progress
        self.wanted = self.name.digest or str(self.name.tag)
        self.stored = names.stored(self.name)

    def run(self, repository: Repository) -> Pulled:
        known = self._known()
        answer = None
        if known is not None:
            head = repository.head(self.wanted)
            if head is None:
                answer = repository.manifest(self.wanted)
            digest = answer.digest if answer is not None else head.digest if head is not None else ""
            if names.digest_of(self.name, digest) in known[1]:
                self._say()
                return Pulled(known[0], digest, self.stored, False)
        answer = answer or repository.manifest(self.wanted)
        self._say()
        return self._take(repository, answer)

    def _say(self) -> None:
        self.progress.say(f"{self.name if self.name.digest else self.name.tag}: Pulling from {self.name.path}")

    def _known(self) -> tuple[str, list[str]] | None:
        """(id, digests noted) of the image that has the name now, if it can run and is of that platform. No blob is
        looked at."""
        descriptor = names.named(self.layout, self.stored)
        asked = ("", str(self.platform)) if not self.explicit else (str(self.platform),)
        if descriptor is None or names.platform_of(descriptor) not in asked:
            return None
        image = _image(self.layout.root, self.stored)
        return (image.id, names.digests_of(descriptor)) if image else None

    def _take(self, repository: Repository, answer: Answer) -> Pulled:
        digest = answer.digest
        answer, found = self._chosen(repository, answer)
        what = f"manifest {answer.digest[:19]}"
        image = manifest.read(found, what)
        here = _whole(self.layout, image.config.digest)
        if here is not None and (pulled := self._name(here, image, digest)):
            return pulled
        settings = _config(repository, image.config)
        whole = document.parse(settings, "image config")
        diff_ids = config.layers(whole, len(image.layers))
        self._check_platform(whole)
        noted = [names.digest_of(self.name, digest)]
        described = {"mediaType": _media_type(answer, found), "digest": answer.digest, "size": len(answer.data)}
        annotations = names.noting(self.layout, answer.digest, noted, str(self.platform))
        descriptor = manifest.Descriptor({**described, "annotations": annotations}, what)
        self._store(repository, descriptor, image, diff_ids, [answer.data, settings])
        return Pulled(image.config.digest, digest, self.stored, True)

    def _name(self, here: manifest.Descriptor, image: manifest.Manifest, digest: str) -> Pulled | None:
        """As Docker: an image that is here only gets the name, if its layers are known to be what these blobs hold.
        None where they are not, or where it was removed meanwhile."""
        from minirt.image import tags as tags_

        whole = self.layout.document(image.config, "image config")
        self._check_platform(whole)
        if not _proven(self.layout, image.layers, config.check(whole)):
            return None

        before = _image(self.layout.root, self.stored)
        try:
            tags_.tag(self.layout, here.hex, self.stored, names.digest_of(self.name, digest), str(self.platform))
        except NotFound:
            return None
        return Pulled(image.config.digest, digest, self.stored, before is None or before.id != image.config.digest)

    def _chosen(self, repository: Repository, answer: Answer) -> tuple[Answer, dict[str, Any]]:
        """The manifest that suits, and its answer."""
        for _ in range(NESTED_LIMIT + 1):
            what = f"manifest {answer.digest[:19]}"
            found = document.parse(answer.data, what)
            if not manifest.is_index(found, answer.media_type, what):
                return answer, found
            listed = manifest.descriptors(found, "manifests", what)
            place = platforms.best(self.platform, [one.document.get("platform") for one in listed])
            if place is None:
                raise self._not_offered(listed)
            answer = _by_digest(repository, listed[place])
        raise ImageError(f"hostile image: indexes are nested deeper than {NESTED_LIMIT}")

    def _not_offered(self, listed: list[manifest.Descriptor]) -> NotFound:
        offered = []
        for one in listed:
            stated = one.document.get("platform")
            if isinstance(stated, dict) and stated.get("os") != "unknown":
                words = [str(stated.get(key, "")) for key in ("os", "architecture", "variant")]
                offered.append("/".join(word for word in words if word)[:40])
        return NotFound(
            f"no matching manifest for {self.platform} in the manifest list entries",
            f"it has {', '.join(dict.fromkeys(offered[:20])) or 'none'}: choose one by --platform",
        )

    def _check_platform(self, whole: dict[str, Any]) -> None:
        """--platform must be met also where there was no index to choose from."""
        if not self.explicit or not whole.get("architecture"):
            return
        stated = {"os": whole.get("os") or "linux", "architecture": whole["architecture"]}
        stated["variant"] = whole.get("variant") or ""
        if platforms.best(self.platform, [stated]) is None:
            there = platforms.Platform(stated["os"], stated["architecture"], stated["variant"])
            raise NotFound(
                f"image with reference {self.name.short()} was found but does not provide the specified platform "
                f"({self.platform})",
                f"it is for {there}",
            )

    def _store(
        self,
        repository: Repository,
        descriptor: manifest.Descriptor,
        image: manifest.Manifest,
        diff_ids: list[str],
        documents: list[bytes],
    ) -> None:
        from minirt.image.commit import Ready, commit
        from minirt.image.staging import Layer, Staging

        self.layout.create()
        with Staging(self.layout, None, self.progress) as staging:
            staging.stopping = repository.close
            for data in documents:
                staging.add_document(data)
            staging.add_layers(
                [
                    Layer(blob, diff_id, _source(repository, blob))
                    for blob, diff_id in zip(image.layers, diff_ids, strict=True)
                ]
            )
            commit(staging, [Ready(descriptor, image, [self.stored], diff_ids)])


def _image(root: str, text: str) -> Image | None:
    """What is called so, if its layers are unpacked."""
    try:
        image = find.look(root, text)
    except (NotFound, StoreError, OSError):
        return None
    return image if all(os.path.isdir(layer) for layer in image.layers) else None


def _whole(layout: Layout, identity: str) -> manifest.Descriptor | None:
    """The manifest of the image with this id, if the store has all of it: blobs, and layers unpacked."""
    if _image(layout.root, identity) is None:
        return None
    try:
        listed = {one.digest for one in find.images(layout.root) if one.id == identity}
        for descriptor in layout.descriptors():
            if descriptor.digest in listed:
                found = manifest.read(layout.document(descriptor, "manifest"), "manifest")
                if all(layout.has_blob(blob.hex, blob.size) for blob in (found.config, *found.layers)):
                    return descriptor
    except (NotFound, StoreError, ImageError, OSError):
        pass
    return None


def _proven(layout: Layout, blobs: list[manifest.Descriptor], diff_ids: list[str]) -> bool:
    """Whether each blob has been unpacked into this layer before, or made of it for a push."""
    from minirt.image import packed, records

    if len(blobs) != len(diff_ids):
        return False
    for blob, diff_id in zip(blobs, diff_ids, strict=True):
        record = records.layer_record(layout, diff_id)
        if record is None or (blob.hex not in record.blobs and packed.known(layout, diff_id) != (blob.hex, blob.size)):
            return False
    return True


def _source(repository: Repository, blob: manifest.Descriptor) -> Callable[[int], Iterator[bytes]]:
    return lambda offset: repository.blob(blob, offset)


def _by_digest(repository: Repository, descriptor: manifest.Descriptor) -> Answer:
    """A manifest that an index lists: of the size and type that it states."""
    what = f"manifest {descriptor.digest[:19]}"
    if descriptor.size > document.SIZE_LIMIT:
        raise ImageError(f"{what} is larger than the limit of {document.SIZE_LIMIT} bytes")
    answer = repository.manifest(descriptor.digest)
    if len(answer.data) != descriptor.size:
        raise ImageError(f"{what} has {len(answer.data)} bytes, its descriptor says {descriptor.size}")
    if descriptor.media_type and answer.media_type and answer.media_type != descriptor.media_type:
        raise ImageError(
            f"malformed {what}: the registry says that it is {answer.media_type[:80]!a}, its descriptor "
            f"{descriptor.media_type[:80]!a}"
        )
    return answer


def _config(repository: Repository, descriptor: manifest.Descriptor) -> bytes:
    if descriptor.size > document.SIZE_LIMIT:
        raise ImageError(f"the image config is larger than the limit of {document.SIZE_LIMIT} bytes")
    return b"".join(verified(repository.blob(descriptor), descriptor.hex, descriptor.size, "image config"))


def _media_type(answer: Answer, found: dict[str, Any]) -> str:
    return str(found.get("mediaType") or answer.media_type or manifest.OCI_MANIFEST)
