# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of the network room: `here` (a host of the test's own, without minirt), `room` (tests/network/
room.py on it)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import namespaces
import room as rooms


@pytest.fixture
def here() -> Iterator[namespaces.Namespace]:
    """The test runs on a host that has just been started: lo, and nothing forwarded."""
    with namespaces.host() as mine:
        yield mine


@pytest.fixture
def room(here: namespaces.Namespace) -> Iterator[rooms.Room]:
    with rooms.make() as made:
        yield made
