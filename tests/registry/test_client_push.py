# SPDX-License-Identifier: Apache-2.0
"""What the registry client writes: blobs in one piece and in many, mounts, manifests. To real registries
(docker-registry); to one that misbehaves (hostile_registry.py) where a real one cannot be made to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from misbehaviour import redirect, status

import repositories
from distribution import Reply, Seen
from hostile_registry import Exchange, Hostile
from minirt.errors import RegistryError, StoreError
from minirt.image.registry import upload
from minirt.image.registry.span import Span, spans
from minirt.model import reference
from registries import MANIFEST, Registry
from repositories import descriptor, digest_of, repository

Make = Callable[..., Registry]
BLOB = os.urandom(3_000_000)
DIGEST = digest_of(BLOB)
USER = {"ann": "s3cret"}
ANN = ("ann", "s3cret")
PUSH = "pull,push"


def parts(data: bytes = BLOB) -> Iterator[bytes]:
    """As a file is read."""
    for start in range(0, len(data), 700_001):
        yield data[start : start + 700_001]


def deaf(_: int) -> None:
    """Nobody watches."""


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRT_HTTP_RETRY_S", "0.02")
    monkeypatch.setenv("MINIRT_HTTP_TIMEOUT_S", "5")
    monkeypatch.setattr(upload, "PIECE", 1_000_000)


@pytest.mark.parametrize("kind", ["plain", "TLS", "basic", "tokens"])
def test_image_is_pushed_and_is_there(make_registry: Make, tmp_path: Path, kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "TLS": {"tls": "ca"},
        "basic": {"htpasswd": USER},
        "tokens": {"token": USER, "tls": "ca"},
    }
    registry = make_registry(**options[kind])
    data = repositories.manifest(b"{}", BLOB)
    with repository(registry, "mine/a:1", tmp_path, PUSH, ANN) as there:
        assert not there.has_blob(DIGEST)
        heard: list[int] = []
        there.upload(DIGEST, len(BLOB), parts, heard.append)
        assert heard[-1] == len(BLOB)
        assert heard == sorted(heard)
        there.upload(digest_of(b"{}"), 2, lambda: [b"{}"], deaf)
        assert there.has_blob(DIGEST)
        assert there.put_manifest("1", data, MANIFEST) == digest_of(data)
    assert registry.request("GET", "/v2/mine/a/manifests/1").data == data
    assert registry.request("GET", f"/v2/mine/a/blobs/{DIGEST}").data == BLOB


def test_empty_blob(registry: Registry, tmp_path: Path) -> None:
    with repository(registry, "client/empty", tmp_path, PUSH) as there:
        there.upload(digest_of(b""), 0, list, deaf)
        assert there.has_blob(digest_of(b""))
        assert list(there.blob(descriptor(b""))) == []


@pytest.mark.parametrize("tls", ["", "ca"], ids=["plain", "TLS"])
def test_file_is_sent_by_the_kernel_where_nothing_encrypts_it(make_registry: Make, tmp_path: Path, tls: str) -> None:
    """Whole, then in pieces; a file that is shorter than announced is an error, not a hang."""
    registry = make_registry(tls=tls)
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    with repository(registry, "mine/a:1", tmp_path, PUSH) as there:
        there.upload(DIGEST, len(BLOB), lambda: spans(str(path)), deaf)
        assert registry.blob_path(DIGEST).read_bytes() == BLOB
        path.write_bytes(BLOB[::-1])
        door = there._doors[0]
        upload.Upload(
            there._session, door, there._scopes[door], digest_of(BLOB[::-1]), len(BLOB), lambda: spans(str(path)), deaf
        )._pieces()
        assert registry.blob_path(digest_of(BLOB[::-1])).read_bytes() == BLOB[::-1]

        def shrinking() -> Iterator[Span]:
            for span in spans(str(path)):
                path.write_bytes(b"")
                yield span

        with pytest.raises(StoreError, match="shorter"):
            there.upload(DIGEST, len(BLOB), shrinking, deaf)


def test_one_request_takes_a_whole_blob(registry: Registry, tmp_path: Path) -> None:
    registry.forget()
    with repository(registry, "client/whole", tmp_path, PUSH) as there:
        there.upload(DIGEST, len(BLOB), parts, deaf)
    assert [one.method for one in registry.log if "/client/whole/" in one.path] == ["POST", "PUT"]


@pytest.mark.parametrize("token", [None, USER], ids=["plain", "tokens"])
def test_blob_is_mounted_from_another_repository(
    make_registry: Make, tmp_path: Path, token: dict[str, str] | None
) -> None:
    """One request, no byte of the blob; refused where the source has it not, and then nothing is left begun."""
    registry = make_registry(token=token)
    registry.put_blob("mine/a", BLOB)
    registry.forget()
    with repository(registry, "mine/b:1", tmp_path, PUSH, ANN) as there:
        assert there.mount(DIGEST, reference.parse(f"{registry.host}/mine/a"))
        assert there.has_blob(DIGEST)
        assert not there.mount(digest_of(b"other"), reference.parse(f"{registry.host}/mine/a"))
        assert not there.mount(DIGEST, reference.parse("other.example/mine/a")), "another registry's"
        assert not there.has_blob(digest_of(b"other"))
    lines = [(one.method, one.status) for one in registry.log if one.status != 401]
    given_up = [] if token else [("DELETE", 204)]  # a token for pull and push does not allow it: best effort
    assert [line for line in lines if line[0] in ("POST", "DELETE")] == [("POST", 201), ("POST", 202), *given_up]
    if registry.tokens:
        assert ("repository:mine/b:pull,push", "repository:mine/a:pull") in [
            one.scopes for one in registry.tokens.asked
        ]


def test_pieces_by_a_real_registry(registry: Registry, tmp_path: Path) -> None:
    """POST, PATCH for each, PUT with the digest."""
    registry.forget()
    with repository(registry, "client/pieces", tmp_path, PUSH) as there:
        door = there._doors[0]
        there.has_blob(DIGEST)
        upload.Upload(there._session, door, there._scopes[door], DIGEST, len(BLOB), parts, deaf)._pieces()
        assert b"".join(there.blob(descriptor(BLOB))) == BLOB
    sent = [one.method for one in registry.log if "/uploads/" in one.path]
    assert sent == ["POST", "PATCH", "PATCH", "PATCH", "PUT"]


def hang_up(exchange: Exchange) -> None:
    """No answer: the connection closes."""


@pytest.mark.parametrize("act", [hang_up, status(413), status(503)], ids=["broken", "too large", "unavailable"])
def test_blob_goes_in_pieces_where_one_piece_fails(
    hostile: Hostile, tmp_path: Path, act: Callable[[Exchange], Reply | None]
) -> None:
    hostile.on("PUT .*/blobs/uploads/", act, 1)
    heard: list[int] = []
    with repository(hostile, "mine", tmp_path, PUSH) as there:
        there.upload(DIGEST, len(BLOB), parts, heard.append)
    assert hostile.blobs[DIGEST] == BLOB
    assert [len(one.body) for one in hostile.asked("PATCH")] == [1_000_000] * 3
    spans = [one.headers["content-range"] for one in hostile.asked("PATCH")]
    assert spans == ["0-999999", "1000000-1999999", "2000000-2999999"]
    assert heard[-4:] == [0, 1_000_000, 2_000_000, 3_000_000]


def test_piece_that_breaks_off_goes_on_where_the_registry_stands(hostile: Hostile, tmp_path: Path) -> None:
    """It has taken half of the second piece before the connection closed: the other half follows, nothing twice."""

    def half(exchange: Exchange) -> None:
        body = exchange.seen.body
        assert exchange.server.honest(exchange.seen._replace(body=body[: len(body) // 2])).status == 202

    def fail_second(exchange: Exchange) -> Reply | None:
        if exchange.seen.headers["content-range"].startswith("1000000-") and not halves:
            halves.append(1)
            half(exchange)
            return None
        return exchange.honest()

    halves: list[int] = []
    hostile.on("PUT .*/blobs/uploads/", hang_up, 1)
    hostile.on("PATCH ", fail_second)
    with repository(hostile, "mine", tmp_path, PUSH) as there:
        there.upload(DIGEST, len(BLOB), parts, deaf)
    assert halves
    assert hostile.blobs[DIGEST] == BLOB
    spans = [one.headers["content-range"] for one in hostile.asked("PATCH")]
    assert spans == ["0-999999", "1000000-1999999", "1500000-1999999", "2000000-2999999"]


@pytest.mark.parametrize("pattern", ["PUT .*/uploads/", "P.* .*/uploads/.+", "POST "])
def test_upload_that_never_works_ends(hostile: Hostile, tmp_path: Path, pattern: str) -> None:
    hostile.on(pattern, hang_up)
    with repository(hostile, "mine", tmp_path, PUSH) as there, pytest.raises(RegistryError, match=r"clos|breaks off"):
        there.upload(DIGEST, len(BLOB), parts, deaf)
    assert DIGEST not in hostile.blobs
    assert len(hostile.seen) < 60


def test_refused_upload_is_not_repeated(hostile: Hostile, tmp_path: Path) -> None:
    hostile.on("POST ", status(403, "not for you", "DENIED"))
    with repository(hostile, "mine", tmp_path, PUSH) as there, pytest.raises(RegistryError, match="DENIED: not for"):
        there.upload(DIGEST, len(BLOB), parts, deaf)
    assert len(hostile.asked("POST")) == 1


@pytest.mark.parametrize("change", [-1, 1], ids=["shrunk", "grown"])
def test_source_that_changed_size_is_not_pushed(hostile: Hostile, tmp_path: Path, change: int) -> None:
    """Never more bytes than Content-Length announces: they would be read as the next request."""
    other = BLOB[:change] if change < 0 else BLOB + b"POST /evil HTTP/1.1\r\n\r\n"
    with (
        repository(hostile, "mine", tmp_path, PUSH) as there,
        pytest.raises(RegistryError, match="has not the 3000000"),
    ):
        there.upload(DIGEST, len(BLOB), lambda: parts(other), deaf)
    assert not hostile.blobs
    assert not hostile.asked("POST /evil")


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_upload_on_another_host_gets_no_credentials(tmp_path: Path, bearer: bool) -> None:
    """REG-05, for what is written: the Location of an upload may lead elsewhere, Authorization stays."""
    with Hostile() as storage, Hostile(users=USER, bearer=bearer) as server:
        begun = storage.honest(Seen("POST", "/v2/mine/blobs/uploads/", {}, {}, b"")).headers["Location"]
        server.on("POST ", away(f"{storage.url}{begun}"))
        with repository(server, "mine", tmp_path, PUSH, ANN) as there:
            there.upload(DIGEST, len(BLOB), parts, deaf)
        assert storage.blobs[DIGEST] == BLOB
        assert [one.authorization for one in storage.seen] == [None]
        assert any(one.authorization for one in server.asked("POST")), "the control: the registry itself hears them"


def away(place: str) -> Callable[[Exchange], Reply]:
    """An upload begins at `place`, for those who may."""

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        return Reply(202, b"", {"Location": place}) if reply.status == 202 else reply

    return act


def test_upload_is_not_redirected_to_plain_http(tmp_path: Path, hostile: Hostile) -> None:
    """REG-06: nor to any scheme that is none."""
    for place in ("http://192.0.2.1/x", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/x", "http://a b/"):
        hostile.on("POST ", away(place))
        there = repository(hostile, "mine", tmp_path, PUSH)
        with there, pytest.raises(RegistryError, match=r"not https|malformed redirect"):
            there.upload(DIGEST, len(BLOB), parts, deaf)


def test_redirect_of_what_is_written_is_not_followed(hostile: Hostile, tmp_path: Path) -> None:
    hostile.on("PUT .*/manifests/", redirect(307, "/v2/other/manifests/1"))
    with repository(hostile, "mine", tmp_path, PUSH) as there, pytest.raises(RegistryError, match="answers 307"):
        there.put_manifest("1", b"{}", MANIFEST)
    assert not hostile.manifests


def test_registry_that_stores_another_manifest_is_an_error(hostile: Hostile, tmp_path: Path) -> None:
    hostile.on("PUT ", lambda exchange: Reply(201, b"", {"Docker-Content-Digest": DIGEST}))
    with repository(hostile, "mine", tmp_path, PUSH) as there, pytest.raises(RegistryError, match="another manifest"):
        there.put_manifest("1", b"{}", MANIFEST)


def test_push_goes_to_the_registry_and_not_to_a_mirror(make_registry: Make, tmp_path: Path) -> None:
    main, mirror = make_registry(), make_registry()
    given = repositories.settings(tmp_path)
    (tmp_path / "registries.conf").write_text(
        f'[[registry]]\nlocation = "{main.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}/copy"\n'
    )
    with repository(main, "mine:1", tmp_path, PUSH, given=given) as there:
        there.upload(DIGEST, len(BLOB), parts, deaf)
    assert main.blob_path(DIGEST).read_bytes() == BLOB
    assert mirror.log == []
