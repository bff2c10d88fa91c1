# SPDX-License-Identifier: Apache-2.0
"""A registry that never ends, never answers, or answers with nonsense (REG-11, REG-15): a clear error in bounded
memory and time. The limits on time are the client's own, made short by MINIRT_HTTP_TIMEOUT_S."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from misbehaviour import (
    bomb,
    endless,
    headers,
    held,
    length,
    raw,
    redirect,
    silence,
    sized,
    slowly,
    status,
    trickle,
)
from pulling import blob_of, one, pulled, refused
from store import Store

from distribution import MANIFEST
from hostile_registry import Act, Hostile
from runner import Minirt, eventually

MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
TYPE = b"Content-Type: " + MANIFEST.encode() + b"\r\n"

MANIFESTS: list[Any] = [
    pytest.param(endless(MANIFEST), "limit", id="endless"),
    pytest.param(sized(8 * MIB, media_type=MANIFEST), "limit", id="8 MiB"),
    pytest.param(sized(100 * MIB, media_type=MANIFEST), "limit", id="100 MiB"),
    pytest.param(bomb(200 * MIB), "limit|encodes", id="gzip bomb"),
    pytest.param(raw(OK + TYPE + b"Content-Length: 99999999999999999999\r\n\r\n{"), ".", id="length beyond 64 bits"),
    pytest.param(raw(OK + TYPE + b"Content-Length: -1\r\n\r\n{}"), ".", id="negative length"),
    pytest.param(raw(OK + TYPE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"), ".", id="two lengths"),
    pytest.param(raw(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{"), ".", id="chunk overflow"),
    pytest.param(raw(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n"), ".", id="negative chunk"),
    pytest.param(raw(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"), ".", id="chunk that is no number"),
    pytest.param(raw(OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * MIB), ".", id="chunk name"),
    pytest.param(endless(MANIFEST, 404), "404|not found|unknown", id="endless error"),
    pytest.param(sized(100 * MIB, 500, b"oops"), "500", id="error of 100 MiB"),
    pytest.param(status(500, "\x1b[31m" + "no " * 10**6), "500", id="error with escapes, 3 MB"),
]


@pytest.mark.parametrize(("act", "says"), MANIFESTS)
def test_reg_11_manifest_without_bounds(pulls: Minirt, store: Store, hostile: Hostile, act: Act, says: str) -> None:
    """REG-11: endless, huge, compressed to nothing, of a length that is a lie: refused below 100 MiB."""
    one(hostile)
    hostile.on("(GET|HEAD) /v2/mine/manifests/", act)
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=says)
    store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


@pytest.mark.parametrize("factor", [0.5, 2.0, 1e6])
def test_reg_11_length_that_lies(pulls: Minirt, store: Store, hostile: Hostile, factor: float) -> None:
    """REG-11: Content-Length of the manifest is half, twice, a million times what comes: never half a manifest."""
    one(hostile)
    hostile.on("GET /v2/mine/manifests/", length(factor))
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=".")
    store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


@pytest.mark.parametrize(
    "act",
    [endless("application/octet-stream"), bomb(200 * MIB), sized(1 << 40, start=b"x")],
    ids=["endless", "gzip bomb", "1 TiB by its length"],
)
def test_reg_11_blob_without_bounds(pulls: Minirt, store: Store, hostile: Hostile, act: Act) -> None:
    """REG-11, REG-02: a blob ends where its descriptor says; the rest of it is not even read."""
    files = one(hostile)
    path = f"/v2/mine/blobs/{blob_of(files)}"
    hostile.on(f"GET {path}", act)
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="longer than|size|bytes|encodes|mismatch")
    store.empty()
    assert hostile.body_bytes(path) < 64 * MIB
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


TOKENS: list[Any] = [
    pytest.param(endless(), id="endless"),
    pytest.param(sized(8 * MIB), id="8 MiB"),
    pytest.param(bomb(200 * MIB), id="gzip bomb"),
    pytest.param(raw(OK + b"Content-Length: 4\r\n\r\nnull"), id="null"),
    pytest.param(raw(OK + b"Content-Length: 12\r\n\r\n" + b'{"token": 1}'), id="a number"),
    pytest.param(raw(OK + b"Content-Length: 13\r\n\r\n" + b'{"token": ""}'), id="an empty one"),
    pytest.param(raw(OK + b"Content-Length: 25\r\n\r\n" + b'{"token": "a\\r\\nX-Evil: 1"}'[:25]), id="broken JSON"),
    pytest.param(raw(OK + b"Content-Length: 27\r\n\r\n" + b'{"token": "a\\r\\nX-Evil: 1"}'), id="a header in it"),
    pytest.param(raw(OK + b"\r\n" + b"[" * 200_000), id="deep JSON"),
    pytest.param(status(500), id="500"),
]


@pytest.mark.parametrize("act", TOKENS)
def test_reg_11_token_without_bounds(
    pulls: Minirt, store: Store, make_hostile: Callable[..., Hostile], act: Act
) -> None:
    """REG-11: a token server that never ends or answers nonsense; no header is made of what it says."""
    server = make_hostile(users={}, bearer=True)
    one(server)
    server.on("(GET|POST) /token", act)
    refused(pulls, "pull", f"{server.host}/mine:1", says=".")
    store.empty()
    assert all("x-evil" not in one.headers for one in server.seen)
    server.behave()
    pulled(pulls, f"{server.host}/mine:1")


ANSWERS: list[Any] = [
    pytest.param(status(401, WWW_Authenticate='Basic realm="x"'), "401|nauthorized|login|credential", id="401 Basic"),
    pytest.param(status(401), "401|nauthorized|login", id="401 without a challenge"),
    pytest.param(status(401, WWW_Authenticate="Basic " + "a," * 30_000), ".", id="401 with a long challenge"),
    pytest.param(status(401, WWW_Authenticate='Negotiate, Digest realm="x"'), ".", id="401 of another kind"),
    pytest.param(status(429, Retry_After="1000000000"), "429|many requests", id="429 for 31 years"),
    pytest.param(status(429, Retry_After="Fri, 01 Jan 2999 00:00:00 GMT"), "429|many requests", id="429 until 2999"),
    pytest.param(status(429, Retry_After="-5"), "429|many requests", id="429 in the past"),
    pytest.param(status(429, Retry_After="banana"), "429|many requests", id="429 banana"),
    pytest.param(status(503), "503|unavailable", id="503 for ever"),
    pytest.param(silence, "time|answer", id="silence"),
    pytest.param(slowly, "time|within|slow|answer", id="a byte at a time"),
    pytest.param(trickle(OK + TYPE + b"\r\n"), "time|within|slow|limit", id="slow body"),
    pytest.param(trickle(OK, b"X-A: b\r\n"), "time|within|slow|header|limit", id="slow headers"),
    pytest.param(raw(OK + b"X: y\r\n" * 100_000 + b"\r\n"), "header|answer|HTTP", id="100,000 headers"),
    pytest.param(raw(OK + b"X: " + b"y" * 10 * MIB + b"\r\n\r\n"), "header|answer|HTTP|line", id="header of 10 MiB"),
    pytest.param(raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000), ".", id="100 Continue for ever"),
    pytest.param(trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), ".", id="100 Continue, slowly"),
    pytest.param(raw(b"{}\r\n"), "HTTP|answer|status", id="HTTP/0.9"),
    pytest.param(raw(b"HTTP/9.9 abc\r\n\r\n"), "HTTP|answer|status", id="status that is no number"),
    pytest.param(raw(b"SSH-2.0-OpenSSH_9\r\n" * 1000), "HTTP|answer|status", id="another protocol"),
    pytest.param(raw(b"\0" * MIB), ".", id="zeros"),
    pytest.param(raw(b""), "clos|answer|reset|HTTP|broke", id="nothing"),
    pytest.param(redirect(307, "{path}"), "redirect", id="redirect to itself"),
    pytest.param(redirect(301, "//[/"), "redirect|Location|URL", id="redirect to nonsense"),
    pytest.param(redirect(307, "file:///etc/passwd"), "redirect|scheme", id="redirect to a file"),
    pytest.param(redirect(307, "gopher://127.0.0.1:1/x"), "redirect|scheme", id="redirect to gopher"),
    pytest.param(status(204), ".", id="204"),
    pytest.param(status(599), "599", id="599"),
    pytest.param(status(999), "999|status", id="999"),
    pytest.param(raw(OK + b"Content-Length: 0\r\n\r\n"), ".", id="200 and nothing"),
    pytest.param(headers(Content_Type="text/html"), "media type|text/html", id="HTML"),
]


@pytest.mark.parametrize(("act", "says"), ANSWERS)
def test_reg_15_answers_that_lead_nowhere(pulls: Minirt, store: Store, hostile: Hostile, act: Act, says: str) -> None:
    """REG-15: loops, silence, slow-loris, header bombs, other protocols: an end after a bounded number of tries."""
    one(hostile)
    hostile.on("(GET|HEAD) /v2/mine/manifests/", act)
    pulls.environment["MINIRT_HTTP_TIMEOUT_S"] = "1"
    result = refused(pulls, "pull", f"{hostile.host}/mine:1", says=says)
    store.empty()
    assert result.seconds < 50  # far below the patience of the tests, far above what MINIRT_HTTP_TIMEOUT_S allows
    assert len(hostile.seen) <= 40, "bounded tries"
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


@pytest.mark.parametrize("act", [held(0.5), trickle(OK + b"\r\n", b"\0"), silence], ids=["stops", "drips", "silent"])
def test_reg_15_blob_that_stands_still(pulls: Minirt, store: Store, hostile: Hostile, act: Act) -> None:
    """REG-15, IMG-17: a blob that stops in the middle with the connection open: an error, no lock left held."""
    files = one(hostile)
    hostile.on(f"GET /v2/mine/blobs/{blob_of(files)}", act)
    pulls.environment["MINIRT_HTTP_TIMEOUT_S"] = "0.5"
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=".")
    store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


def test_reg_15_429_is_obeyed(pulls: Minirt, hostile: Hostile) -> None:
    """REG-15: the control of 429 and 503: a registry that is busy twice is asked a third time, no sooner than told."""
    one(hostile)
    asked: list[float] = []

    def busy(code: int, **more: str) -> Act:
        answer = status(code, **more)

        def act(exchange: Any) -> Any:
            asked.append(time.monotonic())
            return answer(exchange)

        return act

    hostile.on("(GET|HEAD) /v2/mine/manifests/", busy(503), times=1)
    hostile.on("(GET|HEAD) /v2/mine/manifests/", busy(429, Retry_After="1"), times=1)
    pulls.environment["MINIRT_HTTP_RETRY_S"] = "0.2"
    pulled(pulls, f"{hostile.host}/mine:1")
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 1


@pytest.mark.parametrize("act", [silence, status(503), status(429, Retry_After="20"), slowly])
def test_reg_15_interrupt_works_at_once(pulls: Minirt, store: Store, hostile: Hostile, act: Act) -> None:
    """REG-15: Ctrl-C while the client waits for an answer, or to ask again: it ends with 130, long before any limit."""
    one(hostile)
    hostile.on("(GET|HEAD) /v2/mine/manifests/", act)
    limits = {"MINIRT_HTTP_TIMEOUT_S": "300", "MINIRT_HTTP_RETRY_S": "100"}
    child = pulls.start("pull", f"{hostile.host}/mine:1", environment=limits)
    eventually(lambda: hostile.seen)
    time.sleep(0.2)
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=10)
    assert child.returncode == 130, said
    assert b"Traceback" not in said
    store.empty()
