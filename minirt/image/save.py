# SPDX-License-Identifier: Apache-2.0
"""`save`: images of the store as one archive or directory that others read (image-layout.md; moby image/spec/v1.2.md).

    docker-archive   manifest.json beside a whole OCI layout, as Docker writes it since version 25: every reader of
                     either form takes it
    oci-archive      the OCI layout alone, in a tar
    oci-dir          the same in a directory

Blobs are written as they are stored, each once, verified on the way; so digests survive save and load. In
index.json an image is named as Docker does: by its tag, the whole name beside it; where two images of the archive
have the same tag, by the whole name.
"""

from __future__ import annotations

import os

from minirt.errors import ImageError, StoreError
from minirt.image import document, header, manifest, pax
from minirt.image.layout import Layout
from minirt.image.sink import Sink, SinkError
from minirt.image.stored import Stored
from minirt.image.stream import write_all
from minirt.model import json
from minirt.model.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_DIRECTORY = "docker-archive", "oci-archive", "oci-dir"
FORMATS = (DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_DIRECTORY)
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_BLOBS = "blobs/sha256/"
_FULL_NAME = "io.containerd.image.name"


class Target:
    """Takes files by name, one after another."""

    def directory(self, name: str) -> None:
        raise NotImplementedError

    def file(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """`chunks` are exactly `size` bytes, or raise."""
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError


class Archive(Target):
    """A tar. All times are 0, so that the same images become the same archive."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def directory(self, name: str) -> None:
        self._sink.write(pax.encode(pax.Member(f"{name}/".encode(), header.DIRECTORY, 0o755)))

    def file(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        member = pax.Member(name.encode(), header.REGULAR, 0o644)
        member.size = size
        self._sink.write(pax.encode(member))
        for chunk in chunks:
            self._sink.write(chunk)
        self._sink.write(pax.padding(size))

    def finish(self) -> None:
        self._sink.write(pax.END)
        self._sink.flush()


class Directory(Target):
    """An empty directory that nobody else knows of yet."""

    def __init__(self, path: str) -> None:
        self._path = path

    def directory(self, name: str) -> None:
        os.mkdir(os.path.join(self._path, name), 0o755)

    def file(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        try:
            fd = os.open(os.path.join(self._path, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                for chunk in chunks:
                    write_all(fd, chunk)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise SinkError(error.errno, error.strerror) from error

    def finish(self) -> None:
        pass


def save(layout: Layout, images: list[Stored], target: Target, form: str) -> None:
    """StoreError: a blob is missing or damaged. SinkError: the target takes no more."""
    for name in ("blobs", "blobs/sha256"):
        target.directory(name)
    seen: set[str] = set()
    for stored in images:
        for blob in (stored.descriptor, stored.image.config, *stored.image.layers):
            if blob.hex not in seen:
                seen.add(blob.hex)
                target.file(_BLOBS + blob.hex, blob.size, _blob(layout, blob))
    documents = {"index.json": document.write(_index(images)), "oci-layout": _LAYOUT}
    if form == DOCKER_ARCHIVE:
        documents["manifest.json"] = json.dumps([_described(stored) for stored in images]).encode()
    for name in sorted(documents):
        target.file(name, len(documents[name]), (documents[name],))
    target.finish()


def _blob(layout: Layout, blob: manifest.Descriptor) -> Iterator[bytes]:
    try:
        yield from layout.blob(blob.hex, blob.size, f"blob {blob.digest[:19]}")
    except FileNotFoundError:
        raise StoreError(
            f"the store has no blob {blob.digest}", "load or pull the image again; minirt system check lists such"
        ) from None
    except ImageError as error:
        raise StoreError(error.message, "the store is damaged: minirt system check --repair") from None


def _described(stored: Stored) -> dict[str, Any]:
    """One image in manifest.json. Names in full: podman would take a short one for localhost/NAME."""
    return {
        "Config": _BLOBS + stored.image.config.hex,
        "RepoTags": stored.names or None,
        "Layers": [_BLOBS + layer.hex for layer in stored.image.layers],
    }


def _index(images: list[Stored]) -> dict[str, Any]:
    names = [name for stored in images for name in stored.names]
    tags = [parse(name).tag for name in names]
    listed = []
    for stored in images:
        for name in stored.names or [""]:
            tag = parse(name).tag if name else None
            found = {
                "mediaType": stored.descriptor.media_type or manifest.OCI_MANIFEST,
                "digest": stored.descriptor.digest,
                "size": stored.descriptor.size,
            }
            if name:
                found["annotations"] = {
                    _FULL_NAME: name,
                    manifest.REF_NAME: tag if tag and tags.count(tag) == 1 else name,
                }
            platform = {key: stored.config[key] for key in ("architecture", "os", "variant") if stored.config.get(key)}
            listed.append({**found, "platform": platform} if len(platform) > 1 else found)
    return {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": listed}
