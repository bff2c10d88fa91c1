# SPDX-License-Identifier: Apache-2.0
"""One layer on its way into the store: its blob kept, its digests checked, its tree unpacked, in one pass.

The stages run in threads of a flow (flow.py): received, hashed and written | decompressed and hashed | extracted. No
more than the flow's queues hold is ever in memory. Writes only to the paths that it is given.
"""

from __future__ import annotations

import os

from minirt.errors import ImageError
from minirt.image import manifest
from minirt.image import progress as told
from minirt.image.expand import Limits, expand
from minirt.image.partial import write
from minirt.image.progress import Progress
from minirt.image.records import LayerRecord
from minirt.image.stream import CHUNK, Stream, Sum
from minirt.image.unpack import unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from minirt.image.flow import Flow


class Layer:
    """A layer that is wanted: its blob, what it is uncompressed, and where its bytes come from. `source(offset)`
    yields the blob from that offset on, in chunks of at most 1 MiB; in a thread that is not the caller's."""

    __slots__ = ("blob", "diff_id", "source")

    def __init__(self, blob: manifest.Descriptor, diff_id: str, source: Callable[[int], Iterator[bytes]]) -> None:
        self.blob = blob
        self.diff_id = diff_id
        self.source = source


def take(stages: Flow, chunks: Iterable[bytes], target: str, diff_id: str, limits: Limits) -> LayerRecord:
    """Unpacks `chunks` into the new directory `target` and takes in all of them."""
    kept = stages.ahead(chunks)
    os.mkdir(target, 0o755)
    os.chmod(target, 0o755)
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = unpack(fd, kept, diff_id, limits, stages.ahead)
    finally:
        os.close(fd)
    for _ in kept:  # the end of the blob, beyond the end of what it holds
        pass
    return LayerRecord(diff_id, found.size, found.entries, found.root, found.implicit, set())


def check(stages: Flow, chunks: Iterable[bytes], diff_id: str, limits: Limits) -> None:
    """A layer that is there already is only checked to be this one."""
    kept = stages.ahead(chunks)
    seen = Sum()
    for _ in seen.passing(expand(kept, limits)):
        pass
    for _ in kept:
        pass
    if seen.hex != diff_id:
        raise ImageError(
            f"digest mismatch: a layer is sha256:{seen.hex} uncompressed, not the diff_id sha256:{diff_id} of its image"
        )


def kept(chunks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Passes chunks on and writes them to a new file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    offset = 0
    try:
        for chunk in chunks:
            write(fd, chunk, offset)
            offset += len(chunk)
            yield chunk
    finally:
        os.close(fd)


def noting(chunks: Iterable[bytes], faults: list[ImageError]) -> Iterator[bytes]:
    """Passes chunks on; what is wrong with them is noted before it is raised."""
    try:
        yield from chunks
    except ImageError as error:
        faults.append(error)
        raise


def watched(chunks: Iterable[bytes], blob: manifest.Descriptor, progress: Progress) -> Iterator[bytes]:
    """Passes the verified chunks of a blob on and tells how many bytes of it have come."""
    done = 0
    for chunk in chunks:
        done += len(chunk)
        progress.tell(blob.hex, told.DOWNLOADING, done, blob.size)
        yield chunk
    progress.tell(blob.hex, told.DOWNLOADED)
    progress.tell(blob.hex, told.EXTRACTING)


class Unknown:
    """A layer whose blob's digest is found out as it passes, with the media type that it has. One that is not
    compressed has its diff_id for a digest, which unpacking checks."""

    __slots__ = ("_diff_id", "_seen", "_head", "_size")

    def __init__(self, diff_id: str) -> None:
        self._diff_id = diff_id
        self._seen: Sum | None = None
        self._head = b""
        self._size = 0

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        stream = Stream(chunks)
        self._head = stream.upto(6)
        passing = _rejoined(self._head, stream)
        if _media_type(self._head) != manifest.OCI_LAYER:
            self._seen = Sum()
            passing = self._seen.passing(passing)
        for chunk in passing:
            self._size += len(chunk)
            yield chunk

    @property
    def hex(self) -> str:
        return self._seen.hex if self._seen is not None else self._diff_id

    def descriptor(self) -> manifest.Descriptor:
        return described(self._head, self.hex, self._size)


def described(head: bytes, digest_hex: str, size: int) -> manifest.Descriptor:
    document = {"mediaType": _media_type(head), "digest": f"sha256:{digest_hex}", "size": size}
    return manifest.Descriptor(document, "layer")


def _rejoined(head: bytes, stream: Stream) -> Iterator[bytes]:
    yield head
    while piece := stream.some(CHUNK):
        yield piece  # type: ignore[misc]  # a memoryview is read as bytes are


def _media_type(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b"):
        return manifest.OCI_LAYER + "+gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return manifest.OCI_LAYER + "+zstd"
    if head.startswith((b"\xfd7zXZ\0", b"BZh")):
        raise ImageError("a layer is compressed with xz or bzip2, which OCI images do not allow")
    return manifest.OCI_LAYER
