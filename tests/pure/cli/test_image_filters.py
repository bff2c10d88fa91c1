# SPDX-License-Identifier: Apache-2.0
"""images --filter: Go's path.Match, and which images pass."""

from __future__ import annotations

import pytest

from minirt.cli import image_filters
from minirt.engine import prune
from minirt.engine.images import Known
from minirt.errors import InvalidValue
from minirt.image.find import Listed
from minirt.model import reference


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("nginx", "nginx", True),
        ("ng*", "nginx", True),
        ("n?inx", "nginx", True),
        ("*", "a/b", False),
        ("*/*", "a/b", True),
        ("n[a-h]inx", "nginx", True),
        ("n[^a-h]inx", "nginx", False),
        ("n[^x]inx", "nginx", True),
        (r"n\*", "n*", True),
        (r"n\*", "nx", False),
        ("n.inx", "nginx", False),
        ("*:1.*", "nginx:1.21", True),
        ("(a+)+$", "aaaa", False),
        ("", "", True),
    ],
)
def test_patterns(pattern: str, text: str, matches: bool) -> None:
    assert image_filters.glob(pattern, text) is matches


@pytest.mark.parametrize("pattern", ["[", "n[", "n[]", "[z-a]"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(InvalidValue):
        image_filters.glob(pattern, "nginx")


@pytest.mark.parametrize(
    ("name", "pattern", "matches"),
    [
        ("nginx:1", "nginx", True),
        ("nginx:1", "nginx:1", True),
        ("nginx:1", "nginx:2", False),
        ("nginx:1", "docker.io/library/nginx", True),
        ("nginx:1", "ng*:?", True),
        ("far.example/a/b:1", "far.example/*/b", True),
        ("far.example/a/b:1", "b", False),
        ("far.example/a/b:1", "UPPER", False),
    ],
)
def test_references(name: str, pattern: str, matches: bool) -> None:
    assert image_filters.matches(reference.parse(name), [pattern]) is matches


def known(number: int, created: str, *tags: str, **labels: str) -> Known:
    record = {
        "id": f"{number:064x}", "manifest": f"{number:064x}", "created": created, "architecture": "amd64", "size": 1,
        "config": {"Labels": labels},
    }  # fmt: skip
    one = Known(Listed("", record))
    one.tags = [reference.parse(tag) for tag in tags]
    return one


IMAGES = [
    known(1, "2020-01-01T00:00:00Z", "old:1", kind="a"),
    known(2, "2022-01-01T00:00:00.5Z", kind="b", more="x"),
    known(3, "2024-01-01T00:00:00Z", "new:1", kind="b"),
    known(4, "", "timeless:1"),
]


def passing(*texts: str) -> list[int]:
    found = image_filters.chosen(IMAGES, image_filters.read(list(texts)), lambda text: f"sha256:{text:0>64}", 0)
    return [int(one.listed.id[7:], 16) for one in found]


def test_which_pass() -> None:
    assert passing() == [1, 2, 3, 4]
    assert passing("dangling=true") == [2] and passing("dangling=false") == [1, 3, 4]
    assert passing("label=kind=b") == [2, 3]
    assert passing("label=kind", "label=more=x") == [2]
    assert passing("before=2") == [1, 4] and passing("since=2") == [3]
    assert passing("since=1", "before=3") == [2]
    assert passing("until=2021-06-01") == [1, 4]
    assert passing("reference=*:1", "label=kind") == [1, 3]


def test_when_it_was_made() -> None:
    """Go's zero time is no moment: reproducible builds write it."""
    assert image_filters.created_ns("1970-01-01T00:00:01Z") == prune.created_ns("1970-01-01T00:00:01Z") == 10**9
    for text in ("", "bogus", "0001-01-01T00:00:00Z"):
        assert image_filters.created_ns(text) == prune.created_ns(text) == 0


@pytest.mark.parametrize("text", ["foo=x", "dangling=maybe", "until=yesterday", "=x"])
def test_what_there_is_not(text: str) -> None:
    with pytest.raises(InvalidValue):
        passing(text)
