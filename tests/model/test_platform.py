# SPDX-License-Identifier: Apache-2.0
"""Platforms as containerd orders them: what --platform means, and which image of an index a machine takes."""

from __future__ import annotations

import pytest

from minirt.errors import InvalidValue
from minirt.model.platform import Platform, best, parse


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8.1", "linux/arm64/v8.1"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("arm64", "linux/arm64"),
        ("linux", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
    ],
)
def test_words(text: str, meant: str) -> None:
    assert str(parse(text, "x86_64")) == meant


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux//v7", "linux/arm/v7/x", "a b/c", "linux/\n", "plan9x"])
def test_malformed_words(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse(text, "x86_64")


def offered(*texts: str | None) -> list[object]:
    found: list[object] = []
    for text in texts:
        words = text.split("/") if text else []
        found.append(dict(zip(("os", "architecture", "variant"), words, strict=False)) if text else None)
    return found


@pytest.mark.parametrize(
    ("wanted", "index", "place"),
    [
        ("linux/amd64", ("linux/arm64", "linux/amd64"), 1),
        ("linux/arm64", ("linux/arm/v7", "linux/arm64/v8"), 1),
        ("linux/arm64", ("linux/arm/v6", "linux/arm/v7"), 1),
        ("linux/arm/v7", ("linux/arm/v5", "linux/arm/v6", "linux/arm64"), 1),
        ("linux/arm/v6", ("linux/arm/v7", "linux/arm/v5"), 1),
        ("linux/arm/v6", ("linux/arm/v7",), None),
        ("linux/amd64/v3", ("linux/amd64", "linux/amd64/v2", "linux/amd64/v4"), 1),
        ("linux/amd64", ("linux/amd64/v3",), None),
        ("linux/amd64", ("linux/386",), 0),
        ("linux/amd64", ("unknown/unknown", "windows/amd64"), None),
        ("linux/s390x", ("linux/amd64", None), 1),
        ("linux/amd64", (None, "linux/amd64"), 1),
        ("linux/amd64", (), None),
    ],
)
def test_what_suits_best(wanted: str, index: tuple[str | None, ...], place: int | None) -> None:
    assert best(parse(wanted, "x86_64"), offered(*index)) == place


def test_hostile_platforms_suit_nobody() -> None:
    """What is no platform object, or holds no words, is passed over; the honest one beside it is found."""
    index: list[object] = [[], "linux/amd64", {"os": 1, "architecture": []}, {"os": "linux"}, *offered("linux/amd64")]
    assert best(Platform("linux", "amd64"), index) == 4
    assert best(Platform("linux", "arm64"), index) is None


def test_a_variant_that_is_no_level() -> None:
    assert [str(one) for one in parse("linux/amd64/v" + "9" * 5000, "x86_64").order()][1:] == ["linux/386"]
