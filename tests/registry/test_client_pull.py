# SPDX-License-Identifier: Apache-2.0
"""What the registry client reads from real registries (docker-registry): manifests, blobs, ranges, tags; with TLS,
passwords and tokens. What only a misbehaving one shows is in test_client_trouble.py and attacks/registry."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import repositories
from minirt.errors import ImageError, NotFound, RegistryError
from registries import INDEX, MANIFEST, Registry
from repositories import descriptor, digest_of, repository

Make = Callable[..., Registry]
BLOB = os.urandom(3_000_000)
USER = {"ann": "s3cret"}


def filled(registry: Registry, name: str) -> tuple[bytes, str]:
    """A repository with BLOB and a manifest under the tag 1: the manifest and its digest."""
    registry.put_blob(name, BLOB)
    registry.put_blob(name, b"{}")
    data = repositories.manifest(b"{}", BLOB)
    return data, registry.put_manifest(name, "1", data)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "TLS": {"tls": "ca"},
    "basic": {"htpasswd": USER},
    "basic, TLS": {"htpasswd": USER, "tls": "ca"},
    "tokens": {"token": USER},
    "tokens, TLS": {"token": USER, "tls": "ca"},
    "tokens for everybody": {"token": {}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_manifest_and_blob_by_every_kind_of_registry(make_registry: Make, tmp_path: Path, kind: str) -> None:
    registry = make_registry(**KINDS[kind])
    data, digest = filled(registry, "mine/a")
    with repository(registry, "mine/a:1", tmp_path, user=("ann", "s3cret")) as there:
        head = there.head("1")
        assert head
        assert (head.digest, head.size, head.media_type) == (digest, len(data), MANIFEST)
        for wanted in ("1", digest):
            answer = there.manifest(wanted)
            assert (answer.data, answer.digest, answer.media_type) == (data, digest, MANIFEST)
        assert b"".join(there.blob(descriptor(BLOB))) == BLOB
        assert b"".join(there.blob(descriptor(BLOB), 2_000_000)) == BLOB[2_000_000:]
        assert list(there.blob(descriptor(BLOB), len(BLOB))) == []
        assert list(there.tags()) == ["1"]
        with pytest.raises(NotFound, match="MANIFEST_UNKNOWN"):
            there.manifest("2")
        with pytest.raises(NotFound, match="BLOB_UNKNOWN"):
            list(there.blob(descriptor(b"missing")))


def test_unchanged_tag_costs_one_request(registry: Registry, tmp_path: Path) -> None:
    filled(registry, "client/head")
    registry.forget()
    with repository(registry, "client/head:1", tmp_path) as there:
        there.head("1")
    assert [(one.method, one.path) for one in registry.log] == [("HEAD", "/v2/client/head/manifests/1")]


def test_offset_fetches_the_rest_only(registry: Registry, tmp_path: Path) -> None:
    filled(registry, "client/rest")
    registry.forget()
    with repository(registry, "client/rest:1", tmp_path) as there:
        assert b"".join(there.blob(descriptor(BLOB), 2_999_000)) == BLOB[2_999_000:]
    assert [(one.status, one.sent) for one in registry.log if one.method == "GET"] == [(206, 1000)]


def test_chunks_are_bounded(registry: Registry, tmp_path: Path) -> None:
    filled(registry, "client/chunks")
    with repository(registry, "client/chunks:1", tmp_path) as there:
        assert all(0 < len(chunk) <= 1 << 20 for chunk in there.blob(descriptor(BLOB)))


@pytest.mark.parametrize("size", [len(BLOB) - 1, len(BLOB) + 1, 0, 1])
def test_reg_02_blob_of_another_size_than_stated(registry: Registry, tmp_path: Path, size: int) -> None:
    """REG-02: with the right digest, from an honest server, and a descriptor that lies: nothing beyond its size."""
    filled(registry, "client/size")
    taken = 0
    with repository(registry, "client/size:1", tmp_path) as there:
        if size:
            with pytest.raises(ImageError, match="longer than" if size < len(BLOB) else "truncated"):
                for chunk in there.blob(descriptor(BLOB, size)):
                    taken += len(chunk)
        assert taken <= size
        assert b"".join(there.blob(descriptor(BLOB))) == BLOB, "the control"


def test_index_is_answered_unless_it_is_not_accepted(registry: Registry, tmp_path: Path) -> None:
    data, digest = filled(registry, "client/index")
    member = f'{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{len(data)}}}'
    index = f'{{"schemaVersion":2,"mediaType":"{INDEX[0]}","manifests":[{member}]}}'.encode()
    registry.put_manifest("client/index", "many", index, INDEX[0])
    with repository(registry, "client/index:many", tmp_path) as there:
        answer = there.manifest("many")
        assert (answer.data, answer.media_type, answer.digest) == (index, INDEX[0], digest_of(index))
        head = there.head("many")
        assert head
        assert head.digest == answer.digest
        with pytest.raises((NotFound, RegistryError)):
            there.manifest("many", accept_index=False)


def test_changed_manifest_is_found_out_by_its_digest(make_registry: Make, tmp_path: Path) -> None:
    """REG-12: the registry's own header says the digest that was asked for, its storage holds something else."""
    registry = make_registry()
    data, digest = filled(registry, "mine")
    with repository(registry, "mine:1", tmp_path) as there:
        assert there.manifest(digest).data == data
        registry.blob_path(digest).write_bytes(data.replace(b'"schemaVersion": 2', b'"schemaVersion":  2'))
        with pytest.raises(ImageError, match="digest mismatch"):
            there.manifest(digest)


def test_wrong_password_is_an_error_and_login_the_remedy(make_registry: Make, tmp_path: Path) -> None:
    registry = make_registry(htpasswd=USER)
    filled(registry, "mine")
    there = repository(registry, "mine:1", tmp_path, user=("ann", "wrong-s3cret"))
    with there, pytest.raises(RegistryError, match="denies access") as caught:
        there.manifest("1")
    assert caught.value.remedy == f"minirt login {registry.host}"
    assert "wrong-s3cret" not in repr(caught.value) + str(there)


def test_token_is_kept_for_its_repository_and_asked_for_no_more_than_needed(
    make_registry: Make, tmp_path: Path
) -> None:
    """REG-07: the cache is by registry, service and scope; the scope is ours."""
    registry = make_registry(token=USER)
    filled(registry, "mine/a")
    filled(registry, "mine/b")
    assert registry.tokens
    registry.tokens.asked.clear()
    with repository(registry, "mine/a:1", tmp_path, user=("ann", "s3cret")) as there:
        there.head("1")
        there.manifest("1")
        list(there.blob(descriptor(BLOB)))
        list(there.tags())
    with repository(registry, "mine/b:1", tmp_path, user=("ann", "s3cret")) as there:
        there.head("1")
    asked = [(one.user, one.scopes) for one in registry.tokens.asked]
    assert asked == [("ann", ("repository:mine/a:pull",)), ("ann", ("repository:mine/b:pull",))]


def test_token_that_ran_out_is_replaced(make_registry: Make, tmp_path: Path) -> None:
    """The registry allows a minute of grace: so a token of the past is put into the cache by hand."""
    registry = make_registry(token=USER)
    filled(registry, "mine")
    assert registry.tokens
    with repository(registry, "mine:1", tmp_path, user=("ann", "s3cret")) as there:
        there.head("1")
        kept = there._session.tokens._kept
        [key] = kept
        registry.tokens.lifetime_s = -1000
        kept[key] = (f"Bearer {registry.tokens.token(('repository:mine:pull',), 'ann')}", kept[key][1])
        registry.tokens.lifetime_s = 300
        before = len(registry.tokens.asked)
        assert there.manifest("1").digest
        assert len(registry.tokens.asked) == before + 1


def test_identity_token_goes_by_oauth2(make_registry: Make, tmp_path: Path) -> None:
    registry = make_registry(token=USER)
    filled(registry, "mine")
    assert registry.tokens
    registry.tokens.refresh["refresh-1"] = "ann"
    registry.tokens.asked.clear()
    given = repositories.settings(tmp_path)
    repositories.save(tmp_path, {registry.host: {"auth": "", "identitytoken": "refresh-1"}})
    with repository(registry, "mine:1", tmp_path, given=given) as there:
        assert there.head("1")
    [asked] = registry.tokens.asked
    assert (asked.method, asked.user, asked.scopes) == ("POST", "ann", ("repository:mine:pull",))
    assert asked.fields["grant_type"] == ["refresh_token"]


@pytest.mark.parametrize("tls", ["self-signed", "expired", "wrong-name"])
def test_reg_10_bad_certificate_gets_no_request(make_registry: Make, tmp_path: Path, tls: str) -> None:
    """REG-10: and no plain http after it, though on loopback it would be allowed."""
    registry = make_registry(tls=tls, htpasswd=USER)
    there = repository(registry, "mine:1", tmp_path, user=("ann", "s3cret"))
    with there, pytest.raises(RegistryError, match=r"certificate of .* is refused"):
        there.head("1")
    assert registry.log == []


def test_insecure_registry_needs_no_good_certificate(make_registry: Make, tmp_path: Path) -> None:
    """The control: registries.conf may say so."""
    registry = make_registry(tls="self-signed", htpasswd=USER)
    filled(registry, "mine")
    given = repositories.settings(tmp_path, registry, ("ann", "s3cret"))
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    with repository(registry, "mine:1", tmp_path, given=given) as there:
        assert there.head("1")


def test_mutual_tls(make_registry: Make, tmp_path: Path) -> None:
    registry = make_registry(tls="ca", clients=True)
    filled(registry, "mine")
    given = repositories.settings(tmp_path, registry)
    assert registry.client
    for path, name in zip(registry.client, ("client.cert", "client.key"), strict=True):
        (tmp_path / "certs" / registry.host / name).write_bytes(path.read_bytes())
    with repository(registry, "mine:1", tmp_path, given=given) as there:
        assert b"".join(there.blob(descriptor(BLOB))) == BLOB


def test_mirror_is_asked_first_and_passed_over_where_it_fails(make_registry: Make, tmp_path: Path) -> None:
    """A mirror that is down, one that lacks the tag, one that has it: each blob comes from the first that has it."""
    main, empty, full, down = make_registry(), make_registry(), make_registry(), make_registry()
    data, _ = filled(main, "mine")
    full.put_blob("copy/mine", BLOB)
    main.forget()
    full.forget()
    down.stop()
    mirrors = "".join(f'[[registry.mirror]]\nlocation = "{one.host}/copy"\n' for one in (down, empty, full))
    given = repositories.settings(tmp_path)
    (tmp_path / "registries.conf").write_text(
        f'[[registry]]\nprefix = "{main.host}"\nlocation = "{main.host}"\n{mirrors}'
    )
    with repository(main, "mine:1", tmp_path, given=given) as there:
        assert there.manifest("1").data == data
        assert b"".join(there.blob(descriptor(BLOB))) == BLOB
    asked = {
        one: [(line.method, line.path.rpartition("/")[0], line.status) for line in one.log] for one in (main, full)
    }
    assert asked[main] == [("GET", "/v2/mine/manifests", 200)]
    assert asked[full] == [("GET", "/v2/copy/mine/manifests", 404), ("GET", "/v2/copy/mine/blobs", 200)]


def test_nobody_there_is_said_so(tmp_path: Path) -> None:
    registry = Registry()
    with registry:
        pass
    given: Any = type("Gone", (), {"host": registry.host})
    with repository(given, "mine:1", tmp_path) as there, pytest.raises(RegistryError, match=r"[Cc]onnection refused"):
        there.head("1")


def test_tls_library_is_loaded_for_tls_only() -> None:
    """`ssl` costs 11 ms. Asked in an interpreter of its own."""
    import subprocess
    import sys

    code = "import minirt.image.registry.client, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    loaded = done.stdout.split()
    assert "minirt.image.registry.session" in loaded
    assert not {"ssl", "socket", "re", "email", "http", "urllib", "hashlib", "json"}.intersection(loaded)
    assert ssl.OPENSSL_VERSION_INFO >= (1, 1, 1)
