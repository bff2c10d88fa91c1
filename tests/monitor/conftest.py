# SPDX-License-Identifier: Apache-2.0
"""minirt-monitor driven by small plans of the tests' own: no root filesystem, no cgroup, only what is asked for.

`monitor(program, ...)` starts one and gives a Session (session.py). Afterwards every monitor and workload that a
test started must be gone or is killed, and every descriptor closed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import session


@pytest.fixture
def monitor(short_dir: Path) -> Iterator[Callable[..., session.Session]]:
    """monitor(*argv, flags=..., **options) -> Session: see session.Session."""
    before = set(os.listdir("/proc/self/fd"))
    sessions: list[session.Session] = []

    def start(*argv: str, **options: object) -> session.Session:
        folder = short_dir / str(len(sessions))
        sessions.append(session.Session(folder, argv, **options))  # type: ignore[arg-type]
        return sessions[-1]

    yield start
    for one in sessions:
        one.end()
    assert set(os.listdir("/proc/self/fd")) == before
