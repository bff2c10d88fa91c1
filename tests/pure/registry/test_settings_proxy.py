# SPDX-License-Identifier: Apache-2.0
"""HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY: curl's rules, and no password in an error."""

from __future__ import annotations

import pytest

from minirt.errors import InvalidValue
from minirt.image.registry import proxy
from minirt.image.registry.settings import Settings
from minirt.model import reference

P = "http://p.example:3128"


@pytest.mark.parametrize(
    ("scheme", "environ", "expected"),
    [
        ("https", {}, ""),
        ("https", {"HTTPS_PROXY": P}, P),
        ("https", {"https_proxy": P}, P),
        ("https", {"https_proxy": P, "HTTPS_PROXY": "http://other:1"}, P),
        ("https", {"https_proxy": "", "HTTPS_PROXY": P}, ""),
        ("https", {"HTTP_PROXY": P}, ""),
        ("http", {"HTTP_PROXY": P}, P),
        ("http", {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, ""),
        ("http", {"http_proxy": P, "REQUEST_METHOD": "GET"}, P),
        ("http", {"HTTPS_PROXY": P}, ""),
        ("https", {"ALL_PROXY": P}, P),
        ("http", {"all_proxy": P}, P),
        ("https", {"HTTPS_PROXY": "p.example:3128"}, P),
        ("https", {"HTTPS_PROXY": "http://p.example"}, "http://p.example:1080"),
        ("https", {"HTTPS_PROXY": "http://ann:s%40cret@p.example:3128/"}, "http://ann:s%40cret@p.example:3128"),
        ("https", {"HTTPS_PROXY": "http://[::1]:8080"}, "http://[::1]:8080"),
    ],
)
def test_which_variable_counts(scheme: str, environ: dict[str, str], expected: str) -> None:
    assert proxy.find(scheme, "registry.example", environ) == expected


@pytest.mark.parametrize(
    ("host", "rules", "exempt"),
    [
        ("example.com", "example.com", True),
        ("a.example.com", "example.com", True),
        ("a.example.com", ".example.com", True),
        ("example.com", ".example.com", True),
        ("badexample.com", "example.com", False),
        ("example.com", "a.example.com", False),
        ("EXAMPLE.com:5000", "Example.COM", True),
        ("example.com:5000", "example.com:5000", True),
        ("example.com:5000", "example.com:443", False),
        ("example.com", "example.com:443", True),
        ("example.com.", "example.com", True),
        ("x.y", "a.b, x.y", True),
        ("x.y", "a.b x.y", True),
        ("x.y", "*", True),
        ("x.y", "", False),
        ("x.y", ",,", False),
        ("x.y", "*.y", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3:5000", "10.1.2.3/32", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "1.2.3", False),
        ("10.1.2.3", "0.0.0.0/0", True),
        ("10.1.2.3", "10.0.0.0/33", False),
        ("10.1.2.3", "10.0.0.0/x", False),
        ("10.1.2.3", "10.0.0.0/-1", False),
        ("10.1.2.3", "::/0", False),
        ("[fd00::1]:5000", "fd00::/8", True),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("[fd00::1]:5000", "[fd00::1]:443", False),
        ("[fd00::1]", "fd00:0::1", True),
        ("x.10.1.2.3.example", "10.0.0.0/8", False),
    ],
)
def test_no_proxy(host: str, rules: str, exempt: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert proxy.find("https", host, {"HTTPS_PROXY": P, name: rules}) == ("" if exempt else P)


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_loopback_never_goes_by_a_proxy(host: str) -> None:
    assert proxy.find("https", host, {"HTTPS_PROXY": P}) == ""
    assert proxy.find("https", "127.0.0.1.example", {"HTTPS_PROXY": P}) == P


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("socks5://u:s3cret@h:1", "HTTPS_PROXY: a proxy that is reached by socks5 is not supported"),
        ("http://u:s3cret@", "HTTPS_PROXY is not the address of a proxy"),
        ("http://u:s3cret@h:x", "HTTPS_PROXY is not the address of a proxy"),
        ("http://u:s3 cret@h", "HTTPS_PROXY is not the address of a proxy"),
        ("http://u:s3/cret@h", "HTTPS_PROXY is not the address of a proxy"),
        ("http://u:s3cret", "HTTPS_PROXY is not the address of a proxy"),
        ("u:s3cret://h", "HTTPS_PROXY is not the address of a proxy"),
    ],
)
def test_bad_proxy_is_told_without_its_password(value: str, fault: str) -> None:
    """REG-17."""
    with pytest.raises(InvalidValue) as caught:
        proxy.find("https", "registry.example", {"HTTPS_PROXY": value})
    assert caught.value.message == fault
    assert "s3" not in caught.value.remedy


def test_endpoint_has_it() -> None:
    made = Settings({"HOME": "/nonexistent", "HTTPS_PROXY": P, "CONTAINERS_REGISTRIES_CONF": "/dev/null"})
    # /dev/null is no regular file: the proxy is asked for without registries.conf being read
    assert made.proxy("https", "quay.io") == P
    with pytest.raises(InvalidValue, match="not a regular file"):
        made.endpoints(reference.parse("x"))
