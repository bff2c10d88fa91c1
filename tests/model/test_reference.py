# SPDX-License-Identifier: Apache-2.0
"""model/reference.py: names become what Docker makes of them; malformed ones are refused with the reason (REG-18)."""

from __future__ import annotations

import random
import string

import pytest

from minirt.errors import InvalidValue
from minirt.model import reference

DIGEST = "sha256:" + "0123456789abcdef" * 4

NAMES = {
    "nginx": "docker.io/library/nginx:latest",
    "nginx:alpine": "docker.io/library/nginx:alpine",
    "bitnami/redis": "docker.io/bitnami/redis:latest",
    "docker.io/nginx": "docker.io/library/nginx:latest",
    "docker.io/library/nginx": "docker.io/library/nginx:latest",
    "index.docker.io/nginx": "docker.io/library/nginx:latest",
    "localhost/busybox": "localhost/busybox:latest",
    "localhost:5000/x": "localhost:5000/x:latest",
    "LOCALHOST:5000/x": "LOCALHOST:5000/x:latest",
    "Registry/x": "Registry/x:latest",
    "127.0.0.1:5000/a/b:c": "127.0.0.1:5000/a/b:c",
    "[::1]:5000/x": "[::1]:5000/x:latest",
    "[2001:db8::1]/x": "[2001:db8::1]/x:latest",
    "quay.io/a/b/c/d": "quay.io/a/b/c/d:latest",
    "evil.com/library/x": "evil.com/library/x:latest",
    "docker.io.evil.com/x": "docker.io.evil.com/x:latest",
    "docker.io.evil.com": "docker.io/library/docker.io.evil.com:latest",
    "localhost:5000": "docker.io/library/localhost:5000",
    "a__b": "docker.io/library/a__b:latest",
    "a--b": "docker.io/library/a--b:latest",
    "a.b/c": "a.b/c:latest",
    "a-.b/c": None,
    "x:" + "t" * 128: "docker.io/library/x:" + "t" * 128,
    "x:_.-": "docker.io/library/x:_.-",
    f"x@{DIGEST}": f"docker.io/library/x@{DIGEST}",
    f"x:tag@{DIGEST}": f"docker.io/library/x:tag@{DIGEST}",
    "x@sha512:" + "a" * 128: "docker.io/library/x@sha512:" + "a" * 128,
    "a" * 247: "docker.io/library/" + "a" * 247 + ":latest",
    "a" * 63: "docker.io/library/" + "a" * 63 + ":latest",
}
"""text -> what Docker makes of it; None: malformed."""

MALFORMED = [
    "", ":", "@", "/", "x:", "x@", ":x", "/x", "x/", "x//y", "a/../b", "../x", ".", "..", "./x", "X", "aB", "x y", " x",
    "x ", "x\n", "x\0", "x\x1b[31m", "é", "\N{CYRILLIC SMALL LETTER A}pple", "x:é", "x:.a", "x:-a", "x:" + "t" * 129,
    "a___b", "a..b", "a._b", "a-_b", "-a", "a-", "_a", "a_", ".a", "a.", "a/-b", "http://x/y", "x?y", "x#y", "x\\y",
    "host:port/x", "host:/x", ":5000/x", "-host.com/x", "host-.com/x", "ho_st.com/x", "host..com/x", ".com/x",
    "[::1/x", "[]/x", "[::1]:/x", "[::1]x/y", "[g::1]/x", "a" * 64, "0123456789abcdef" * 4, "a" * 248, "a" * 5000,
    "x@sha256:", "x@sha256:abc", f"x@{DIGEST}:tag", f"x@{DIGEST.upper()}", f"x@{DIGEST}@{DIGEST}", "x@md5:" + "a" * 32,
    "x@sha256:" + "A" * 64, "x@sha256:" + "g" * 64, "x@sha256:../../../../tmp/x", "x@" + "a" * 64, "x:a:b", "x:a/b",
    "docker.io/", "localhost/", "user@host/x",
]  # fmt: skip


@pytest.mark.parametrize(("text", "full"), [(text, full) for text, full in NAMES.items() if full])
def test_normalised_as_docker_does(text: str, full: str) -> None:
    assert str(reference.parse(text).tagged()) == full


@pytest.mark.parametrize("text", [*MALFORMED, *(text for text, full in NAMES.items() if full is None)])
def test_malformed_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        reference.parse(text)
    message = caught.value.message
    assert message.startswith("invalid reference format: ")
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("docker.io/library/nginx:latest", "nginx:latest"),
        ("docker.io/bitnami/redis:7", "bitnami/redis:7"),
        ("quay.io/library/x:y", "quay.io/library/x:y"),
        (f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
    ],
)
def test_short_form(full: str, short: str) -> None:
    assert reference.parse(full).short() == short


def made(source: random.Random) -> str:
    """A name by the grammar itself."""

    def word(letters: str, least: int, most: int) -> str:
        return "".join(source.choice(letters) for _ in range(source.randint(least, most)))

    low = string.ascii_lowercase + string.digits

    def component() -> str:
        parts = [word(low, 1, 6) for _ in range(source.randint(1, 3))]
        return "".join(part + source.choice([".", "_", "__", "-", "---"]) for part in parts[:-1]) + parts[-1]

    text = "/".join(component() for _ in range(source.randint(1, 3)))
    if source.random() < 0.5:
        host = source.choice(["localhost", "quay.io", "a.b-c.de", "UPPER", "127.0.0.1", "[::1]"])
        text = f"{host}{source.choice(['', ':5000'])}/{text}"
    else:
        text = text.replace(".", "-", text.partition("/")[0].count("."))  # else the first component were a host
    if source.random() < 0.5:
        text += ":" + source.choice(low + "_") + word(low + string.ascii_uppercase + "_.-", 0, 20)
    return text + (f"@{DIGEST}" if source.random() < 0.3 else "")


def test_what_the_grammar_makes_is_read_and_stays_the_same() -> None:
    """Reading the full form, or the short one, gives the same reference again."""
    source = random.Random(1)
    for _ in range(3000):
        text = made(source)
        found = reference.parse(text)
        assert reference.parse(str(found)) == found, text
        assert reference.parse(found.short()) == found, text
        assert found.tagged().tagged() == found.tagged()


def test_noise_is_read_or_refused_and_nothing_else() -> None:
    """What is read holds only characters that are harmless in a path and on a terminal."""
    source = random.Random(2)
    harmless = set(string.ascii_letters + string.digits + "/:@._-[]")
    letters = string.ascii_letters + string.digits + "/:@._-[]%\\ \n\0é"
    for _ in range(20000):
        text = made(source)
        for _ in range(source.randint(1, 3)):
            at = source.randint(0, len(text))
            text = text[:at] + source.choice(letters) + text[at + source.randint(0, 1) :]
        try:
            found = reference.parse(text)
        except InvalidValue:
            continue
        assert set(str(found)) <= harmless
        assert ".." not in found.path.split("/")
        assert found.path == found.path.lower()


@pytest.mark.parametrize("text", ["sha256:" + "a" * 64])
def test_sha256_hex_takes_only_the_digest(text: str) -> None:
    assert reference.sha256_hex(text) == "a" * 64


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        b"sha256:" + b"a" * 64,
        "a" * 64,
        "sha512:" + "a" * 128,
        "sha256:" + "a" * 63 + "/",
        "sha256:" + "A" * 64,
    ],
)
def test_sha256_hex_refuses(text: object) -> None:
    with pytest.raises(InvalidValue):
        reference.sha256_hex(text)
