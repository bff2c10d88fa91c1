# SPDX-License-Identifier: Apache-2.0
"""Addresses that a registry sends us to (image/registry/address.py): read strictly, shown without secrets."""

from __future__ import annotations

import pytest

from minirt.errors import InvalidValue
from minirt.image.registry import address

GOOD = [
    ("https://a.example", ("https", "a.example", 443, "/")),
    ("HTTPS://A.Example/X?y=Z#f", ("https", "a.example", 443, "/X?y=Z")),
    ("http://127.0.0.1:5000/v2/", ("http", "127.0.0.1", 5000, "/v2/")),
    ("https://[::1]:5000/v2/", ("https", "::1", 5000, "/v2/")),
    ("https://[2001:DB8::1]", ("https", "2001:db8::1", 443, "/")),
    ("https://ann:secret@a.example:8443/x", ("https", "a.example", 8443, "/x")),
    ("https://a.example@b.example/x", ("https", "b.example", 443, "/x")),
    ("https://a.example?x", ("https", "a.example", 443, "/?x")),
    ("https://a.example:/", ("https", "a.example", 443, "/")),
]


@pytest.mark.parametrize(("text", "parts"), GOOD, ids=[text for text, _ in GOOD])
def test_parts(text: str, parts: tuple[str, str, int, str]) -> None:
    url = address.split(text)
    assert (url.scheme, url.host, url.port, url.target) == parts
    assert "secret" not in repr(url) + str(url)


BAD = [
    "", "a.example", "//a.example/", "ftp://a.example/", "file:///etc/passwd", "https://", "https:///x", "https://a b/",
    "https://a\r\nHost: b/", "https://a/\r\nX: y", "https://a/é", "https://é.example/", "https://a:0/", "https://a:65536/",
    "https://a:x/", "https://a:٥/", "https://a:-1/", "https://[::1/", "https://[x]/", "https://::1/", "https://a%2fb/",
    "https://a\\b/", "https://" + "a" * 300, "https://a/" + "x" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_malformed_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"address|host"):
        address.split(text)


def test_what_is_refused_shows_no_secret() -> None:
    """REG-17: neither user and password nor a signature in the query."""
    for text in (
        "ftp://ann:s3cret@a/x?sig=s3cret",
        "https://ann:s3cret@a b/",
        "https://a:x/?sig=s3cret",
        "https://a/é?s3cret",
    ):
        with pytest.raises(InvalidValue) as caught:
            address.split(text)
        assert "s3cret" not in caught.value.message


JOINED = [
    ("/x", "https://a.example:444/x"),
    ("x", "https://a.example:444/v2/b/x"),
    ("?x=y", "https://a.example:444/v2/b/c?x=y"),
    ("//b.example/x", "https://b.example/x"),
    ("http://b.example/x", "http://b.example/x"),
    (" /x ", "https://a.example:444/x"),
    ("x?y=http://b", "https://a.example:444/v2/b/x?y=http://b"),
]


@pytest.mark.parametrize(("location", "meant"), JOINED)
def test_location_is_relative_to_what_was_asked(location: str, meant: str) -> None:
    url = address.join(address.split("https://a.example:444/v2/b/c?d=e"), location)
    assert f"{url.scheme}://{url.netloc}{url.target}" == meant


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback(host: str) -> None:
    assert address.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.example", "127.example", "127.0.0", "127.0.0.256", "127.0.0.x", "128.0.0.1", "localhost.example", ""],
)
def test_not_loopback(host: str) -> None:
    """REG-18: a name that only begins like loopback gets no plain http."""
    assert not address.is_loopback(host)


def test_origin_is_scheme_host_and_port() -> None:
    one = address.split("https://a.example/x")
    assert one.origin == address.split("https://A.EXAMPLE:443/y").origin
    for other in ("http://a.example:443/", "https://a.example:444/", "https://b.example/"):
        assert one.origin != address.split(other).origin


def test_query_values_cannot_become_other_parameters() -> None:
    assert address.quote("a b&c=d#e%é") == "a%20b%26c%3Dd%23e%25%C3%A9"
    assert address.quote("repository:library/x:pull,push") == "repository:library/x:pull,push"
