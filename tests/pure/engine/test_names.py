# SPDX-License-Identifier: Apache-2.0
"""Names and ids: their grammar, and what can never become part of a path."""

from __future__ import annotations

import pytest

from minirt.engine import names
from minirt.errors import InvalidValue


@pytest.mark.parametrize("name", ["ab", "web-1", "A.b_c-D", "0x", "a" * 255])
def test_good_names(name: str) -> None:
    assert names.checked_name(name) == name


def test_leading_slash_is_dropped() -> None:
    assert names.checked_name("/web") == "web"


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "a/b",
        "../../tmp/evil",
        "",
        "a" * 300,
        "-rm",
        "a\n",
        "a\nb",
        "%s",
        "a",
        "_x",
        ".x",
        "ä1",
        "a b",
        "a\0b",
    ],
)
def test_root_13_hostile_names(name: str) -> None:
    """ROOT-13: refused before any path is made, and the message shows nothing raw."""
    with pytest.raises(InvalidValue, match="Invalid container name") as caught:
        names.checked_name(name)
    assert caught.value.message.isprintable()


def test_ids() -> None:
    made = {names.new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(names.is_id(identity) and not identity[:12].isdecimal() for identity in made)


@pytest.mark.parametrize("text", ["g" * 64, "a" * 63, "a" * 65, "A" * 64, "../" + "a" * 61, ""])
def test_not_ids(text: str) -> None:
    assert not names.is_id(text)


@pytest.mark.parametrize(
    ("text", "possible"), [("a", True), ("f" * 64, True), ("", False), ("xy", False), ("a%", False)]
)
def test_prefixes(text: str, possible: bool) -> None:
    assert names.is_prefix(text) is possible


def test_new_names_follow_the_grammar() -> None:
    for adjective in names.ADJECTIVES:
        assert names.checked_name(f"{adjective}_{names.NOUNS[0]}")
    for noun in names.NOUNS:
        assert names.checked_name(f"x_{noun}")
    assert len(set(names.ADJECTIVES)) == len(names.ADJECTIVES)
    assert len(set(names.NOUNS)) == len(names.NOUNS)
    assert len({names.new_name() for _ in range(200)}) > 150
