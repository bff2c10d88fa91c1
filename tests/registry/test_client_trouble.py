# SPDX-License-Identifier: Apache-2.0
"""The registry client with registries that are busy, old, odd or in the way: tries, pauses, pages, threads, proxies.

What a hostile one does to a whole `pull` is in attacks/registry.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from misbehaviour import cut, headers, held, status

import repositories
from certificates import Authority
from distribution import Reply
from hostile_registry import Act, Exchange, Hostile
from minirt.errors import ImageError, NotFound, RegistryError
from minirt.image.registry import session
from registries import MANIFEST, Registry
from repositories import descriptor, digest_of, repository

BLOB = os.urandom(1_000_000)
DATA = repositories.manifest(b"{}", BLOB)


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile() as server:
        fill(server)
        yield server


def fill(server: Hostile) -> None:
    server.put_blob(BLOB, "mine")
    server.put_blob(b"{}", "mine")
    server.put_manifest("mine", "1", DATA)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waited between its tries: it does not, here."""
    made: list[float] = []
    monkeypatch.setattr(session.Session, "sleep", lambda _self, seconds: made.append(seconds))
    return made


@pytest.mark.parametrize(
    "act", [status(500), status(503), status(429), lambda exchange: None], ids="500 503 429 cut".split()
)
def test_passing_failure_is_tried_again(hostile: Hostile, tmp_path: Path, act: Act, pauses: list[float]) -> None:
    hostile.on("GET /v2/mine/manifests/", act, 2)
    with repository(hostile, "mine:1", tmp_path) as there:
        assert there.head("1")
        assert there.manifest("1").data == DATA
    assert pauses == sorted(pauses)
    assert len(hostile.asked("GET /v2/mine/manifests/")) >= 3


def test_tries_end_and_pauses_grow(hostile: Hostile, tmp_path: Path, pauses: list[float]) -> None:
    hostile.on("GET /v2/mine/manifests/", status(503))
    with repository(hostile, "mine:1", tmp_path) as there, pytest.raises(RegistryError, match="answers 503"):
        there.manifest("1")
    assert len(hostile.seen) == session.TRIES
    assert len(pauses) == session.TRIES - 1
    assert pauses[-1] > 4 * pauses[0]


@pytest.mark.parametrize("code", [400, 403, 405, 410])
def test_lasting_failure_is_not_tried_again(hostile: Hostile, tmp_path: Path, code: int) -> None:
    hostile.on("GET /v2/mine/blobs/", status(code))
    with repository(hostile, "mine:1", tmp_path) as there, pytest.raises(RegistryError):
        list(there.blob(descriptor(BLOB)))
    assert len(hostile.asked("GET /v2/mine/blobs/")) == 1


def test_retry_after_is_obeyed(hostile: Hostile, tmp_path: Path, pauses: list[float]) -> None:
    """In seconds, and as a date."""
    hostile.on("GET ", status(429, Retry_After="7"), 1)
    with repository(hostile, "mine:1", tmp_path) as there:
        there.manifest("1")
        assert [round(pause) for pause in pauses] == [7]
        hostile.on("GET ", status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 1)
        hostile.on("GET ", status(503, Retry_After="soon"), 1)
        there.manifest("1")
    assert len(pauses) == 3
    assert max(pauses[1:]) < 7, "a date in the past, and what is none, ask for nothing"


def test_retry_after_beyond_all_patience_ends_it(hostile: Hostile, tmp_path: Path, pauses: list[float]) -> None:
    hostile.on("GET ", status(429, Retry_After="1000000000"))
    with repository(hostile, "mine:1", tmp_path) as there, pytest.raises(RegistryError, match="wait 1000000000 s"):
        there.manifest("1")
    assert not pauses
    assert len(hostile.seen) == 1


def test_pauses_are_bounded_together(hostile: Hostile, tmp_path: Path, pauses: list[float]) -> None:
    hostile.on("GET ", status(429, Retry_After="50"))
    with repository(hostile, "mine:1", tmp_path) as there, pytest.raises(RegistryError, match="too many requests"):
        there.manifest("1")
    assert 0 < sum(pauses) <= 120


def test_blob_goes_on_where_it_broke_off(hostile: Hostile, tmp_path: Path) -> None:
    """REG-03: each byte is sent once; what came resets the count of tries."""
    hostile.on("GET /v2/mine/blobs/", cut(0.2), 2 * session.TRIES)
    with repository(hostile, "mine:1", tmp_path) as there:
        assert b"".join(there.blob(descriptor(BLOB))) == BLOB
    asked = [one.headers.get("range") for one in hostile.asked("GET /v2/mine/blobs/")]
    assert asked[:3] == [None, "bytes=200000-", "bytes=360000-"]
    assert len(set(asked)) == len(asked) == 2 * session.TRIES + 1


def test_blob_that_always_breaks_off_ends(hostile: Hostile, tmp_path: Path) -> None:
    """A byte each time is progress, and not for ever."""

    def one_byte(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        reply.cut_at = 1
        return reply

    hostile.on("GET /v2/mine/blobs/", one_byte)
    with repository(hostile, "mine:1", tmp_path) as there, pytest.raises(RegistryError, match="breaks off again and"):
        list(there.blob(descriptor(BLOB)))
    assert len(hostile.seen) <= 110


def test_digest_header_missing_in_the_answer_to_head(hostile: Hostile, tmp_path: Path) -> None:
    """None: who asks fetches the manifest then. HEAD may also not be allowed at all."""
    hostile.on("HEAD ", headers(Docker_Content_Digest=None))
    with repository(hostile, "mine:1", tmp_path) as there:
        assert there.head("1") is None
        hostile.on("HEAD ", status(405))
        assert there.head("1") is None
        hostile.behave()
        head = there.head("1")
        assert head
        assert head.digest == digest_of(DATA)


OLD = json.dumps({"schemaVersion": 1, "name": "mine", "fsLayers": [], "history": []}).encode()
BOTH = json.dumps({**json.loads(DATA), "manifests": []}).encode()
DOCUMENTS = {
    "schema 1": (OLD, "application/vnd.docker.distribution.manifest.v1+json", "schema 1"),
    "manifest and index": (BOTH, MANIFEST, "at once"),
    "index by its head": (DATA, "application/vnd.oci.image.index.v1+json", "malformed manifest of"),
    "web page": (b"<html>", "text/html", "malformed"),
    "member twice": (DATA[:-1] + b',"layers":[]}', MANIFEST, "twice"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_manifest_that_can_be_read_in_two_ways_is_refused(hostile: Hostile, tmp_path: Path, name: str) -> None:
    data, media_type, says = DOCUMENTS[name]
    digest = hostile.put_manifest("mine", "bad", data, media_type)
    with repository(hostile, "mine:1", tmp_path) as there:
        for wanted in ("bad", digest):
            with pytest.raises(ImageError, match=says):
                there.manifest(wanted)
        assert there.manifest("1").data == DATA, "the control"


@pytest.mark.parametrize("stated", ["application/json", "application/octet-stream", "", f"{MANIFEST}; charset=utf-8"])
def test_media_type_that_says_nothing_gives_way_to_the_own(hostile: Hostile, tmp_path: Path, stated: str) -> None:
    hostile.put_manifest("mine", "vague", DATA, stated)
    with repository(hostile, "mine:1", tmp_path) as there:
        assert there.manifest("vague").media_type == MANIFEST


def test_error_of_a_registry_is_quoted_on_one_clean_line(hostile: Hostile, tmp_path: Path) -> None:
    message = "no\n\x1b[31mred\x07\u202eevil " + "x" * 5000
    hostile.on("GET ", status(403, message, "DENIED\x1b[2J"))
    with repository(hostile, "mine:1", tmp_path) as there, pytest.raises(RegistryError) as caught:
        there.manifest("1")
    words = caught.value.message
    assert "DENIED" in words
    assert "no [31mred evil xxx" in words
    assert words.isprintable()
    assert len(words) < 500


def test_error_pages_are_not_quoted(hostile: Hostile, tmp_path: Path) -> None:
    hostile.on("GET ", lambda exchange: Reply(404, b"<html>go to evil.example", {"Content-Type": "text/html"}))
    with repository(hostile, "mine:1", tmp_path) as there, pytest.raises(NotFound) as caught:
        there.manifest("1")
    assert "evil" not in caught.value.message


# --- tags ------------------------------------------------------------------------------------------------------


def paged(exchange: Exchange) -> Reply:
    """Three pages; the query counts."""
    last = int(exchange.seen.query.get("last", ["0"])[0])
    link = {"Link": f'</v2/mine/tags/list?n=2&last={last + 2}>; rel="next"'} if last < 4 else {}
    return Reply(200, json.dumps({"tags": [f"t{last}", f"t{last + 1}"]}).encode(), link)


def test_all_pages_of_tags(hostile: Hostile, tmp_path: Path) -> None:
    hostile.on("GET /v2/mine/tags/list", paged)
    with repository(hostile, "mine", tmp_path) as there:
        assert list(there.tags()) == [f"t{number}" for number in range(6)]
    hostile.on("GET /v2/mine/tags/list", lambda exchange: Reply(200, b'{"name":"mine","tags":null}'))
    with repository(hostile, "mine", tmp_path) as there:
        assert list(there.tags()) == []


def listing(tags: object, link: str = "") -> Act:
    return lambda exchange: Reply(200, json.dumps({"tags": tags}).encode(), {"Link": link} if link else {})


LISTS = {
    "the same page again": (listing(["a"], '</v2/mine/tags/list?n=1000>; rel="next"'), "without end"),
    "another host": (listing(["a"], '<http://127.0.0.2:1/v2/mine/tags/list?n=2>; rel="next"'), "elsewhere"),
    "another repository": (listing(["a"], '</v2/other/tags/list?n=2>; rel="next"'), "elsewhere"),
    "no address": (listing(["a"], '<ftp://x/>; rel="next"'), "malformed"),
    "no list": (listing({"a": 1}), "malformed"),
    "no string": (listing([1]), "malformed"),
    "a path": (listing(["../../etc/passwd"]), "malformed"),
    "control characters": (listing(["a\x1b[2J"]), "malformed"),
    "a name": (listing(["a@sha256:" + "0" * 64]), "malformed"),
}


@pytest.mark.parametrize("name", LISTS)
def test_list_of_tags_that_leads_astray(hostile: Hostile, tmp_path: Path, name: str) -> None:
    act, says = LISTS[name]
    hostile.on("GET /v2/mine/tags/list", act)
    with repository(hostile, "mine", tmp_path) as there, pytest.raises((RegistryError, ImageError), match=says):
        list(there.tags())
    assert not hostile.asked("GET /v2/other")


class Trusted(NamedTuple):
    """A server and the CA that signed its certificate."""

    host: str
    ca: Path


# --- threads ---------------------------------------------------------------------------------------------------


def run(works: list[Callable[[], object]]) -> list[Exception]:
    """All at once; what they raised."""
    raised: list[Exception] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_several_blobs_at_once_by_one_token(make_registry: Callable[..., Registry], tmp_path: Path) -> None:
    registry = make_registry(token={"ann": "s3cret"})
    blobs = [os.urandom(500_000) for _ in range(6)]
    for blob in blobs:
        registry.put_blob("mine", blob)
    assert registry.tokens
    registry.tokens.asked.clear()
    with repository(registry, "mine", tmp_path, user=("ann", "s3cret")) as there:

        def fetching(blob: bytes) -> Callable[[], object]:
            def fetch() -> None:
                assert b"".join(there.blob(descriptor(blob))) == blob

            return fetch

        assert not run([fetching(blob) for blob in blobs])
    assert len(registry.tokens.asked) == 1


@pytest.mark.parametrize("act", [held(0.5), held(0)], ids=["in the middle", "at the head"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_close_ends_what_other_threads_wait_for(tmp_path: Path, act: Act, tls: bool) -> None:
    """And nothing but the blob's own bytes has come out of it, whatever lay in the socket."""
    authority = Authority(tmp_path)
    with Hostile(tls=authority.server() if tls else None) as server:
        fill(server)
        server.on("GET /v2/mine/blobs/", act)
        there = repository(Trusted(server.host, authority.certificate), "mine:1", tmp_path)

        def fetch() -> None:
            at = 0
            for chunk in there.blob(descriptor(BLOB)):
                assert BLOB[at : at + len(chunk)] == chunk
                at += len(chunk)

        def end() -> None:
            while len(server.asked("GET /v2/mine/blobs/")) < 2:
                time.sleep(0.01)
            there.close()

        raised = run([fetch, fetch, end])
        assert [isinstance(error, RegistryError) for error in raised] == [True, True], raised
        with pytest.raises(RegistryError, match="interrupted"):
            there.head("1")


# --- proxies ---------------------------------------------------------------------------------------------------


class Proxy(http.server.BaseHTTPRequestHandler):
    """Leads every name to loopback; notes what it was asked."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]]
    log_message = lambda *_: None  # noqa: E731

    def do_CONNECT(self) -> None:
        self.seen.append((f"CONNECT {self.path}", self.headers.get("Proxy-Authorization")))
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=self.pump, args=(there, self.connection), daemon=True)
            back.start()
            self.pump(self.connection, there)
            back.join()
        self.close_connection = True

    @staticmethod
    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def proxy() -> Iterator[http.server.ThreadingHTTPServer]:
    Proxy.seen = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_registry_behind_a_proxy(proxy: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    """CONNECT with the proxy's password, then TLS with the registry itself: the name is the proxy's to resolve."""
    authority = Authority(tmp_path)
    files = authority.server(names=["registry.example"])
    with Hostile(tls=files, name="registry.example") as server:
        fill(server)
        given = repositories.settings(tmp_path, HTTPS_PROXY=f"http://bob:p%40ss@127.0.0.1:{proxy.server_port}")
        folder = tmp_path / "certs" / server.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
        with repository(server, "mine:1", tmp_path, given=given) as there:
            assert there.manifest("1").data == DATA
            assert b"".join(there.blob(descriptor(BLOB))) == BLOB
        assert Proxy.seen == [(f"CONNECT {server.host}", "Basic Ym9iOnBAc3M=")]
        assert not [one for one in server.seen if "proxy-authorization" in one.headers]
