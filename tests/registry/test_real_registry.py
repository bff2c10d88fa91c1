# SPDX-License-Identifier: Apache-2.0
"""The tests' own real registry (tests/registries.py): it is real, private where asked, and counts what it sends."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import forge
import sample_images
from registries import Registry
from tokens import encoded

SMALL = forge.tar(forge.entry("a", data=b"one"))


def test_what_was_put_is_served_and_counted(registry: Registry) -> None:
    files = sample_images.image(SMALL)
    digest = registry.put(files, "own/put:1")
    manifest = files[f"blobs/sha256/{digest[7:]}"]
    registry.forget()
    assert registry.request("GET", "/v2/own/put/manifests/1").data == manifest
    blob = json.loads(manifest)["layers"][0]
    ranged = registry.request("GET", f"/v2/own/put/blobs/{blob['digest']}", headers={"Range": "bytes=10-"})
    assert ranged.status == 206
    asked = [one for one in registry.log if "/own/put/" in one.path]
    assert [(one.method, one.status, one.sent) for one in asked] == [
        ("GET", 200, len(manifest)),
        ("GET", 206, blob["size"] - 10),
    ]
    assert registry.blob_path(digest).read_bytes() == manifest


def test_skopeo_reads_what_was_put_and_pushes_what_is_read(registry: Registry, tmp_path: Path) -> None:
    first = registry.put(
        sample_images.index(sample_images.image(SMALL), sample_images.image(SMALL, platform="linux/s390x")),
        "own/many:1",
    )
    source = f"docker://{registry.host}/own/many:1"
    words = ["skopeo", "copy", "--quiet", "--insecure-policy", "--all", "--src-tls-verify=false", source]
    subprocess.run([*words, f"oci:{tmp_path}:many"], check=True)
    assert registry.push(f"oci:{tmp_path}:many", "own/again:1", "--preserve-digests") == first


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_every_compression_is_taken(registry: Registry, compression: str) -> None:
    digest = registry.put(sample_images.image(SMALL, compression=compression), f"own/{compression}:1")
    assert registry.digest(f"own/{compression}:1") == digest


def test_it_comes_back_on_its_port_with_what_it_stored(make_registry: Callable[..., Registry]) -> None:
    own = make_registry()
    digest, host = own.put(sample_images.image(SMALL), "kept:1"), own.host
    own.stop()
    with pytest.raises(ConnectionRefusedError):
        own.request("GET", "/v2/")
    own.start()
    assert (own.host, own.digest("kept:1")) == (host, digest)


def greet(registry: Registry, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", registry.port, context=context)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_tls_is_trusted_by_its_own_ca_only(make_registry: Callable[..., Registry]) -> None:
    own = make_registry(tls="ca")
    assert greet(own, ssl.create_default_context(cafile=str(own.ca))) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(own, ssl.create_default_context())
    assert own.put(sample_images.image(SMALL), "x:1") == own.digest("x:1")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("self-signed", "self.signed certificate"), ("expired", "expired"), ("wrong-name", "not valid for '127.0.0.1'")],
)
def test_bad_certificates_are_bad_in_their_own_way(
    make_registry: Callable[..., Registry], kind: str, reason: str
) -> None:
    own = make_registry(tls=kind)
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        greet(own, ssl.create_default_context(cafile=str(own.ca)))


def test_clients_need_a_certificate(make_registry: Callable[..., Registry]) -> None:
    own = make_registry(tls="ca", clients=True)
    trusting = ssl.create_default_context(cafile=str(own.ca))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        greet(own, trusting)
    assert own.client
    trusting.load_cert_chain(*own.client)
    assert greet(own, trusting) == 200


def test_htpasswd_asks_for_basic(make_registry: Callable[..., Registry]) -> None:
    own = make_registry(htpasswd={"ann": "a:b c"})
    refused = own.request("GET", "/v2/", anonymous=True)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="tests"')
    assert own.request("GET", "/v2/", anonymous=True, headers={"Authorization": "Basic YW5uOmI="}).status == 401
    assert own.put(sample_images.image(SMALL), "x:1") == own.digest("x:1")
    assert {one.status for one in own.log if one.path == "/v2/"} == {401}


def ask(own: Registry, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    assert own.tokens
    connection = http.client.HTTPConnection(own.tokens.host)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_tokens_open_what_they_name(make_registry: Callable[..., Registry]) -> None:
    own = make_registry(token={"ann": "secret"})
    assert own.tokens
    own.put(sample_images.image(SMALL), "x/y:1")
    refused = own.request("GET", "/v2/x/y/manifests/1", anonymous=True)
    assert refused.status == 401
    asks = refused.headers["www-authenticate"]
    assert f'Bearer realm="http://{own.tokens.host}/token"' in asks
    assert 'scope="repository:x/y:pull"' in asks
    status, answer = ask(own, "GET", "/token?service=registry.test&scope=repository:x/y:pull,push")
    bearer = {"Authorization": "Bearer " + answer["token"]}
    assert status == 200
    assert own.request("HEAD", "/v2/x/y/manifests/1", headers=bearer, anonymous=True).status == 200
    assert own.request("POST", "/v2/x/y/blobs/uploads/", headers=bearer, anonymous=True).status == 401
    assert own.tokens.asked[-1][:3] == ("GET", None, ("repository:x/y:pull,push",))


def test_tokens_for_a_user_and_for_an_identity(make_registry: Callable[..., Registry]) -> None:
    own = make_registry(token={"ann": "secret"})
    scope = "service=registry.test&scope=repository:x:pull,push"
    assert ask(own, "GET", f"/token?{scope}", Authorization="Basic YW5uOmI=")[0] == 401
    login = f"grant_type=password&username=ann&password=secret&access_type=offline&{scope}"
    status, first = ask(own, "POST", "/token", login)
    assert status == 200
    status, second = ask(
        own, "POST", "/token", f"grant_type=refresh_token&refresh_token={first['refresh_token']}&{scope}"
    )
    bearer = {"Authorization": "Bearer " + second["access_token"]}
    assert own.request("POST", "/v2/x/blobs/uploads/", headers=bearer, anonymous=True).status == 202
    forged = second["access_token"].rpartition(".")[0] + "." + encoded(bytes(256)).decode()
    bearer = {"Authorization": f"Bearer {forged}"}
    assert own.request("POST", "/v2/x/blobs/uploads/", headers=bearer, anonymous=True).status == 401


def test_tokens_over_tls(make_registry: Callable[..., Registry]) -> None:
    own = make_registry(tls="ca", token={})
    assert own.tokens
    trusting = ssl.create_default_context(cafile=str(own.ca))
    connection = http.client.HTTPSConnection(own.tokens.host, context=trusting)
    connection.request("GET", "/token?scope=repository:x:pull")
    assert connection.getresponse().status == 200
    connection.close()
