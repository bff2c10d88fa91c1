# SPDX-License-Identifier: Apache-2.0
"""The sheet that `network dissect` draws on: all boxes end in one column, whatever is written into them."""

from __future__ import annotations

import pytest

from minirt.learn import picture


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("eth0", "eth0"),
        ("e\x1b[31m", "e\\x1b[31m"),
        ("a\nb", "a\\nb"),
        ("\u202e", "\\u202e"),
        ("bär", "bär"),
        ("網", "網"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert picture.plain(text) == shown


@pytest.mark.parametrize(("text", "columns"), [("eth0", 4), ("bär", 3), ("ba\u0308r", 3), ("網路", 4), ("", 0)])
def test_width(text: str, columns: int) -> None:
    assert picture.width(text) == columns


def test_clip() -> None:
    assert picture.clip("x" * 200, 10) == "x" * 9 + "…"
    assert picture.clip("short") == "short"


def sheet(title: str, inside: str) -> picture.Sheet:
    made = picture.Sheet()
    made.open(title, "net:[1]")
    made.say(inside)
    made.box(title, "ifindex 1", [inside, "second"], False, True)
    made.close()
    made.between(inside)
    made.open("host", "net:[2]", arriving=True)
    made.box(title, "ifindex 2", [inside], True, True)
    made.along(inside, "12  34", "├▶ ")
    made.close(leaving=False)
    return made


@pytest.mark.parametrize("text", ["", "x", "網路" * 9, "x" * 300, "a" * 58, "e\x1b[1m\n│"])
@pytest.mark.parametrize("title", ["eth0", "網", "t" * 90])
def test_every_box_is_as_wide(title: str, text: str) -> None:
    lines = [line for line in sheet(title, text).text().splitlines() if line and line[0] in "┌│└"]
    assert len({picture.width(line) for line in lines}) == 1
    assert all(line[-1] in "┐│┘" for line in lines)
    assert "".join(lines).isprintable()


def test_the_stem_is_one_line() -> None:
    """From the first box that it leaves to the last that it enters, in one column, but for what is inside boxes."""
    lines = sheet("eth0", "text").text().splitlines()
    column = [line[picture.STEM] for line in lines if not line.startswith("│  │")]
    first = column.index("┬")
    last = len(column) - 1 - column[::-1].index("├")
    assert set(column[first : last + 1]) <= set("┬┼│┴├"), column
