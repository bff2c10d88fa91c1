# SPDX-License-Identifier: Apache-2.0
"""One repository of a registry: the client of the OCI distribution specification 1.1.

    with Repository(reference.parse("nginx"), settings) as there:
        there.head("latest")              Descriptor, or None where only a GET tells
        there.manifest("latest")          Answer: bytes, media type, digest
        for chunk in there.blob(layer):   not verified: the caller's digest decides
            …

Mirrors are asked first, the registry itself last; what is written goes to the registry alone. Nothing that a server
says is believed where it can be computed. Several threads may use one Repository.
"""

from __future__ import annotations

from minirt.errors import ImageError, InvalidValue, MinirtError, RegistryError
from minirt.image.registry.faults import Broken
from minirt.image.registry.session import Ask, Door, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from minirt.image.manifest import Descriptor
    from minirt.image.registry.http import Part, Response
    from minirt.image.registry.settings import Settings
    from minirt.model.reference import Reference

    Found = TypeVar("Found")

MANIFEST_LIMIT = 4 << 20
PAGE = 1000
PAGES = 1000
TAGS = 100_000
_UNTOLD = ("", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream")
"""Media types by which a server says that it does not know: the document's own counts."""


class Answer:
    """A manifest or an index: `data` as it was sent, `digest` ("sha256:…") computed from it."""

    __slots__ = ("data", "media_type", "digest")

    def __init__(self, data: bytes, media_type: str, digest: str) -> None:
        self.data = data
        self.media_type = media_type
        self.digest = digest


class Repository:
    """`actions`: "pull" or "pull,push". Errors: NotFound, ImageError (malformed or hostile), RegistryError (refused,
    not reached, broke off)."""

    __slots__ = ("_name", "_settings", "_session", "_doors", "_scopes", "_what")

    def __init__(self, name: Reference, settings: Settings, actions: str = "pull") -> None:
        self._name = name
        self._settings = settings
        self._session = Session(settings)
        self._doors = [Door(endpoint) for endpoint in settings.endpoints(name, "push" in actions)]
        self._scopes = {door: (f"repository:{door.endpoint.path}:{actions}",) for door in self._doors}
        self._what = name.familiar

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every request at once, also those of other threads."""
        self._session.close()

    # --- manifests ---------------------------------------------------------------------------------------------

    def head(self, wanted: str) -> Descriptor | None:
        """What a tag stands for now, without fetching it; None where the registry does not tell. Not verified."""
        return self._anywhere(lambda door: self._head(door, wanted))

    def manifest(self, wanted: str, accept_index: bool = True) -> Answer:
        """`wanted`: a tag or "sha256:…". By digest it is verified; one that can be read in two ways is refused."""
        return self._anywhere(lambda door: self._manifest(door, wanted, accept_index))

    def _head(self, door: Door, wanted: str) -> Descriptor | None:
        from minirt.image.manifest import Descriptor

        response = self._session.request(door, self._manifest_ask(door, "HEAD", wanted, True))
        headers = response.headers
        if response.status == 405:
            return None
        if response.status != 200:
            raise self._refused(response, door, wanted)
        digest, length = headers.get("docker-content-digest"), headers.get("content-length", "")
        if not digest or not digest.startswith("sha256:") or not length:
            return None
        document = {"mediaType": _media_type(response), "digest": digest, "size": int(length)}
        return Descriptor(document, f"the registry's answer about {self._shown(wanted)}")

    def _manifest(self, door: Door, wanted: str, accept_index: bool) -> Answer:
        import hashlib

        what = f"manifest of {self._shown(wanted)}"
        response = self._session.request(door, self._manifest_ask(door, "GET", wanted, accept_index))
        if response.status != 200:
            raise self._refused(response, door, wanted)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            response.discard()
            raise RegistryError(f"{door.host!r} encodes {what} (Content-Encoding), which was not asked for")
        data = response.read(MANIFEST_LIMIT, what)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if wanted.startswith("sha256:") and digest != wanted:
            raise ImageError(f"digest mismatch: {what} is {digest}")
        stated = response.headers.get("docker-content-digest", digest)
        if stated.startswith("sha256:") and stated != digest:
            raise ImageError(
                f"digest mismatch: {what} is {digest}, the registry calls it {self._session.hidden(stated)[:80]!a}"
            )
        return Answer(data, _checked_type(data, _media_type(response), what), digest)

    def _manifest_ask(self, door: Door, method: str, wanted: str, accept_index: bool) -> Ask:
        from minirt.image.manifest import INDEXES, MANIFESTS

        accept = ", ".join(INDEXES + MANIFESTS if accept_index else MANIFESTS)
        target = f"/v2/{door.endpoint.path}/manifests/{wanted}"
        return Ask(method, target, repr(self._shown(wanted)), self._scopes[door], {"Accept": accept})

    def put_manifest(self, wanted: str, data: bytes, media_type: str) -> str:
        """Stores a manifest or an index under a tag or its digest; its digest."""
        import hashlib

        door = self._doors[-1]
        target = f"/v2/{door.endpoint.path}/manifests/{wanted}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        ask = Ask("PUT", target, repr(self._shown(wanted)), self._scopes[door], headers, lambda: (data,))
        if door.undecided:
            self._open(door)
        response = self._session.expect(door, ask, 201, 200, 202)
        response.discard()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        stated = response.headers.get("docker-content-digest", digest)
        if stated != digest:
            raise RegistryError(
                f"{door.host!r} stored another manifest than {digest}: {self._session.hidden(stated)[:80]!a}"
            )
        return digest

    # --- blobs -------------------------------------------------------------------------------------------------

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The blob's bytes from `offset` on, in chunks of at most 1 MiB, never more than its size; broken connections
        are resumed inside. Not verified."""
        from minirt.image.registry import download

        at = offset
        for door in self._alive():
            try:
                for chunk in download.blob(self._session, door, self._scopes[door], descriptor, at):
                    at += len(chunk)
                    yield chunk
                return
            except MinirtError as error:
                self._passed(door, error)

    def has_blob(self, digest: str) -> bool:
        door = self._doors[-1]
        target = f"/v2/{door.endpoint.path}/blobs/{digest}"
        ask = Ask("HEAD", target, f"the blob {digest}", self._scopes[door])
        ask.follow = False  # what says where a blob is has it; its store may answer nothing but GET
        response = self._session.request(door, ask)
        if response.status not in (200, 301, 302, 303, 307, 308, 404):
            raise self._refused(response, door, digest)
        return response.status != 404

    def mount(self, digest: str, source: Reference) -> bool:
        """Whether the registry made the blob of another of its repositories this one's too, without an upload."""
        from minirt.image.registry import upload
        from minirt.image.registry.address import quote

        door = self._doors[-1]
        origin = self._settings.endpoints(source, True)[-1]
        if origin.host != door.host:
            return False
        path = f"/v2/{door.endpoint.path}/blobs/uploads/"
        target = f"{path}?mount={quote(digest)}&from={quote(origin.path)}"
        scopes = (*self._scopes[door], f"repository:{origin.path}:pull")
        ask = Ask("POST", target, f"the blob {digest}", scopes, {"Content-Length": "0"})
        if door.undecided:
            self._open(door)
        response = self._session.request(door, ask)
        response.discard()
        if response.status == 202 and "location" in response.headers:
            upload.cancel(self._session, door, self._scopes[door], response.headers["location"], door.url.at(path))
        return response.status == 201

    def upload(self, digest: str, size: int, chunks: Callable[[], Iterable[Part]], told: Callable[[int], None]) -> None:
        """Sends a blob. `chunks` makes its bytes from the first on, once for each attempt (bytes, or the spans of a
        file, which are the fastest: span.py); `told` hears how many bytes are sent, less where it begins anew."""
        from minirt.image.registry.upload import Upload

        door = self._doors[-1]
        if door.undecided:
            self._open(door)
        Upload(self._session, door, self._scopes[door], digest, size, chunks, told).run()

    def _open(self, door: Door) -> None:
        """Before anything is written: finds out whether http or https is spoken."""
        self._session.request(door, Ask("GET", "/v2/", repr(self._what), self._scopes[door])).discard()

    # --- tags --------------------------------------------------------------------------------------------------

    def tags(self) -> Iterator[str]:
        """All tags, page by page, in the registry's order."""
        door = self._doors[-1]
        path = f"/v2/{door.endpoint.path}/tags/list"
        target, seen, count = f"{path}?n={PAGE}", set[str](), 0
        for _ in range(PAGES):
            if target in seen:
                break
            seen.add(target)
            ask = Ask("GET", target, f"the tags of {self._what!r}", self._scopes[door])
            response = self._session.expect(door, ask, 200)
            for tag in _tags(response.read(MANIFEST_LIMIT, f"the list of tags of {self._what!r}"), self._what):
                count += 1
                yield tag
            following = _next(response, door, path)
            if following is None:
                return
            target = following
            if count > TAGS:
                break
        raise RegistryError(f"{door.host!r} lists the tags of {self._what!r} without end")

    # --- all ---------------------------------------------------------------------------------------------------

    def _anywhere(self, work: Callable[[Door], Found]) -> Found:
        """The first endpoint's answer; a mirror that has none, or a wrong one, is passed over."""
        for door in self._alive():
            try:
                return work(door)
            except MinirtError as error:
                self._passed(door, error)
        raise AssertionError("the last endpoint's error is raised")

    def _alive(self) -> list[Door]:
        """Not the mirrors that could not be reached."""
        return [door for door in self._doors if not door.dead]

    def _passed(self, door: Door, error: MinirtError) -> None:
        """Goes on to the next endpoint where there is one."""
        if door is self._doors[-1]:
            raise error
        door.dead = isinstance(error, Broken)

    def _refused(self, response: Response, door: Door, wanted: str) -> MinirtError:
        return self._session.refusal(response, repr(self._shown(wanted)), door.host)

    def _shown(self, wanted: str) -> str:
        return f"{self._what}{'@' if wanted.startswith('sha256:') else ':'}{wanted}"


def _media_type(response: Response) -> str:
    """Without parameters."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()[:120]


def _checked_type(data: bytes, stated: str, what: str) -> str:
    """The media type that head and document agree on; ImageError where they, or two readers, could differ."""
    from minirt.image import document, manifest

    parsed = document.parse(data, what)
    if stated in _UNTOLD:
        stated = ""
    if parsed.get("schemaVersion") == 1:
        raise ImageError(f"{what} is of Docker's old schema 1", "push the image anew with a tool of this decade")
    index = manifest.is_index(parsed, stated, what)
    own = parsed.get("mediaType")
    return stated or (own if isinstance(own, str) else "") or (manifest.INDEXES if index else manifest.MANIFESTS)[0]


def _tags(data: bytes, what: str) -> list[str]:
    from minirt.image import document
    from minirt.model import reference

    listed = document.parse(data, f"list of tags of {what!r}").get("tags") or []
    if not isinstance(listed, list):
        raise ImageError(f"malformed list of tags of {what!r}: it is not a list")
    for tag in listed:
        if not isinstance(tag, str):
            raise ImageError(f"malformed list of tags of {what!r}: a tag is not a string")
        try:
            if reference.parse(f"x:{tag}").tag != tag:
                raise InvalidValue(f"{tag[:80]!a} is not a tag")
        except InvalidValue as error:
            raise ImageError(f"malformed list of tags of {what!r}: {error.message}") from None
    return listed


def _next(response: Response, door: Door, path: str) -> str | None:
    """Link: <address>; rel="next" (RFC 8288): the same list of the same registry, or nothing."""
    from minirt.image.registry import address

    link = response.headers.get("link", "")
    if not link.startswith("<") or 'rel="next"' not in link.partition(">")[2].replace("rel=next", 'rel="next"'):
        return None
    try:
        url = address.join(door.url.at(path), link[1:].partition(">")[0])
    except InvalidValue as error:
        raise RegistryError(f"malformed list of tags: {error.message}") from None
    if url.target.partition("?")[0] != path or url.host != door.url.host:
        raise RegistryError(f"the list of tags goes on elsewhere, at {str(url)!r}: refused")
    return url.target
