# SPDX-License-Identifier: Apache-2.0
"""Decompression of layers and archives, in process and within stated limits.

The format is told by its magic number, not by a media type: gzip (RFC 1952; igzip where `isal` is installed, else
zlib), zstd (RFC 8878, with a window of at most 128 MiB), and xz and bzip2, which Docker's load reads too. No
program is ever run for it: an image could bring its own (CVE-2014-9357). Reads no file.
"""

from __future__ import annotations

import zlib

from minirt.errors import HostError, ImageError
from minirt.image.stream import CHUNK, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

WINDOW_LIMIT = 1 << 27
_FIRST_STEP = 1 << 10
_STEP = CHUNK // 4  # of what goes into the inflater: what then does not fit into a chunk of output is copied once more


class Limits:
    """What one layer may cost: bytes that come out, entries, and how much more comes out than went in.

    Beyond `allowance_bytes`, at most `ratio` bytes may come out of each byte that went in.
    """

    __slots__ = ("layer_bytes", "entries", "ratio", "allowance_bytes")

    def __init__(
        self,
        layer_bytes: int = 64 << 30,
        entries: int = 1_000_000,
        ratio: int = 200,
        allowance_bytes: int = 2 << 30,
    ) -> None:
        self.layer_bytes = layer_bytes
        self.entries = entries
        self.ratio = ratio
        self.allowance_bytes = allowance_bytes


class _Fed:
    """Counts what the decompressor took."""

    __slots__ = ("_chunks", "size")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk


def expand(chunks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """What `chunks` hold, decompressed; ImageError where it is damaged or exceeds a limit, which it names."""
    fed = _Fed(chunks)
    stream = Stream(fed)
    head = stream.upto(6)
    out = 0
    for piece in _decoder(head)(_joined(head, stream)):
        out += len(piece)
        if out > limits.layer_bytes:
            raise ImageError(f"a layer expands to more than the limit of {limits.layer_bytes} bytes")
        if out > limits.allowance_bytes + limits.ratio * fed.size:
            raise ImageError(
                f"a layer expands beyond the limit of {limits.ratio} times its compressed size",
                f"{fed.size} bytes had become {out}: this looks like a decompression bomb",
            )
        yield piece


def _joined(head: bytes, stream: Stream) -> Iterator[bytes]:
    yield head
    while piece := stream.some(CHUNK):
        yield piece  # type: ignore[misc]  # a memoryview is read as bytes are


def _decoder(head: bytes) -> Any:
    if head.startswith(b"\x1f\x8b"):
        return _gunzip
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return _unzstd
    if head.startswith(b"\xfd7zXZ\0"):
        return _unxz
    if head.startswith(b"BZh"):
        return _bunzip2
    return _plain


def _plain(chunks: Iterable[bytes]) -> Iterator[bytes]:
    return iter(chunks)


def _inflate_module() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Members one after another (RFC 1952, 2.2), then at most zeros.

    What a finished member left over is copied by the library, so a new member is fed small steps first: a million
    empty members cost time in proportion to their length.
    """
    module = _inflate_module()
    inflater = module.decompressobj(31)
    step, padded = _STEP, False
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                if inflater.eof:
                    if padded or view[0] == 0:
                        padded = True
                        _only_zeros(view)
                        break
                    inflater, step = module.decompressobj(31), _FIRST_STEP
                piece = view[:step]
                data = inflater.decompress(piece, CHUNK)
                while data:
                    yield data
                    data = inflater.decompress(inflater.unconsumed_tail, CHUNK) if not inflater.eof else b""
                view = view[len(piece) - len(inflater.unused_data) :]
                step = min(4 * step, _STEP)
    except (zlib.error, module.error) as error:
        raise ImageError(f"damaged gzip stream: {error}") from None
    if not inflater.eof:
        raise ImageError("truncated gzip stream")


def _only_zeros(view: memoryview) -> None:
    if any(view):
        raise ImageError("damaged gzip stream: something else follows its end")


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Frames one after another. A stream cut inside a frame is told by the digest or by the tar that ends
    early."""
    try:
        import zstandard
    except ImportError:
        raise HostError(
            "a layer is compressed with zstd, which this Python cannot read", "install the Python package zstandard"
        ) from None
    stream = Stream(chunks)

    class Source:
        def read(self, size: int) -> bytes:
            return stream.upto(size)

    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT).stream_reader(
        Source(),  # type: ignore[arg-type]  # one method of IO is enough
        read_size=CHUNK // 2,
        read_across_frames=True,
    )
    try:
        while piece := reader.read(CHUNK):
            yield piece
    except zstandard.ZstdError as error:
        raise ImageError(
            f"damaged zstd stream: {error}", f"a window of more than {WINDOW_LIMIT >> 20} MiB is refused"
        ) from None


def _unxz(chunks: Iterable[bytes]) -> Iterator[bytes]:
    import lzma

    return _blocks(chunks, lambda: lzma.LZMADecompressor(memlimit=WINDOW_LIMIT), (lzma.LZMAError,))


def _bunzip2(chunks: Iterable[bytes]) -> Iterator[bytes]:
    import bz2

    return _blocks(chunks, bz2.BZ2Decompressor, (OSError, ValueError))


def _blocks(chunks: Iterable[bytes], make: Any, faults: tuple[type[Exception], ...]) -> Iterator[bytes]:
    """One stream by an object that bounds its own output; what follows its end may only be zeros."""
    decoder = make()
    for chunk in chunks:
        if decoder.eof:
            _only_zeros(memoryview(chunk))
            continue
        data: bytes | memoryview = chunk
        while True:
            try:
                piece = decoder.decompress(data, CHUNK)
            except faults as error:
                raise ImageError(f"damaged compressed stream: {error}") from None
            if piece:
                yield piece
            if decoder.eof:
                _only_zeros(memoryview(decoder.unused_data))
                break
            if decoder.needs_input:
                break
            data = b""
    if not decoder.eof:
        raise ImageError("truncated compressed stream")
