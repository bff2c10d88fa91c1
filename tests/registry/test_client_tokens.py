# SPDX-License-Identifier: Apache-2.0
"""Which token server may have a registry's name and password (image/registry/tokens.py). REG-07, CVE-2020-15157."""

from __future__ import annotations

import pytest

from minirt.errors import RegistryError
from minirt.image.registry import address, tokens
from minirt.image.registry.session import Door, Session
from minirt.image.registry.settings import Settings
from minirt.model import reference

MAY = [
    ("registry.example", "https://registry.example/token"),
    ("registry.example:5000", "https://registry.example/token"),
    ("docker.io", "https://auth.docker.io/token"),
    ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
    ("stated.example", "https://tokens.example/x"),
]
MAY_NOT = [
    ("registry.example", "https://evil.example/token"),
    ("registry.example", "https://tokens.registry.example/token"),
    ("registry.example", "https://registry.example.evil.example/token"),
    ("registry.example", "https://registry.example@evil.example/token"),
    ("registry.example", "https://auth.docker.io/token"),
    ("docker.io", "https://auth.docker.io.evil.example/token"),
    ("docker.io", "https://docker.io.evil.example/token"),
    ("docker.io", "https://gitlab.com/jwt/auth"),
    ("stated.example", "https://xtokens.example/x"),
    ("tokens.example", "https://stated.example/x"),
]
NEVER = [
    ("registry.example", "http://registry.example/token"),
    ("docker.io", "http://auth.docker.io/token"),
    ("stated.example", "http://tokens.example/x"),
    ("registry.example", "file:///etc/passwd"),
    ("registry.example", "https://a b/"),
    ("127.0.0.1:5000", "http://192.0.2.1/token"),
]


@pytest.fixture(autouse=True)
def stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRT_TOKEN_HOSTS", "other.example=x.example, Stated.example=tokens.example")


def door(host: str) -> Door:
    """Of a host as the first part of an image's name."""
    [endpoint] = Settings({"HOME": "/nonexistent"}).endpoints(reference.parse(f"{host}/x"))
    return Door(endpoint)


@pytest.mark.parametrize(("host", "realm"), MAY)
def test_realm_that_belongs_to_the_registry(host: str, realm: str) -> None:
    assert tokens._may_know(door(host), address.split(realm))


@pytest.mark.parametrize(("host", "realm"), MAY_NOT)
def test_realm_that_does_not(host: str, realm: str) -> None:
    assert not tokens._may_know(door(host), address.split(realm))


@pytest.mark.parametrize(("host", "realm"), NEVER)
def test_realm_that_is_not_even_asked(host: str, realm: str) -> None:
    """REG-06: without https, unless the registry itself is spoken to without."""
    known = tokens.Tokens(Session(Settings({"HOME": "/nonexistent"})))
    with pytest.raises(RegistryError, match="token server"):
        known._realm(door(host), realm)


def test_plain_realm_of_a_plain_registry_on_loopback() -> None:
    """The control for the last of NEVER."""
    known = tokens.Tokens(Session(Settings({"HOME": "/nonexistent"})))
    there = door("127.0.0.1:5000")
    there.decide(there.by("http"))
    assert known._realm(there, "http://127.0.0.1:5001/token").port == 5001
    assert tokens._may_know(there, address.split("http://127.0.0.1:5001/token"))
