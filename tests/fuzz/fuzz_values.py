# SPDX-License-Identifier: Apache-2.0
"""Streams, documents and references as a fuzzer makes them, each beside a second opinion: gzip and json of the standard
library, and for references the distribution project's own regular expression.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import zlib

from fuzz_layers import LIMITS
from minirt.errors import InvalidValue, MinirtError
from minirt.image import config, document, manifest
from minirt.image.expand import expand
from minirt.model import reference

# --- streams --------------------------------------------------------------------------------------------------


def expanded(data: bytes, step: int) -> bytes | None:
    """What comes out if `step` bytes at a time come in; None if it is refused."""
    chunks = (data[at : at + step] for at in range(0, len(data), step))
    try:
        return b"".join(expand(chunks, LIMITS))
    except MinirtError:
        return None


def stream(data: bytes) -> None:
    """Compressed streams: the same whatever pieces they come in; as gzip sees them, within the limits."""
    whole = expanded(data, max(1, len(data)))
    assert expanded(data, 7) == whole, "it depends on the pieces"
    if whole is not None:
        assert len(whole) <= LIMITS.layer_bytes
        assert len(whole) <= LIMITS.allowance_bytes + LIMITS.ratio * len(data)
    if data[:2] == b"\x1f\x8b":
        try:
            theirs = gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            theirs = None
        flags = (data + bytes(4))[3]
        odd = b"\0\x1f\x8b" in data or flags & 0xE2  # zeros between members, header checksums: only gzip takes them
        assert whole == theirs or (whole is None and (odd or len(theirs or b"") > 1 << 20)), "gzip differs"


# --- documents ------------------------------------------------------------------------------------------------


def documents(data: bytes) -> None:
    """JSON that strangers wrote, read as an index, a manifest and a config."""
    try:
        found = document.parse(data, "document")
    except MinirtError:
        return
    assert json.loads(data) == found, "json reads it in another way"
    assert document.parse(document.write(found), "document") == found
    for read in (as_index, as_manifest, config.check):
        with contextlib.suppress(MinirtError):
            read(found)


def as_index(found: dict[str, object]) -> None:
    if manifest.is_index(found, "", "index"):
        for one in manifest.descriptors(found, "manifests", "index"):
            check(one)
            one.suits("amd64")
            for name in manifest.names_of(one):
                assert str(reference.parse(name)) == name


def as_manifest(found: dict[str, object]) -> None:
    read = manifest.read(found, "manifest")
    for one in (read.config, *read.layers):
        check(one)


def check(descriptor: manifest.Descriptor) -> None:
    assert re.fullmatch("[0-9a-f]{64}", descriptor.hex)
    assert 0 <= descriptor.size < 1 << 62


# --- references -----------------------------------------------------------------------------------------------

# reference/regexp.go and reference/normalize.go of the distribution project
LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN = rf"(?:{LABEL}(?:\.{LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
COMPONENT = "[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
DIGEST = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
WHOLE = re.compile(
    rf"(?:({DOMAIN})/)?({COMPONENT}(?:/{COMPONENT})*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@({DIGEST}))?"
)
LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def theirs(text: str) -> str | None:
    """What Docker makes of a name; None if it refuses it."""
    if re.fullmatch("[a-f0-9]{64}", text):
        return None
    first, slash, rest = text.partition("/")
    if not slash or not (any(letter in first for letter in ".:") or first == "localhost" or first.lower() != first):
        first, rest = "docker.io", text
    elif first == "index.docker.io":
        first = "docker.io"
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    name = re.split("[:@]", rest, maxsplit=1)[0]
    found = WHOLE.fullmatch(f"{first}/{rest}")
    if name.lower() != name or not found or found[1] != first or len(found[2]) > reference.PATH_LIMIT:
        return None  # without the third rule "a_b.c/d" is a name without a domain
    algorithm, _, value = (found[4] or "").partition(":")
    if found[4] and (LENGTHS.get(algorithm) != len(value) or value.lower() != value):
        return None
    return found[0]


def references(data: bytes) -> None:
    """The names of images, beside Docker's grammar."""
    text = data[:2048].decode("utf-8", "surrogateescape")
    try:
        found = reference.parse(text)
    except InvalidValue:
        assert theirs(text) is None, f"Docker takes {text!a}"
        return
    assert str(found) == theirs(text), f"Docker takes {text!a} for {theirs(text)!a}"
    assert reference.parse(str(found)) == found
    assert reference.parse(found.short()) == found
