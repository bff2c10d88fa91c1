# SPDX-License-Identifier: Apache-2.0
"""Restart policies as values: Docker's grammar and words, who is restarted, the back-off (CRA-19)."""

from __future__ import annotations

import pytest

from minirt.engine import policy
from minirt.engine.options import RunOptions
from minirt.errors import Conflict, InvalidValue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("no", 0)), ("no", ("no", 0)), ("always", ("always", 0)), ("unless-stopped", ("unless-stopped", 0)),
        ("on-failure", ("on-failure", 0)), ("on-failure:", ("on-failure", 0)), ("on-failure:0", ("on-failure", 0)),
        ("on-failure:5", ("on-failure", 5)), ("on-failure:+5", ("on-failure", 5)), ("always:0", ("always", 0)),
    ],
)  # fmt: skip
def test_grammar(text: str, expected: tuple[str, int]) -> None:
    found = policy.parse(text)
    assert (found.name, found.retries) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (":3", "invalid restart policy format: no policy provided before colon"),
        (":", "invalid restart policy format: no policy provided before colon"),
        ("on-failure:x", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:5:3", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:1.5", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure: 1", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:--1", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:9223372036854775808", "invalid restart policy format: maximum retry count must be an integer"),
        ("on-failure:-1", "invalid restart policy: maximum retry count cannot be negative"),
        ("always:3", "invalid restart policy: maximum retry count can only be used with 'on-failure'"),
        ("no:3", "invalid restart policy: maximum retry count can only be used with 'on-failure'"),
        ("unless-stopped:-1", "only be used with 'on-failure' and cannot be negative"),
        ("Always", "invalid restart policy: unknown policy 'Always'; use one of 'no', 'always', 'on-failure', or"),
        ("sometimes", "unknown policy 'sometimes'"),
    ],
)
def test_docker_words_for_what_is_none(text: str, words: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        policy.parse(text)
    assert words in caught.value.message and caught.value.remedy


def test_conflict_with_rm() -> None:
    with pytest.raises(InvalidValue, match="conflicting options: cannot specify both --restart and --rm"):
        policy.check(RunOptions(image="x", restart="on-failure:1", auto_remove=True))
    policy.check(RunOptions(image="x", restart="no", auto_remove=True))
    with pytest.raises(Conflict, match="Restart policy cannot be updated because AutoRemove is enabled"):
        policy.check_change(RunOptions(image="x", auto_remove=True), "always")
    policy.check_change(RunOptions(image="x", auto_remove=True), "no")


@pytest.mark.parametrize(
    ("text", "code", "count", "by_hand", "expected"),
    [
        ("no", 1, 0, False, False), ("", 1, 0, False, False),
        ("always", 0, 10**6, False, True), ("always", 1, 0, True, False), ("always", None, 0, False, True),
        ("unless-stopped", 0, 3, False, True), ("unless-stopped", 137, 3, True, False),
        ("on-failure", 0, 0, False, False), ("on-failure", 1, 10**6, False, True), ("on-failure", None, 0, False, True),
        ("on-failure:2", 1, 0, False, True), ("on-failure:2", 1, 1, False, True), ("on-failure:2", 1, 2, False, False),
        ("on-failure:2", 1, 0, True, False),
    ],
)  # fmt: skip
def test_who_is_restarted(text: str, code: int | None, count: int, by_hand: bool, expected: bool) -> None:
    assert policy.is_wanted(policy.parse(text), code, count, by_hand) is expected


@pytest.mark.parametrize(
    ("text", "by_hand", "expected"),
    [
        ("no", False, False), ("on-failure", False, False), ("always", False, True), ("always", True, True),
        ("unless-stopped", False, True), ("unless-stopped", True, False),
    ],
)  # fmt: skip
def test_who_is_started_at_boot(text: str, by_hand: bool, expected: bool) -> None:
    assert policy.is_wanted_at_boot(policy.parse(text), by_hand) is expected


def test_cra_19_back_off_of_a_thousand_crashes() -> None:
    """100 ms, doubled, at most a minute; a life of ten seconds begins anew; a clock that jumped is no excuse."""
    delays, last = [], 0
    for _ in range(1000):
        last = policy.delay_ms(last, 0.01)
        delays.append(last)
    assert delays[:11] == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000]
    assert set(delays[10:]) == {60000}
    assert policy.delay_ms(last, 9.99) == 60000
    assert policy.delay_ms(last, 10.0) == 100
    assert policy.delay_ms(last, -3600.0) == 60000
