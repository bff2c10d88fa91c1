# SPDX-License-Identifier: Apache-2.0
"""Indexes, manifests and descriptors (OCI image specification: image-index.md, manifest.md, descriptor.md),
checked.

A digest becomes a path only by way of `Descriptor`, which has checked its grammar (CVE-2024-3727). A document that
is manifest and index at once is refused (CVE-2021-41190), as is a media type that contradicts its content. Pure.
"""

from __future__ import annotations

import os

from minirt.errors import ImageError, InvalidValue
from minirt.model.reference import parse, sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_DOCKER = "application/vnd.docker."
INDEXES = (OCI_INDEX, _DOCKER + "distribution.manifest.list.v2+json")
MANIFESTS = (OCI_MANIFEST, _DOCKER + "distribution.manifest.v2+json")
CONFIGS = (OCI_CONFIG, _DOCKER + "container.image.v1+json")
LAYERS = (
    OCI_LAYER,
    OCI_LAYER + "+gzip",
    OCI_LAYER + "+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    _DOCKER + "image.rootfs.diff.tar",
    _DOCKER + "image.rootfs.diff.tar.gzip",
    _DOCKER + "image.rootfs.diff.tar.zstd",
    _DOCKER + "image.rootfs.foreign.diff.tar.gzip",
)
LIST_LIMIT = 1000
_CONTAINERD_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Descriptor:
    """Points to a blob: `hex` are the 64 digits of its SHA-256; `document` is the whole as it stood."""

    __slots__ = ("hex", "size", "media_type", "document")

    def __init__(self, document: Any, what: str) -> None:
        if not isinstance(document, dict):
            raise ImageError(f"malformed {what}: not a descriptor")
        try:
            self.hex = sha256_hex(document.get("digest"), what)
        except InvalidValue as error:
            raise ImageError(error.message, error.remedy) from None
        size, media_type = document.get("size"), document.get("mediaType", "")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 62:
            raise ImageError(f"malformed {what}: its size is not a number of bytes")
        if not isinstance(media_type, str):
            raise ImageError(f"malformed {what}: its mediaType is not a string")
        self.size = size
        self.media_type = media_type
        self.document = document

    @property
    def digest(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def ref_name(self) -> str:
        """The annotation that names an image in a layout's index; "" for none."""
        annotations = self.document.get("annotations")
        name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
        return name if isinstance(name, str) else ""

    def suits(self, architecture: str) -> bool:
        """Whether its platform, where it states one, is linux on this architecture."""
        platform = self.document.get("platform")
        if not isinstance(platform, dict):
            return True
        return platform.get("os") == "linux" and platform.get("architecture") == architecture


class Manifest:
    """One image: its config and its layers, bottom first."""

    __slots__ = ("config", "layers")

    def __init__(self, config: Descriptor, layers: list[Descriptor]) -> None:
        self.config = config
        self.layers = layers


def is_index(document: dict[str, Any], media_type: str, what: str) -> bool:
    """Whether it is an index rather than a manifest. What it holds decides, and both media types must agree."""
    stated = document.get("mediaType") or media_type
    if "manifests" in document and ("layers" in document or "config" in document):
        raise ImageError(f"hostile {what}: it is a manifest and an index at once")
    index = "manifests" in document
    if media_type and stated != media_type:
        raise ImageError(f"malformed {what}: it says that it is {stated!r}, its descriptor {media_type!r}")
    if stated and stated not in (INDEXES if index else MANIFESTS):
        kind = "an index" if index else "a manifest"
        raise ImageError(f"malformed {what}: the media type {str(stated)[:80]!a} is not that of {kind}")
    if document.get("schemaVersion") != 2:
        raise ImageError(f"malformed {what}: its schemaVersion is not 2")
    return index


def descriptors(document: dict[str, Any], name: str, what: str) -> list[Descriptor]:
    """The list of descriptors under `name`, "manifests" or "layers"."""
    listed = document.get(name)
    if not isinstance(listed, list) or len(listed) > LIST_LIMIT:
        raise ImageError(f"malformed {what}: {name} is not a list of at most {LIST_LIMIT} descriptors")
    return [Descriptor(item, f"{what}: {name}/{index}") for index, item in enumerate(listed)]


def read(document: dict[str, Any], what: str) -> Manifest:
    """A manifest whose config is an image's and whose layers are tar streams."""
    config = Descriptor(document.get("config"), f"{what}: config")
    if config.media_type not in CONFIGS:
        raise ImageError(f"{what} is not that of a container image: its config is of type {config.media_type[:80]!a}")
    layers = descriptors(document, "layers", what)
    for layer in layers:
        if layer.media_type not in LAYERS:
            raise ImageError(f"{what}: a layer is of the unknown type {layer.media_type[:80]!a}")
    return Manifest(config, layers)


def names_of(descriptor: Descriptor) -> list[str]:
    """The name that an index gives to an image: containerd's annotation in full, else OCI's, read as Docker reads
    it."""
    annotations = descriptor.document.get("annotations")
    full = annotations.get(_CONTAINERD_NAME) if isinstance(annotations, dict) else None
    text = full if isinstance(full, str) else descriptor.ref_name
    return [checked_name(text)] if text else []


def checked_name(text: str) -> str:
    try:
        return str(parse(text).tagged())
    except InvalidValue as error:
        raise ImageError(f"malformed image: its name: {error.message}") from None


def host_architecture() -> str:
    """This machine in Go's words, which OCI uses: amd64, arm64."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)
