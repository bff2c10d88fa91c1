# SPDX-License-Identifier: Apache-2.0
"""model/reference.py against a second reading: distribution's own expressions (reference/regexp.go, normalize.go),
written down here as they stand there. Both must take the same texts and make the same of them."""

from __future__ import annotations

import random
import re
import string
import unicodedata

import pytest

from minirt.errors import InvalidValue
from minirt.model import reference

ALNUM = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN = rf"(?:{ALNUM}(?:\.{ALNUM})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][0-9a-fA-F]{32,}"
REFERENCE = re.compile(rf"({DOMAIN})/({COMPONENT}(?:/{COMPONENT})*)(?::({TAG}))?(?:@({DIGEST}))?")
VALID_DIGEST = re.compile("sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")
SHA = "sha256:" + "0123456789abcdef" * 4

PIECES = [
    "nginx", "library", "a", "0", "a-b", "a__b", "a_b", "a.b", "a--b", "localhost", "docker.io", "index.docker.io",
    "registry-1.docker.io", "docker.io.evil.com", "LOCALHOST", "DOCKER.IO", "Aa", "127.0.0.1", "[::1]", "[::1%25]",
    "5000", "latest", "v1.2_3-x", "_", "-", ".", "..", "__", "___", "", "sha256", "a" * 64, "A" * 64, "f" * 63,
    "b" * 128, "x" * 120, "x" * 130, SHA, f"@{SHA}", ":5000", ":tag", "é", "а", "İ", "ſ", "K", "‥", "/", ":", "@", " ",
    "%2e", "\n",
]  # fmt: skip


GOOD = ["nginx", "a.b:5000/x/y:t", f"quay.io/a-b/c__d:1.2@{SHA}", "localhost/x:_", "[::1]:80/x"]
LIKE = {"a": "а", "o": "оο", "e": "е", "i": "іι", "c": "с", ".": "․。｡·", "/": "∕⁄", ":": "։：", "-": "‐–"}


def oracle(name: str) -> tuple[str, str, str | None, str | None] | None:
    """ParseNormalizedNamed: splitDockerDomain, then the expression, then the limits. None: refused."""
    if re.fullmatch("[a-f0-9]{64}", name):
        return None
    first, slash, rest = name.partition("/")
    if not slash:
        domain, remote = "docker.io", name
    elif first == "index.docker.io":
        domain, remote = "docker.io", rest
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, remote = first, rest
    else:
        domain, remote = "docker.io", name
    if domain == "docker.io" and "/" not in remote:
        remote = f"library/{remote}"
    found = REFERENCE.fullmatch(f"{domain}/{remote}")
    if not found or len(found[2]) > 255 or (found[4] and not VALID_DIGEST.fullmatch(found[4])):
        return None
    return found[1], found[2], found[3], found[4]


def ours(name: str) -> tuple[str, str, str | None, str | None] | None:
    try:
        found = reference.parse(name)
    except InvalidValue as error:
        said = error.message, error.remedy
    else:
        return found.domain, found.path, found.tag, found.digest
    assert said[0].startswith("invalid reference format: ") and said[0].isascii() and said[1]
    return None


def joined(source: random.Random) -> str:
    """Pieces that look like parts of names, in any order, with any separator or none."""
    text = ""
    for _ in range(source.randint(1, 6)):
        text += source.choice(PIECES) + source.choice(["/", "/", ":", "@", "", "."])
    return text[:-1] if source.random() < 0.7 else text


def test_distribution_takes_and_makes_the_same() -> None:
    """REG-18. Joined pieces and single characters changed in good names: 30,000 texts, a quarter of which are good."""
    source = random.Random(18)
    good = 0
    for number in range(30000):
        if number % 2:
            text = joined(source)
        else:
            text = source.choice(
                ["nginx", "a.b:5000/x/y:t", f"quay.io/a-b/c__d:1.2@{SHA}", "localhost/x:_", "[::1]:80/x"]
            )
            for _ in range(source.randint(0, 2)):
                at = source.randint(0, len(text))
                text = text[:at] + source.choice(string.printable + "éа") + text[at + source.randint(0, 1) :]
        expected = oracle(text)
        assert ours(text) == expected, text
        good += expected is not None
    assert good > 5000


@pytest.mark.parametrize("length", [246, 247, 248, 254, 255, 256])
@pytest.mark.parametrize("prefix", ["", "docker.io/", "quay.io/", "x/"])
def test_limit_of_the_name(length: int, prefix: str) -> None:
    """255 characters of repository, "library/" counted as distribution counts it."""
    text = prefix + "a" * length
    assert ours(text) == oracle(text)


def test_homoglyph_is_no_letter() -> None:
    """REG-18: whatever normalises to an allowed character, or looks like one, is not that character."""
    allowed = string.ascii_lowercase + string.digits + ".:/@-_"
    alike = {other for letters in LIKE.values() for other in letters}
    alike |= {chr(code) for code in range(0x80, 0x30000) if unicodedata.normalize("NFKC", chr(code)).lower() in allowed}
    assert len(alike) > 800
    for other in alike:
        for text in (f"ngin{other}x", f"docker{other}io/x", f"quay.io/{other}", f"x:{other}", f"x@{other}{SHA}"):
            assert oracle(text) is None
            assert ours(text) is None, text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("Nginx", "must be lower case"),
        ("a" * 248, "longer than 255"),
        ("x" * 3000, "longer than 2048"),
        ("a" * 64, "an image's id, not a name"),
        ("x:", "the tag is empty"),
        ("x:" + "t" * 129, "longer than 128"),
        ("x:-a", "is not a tag"),
        ("a//b", "is empty"),
        ("a/../b", "begins or ends with a separator"),
        ("a._b", "'._' is not a separator"),
        ("a b", "holds a character other than"),
        ("x@abc", "has no colon"),
        ("x@md5:" + "a" * 32, "is not a digest algorithm"),
        ("x@sha256:abc", "has 64 hexadecimal digits, not 3"),
        (f"x@{SHA.upper()}", "is not a digest algorithm"),
        ("x@sha256:" + "A" * 64, "lower-case"),
        (f"x@{SHA}:tag", "64 hexadecimal digits"),
        ("host:port/x", "malformed port"),
        ("[::1]:p/x", "malformed port"),
        ("[::g]/x", "is not an IPv6 address"),
        ("-a.b/x", "is not a host name"),
        ("a_b.c/x", "is not a host name"),
    ],
)
def test_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        reference.parse(text)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("evil.com/library/x", "evil.com"),
        ("LOCALHOST:5000/x", "LOCALHOST:5000"),
        ("docker.io.evil.com/x", "docker.io.evil.com"),
        ("docker.io:443/x", "docker.io:443"),
        ("Docker.io/x", "Docker.io"),
        ("docker/io/x", "docker.io"),
        ("index.docker.io/x", "docker.io"),
    ],
)
def test_registry_of_a_confusing_name(text: str, host: str) -> None:
    """REG-18: the same text is the same registry as in Docker."""
    assert reference.parse(text).domain == host
