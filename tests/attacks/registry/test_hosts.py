# SPDX-License-Identifier: Apache-2.0
"""Which host is spoken to, and how (REG-08 to REG-10, REG-17, REG-18): TLS unless declared otherwise, a certificate
before any credentials, no host that an image names, and a name means one registry only."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from misbehaviour import raw, silence, status
from pulling import configure, login, one, pulled, refused, seen_secrets
from store import Store

from certificates import Authority
from distribution import MANIFEST, Reply
from hostile_registry import Exchange, Hostile
from runner import Minirt

USERS = {"ann": "s3cret"}
Make = Callable[..., Hostile]
Trust = Callable[[Hostile], None]
FOREIGN = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+gzip",
]


@pytest.mark.parametrize("served", [False, True], ids=["only there", "here too"])
@pytest.mark.parametrize("media_type", FOREIGN, ids=["docker", "oci", "ordinary"])
def test_reg_08_foreign_layer_urls(
    pulls: Minirt, store: Store, make_hostile: Make, media_type: str, served: bool
) -> None:
    """REG-08: a layer's `urls` name a canary, the cloud's metadata address, a file: nobody is asked, no file is read.
    Where the registry has the blob itself it is taken from there."""
    server, canary = make_hostile(), make_hostile()
    one(server)
    one(canary)
    manifest = json.loads(server.manifests["mine", "1"][1])
    layer = manifest["layers"][0]
    path = f"/v2/mine/blobs/{layer['digest']}"
    layer["mediaType"] = media_type
    layer["urls"] = [
        canary.url + path,
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://127.0.0.1:1/latest/meta-data",
    ]
    server.put_manifest("mine", "1", json.dumps(manifest).encode())
    if not served:
        server.held.remove(("mine", layer["digest"]))
    result = pulls("pull", f"{server.host}/mine:1")
    assert canary.seen == []
    assert "Traceback" not in result.stderr and result.code in (0, 1), repr(result)
    if not served:
        assert result.code == 1, repr(result)
        store.empty()
        one(server)
        pulled(pulls, f"{server.host}/mine:1")
    store.true()


@pytest.mark.parametrize("credentials", [False, True])
def test_reg_09_plain_http_on_a_name_that_is_not_loopback(
    pulls: Minirt, store: Store, make_hostile: Make, names: object, credentials: bool
) -> None:
    """REG-09: nothing is sent in clear; the error says that this is not HTTPS; declared insecure, it works."""
    server = make_hostile(name="registry.example", users=USERS if credentials else None)
    one(server)
    if credentials:
        login(pulls, server.host)
    refused(pulls, "pull", f"{server.host}/mine:1", says="(?i)https|TLS")
    assert server.seen == [], "a request in clear"
    assert server.hellos, "the control: TLS was tried"
    store.empty()
    configure(pulls, f'[[registry]]\nlocation = "{server.host}"\ninsecure = true\n')
    pulled(pulls, f"{server.host}/mine:1")


@pytest.mark.parametrize("answer", [b"", b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03", b"\x00" * 100])
def test_reg_09_no_fallback_after_a_tls_failure(
    pulls: Minirt, store: Store, make_hostile: Make, names: object, answer: bytes
) -> None:
    """REG-09: a man in the middle breaks the handshake (by the end of the connection, an alert, nonsense) and would
    take HTTP: no request in clear is ever sent."""
    server = make_hostile(name="registry.example")
    one(server)
    login(pulls, server.host)
    server.not_http = answer
    refused(pulls, "pull", f"{server.host}/mine:1", says=".")
    assert server.seen == []
    store.empty()


BAD: dict[str, dict[str, Any]] = {
    "self-signed": {"own": True},
    "expired": {"days": -1},
    "wrong name": {"names": ["somebody.example"]},
}


@pytest.mark.parametrize("host", ["registry.example", "127.0.0.1"])
@pytest.mark.parametrize("kind", BAD)
def test_reg_10_bad_certificates(
    pulls: Minirt,
    store: Store,
    make_hostile: Make,
    authority: Authority,
    certificate: tuple[Path, Path],
    trust: Trust,
    names: object,
    kind: str,
    host: str,
) -> None:
    """REG-10 (CVE-2025-6032): refused before a request is sent, so without credentials; the reason is named."""
    options = {"names": [host], **BAD[kind]}
    bad = make_hostile(tls=authority.server("bad", **options), users=USERS, name=host)
    good = make_hostile(tls=certificate, users=USERS, name=host)
    for server in (bad, good):
        one(server)
        trust(server)
        login(pulls, server.host)
    refused(pulls, "pull", f"{bad.host}/mine:1", says="(?i)certificate")
    assert bad.seen == []
    assert not [data for data in bad.plain if b"uthorization" in data]
    store.empty()
    pulled(pulls, f"{good.host}/mine:1")
    assert seen_secrets(good), "the control: here they were needed, and shown"


def test_reg_10_an_unknown_authority(
    pulls: Minirt, store: Store, make_hostile: Make, certificate: tuple[Path, Path], trust: Trust, names: object
) -> None:
    """REG-10: a certificate of a CA that is trusted for another registry only is not good for this one."""
    server = make_hostile(tls=certificate, name="registry.example")
    other = make_hostile(tls=certificate, name="other.example")
    one(server)
    one(other)
    trust(other)
    refused(pulls, "pull", f"{server.host}/mine:1", says="(?i)certificate")
    assert server.seen == []
    store.empty()
    pulled(pulls, f"{other.host}/mine:1")


def test_reg_17_login_keeps_the_password_to_itself(pulls: Minirt, make_hostile: Make) -> None:
    """REG-17: not in argv, not in what login or pull say, right or wrong; the file is 0600 and replaced as a whole."""
    server = make_hostile(users={"ann": "pa55w0rd-x"})
    one(server)
    wrong = pulls.fails("login", "-u", "ann", "--password-stdin", server.host, input="wr0ng-passw0rd", code=1, says="")
    assert "wr0ng" not in wrong
    path = Path(pulls.environment["HOME"]) / ".docker/config.json"
    assert not path.exists() or "auths" not in json.loads(path.read_text()) or not json.loads(path.read_text())["auths"]
    login(pulls, "other.example", password="kept")
    path.chmod(0o644)
    before = path.stat().st_ino
    said = pulls("login", "-u", "ann", "--password-stdin", server.host, input="pa55w0rd-x")
    assert said.code == 0 and "pa55w0rd" not in said.stdout + said.stderr, repr(said)
    there = path.stat()
    assert stat.S_IMODE(there.st_mode) == 0o600
    assert there.st_ino != before, "written anew and renamed, not written over"
    assert set(json.loads(path.read_text())["auths"]) == {"other.example", server.host}
    assert os.listdir(path.parent) == ["config.json"], "nothing temporary is left"
    pulled(pulls, f"{server.host}/mine:1")
    for words in (["image", "inspect", f"{server.host}/mine:1"], ["images"], ["info"]):
        assert "pa55w0rd" not in pulls.ok(*words)
    pulls.ok("logout", server.host)
    assert set(json.loads(path.read_text())["auths"]) == {"other.example"}


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_reg_17_a_registry_that_echoes_credentials(
    pulls: Minirt, store: Store, make_hostile: Make, bearer: bool
) -> None:
    """REG-17: an error message that quotes our own Authorization header, or the password, is not passed on."""
    server = make_hostile(users=USERS, bearer=bearer)
    one(server)
    login(pulls, server.host)
    echoed: list[str] = []

    def act(exchange: Exchange) -> Reply | None:
        if not (word := exchange.seen.authorization):
            return exchange.honest()
        echoed.append(word.partition(" ")[2])
        return status(400, f"bad request: {word} password s3cret")(exchange)

    server.on("(GET|HEAD) /v2/mine/", act)
    result = refused(pulls, "pull", f"{server.host}/mine:1", says="400|bad request")
    assert echoed, "the control: credentials were shown to the registry"
    for secret in [*echoed, "s3cret"]:
        assert secret not in result.stdout + result.stderr, repr(result)
    store.empty()


def test_reg_17_a_proxy_keeps_its_password(pulls: Minirt, store: Store, hostile: Hostile, names: object) -> None:
    """REG-17: the password in HTTPS_PROXY is not in the error when the proxy refuses."""
    hostile.on("CONNECT ", status(407, "no"))
    pulls.environment["HTTPS_PROXY"] = f"http://ann:s3cret@{hostile.host}"
    result = refused(pulls, "pull", "registry.example/mine:1", says="407|proxy")
    assert "s3cret" not in result.stderr
    store.empty()


CONFUSED = [
    "x@sha256:" + "a" * 64 + ":tag",
    "UPPER/case",
    "../x",
    "a/../b",
    "a//b",
    "/x",
    "x/",
    "http://127.0.0.1/x",
    "user:pw@127.0.0.1/x",
    "127.0.0.1:99999999/x:1:2",
    "n\u0261inx",
    "ngin\uff58",
    "x:" + "t" * 129,
    "x@sha256:" + "A" * 64,
    "x@md5:" + "a" * 32,
    "a" * 64,
    "x\n",
    "x y",
    "x\0y".replace("\0", "\x01"),
    "",
]


@pytest.mark.parametrize("name", CONFUSED, ids=ascii)
def test_reg_18_malformed_names(pulls: Minirt, store: Store, hostile: Hostile, name: str) -> None:
    """REG-18: refused before anybody is asked; a mirror for everything would see it."""
    configure(pulls, f'[[registry]]\nprefix = "docker.io"\nlocation = "{hostile.host}"\n')
    said = pulls("pull", name)
    assert said.code in (1, 125) and said.stderr and "Traceback" not in said.stderr, repr(said)
    assert hostile.seen == []
    store.empty()


def test_reg_18_a_name_means_one_registry(pulls: Minirt, make_hostile: Make, names: object) -> None:
    """REG-18: docker.io's place is not that of docker.io.evil.example, nor library/x that of x on another host."""
    hub, evil = make_hostile(), make_hostile(name="docker.io.evil.example")
    for server in (hub, evil):
        one(server, name="library/mine:latest")
    configure(
        pulls,
        f'[[registry]]\nprefix = "docker.io"\nlocation = "{hub.host}"\n'
        f'[[registry]]\nlocation = "{evil.host}"\ninsecure = true\n',
    )
    pulled(pulls, "mine")
    assert hub.asked("(GET|HEAD) /v2/library/mine/manifests/latest")
    assert evil.seen == []
    hub.forget()
    pulled(pulls, f"{evil.host}/library/mine")
    assert hub.seen == [], "docker.io's prefix matched another host"
    assert evil.asked("(GET|HEAD) /v2/library/mine/manifests/latest")


def test_reg_18_blocked_is_blocked(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-18: a blocked registry is not asked, however its name is written."""
    one(hostile)
    port = hostile.port
    configure(pulls, f'[[registry]]\nlocation = "localhost:{port}"\nblocked = true\n')
    for name in (f"localhost:{port}/mine:1", f"LOCALHOST:{port}/mine:1"):
        refused(pulls, "pull", name, says="blocked")
    assert hostile.seen == []
    store.empty()
    pulled(pulls, f"127.0.0.1:{port}/mine:1")


def test_names_that_differ_in_case_are_one_host(pulls: Minirt, hostile: Hostile) -> None:
    """REG-18: LOCALHOST:5000/x is localhost:5000/x, as it is for Docker's resolver."""
    one(hostile)
    pulled(pulls, f"LOCALHOST:{hostile.port}/mine:1")


def test_reg_09_answers_that_are_not_http_over_tls(
    pulls: Minirt, store: Store, make_hostile: Make, certificate: tuple[Path, Path], trust: Trust, names: object
) -> None:
    """REG-09: a good certificate and no HTTP behind it: an error, and no try in clear."""
    server = make_hostile(tls=certificate, name="registry.example")
    one(server)
    trust(server)
    for act in (raw(b"220 smtp ready\r\n"), raw(b""), silence):
        server.behave()
        server.on(".*", act)
        refused(pulls, "pull", f"{server.host}/mine:1", says=".")
        assert server.plain == []
    store.empty()
    server.behave()
    pulled(pulls, f"{server.host}/mine:1")
    assert MANIFEST in str(server.seen), "the control: it asked for what it reads"
