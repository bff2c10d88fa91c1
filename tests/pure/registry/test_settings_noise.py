# SPDX-License-Identifier: Apache-2.0
"""Configuration files with anything in them: read, or refused with the file's name; no other exception, no secret."""

from __future__ import annotations

import json
import random
from pathlib import Path

from minirt.errors import MinirtError
from minirt.image.registry import proxy
from minirt.image.registry.settings import Settings
from minirt.model import reference

CONF = """unqualified-search-registries = ["a.b"]
credential-helpers = ["containers-auth.json"]
[[registry]]
prefix = "*.example.com/x"
location = "mirror.example:5000/y"
insecure = true
blocked = false
mirror-by-digest-only = false
[[registry.mirror]]
location = "m.example"
pull-from-mirror = "tag-only"
[aliases]
"fedora" = "a.example.com/x"
"""
AUTH = json.dumps(
    {"auths": {"a.example.com": {"auth": "YW5uOnMzY3JldA==", "identitytoken": ""}}, "credHelpers": {}, "credsStore": ""}
)
PIECES = [
    *"[]{}=\",.'#:/*\n\t\\ \0é", "true", "null", "1", "-1e999", "[[registry]]", "https://", "\\u0000", "\\ud800", "..",
    "{}", "[]", "docker.io", "9" * 30, "1979-05-27T07:32:00Z",
]  # fmt: skip


def changed(source: random.Random, text: str) -> str:
    for _ in range(source.randint(1, 4)):
        at = source.randint(0, len(text))
        text = text[:at] + source.choice([*PIECES, text[at // 2 : at]]) + text[at + source.choice([0, 0, 1, 5, 40]) :]
    return text


def test_noise(tmp_path: Path) -> None:
    """600 changed files; enough of them are still good for the rest to mean something."""
    source = random.Random(5)
    conf, auth = tmp_path / "registries.conf", tmp_path / "auth.json"
    environ = {"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(conf), "REGISTRY_AUTH_FILE": str(auth)}
    name = reference.parse("a.example.com/x/y:1")
    good, faults = 0, []
    for number in range(600):
        conf.write_text(changed(source, CONF) if number % 2 else CONF, encoding="utf-8")
        auth.write_text(AUTH if number % 2 else changed(source, AUTH), encoding="utf-8")
        found = Settings(environ)
        try:
            for endpoint in found.endpoints(name):
                assert endpoint.host and endpoint.path and endpoint.host == endpoint.host.lower()
            found.reference("fedora:1")
            found.credentials("a.example.com", "x/y")
            good += 1
        except MinirtError as error:
            faults.append((error.message, error.remedy))
    for said, remedy in faults:
        assert str(conf) in said or str(auth) in said or "registries.conf" in said, said
        assert "s3cret" not in said and "YW5uOnMz" not in said
        assert len(said) < 1000 and remedy
    assert good > 50


def test_noise_in_proxies() -> None:
    source = random.Random(6)
    said = ""
    for _ in range(5000):
        environ = {
            "HTTPS_PROXY": changed(source, "http://ann:s3cret@p.example:3128"),
            "NO_PROXY": changed(source, "a.b,10.0.0.0/8,[::1]:80,fd00::/8,*.c"),
        }
        try:
            found = proxy.find("https", source.choice(["registry.example:5000", "10.1.2.3", "[fd00::1]:80"]), environ)
        except MinirtError as error:
            said += f"{error.message}\n{error.remedy}\n"
        else:
            assert found == "" or found.startswith("http://")
    assert "HTTPS_PROXY is not" in said and "s3cret" not in said
