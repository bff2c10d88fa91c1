# SPDX-License-Identifier: Apache-2.0
"""`push`: one image of the store to a registry (OCI distribution-spec, "Pushing blobs", "Pushing manifests").

Blobs go as they are stored, several at once; one that the registry has is not sent, one that another of its
repositories is known to have is mounted from there. The manifest goes last. Layers that are stored uncompressed (from
a docker archive) go out as gzip, as Docker sends them: packed.py.
"""

from __future__ import annotations

import contextlib

from minirt.errors import ImageError, InvalidValue, NotFound, RegistryError, StoreError
from minirt.image import config, document, manifest, names, tags
from minirt.image import progress as states
from minirt.image.flow import Flow
from minirt.image.packed import Packer
from minirt.image.registry.client import Repository
from minirt.image.registry.span import spans
from minirt.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirt.image.layout import Layout
    from minirt.image.progress import Progress
    from minirt.image.registry.http import Part
    from minirt.image.registry.settings import Settings
    from minirt.model.reference import Reference

JOBS = 4
SOURCES_LIMIT = 3


class Pushed:
    """What the tag stands for at the registry now: "sha256:…", and the manifest's size."""

    __slots__ = ("digest", "size")

    def __init__(self, digest: str, size: int) -> None:
        self.digest = digest
        self.size = size


def push(
    layout: Layout, descriptor: manifest.Descriptor, name: Reference, settings: Settings, progress: Progress
) -> Pushed:
    """Sends the image whose manifest is `descriptor` to the repository and tag `name`."""
    with Repository(name, settings, "pull,push") as repository:
        return _Push(layout, descriptor, name, progress).run(repository)


class _Push:
    __slots__ = ("descriptor", "layout", "name", "progress")

    def __init__(self, layout: Layout, descriptor: manifest.Descriptor, name: Reference, progress: Progress) -> None:
        self.layout = layout
        self.descriptor = descriptor
        self.name = name
        self.progress = progress

    def run(self, repository: Repository) -> Pushed:
        what = f"manifest {self.descriptor.digest[:19]}"
        try:
            data = b"".join(self.layout.blob(self.descriptor.hex, self.descriptor.size, what))
        except FileNotFoundError as error:
            raise StoreError(f"{what} is gone from the store", "pull or load the image again") from error
        found = document.parse(data, what)
        if manifest.is_index(found, self.descriptor.media_type, what):
            raise ImageError(f"{what} is an index: push what it lists", "pull or load it by its platform")
        image = manifest.read(found, what)
        diff_ids = config.check(self.layout.document(image.config, "image config"))
        if len(diff_ids) != len(image.layers):
            raise ImageError(f"{what} lists {len(image.layers)} layers, its config {len(diff_ids)}")
        for diff_id in diff_ids:
            self.progress.tell(diff_id, states.PREPARING)
        sent = self._blobs(repository, image, diff_ids)
        if sent != image.layers:
            data = document.write({**found, "layers": [one.document for one in sent]})
        media_type = str(found.get("mediaType") or self.descriptor.media_type or manifest.OCI_MANIFEST)
        digest = repository.put_manifest(str(self.name.tag), data, media_type)
        with contextlib.suppress(NotFound):  # it may have been removed meanwhile
            tags.note(self.layout, self.descriptor.hex, names.digest_of(self.name, digest))
        return Pushed(digest, len(data))

    def _blobs(
        self, repository: Repository, image: manifest.Manifest, diff_ids: list[str]
    ) -> list[manifest.Descriptor]:
        """Sends the config, and each layer once; the descriptors of layers that the manifest lists there."""
        layers = image.layers
        done: dict[str, manifest.Descriptor] = {}
        sources = _sources(self.layout, self.name, diff_ids)

        def sending(layer: manifest.Descriptor, diff_id: str) -> Callable[[Flow], None]:
            def send(stages: Flow) -> None:
                one = packer.packed(layer, diff_id, stages.check)
                if not _is_foreign(layer):
                    blob = one.descriptor
                    self._blob(repository, blob.digest, blob.size, one.chunks, diff_id, sources.get(diff_id, []))
                done[layer.hex] = one.descriptor

            return send

        def configure(stages: Flow) -> None:
            del stages
            path = self.layout.blob_path(image.config.hex)
            self._blob(repository, image.config.digest, image.config.size, lambda: spans(path), "", ())

        unique = {layer.hex: (layer, diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True)}
        with Packer(self.layout, image) as packer, Flow(repository.close) as flow:
            largest_first = sorted(unique.values(), key=lambda one: -one[0].size)
            flow.each([*(sending(*one) for one in largest_first), configure], JOBS)
        return [done[layer.hex] for layer in layers]

    def _blob(
        self,
        repository: Repository,
        digest: str,
        size: int,
        chunks: Callable[[], Iterator[Part]],
        told: str,
        sources: list[Reference] | tuple[()],
    ) -> None:
        """`told` is the layer's diff_id, by which Docker shows it; "" for the config, which it does not show."""

        def tell(state: str, done: int = 0) -> None:
            if told:
                self.progress.tell(told, state, done, size if done else 0)

        if repository.has_blob(digest):
            tell(states.LAYER_EXISTS)
            return
        for source in sources:
            with contextlib.suppress(RegistryError):  # not allowed to read there: then it is sent
                if repository.mount(digest, source):
                    tell(f"{states.MOUNTED} {source.path}")
                    return
        tell(states.PUSHING)
        repository.upload(digest, size, chunks, lambda done: tell(states.PUSHING, done))
        tell(states.PUSHED)


def _sources(layout: Layout, name: Reference, diff_ids: list[str]) -> dict[str, list[Reference]]:
    """{diff_id: other repositories of that registry which an image with this layer came from or went to}."""
    found: dict[str, list[Reference]] = {}
    for descriptor in layout.descriptors():
        noted = [reference.parse(text) for text in names.digests_of(descriptor) if _is_name(text)]
        others = [one for one in noted if one.domain == name.domain and one.path != name.path]
        if not others:
            continue
        for diff_id in _diff_ids(layout, descriptor):
            if diff_id in diff_ids:
                known = found.setdefault(diff_id, [])
                known += [one for one in others if one.path not in [other.path for other in known]]
    return {diff_id: known[:SOURCES_LIMIT] for diff_id, known in found.items()}


def _diff_ids(layout: Layout, descriptor: manifest.Descriptor) -> list[str]:
    """Of an image that can be read; none of another."""
    try:
        image = manifest.read(layout.document(descriptor, "manifest"), "manifest")
        return config.check(layout.document(image.config, "image config"))
    except (ImageError, OSError):
        return []


def _is_name(text: str) -> bool:
    try:
        return reference.parse(text).digest is not None
    except InvalidValue:
        return False


def _is_foreign(layer: manifest.Descriptor) -> bool:
    """Layers that only their own publisher may hand out stay where they are, as in Docker."""
    return "nondistributable" in layer.media_type or "foreign" in layer.media_type
