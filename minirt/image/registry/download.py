# SPDX-License-Identifier: Apache-2.0
"""One blob from a registry (OCI distribution specification, "Pulling blobs"; RFC 9110, section 14: ranges).

What breaks off goes on where it stopped, by Range. The bytes are not trusted: that a server answers with another
range or other content is found by the receiver's digest over the whole; what contradicts the descriptor's size is
refused here. Addresses inside of descriptors ("urls", foreign layers) are never asked.
"""

from __future__ import annotations

from minirt.errors import ImageError, RegistryError
from minirt.image.registry.faults import Broken
from minirt.image.registry.session import Ask, Tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirt.image.manifest import Descriptor
    from minirt.image.registry.http import Response
    from minirt.image.registry.session import Door, Session

RESUMES = 100
"""How often one blob may break off, however much came each time."""


def blob(session: Session, door: Door, scopes: tuple[str, ...], wanted: Descriptor, offset: int) -> Iterator[bytes]:
    """The bytes from `offset` on; never more than the descriptor's size."""
    what = f"the blob {wanted.digest}"
    at, tries = offset, Tries(session)
    for _ in range(RESUMES):
        if at >= wanted.size:
            return
        headers = {"Range": f"bytes={at}-"} if at else {}
        ask = Ask("GET", f"/v2/{door.endpoint.path}/blobs/{wanted.digest}", what, scopes, headers)
        response = session.expect(door, ask, *((200, 206) if at else (200,)))
        skip = _skipped(response, at, wanted.size, what)
        try:
            for chunk in response.chunks():
                if skip:
                    chunk, skip = chunk[skip:], max(0, skip - len(chunk))
                    if not chunk:
                        continue
                at += len(chunk)
                if at > wanted.size:
                    raise ImageError(f"{what} is longer than the {wanted.size} bytes that its descriptor states")
                yield chunk
                tries.progress()
            if at < wanted.size:
                raise _ended(response, at, wanted.size, what)
        except Broken as fault:
            tries.again(fault)
    raise RegistryError(f"{what} breaks off again and again: {at} of {wanted.size} bytes")


def _skipped(response: Response, at: int, size: int, what: str) -> int:
    """How many bytes the answer has before those that are wanted; ImageError where its lengths contradict ours."""
    first = at
    if response.status == 200:
        first = 0
    else:
        unit, _, rest = response.headers.get("content-range", "").partition(" ")
        span, _, total = rest.partition("/")
        if unit != "bytes" or span.partition("-")[0] != str(at) or total not in (str(size), "*"):
            response.connection.close()
            raise ImageError(f"{what}: the registry answers with another range than that from byte {at} of {size} on")
    if response.length is not None and response.length != size - first:
        response.connection.close()
        longer = response.length > size - first
        fault = (
            f"is longer than the {size} bytes" if longer else f"is truncated: {first + response.length} of {size} bytes"
        )
        raise ImageError(f"{what} {fault} that its descriptor states")
    return at - first


def _ended(response: Response, at: int, size: int, what: str) -> Exception:
    """A body without a length that ended too early: complete as far as HTTP knows, or cut."""
    if response.chunked:
        return ImageError(f"{what} is truncated: {at} of {size} bytes that its descriptor states")
    return Broken(f"{what} breaks off: {at} of {size} bytes")
