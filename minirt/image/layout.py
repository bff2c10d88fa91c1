# SPDX-License-Identifier: Apache-2.0
"""The store of images: an OCI image layout (image-layout.md) under <root>/images, that skopeo and umoci read too.

    <root>/images/oci-layout, index.json, blobs/sha256/<hex>   the truth
    <root>/layers/<diff-id>/                                   unpacked layers, from those blobs
    <root>/records/                                            what `find` reads (records.py), from those documents
    <root>/staging/                                            work in progress (staging.py)
    <root>/partial/<hex>                                       blobs that are being fetched (partial.py)
    <root>/trash/                                              what is being removed (garbage.py)

index.json appears by rename after fsync, under flock(2) on the directory. All directories are 0700: a set-id
program in a layer is nobody's to run. Must not import what only one kind of source needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from minirt.errors import ImageError, StoreError
from minirt.image import document, manifest
from minirt.image.stream import CHUNK, verified, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Layout:
    """The paths below one root, and the documents in them."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root

    @property
    def images(self) -> str:
        return os.path.join(self.root, "images")

    @property
    def index_path(self) -> str:
        return os.path.join(self.images, "index.json")

    @property
    def layers(self) -> str:
        return os.path.join(self.root, "layers")

    @property
    def records(self) -> str:
        return os.path.join(self.root, "records")

    @property
    def partial(self) -> str:
        return os.path.join(self.root, "partial")

    def blob_path(self, digest_hex: str) -> str:
        """`digest_hex` has passed model.reference.sha256_hex: 64 hexadecimal digits, nothing else."""
        return os.path.join(self.images, "blobs", "sha256", digest_hex)

    def layer_path(self, diff_id: str) -> str:
        return os.path.join(self.layers, diff_id)

    def create(self, index: bool = True) -> None:
        """Makes what is missing of the store. `index`: StoreError where only that is missing, because an empty one
        would make garbage of all the rest."""
        try:
            for path in ("images/blobs/sha256", "layers", "records", "staging", "partial", "trash"):
                below = self.root
                os.makedirs(below, 0o711, exist_ok=True)
                for part in path.split("/"):
                    below = os.path.join(below, part)
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(below, 0o700)
            for name, data in (("oci-layout", _LAYOUT), ("index.json", _empty_index())):
                if name == "index.json" and (not index or self._lost_its_index()):
                    continue
                if not os.path.exists(os.path.join(self.images, name)):
                    _make(os.path.join(self.images, name), data)
        except OSError as error:
            raise StoreError(
                f"create the store {self.root!r}: {error.strerror}", "run as root, or choose another by --root"
            ) from error

        if index and not os.path.exists(self.index_path):
            raise StoreError(f"{self.index_path!r} is missing", "minirt system check --repair makes it anew")

    def _lost_its_index(self) -> bool:
        blobs = os.path.dirname(self.blob_path("x"))
        return not os.path.exists(self.index_path) and bool(os.listdir(blobs)) and not os.path.exists(self.index_path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Whoever changes the index, or takes something out of the store, holds this alone."""
        fd = os.open(self.images, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def descriptors(self) -> list[manifest.Descriptor]:
        """The images in index.json, each with its name as an annotation."""
        try:
            data = _read(self.index_path, document.SIZE_LIMIT)
            index = document.parse(data, "index.json")
            return manifest.descriptors(index, "manifests", "index.json")
        except (OSError, ImageError) as error:
            why = error.strerror if isinstance(error, OSError) else error.message
            raise StoreError(f"read {self.index_path!r}: {why}", "minirt system check --repair renews it") from error

    def write_descriptors(self, descriptors: list[dict[str, Any]]) -> None:
        index = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": descriptors}
        replace(self.index_path, document.write(index))

    def has_blob(self, digest_hex: str, size: int) -> bool:
        try:
            there = os.lstat(self.blob_path(digest_hex))
        except OSError:
            return False
        return stat.S_ISREG(there.st_mode) and there.st_size == size

    def blob(self, digest_hex: str, size: int, what: str) -> Iterator[bytes]:
        """The bytes of a blob, its digest and size checked as they pass."""
        return verified(_chunks(self.blob_path(digest_hex)), digest_hex, size, what)

    def document(self, descriptor: manifest.Descriptor, what: str) -> dict[str, Any]:
        if descriptor.size > document.SIZE_LIMIT:
            raise ImageError(f"{what} is larger than the limit of {document.SIZE_LIMIT} bytes")
        data = b"".join(self.blob(descriptor.hex, descriptor.size, what))
        return document.parse(data, what)


def replace(path: str, data: bytes, only_new: bool = False) -> None:
    """Gives `path` new content: all of it or none, also after a power cut. only_new: what is there stays."""
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        if only_new:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        else:
            os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def _make(path: str, data: bytes) -> None:
    """`replace` without the layout lock: a collection at the same time may take the temporary file for a dead one's."""
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError):
            replace(path, data, only_new=True)
            return
    replace(path, data, only_new=True)


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _empty_index() -> bytes:
    return document.write({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": []})


def _read(path: str, limit: int) -> bytes:
    return b"".join(_chunks(path, limit + 1))


def _chunks(path: str, limit: int | None = None) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while chunk := os.read(fd, CHUNK if limit is None else min(CHUNK, limit)):
            yield chunk
            limit = None if limit is None else limit - len(chunk)
    finally:
        os.close(fd)
