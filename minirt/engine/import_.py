# SPDX-License-Identifier: Apache-2.0
"""`import`: an archive of a file system becomes an image of one layer (docker-import(1)).

Plain, gzip, zstd, xz or bzip2. What OCI allows as a layer is kept byte for byte, the rest is compressed anew with
gzip. The archive is hostile, as every layer is. Nothing is fetched: a URL is for a program that checks certificates.
"""

from __future__ import annotations

import os
import time

from minirt.engine import events, moment
from minirt.engine.commit import new_name
from minirt.errors import ImageError, InvalidValue, NotFound
from minirt.image import commit as image_commit
from minirt.image import manifest, tar
from minirt.image.derive import Layer, assemble, keep_layer, make_layer
from minirt.image.expand import expand
from minirt.image.layout import Layout
from minirt.image.staging import Staging
from minirt.image.stream import Stream
from minirt.model import instructions
from minirt.model import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirt.engine.store import Engine
    from minirt.image.sink import Sink

_CHUNK = 1 << 20
_KEPT = ((b"\x1f\x8b", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd"))


def import_(engine: Engine, source: str, name: str, changes: list[str], message: str, platform: str) -> str:
    """The new image's id, "sha256:…". `source`: a path, or "-" for standard input. Raises NotFound, InvalidValue,
    ImageError (no archive, a hostile one), StoreError."""
    names = [new_name(name)] if name else []
    event = {**platform_of(platform), "created": moment.text(time.time_ns())}
    event["comment"] = message or f"Imported from {source}"
    settings = instructions.apply({}, changes)
    fd = _opened(source)
    try:
        engine.roots.prepare()
        layout = Layout(engine.roots.root)
        layout.create()
        with Staging(layout) as staging:
            ready = assemble(staging, None, _layer(staging, fd), settings, event, names)
            image_commit.commit(staging, [ready])
    finally:
        os.close(fd)
    made = f"sha256:{ready.image.config.hex}"
    events.of_image(engine, "import", made, name or made)
    return made


def platform_of(text: str) -> dict[str, str]:
    """os[/architecture[/variant]] as members of an image's configuration; this machine's where nothing is said."""
    wanted = platforms.parse(text or "linux", os.uname().machine)
    if wanted.system != "linux":
        raise InvalidValue(f"unknown platform: {text!a}", "minirt's images are for linux/ARCHITECTURE[/VARIANT]")
    named = {"architecture": wanted.architecture, "os": wanted.system, "variant": wanted.variant}
    return {name: value for name, value in named.items() if value}


def _opened(source: str) -> int:
    if source.startswith(("http://", "https://", "ftp://")):
        raise InvalidValue(f"import does not fetch a URL: {source}", f"curl -fsSL {source} | minirt import - NAME")
    try:
        return os.dup(0) if source == "-" else os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise NotFound(
            f"open {source}: no such file or directory", "name an archive, or - for standard input"
        ) from None
    except OSError as error:
        raise InvalidValue(f"open {source}: {os.strerror(error.errno or 0)}") from None


def _layer(staging: Staging, fd: int) -> Layer:
    stream = Stream(_chunks(fd))
    head = stream.upto(tar.BLOCK)
    if not head:
        raise ImageError("the archive is empty", "name a tar archive, plain or compressed")
    suffix = next((suffix for magic, suffix in _KEPT if head.startswith(magic)), "")
    whole = _joined(head, stream)
    if suffix:
        return keep_layer(staging, whole, lambda chunks: expand(chunks, staging.limits), manifest.OCI_LAYER + suffix)
    made = make_layer(staging, lambda sink: _copy(expand(whole, staging.limits), sink))
    if made is None:
        raise ImageError("the archive is not a tar archive", "import reads tar, plain or compressed")
    return made


def _copy(chunks: Iterator[bytes], sink: Sink) -> int:
    """0 where what is in there does not begin as a tar does."""
    stream = Stream(chunks)
    head = stream.upto(tar.BLOCK)
    if not tar.is_header(head) and any(head):
        return 0
    sink.write(head)
    while piece := stream.some(_CHUNK):
        sink.write(bytes(piece))
    sink.flush()
    return 1


def _chunks(fd: int) -> Iterator[bytes]:
    try:
        while chunk := os.read(fd, _CHUNK):
            yield chunk
    except OSError as error:
        raise InvalidValue(f"read the archive: {os.strerror(error.errno or 0)}") from error


def _joined(head: bytes, stream: Stream) -> Iterator[bytes]:
    yield head
    while piece := stream.some(_CHUNK):
        yield bytes(piece)
