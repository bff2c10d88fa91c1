# SPDX-License-Identifier: Apache-2.0
"""Pushes to a registry that breaks off, refuses or lies (REG-05, REG-11, REG-15 from the other side): a push that says
it is done is done, one that fails leaves no tag and the store as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from misbehaviour import endless, headers, raw, silence, status
from pulling import SMALL, UNPRESSED, login, one, pulled, refused, seen_secrets
from store import Store

from distribution import Reply
from hostile_registry import Act, Exchange, Hostile
from runner import Minirt

USERS = {"ann": "s3cret"}
Make = Callable[..., Hostile]


def prepared(minirt: Minirt, server: Hostile, target: Hostile | None = None) -> str:
    """An image of two layers that `minirt` has; the name under which it is to be pushed."""
    one(server, UNPRESSED, SMALL)
    pulled(minirt, f"{server.host}/mine:1")
    name = f"{(target or server).host}/other:1"
    minirt.ok("tag", f"{server.host}/mine:1", name)
    return name


def arrived(server: Hostile, source: Hostile) -> bool:
    """Whether the tag stands for the same manifest, with all its blobs, each as its digest says."""
    if server.manifests.get(("other", "1")) != source.manifests["mine", "1"]:
        return False
    digests = {digest for name, digest in source.held if name == "mine"}
    there = all(("other", digest) in server.held for digest in digests if digest in server.blobs)
    return there and all(
        "sha256:" + hashlib.sha256(data).hexdigest() == digest for digest, data in server.blobs.items()
    )


def dies(exchange: Exchange) -> None:
    """The server is gone, now and for all that follows."""
    exchange.server.stop()


REFUSALS: list[Any] = [
    pytest.param("POST .*/uploads/", status(403, "no pushes here", "DENIED"), "denied|403|denies", id="no uploads"),
    pytest.param("POST .*/uploads/", status(202), "Location|upload", id="no Location"),
    pytest.param("POST .*/uploads/", headers(Location="file:///etc/passwd"), "Location|malformed|http", id="file"),
    pytest.param("POST .*/uploads/", headers(Location="http://[::1"), "Location|malformed|http|host", id="nonsense"),
    pytest.param("(PATCH|PUT) .*/uploads/", status(413, "too large", "SIZE_INVALID"), "413|large", id="too large"),
    pytest.param("(PATCH|PUT) .*/uploads/", status(416), "416", id="wrong offset"),
    pytest.param("(PATCH|PUT) .*/uploads/", status(500), "500", id="500"),
    pytest.param("(PATCH|PUT) .*/uploads/", status(507, "disk full"), "507|full", id="their disk is full"),
    pytest.param("(PATCH|PUT) .*/uploads/", raw(b""), "clos|broke|reset|answer", id="cut"),
    pytest.param("(PATCH|PUT) .*/uploads/", endless(code=400), "400", id="endless error"),
    pytest.param("PUT .*/uploads/.*", status(400, "no", "DIGEST_INVALID"), "400|DIGEST_INVALID", id="digest refused"),
    pytest.param("PUT .*/manifests/", status(400, "no", "MANIFEST_INVALID"), "400|MANIFEST", id="manifest refused"),
    pytest.param("PUT .*/manifests/", status(404, "no", "NAME_UNKNOWN"), "404|not in", id="no such repository"),
    pytest.param("PUT .*/manifests/", silence, "answer|within|time", id="silence"),
    pytest.param(".*", dies, ".", id="gone at once"),
    pytest.param("(PATCH|PUT) .*/uploads/", dies, ".", id="gone in the middle"),
    pytest.param("PUT .*/manifests/", dies, ".", id="gone at the end"),
    pytest.param(".*", status(401, WWW_Authenticate='Basic realm="x"'), "login|401|denies", id="needs a login"),
    pytest.param(".*", status(503), "503", id="503 for ever"),
]


@pytest.mark.parametrize(("pattern", "act", "says"), REFUSALS)
def test_push_that_is_refused(
    pulls: Minirt, store: Store, hostile: Hostile, make_hostile: Make, pattern: str, act: Act, says: str
) -> None:
    """The error says what the registry said; no tag is there; the store is untouched; elsewhere the push works."""
    target, good = make_hostile(), make_hostile()
    name = prepared(pulls, hostile, target)
    before = store.snapshot()
    target.on(pattern, act)
    pulls.environment["MINIRT_HTTP_TIMEOUT_S"] = "1"
    refused(pulls, "push", name, says=says)
    assert ("other", "1") not in target.manifests
    assert store.snapshot() == before
    pulls.environment["MINIRT_HTTP_TIMEOUT_S"] = "30"
    pulls.ok("tag", f"{hostile.host}/mine:1", f"{good.host}/other:1")
    pulls.ok("push", f"{good.host}/other:1")
    assert arrived(good, hostile)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("pattern", "act"),
    [
        ("(PATCH|PUT) .*/uploads/", raw(b"")),
        ("(PATCH|PUT) .*/uploads/", status(503)),
        ("POST .*/uploads/", status(500)),
        ("PUT .*/manifests/", raw(b"")),
        ("PUT .*/manifests/", status(429, Retry_After="0")),
        ("HEAD .*/blobs/", status(502)),
    ],
    ids=["cut", "503", "500", "manifest cut", "429", "502"],
)
def test_push_goes_on_after_a_fault(
    pulls: Minirt, hostile: Hostile, make_hostile: Make, pattern: str, act: Act, times: int
) -> None:
    """What fails once or twice is tried again, and what arrives is true."""
    target = make_hostile()
    name = prepared(pulls, hostile, target)
    target.on(pattern, act, times=times)
    pulls.ok("push", name)
    assert arrived(target, hostile)


def test_push_to_a_registry_that_answers_another_digest(pulls: Minirt, hostile: Hostile, make_hostile: Make) -> None:
    """REG-12 for push: Docker-Content-Digest of the manifest that was put is not what we put: an error."""
    target = make_hostile()
    name = prepared(pulls, hostile, target)
    target.on("PUT .*/manifests/", headers(Docker_Content_Digest="sha256:" + "0" * 64))
    refused(pulls, "push", name, says="stored another manifest")
    target.behave()
    pulls.ok("push", name)
    assert arrived(target, hostile)


def test_push_to_a_registry_that_keeps_nothing(pulls: Minirt, hostile: Hostile, make_hostile: Make) -> None:
    """A registry that says of every blob that it has it already: nothing is sent to it, its own lie is its own loss;
    the push ends either way."""
    target = make_hostile()
    name = prepared(pulls, hostile, target)
    target.on("HEAD .*/blobs/", lambda exchange: Reply(200, b"", {"Docker-Content-Digest": "sha256:" + "0" * 64}))
    result = pulls("push", name)
    assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
    target.behave()
    pulls.ok("push", name)
    assert arrived(target, hostile)


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_reg_05_upload_sent_to_another_host(pulls: Minirt, hostile: Hostile, make_hostile: Make, bearer: bool) -> None:
    """REG-05: the Location of an upload is on another host: neither credentials nor tokens go there."""
    target, elsewhere = make_hostile(users=USERS, bearer=bearer), make_hostile()
    login(pulls, target.host)
    name = prepared(pulls, hostile, target)

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        if "Location" in reply.headers:
            reply.headers["Location"] = elsewhere.url + reply.headers["Location"]
        return reply

    target.on("POST .*/uploads/", act)
    result = pulls("push", name)
    assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
    assert seen_secrets(elsewhere) == []
    target.behave()
    pulls.ok("push", name)
    assert arrived(target, hostile)
    assert seen_secrets(target), "the control: the registry itself wants them"


@pytest.mark.parametrize("code", [307, 301])
def test_reg_05_upload_redirected_to_another_host(
    pulls: Minirt, hostile: Hostile, make_hostile: Make, code: int
) -> None:
    """REG-05: the same by a redirect of PUT, PATCH, POST: a body is not sent elsewhere because an answer says so, or at
    least no credentials are."""
    target, elsewhere = make_hostile(users=USERS), make_hostile()
    login(pulls, target.host)
    name = prepared(pulls, hostile, target)

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        return reply if reply.status == 401 else Reply(code, b"", {"Location": elsewhere.url + exchange.seen.path})

    for pattern in ("POST .*/uploads/", "(PUT|PATCH) .*/uploads/", "PUT .*/manifests/"):
        target.behave()
        target.on(pattern, act)
        result = pulls("push", name)
        assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
        assert seen_secrets(elsewhere) == [], pattern


def test_push_with_a_blob_that_is_damaged_here(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-16: a blob of the store has a wrong byte: found while it is sent, and no tag is put for it."""
    name = prepared(pulls, hostile)
    hostile.held = {key for key in hostile.held if key[0] == "nobody"}
    hostile.blobs.clear()
    blob = max(store.blobs, key=lambda blob: len(store.blob(blob)))
    path = store.root / "images/blobs/sha256" / blob
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    refused(pulls, "push", name, says="digest|damaged|mismatch|DIGEST_INVALID")
    assert ("other", "1") not in hostile.manifests
    path.write_bytes(whole)
    pulls.ok("push", name)
    assert ("other", "1") in hostile.manifests
