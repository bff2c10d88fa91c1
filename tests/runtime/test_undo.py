# SPDX-License-Identifier: Apache-2.0
"""runtime/undo.py: what is closed always, what is unmade on failure only, and in which order."""

from __future__ import annotations

import os

import pytest

from minirt.runtime.undo import Undo


def is_open(descriptor: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{descriptor}")


def test_success_closes_and_unmakes_nothing() -> None:
    calls: list[str] = []
    with Undo() as undo:
        kept, closed, early = os.dup(2), undo.close(os.dup(2)), undo.close(os.dup(2))
        undo.release(undo.close(kept))
        undo.close_now(early)
        assert not is_open(early)
        undo.on_failure(calls.append, "unmade")
    assert (is_open(kept), is_open(closed), calls) == (True, False, [])
    os.close(kept)


def test_failure_unmakes_last_first_and_tells_the_first_error() -> None:
    calls: list[str] = []

    def fails(name: str) -> None:
        calls.append(name)
        raise OSError(5, "no")

    def block() -> None:
        with Undo() as undo:
            descriptors.append(undo.close(os.dup(2)))
            undo.on_failure(calls.append, "first")
            undo.on_failure(fails, "second")
            undo.on_failure(calls.append, "third")
            raise KeyError

    descriptors: list[int] = []
    with pytest.raises(KeyError):
        block()
    assert calls == ["third", "second", "first"] and not is_open(descriptors[0])
