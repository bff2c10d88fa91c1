# SPDX-License-Identifier: Apache-2.0
"""Moments: RFC 3339 both ways, against the standard library."""

from __future__ import annotations

import datetime
import random

import pytest

from minirt.engine import moment


def test_against_datetime() -> None:
    choose = random.Random(1)
    for _ in range(2000):
        seconds, rest = choose.randrange(-(10**10), 10**11), choose.randrange(10**9)
        nanoseconds = seconds * moment.SECOND + rest
        expected = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(seconds=seconds)
        text = moment.text(nanoseconds)
        assert text.startswith(expected.strftime("%Y-%m-%dT%H:%M:%S").zfill(19))
        assert moment.parse(text) == nanoseconds


def test_forms() -> None:
    assert moment.text(None) == "0001-01-01T00:00:00Z"
    assert moment.text(0) == "1970-01-01T00:00:00Z"
    assert moment.text(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert moment.parse("1970-01-01T02:00:00+02:00") == 0
    assert moment.parse("1969-12-31T22:30:00.000000001-01:30") == 1


@pytest.mark.parametrize(
    "text", ["", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01 00:00:00Z", "x" * 20,
             "1970-01-01T00:00:00.Z x", "1970-01-0\u0661T00:00:00Z", "1970-01-01T00-00-00Z", "1970-01-01T00:00:00,5Z"],
)  # fmt: skip
def test_malformed(text: str) -> None:
    with pytest.raises(ValueError):
        moment.parse(text)
