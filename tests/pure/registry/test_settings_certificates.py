# SPDX-License-Identifier: Apache-2.0
"""certs.d: the directory of a host, its authorities and client certificates; bad files are named in the error."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, openssl
from minirt.errors import InvalidValue, MinirtError
from minirt.image.registry import certificates
from minirt.image.registry.settings import Settings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def directory(folder: Path, host: str = "h:5000") -> Path:
    path = folder / "certs.d" / host
    path.mkdir(parents=True)
    return path


def context(folder: Path, host: str = "h:5000", verify: bool = True) -> ssl.SSLContext:
    return Settings({"HOME": str(folder), "MINIRT_CERTS_DIR": str(folder / "certs.d")}).tls(host, verify)


def names(made: ssl.SSLContext) -> list[str]:
    """Common names of the authorities that were added by hand."""
    subjects: list[Any] = [one["subject"] for one in made.get_ca_certs()]
    values = [value for subject in subjects for pair in subject for _, value in pair]
    return sorted(str(value) for value in values if str(value).startswith("test "))


def test_authorities_of_the_host_alone(tmp_path: Path, authority: Authority) -> None:
    place = directory(tmp_path)
    (place / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (place / "other.crt").write_bytes(Authority(tmp_path, "other").certificate.read_bytes())
    (place / "README").write_text("not a certificate")
    assert names(context(tmp_path)) == ["test ca", "test other"]
    assert names(context(tmp_path, "h:5001")) == []
    assert names(context(tmp_path, "h")) == []


def shakes_hands(client: ssl.SSLContext, certificate: Path, key: Path) -> bool:
    """Whether `client` trusts this server of "localhost": a handshake in memory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [context.wrap_bio(there, back, server_side=True), client.wrap_bio(back, there, server_hostname="localhost")]
    for _ in range(6):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True


@pytest.mark.parametrize("more", [False, True], ids=["rehashed", "appended"])
def test_authorities_of_the_system(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    """The hashed directory where it is complete, the bundle where somebody added to that alone; no others."""
    bundle, hashed = tmp_path / "bundle.crt", tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "ca.pem").write_bytes(authority.certificate.read_bytes())
    added = Authority(tmp_path, "added")
    bundle.write_bytes(authority.certificate.read_bytes() + (added.certificate.read_bytes() if more else b""))
    openssl("rehash", hashed)
    found = ssl.get_default_verify_paths()._replace(openssl_cafile=str(bundle), openssl_capath=str(hashed))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: found)
    monkeypatch.setattr(  # what OpenSSL was built with cannot be changed
        ssl.SSLContext, "set_default_verify_paths", lambda self: self.load_verify_locations(str(bundle), str(hashed))
    )
    made = context(tmp_path)
    assert made.cert_store_stats()["x509_ca"] == (2 if more else 0)
    assert shakes_hands(made, *authority.server("good"))
    assert shakes_hands(made, *added.server("added-server")) == more
    assert not shakes_hands(made, *authority.server("own", own=True))
    assert not shakes_hands(made, *authority.server("elsewhere", names=["other.example"]))


def test_how_strict_it_is(tmp_path: Path) -> None:
    """REG-10: names and certificates are checked, from TLS 1.2 on, unless registries.conf says insecure."""
    made = context(tmp_path)
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    made = context(tmp_path, verify=False)
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_NONE, False)


def test_authorities_of_the_registry_that_names_a_server(tmp_path: Path, authority: Authority) -> None:
    """For token servers and storage; a directory of their own comes first, and client certificates stay at home."""
    place = directory(tmp_path)
    (place / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (place / "broken.cert").write_text("never looked at")
    found = Settings({"HOME": str(tmp_path), "MINIRT_CERTS_DIR": str(tmp_path / "certs.d")})
    registry = found.server("h:5000")
    assert names(found.foreign("h:5001", "https", registry).tls()) == ["test ca"]
    assert names(found.foreign("other", "https", registry).tls()) == ["test ca"]
    assert names(found.foreign("other", "https").tls()) == []
    directory(tmp_path, "tokens")
    assert names(found.foreign("tokens", "https", registry).tls()) == []


def test_insecure_is_the_host_and_nobody_else(tmp_path: Path) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text('[[registry]]\nlocation = "h:5000"\ninsecure = true\n')
    found = Settings({"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(conf)})
    registry = found.server("h:5000")
    assert registry.insecure
    insecure = [found.foreign(host, "https", registry).insecure for host in ("h:5000", "h:5001", "h", "h.evil", "i")]
    assert insecure == [True, True, True, False, False]
    assert not found.foreign("h:5001", "https").insecure


def test_context_is_made_once(tmp_path: Path) -> None:
    found = Settings({"HOME": str(tmp_path), "MINIRT_CERTS_DIR": str(tmp_path)})
    assert found.tls("h", True) is found.tls("h", True)
    assert found.tls("h", True) is not found.tls("i", True)


def test_first_place_that_has_the_host_counts(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(certificates, "SYSTEM", (str(first), str(second)))
    (second / "h").mkdir(parents=True)
    (second / "h/ca.crt").write_bytes(authority.certificate.read_bytes())
    assert names(Settings({"HOME": str(tmp_path)}).tls("h", True)) == ["test ca"]
    (first / "h").mkdir(parents=True)
    assert names(Settings({"HOME": str(tmp_path)}).tls("h", True)) == []
    own = tmp_path / ".config/containers/certs.d/h"
    own.mkdir(parents=True)
    (own / "ca.crt").write_bytes(authority.certificate.read_bytes())
    assert names(Settings({"HOME": str(tmp_path)}).tls("h", True)) == ["test ca"]


def test_docker_hub_by_any_of_its_names(tmp_path: Path, authority: Authority) -> None:
    (directory(tmp_path, "docker.io") / "ca.crt").write_bytes(authority.certificate.read_bytes())
    assert names(context(tmp_path, "registry-1.docker.io")) == ["test ca"]


def test_bad_files_are_named(tmp_path: Path, authority: Authority) -> None:
    """Each fault by itself, with the remedy; and the good directory, which is none."""
    place = directory(tmp_path)
    certificate, key = (path.read_bytes() for path in authority.client("ann"))
    other = authority.client("bob")[1].read_bytes()
    locked = place.parent / "locked.key"
    locked.write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    cases: list[tuple[dict[str, bytes], str]] = [
        ({"ann.cert": certificate, "ann.key": key}, ""),
        ({"ca.crt": b"nonsense"}, f'certificate "{place}/ca.crt" is not a PEM certificate'),
        ({"ca.crt": b""}, f'certificate "{place}/ca.crt" is not a PEM certificate'),
        ({"ca.crt": b"\xff\xfe"}, f'certificate "{place}/ca.crt" is not a PEM certificate'),
        ({"ann.cert": certificate}, f'client certificate "{place}/ann.cert" has no key "ann.key" beside it'),
        ({"ann.key": key}, f'key "{place}/ann.key" has no client certificate "ann.cert" beside it'),
        ({"ann.cert": certificate, "ann.key": other}, "do not belong together"),
        ({"ann.cert": b"x", "ann.key": key}, "are not a PEM certificate and its key"),
        ({"ann.cert": certificate, "ann.key": locked.read_bytes()}, "without a passphrase"),
    ]
    for content, fault in cases:
        for name, data in content.items():
            (place / name).write_bytes(data)
        if fault:
            with pytest.raises(InvalidValue) as caught:
                context(tmp_path)
            assert fault in caught.value.message
            assert caught.value.remedy
        else:
            context(tmp_path)
        for name in content:
            (place / name).unlink()


@pytest.mark.parametrize("name", ["ca.crt", "ann.cert"])
def test_dangling_link_and_directory(tmp_path: Path, authority: Authority, name: str) -> None:
    place = directory(tmp_path)
    (place / "ann.key").write_bytes(authority.client("ann")[1].read_bytes())
    (place / "ann.cert").write_bytes(authority.client("ann")[0].read_bytes())
    (place / name).unlink(missing_ok=True)
    (place / name).symlink_to("absent")
    with pytest.raises(MinirtError, match=rf"{name}\" is not there"):
        context(tmp_path)
    (place / name).unlink()
    (place / name).mkdir()
    with pytest.raises(MinirtError, match=rf"{name}\" is not a regular file"):
        context(tmp_path)
