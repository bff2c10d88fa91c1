# SPDX-License-Identifier: Apache-2.0
"""One blob to a registry (OCI distribution specification, "Pushing blobs").

First in one piece, POST then PUT: the fastest, and what every registry takes. Where that breaks off, or is too large
for something on the way (413), in pieces: POST, PATCH …, PUT, and a piece that fails is sent again from where the
registry says that it stands. An upload's address may be on another host, which then gets no credentials.
"""

from __future__ import annotations

from minirt.errors import InvalidValue, RegistryError
from minirt.image.registry import address
from minirt.image.registry.faults import Broken
from minirt.image.registry.refusal import Refusal
from minirt.image.registry.session import Ask, Tries
from minirt.image.registry.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from minirt.image.registry.address import Url
    from minirt.image.registry.http import Part, Response
    from minirt.image.registry.session import Door, Session

PIECE = 8 << 20
PIECE_LIMIT = 64 << 20
_PASSING = (408, 429, 500, 502, 503, 504)
_OCTETS = {"Content-Type": "application/octet-stream"}


class Upload:
    """The upload of one blob. `chunks` makes its bytes, each time from the first on; `told` hears how many the registry
    has taken, which may go back."""

    __slots__ = ("_session", "_door", "_scopes", "_digest", "_size", "_chunks", "_told", "_what", "_piece")

    def __init__(
        self,
        session: Session,
        door: Door,
        scopes: tuple[str, ...],
        digest: str,
        size: int,
        chunks: Callable[[], Iterable[Part]],
        told: Callable[[int], None],
    ) -> None:
        self._session = session
        self._door = door
        self._scopes = scopes
        self._digest = digest
        self._size = size
        self._chunks = chunks
        self._told = told
        self._what = f"the upload of the blob {digest}"
        self._piece = PIECE

    def run(self) -> None:
        tries = Tries(self._session)
        try:
            return self._whole()
        except Broken as fault:
            tries.again(fault)
        except Refusal as fault:
            if fault.status not in (413, *_PASSING):
                raise
            tries.again(fault)
        while True:
            try:
                self._told(0)
                return self._pieces()
            except Broken as fault:
                tries.again(fault)
            except Refusal as fault:
                if fault.status not in (404, 416, *_PASSING):
                    raise
                tries.again(fault)

    def _ask(self, method: str, url: Url, headers: dict[str, str], body: Callable[[], Iterable[Part]] | None) -> Ask:
        return Ask(method, "", self._what, self._scopes, headers, body, url)

    def _begin(self) -> Url:
        """Where the registry wants the bytes."""
        path = f"/v2/{self._door.endpoint.path}/blobs/uploads/"
        ask = Ask("POST", path, self._what, self._scopes, {"Content-Length": "0"})
        response = self._session.expect(self._door, ask, 202)
        least = response.headers.get("oci-chunk-min-length", "")
        if least.isascii() and least.isdigit() and len(least) < 12:
            self._piece = max(PIECE, min(int(least), PIECE_LIMIT))
        return self._place(response, self._door.url.at(path))

    def _place(self, response: Response, asked: Url) -> Url:
        """The Location of an answer: where the upload goes on."""
        location = response.headers.get("location")
        response.discard()
        if not location:
            raise RegistryError(f"{self._door.host!r} does not say where {self._what} goes on")
        return self._session.redirected(self._door, asked, location)

    # --- in one piece ------------------------------------------------------------------------------------------

    def _whole(self) -> None:
        url = self._begin().with_query(f"digest={self._digest}")
        headers = {**_OCTETS, "Content-Length": str(self._size)}
        response = self._session.once(self._door, self._ask("PUT", url, headers, self._telling))
        if response.status != 201:
            raise self._session.refusal(response, self._what, self._door.host)
        response.discard()

    def _telling(self) -> Iterator[Part]:
        """All bytes; what was sent is told after the next part is asked for. Never more than were announced."""
        sent = 0
        for chunk in self._chunks():
            sent += len(chunk)
            if sent > self._size:
                break
            yield chunk
            self._told(sent)
        if sent != self._size:
            raise RegistryError(f"{self._what} has not the {self._size} bytes that it should have")

    # --- in pieces ---------------------------------------------------------------------------------------------

    def _pieces(self) -> None:
        url, sent, tries = self._begin(), 0, Tries(self._session)
        for piece in self._cut():
            url = self._patch(url, sent, piece, tries)
            sent += len(piece)
            self._told(sent)
        if sent != self._size:
            raise RegistryError(f"{self._what} has not the {self._size} bytes that it should have")
        ask = self._ask("PUT", url.with_query(f"digest={self._digest}"), {"Content-Length": "0"}, None)
        self._session.expect(self._door, ask, 201).discard()

    def _cut(self) -> Iterator[bytes]:
        """The blob in pieces of the same size; the last may be shorter."""
        held = bytearray()
        for chunk in self._chunks():
            held += bytes(chunk) if isinstance(chunk, Span) else chunk
            while len(held) >= self._piece:
                yield bytes(held[: self._piece])
                del held[: self._piece]
        if held:
            yield bytes(held)

    def _patch(self, url: Url, start: int, piece: bytes, tries: Tries) -> Url:
        """Sends one piece; after a failure only what the registry does not have of it."""
        done = 0
        while True:
            rest = memoryview(piece)[done:]
            headers = {
                **_OCTETS,
                "Content-Length": str(len(rest)),
                "Content-Range": f"{start + done}-{start + len(piece) - 1}",
            }
            try:
                response = self._session.once(self._door, self._ask("PATCH", url, headers, (rest,).__iter__))
                if response.status not in (202, 204):
                    raise self._session.refusal(response, self._what, self._door.host)
                tries.progress()
                return self._place(response, url)
            except Broken as fault:
                tries.again(fault)
            except Refusal as fault:
                if fault.status not in _PASSING:
                    raise
                tries.again(fault)
            url, has = self._standing(url)
            if not start <= has <= start + len(piece):
                raise Broken(f"{self._what} breaks off: {self._door.host!r} has {has} bytes of {start + done}")
            done = has - start
            if done == len(piece):
                return url

    def _standing(self, url: Url) -> tuple[Url, int]:
        """How many bytes the registry has: GET <location> answers 204 with Range: 0-<last>."""
        response = self._session.expect(self._door, self._ask("GET", url, {}, None), 204)
        last = response.headers.get("range", "").removeprefix("bytes=").partition("-")[2]
        if not (last.isascii() and last.isdigit() and len(last) < 19):
            raise Broken(f"{self._what} breaks off: {self._door.host!r} does not say what it has")
        return self._place(response, url) if "location" in response.headers else url, int(last) + 1 if int(last) else 0


def cancel(session: Session, door: Door, scopes: tuple[str, ...], location: str, asked: Url) -> None:
    """Gives an upload up that was begun and is not wanted; that it fails does not matter."""
    try:
        url = address.join(asked, location)
        if url.origin == door.url.origin:
            session.once(door, Ask("DELETE", "", "an upload", scopes, {}, None, url)).discard()
    except (RegistryError, InvalidValue):
        pass
