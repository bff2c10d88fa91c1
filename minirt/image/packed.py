# SPDX-License-Identifier: Apache-2.0
"""Layers as they go to a registry: those that are stored uncompressed become gzip on the way (RFC 1952, igzip).

The same layer always becomes the same bytes, so <root>/records/gzip-<diff-id>.json keeps what they are: digest, size,
and what made them. The next push asks the registry for that digest before it compresses anything, and the store
holds no second copy of the layer. A record whose layer is gone is removed when one is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib

from minirt.errors import ImageError, InvalidValue, StoreError
from minirt.image import document, manifest
from minirt.image.layout import replace
from minirt.image.registry.http import CHUNK
from minirt.image.registry.span import spans
from minirt.image.staging import Staging
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    from minirt.image.layout import Layout
    from minirt.image.registry.http import Part

LEVEL = 1
_GZIP = 31  # zlib's wbits for a gzip member
_PLAIN = (manifest.OCI_LAYER, "application/vnd.docker.image.rootfs.diff.tar")
_PACKED = {_PLAIN[0]: manifest.OCI_LAYER + "+gzip", _PLAIN[1]: _PLAIN[1] + ".gzip"}


class Packed:
    """A layer's descriptor at the registry, and its bytes, as often as they are asked for."""

    __slots__ = ("chunks", "descriptor")

    def __init__(self, descriptor: manifest.Descriptor, chunks: Callable[[], Iterator[Part]]) -> None:
        self.descriptor = descriptor
        self.chunks = chunks


class Packer:
    """A context manager: what it compressed lasts as long, and no collection takes the blobs of the image away.
    `packed` may be called by several threads."""

    __slots__ = ("_blobs", "_layout", "_staging")

    def __init__(self, layout: Layout, image: manifest.Manifest) -> None:
        self._layout = layout
        self._blobs = {f"blob {blob.hex}" for blob in (image.config, *image.layers)}
        self._staging = Staging(layout)

    def __enter__(self) -> Packer:
        self._staging.__enter__()
        try:
            gone = self._blobs - self._staging.pin(*self._blobs)
            if gone:
                raise StoreError(
                    f"{gone.pop()[:17]} of the image is gone from the store", "minirt system check says what is missing"
                )
        except BaseException:
            self._staging.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._staging.__exit__(kind, error, trace)

    def packed(self, layer: manifest.Descriptor, diff_id: str, check: Callable[[], None]) -> Packed:
        """`check` raises where the work is to stop."""
        stored = self._layout.blob_path(layer.hex)
        if layer.media_type not in _PACKED:
            return Packed(layer, lambda: spans(stored))
        found = known(self._layout, diff_id)
        if found is not None:
            return Packed(_descriptor(layer, *found), lambda: _compressed(chunks(stored)))
        path = os.path.join(self._staging.path, f"gzip-{diff_id}")
        found = _compress(stored, path, check)
        _note(self._layout, diff_id, *found)
        return Packed(_descriptor(layer, *found), lambda: spans(path))


def chunks(path: str) -> Iterator[bytes]:
    """A file of the store, 1 MiB at a time."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while chunk := os.read(fd, CHUNK):
            yield chunk
    finally:
        os.close(fd)


def _compress(source: str, target: str, check: Callable[[], None]) -> tuple[str, int]:
    """(digest, size) of what `source` becomes in `target`."""
    seen, size = hashlib.sha256(), 0
    try:
        with open(target, "xb", buffering=0) as file:
            for chunk in _compressed(chunks(source)):
                check()
                seen.update(chunk)
                size += len(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
    except OSError as error:
        raise StoreError(
            f"write {target!r}: {os.strerror(error.errno or 0)}", "see df and df -i of the store"
        ) from error
    return seen.hexdigest(), size


def _compressed(plain: Iterator[bytes]) -> Iterator[bytes]:
    deflate = _compressor()[0]
    for chunk in plain:
        if piece := deflate.compress(chunk):
            yield piece
    yield deflate.flush()


def _compressor() -> tuple[Any, str]:
    """A new compressor, and what its bytes depend on."""
    try:
        from isal import __version__, isal_zlib
    except ImportError:
        return zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP), f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {LEVEL}"
    return isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _GZIP), f"isal {__version__} level {LEVEL}"


def _descriptor(layer: manifest.Descriptor, digest_hex: str, size: int) -> manifest.Descriptor:
    found = {"mediaType": _PACKED[layer.media_type], "digest": f"sha256:{digest_hex}", "size": size}
    return manifest.Descriptor(found, "layer")


def _path(layout: Layout, diff_id: str) -> str:
    return os.path.join(layout.root, "records", f"gzip-{diff_id}.json")


def known(layout: Layout, diff_id: str) -> tuple[str, int] | None:
    """(digest, size) of the layer as this compressor makes it, where that has been found out before."""
    try:
        with open(_path(layout, diff_id), "rb") as file:
            found = json.loads(file.read())
        blob = manifest.Descriptor(found, "record")
        return (blob.hex, blob.size) if found.get("by") == _compressor()[1] else None
    except (OSError, InvalidValue, ImageError):
        return None


def _note(layout: Layout, diff_id: str, digest_hex: str, size: int) -> None:
    found = {"digest": f"sha256:{digest_hex}", "size": size, "by": _compressor()[1]}
    replace(_path(layout, diff_id), document.write(found))
    for name in os.listdir(os.path.dirname(_path(layout, diff_id))):
        other = name.removeprefix("gzip-").removesuffix(".json")
        if name == f"gzip-{other}.json" and not os.path.isdir(layout.layer_path(other)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_path(layout, other))
