# SPDX-License-Identifier: Apache-2.0
"""What a user reads: times and sizes in Docker's words, columns, quoting, and no control byte of a stranger."""

from __future__ import annotations

import time

import pytest

from minirt.cli import output, phrase, table
from minirt.errors import InvalidValue

S = phrase.SECOND


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (-5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_ago(seconds: int, words: str) -> None:
    assert phrase.ago(seconds * S) == words


@pytest.mark.parametrize(
    ("state", "code", "started", "finished", "words"),
    [
        ("running", None, 97, None, "Up 3 seconds"),
        ("paused", None, 100 - 120, None, "Up 2 minutes (Paused)"),
        ("exited", 0, 1, 100 - 300, "Exited (0) 5 minutes ago"),
        ("exited", 137, 1, 99, "Exited (137) 1 second ago"),
        ("exited", None, 1, None, "Exited (unknown)"),
        ("exited", None, 1, 99, "Exited (unknown) 1 second ago"),
        ("created", None, None, None, "Created"),
        ("removing", 0, 1, 2, "Removal In Progress"),
        ("restarting", 1, 1, 97, "Restarting (1) 3 seconds ago"),
    ],
)
def test_status(state: str, code: int | None, started: int | None, finished: int | None, words: str) -> None:
    started_ns = None if started is None else started * S
    finished_ns = None if finished is None else finished * S
    assert phrase.status(state, code, started_ns, finished_ns, 100 * S) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (41_200_000, "41.2MB"), (126_000_000, "126MB")],
)
def test_size(count: int, words: str) -> None:
    assert phrase.size(count) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2013-01-02T13:23:37Z", 1357133017.0),
        ("2013-01-02T13:23:37.5Z", 1357133017.5),
        ("2013-01-02T14:23:37+01:00", 1357133017.0),
        ("1357133017", 1357133017.0),
        ("1357133017.25", 1357133017.25),
        ("42m", 10**9 - 42 * 60.0),
        ("1h30m", 10**9 - 5400.0),
        ("1.5h", 10**9 - 5400.0),
        ("100ms", 10**9 - 0.1),
    ],
)
def test_moment(text: str, seconds: float) -> None:
    assert phrase.moment(text, 10**9 * S) == int(seconds * 1000) * S // 1000


def test_moment_without_a_zone_is_local() -> None:
    expected = int(time.mktime((2013, 1, 2, 13, 0, 0, 0, 0, -1))) * S
    assert phrase.moment("2013-01-02T13", 0) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "10", "-", "1d", "2013-13-01", "2013-01-02T", "1h-2m", "٣m"])
def test_no_moment(text: str) -> None:
    if text == "10":
        assert phrase.moment(text, 0) == 10 * S
        return
    with pytest.raises(InvalidValue):
        phrase.moment(text, 0)


def test_stamp() -> None:
    assert phrase.stamp(1357133017 * S + 5) == "2013-01-02T13:23:37.000000005Z"


def test_columns_are_tabwriters() -> None:
    """Minimum width 10, padding 3, the last cell as it is."""
    rows = [["ID", "NAME", "X"], ["1", "a long name indeed", "y"], ["2", "", "zz"]]
    assert table.columns(rows) == (
        "ID        NAME                 X\n1         a long name indeed   y\n2                              zz\n"
    )


def test_shortened_as_docker_does() -> None:
    assert table.quoted(table.shorten("/docker-entrypoint.sh nginx -g 'daemon off;'", 20)) == '"/docker-entrypoint.…"'
    assert table.shorten("x" * 20, 20) == "x" * 20


HOSTILE = [
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("a\nb\r\tc", "a\\nb\\r\\tc"),
    ("\x9b31m", "\\x9b31m"),
    ("\x7f", "\\x7f"),
    ("abc\u202egnp.exe", "abc\\u202egnp.exe"),
    ("\udc9b", "\\x9b"),
    ("\u2028", "\\u2028"),
    ("grün, 日本 ok", "grün, 日本 ok"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_control_bytes_are_made_visible(text: str, shown: str) -> None:
    """IMG-29: escape sequences in names, labels and messages."""
    assert output.safe(text) == shown
    assert shown in table.columns([["T"], [text]])


def test_quoted_keeps_its_quotes() -> None:
    assert table.quoted('a"b\\c\x1b') == '"a\\"b\\\\c\\x1b"'
