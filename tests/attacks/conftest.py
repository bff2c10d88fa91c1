# SPDX-License-Identifier: Apache-2.0
"""What the tests of attacks share: the hostile program inside the root filesystem, and a host with something to lose.

Fixtures: `attacker` (attacker.c, built once, also at /bin/attacker of the test's root filesystem), `victim` (a
directory tree of the host that must stay as it is; see victim.py).

Rows left out because minirt does not have what they attack: RUN-20 (user
namespaces), ROOT-17 (volume subpath), ROOT-19 (one implementation, openat2; without it minirt refuses to start,
tests/doctor), SELinux and AppArmor labels. ROOT-13 and ROOT-15 are in tests/engine/test_verbs.py; ROOT-22 is the
races here and tests/runtime/test_rollback.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner
import victim as victims

SOURCE = Path(__file__).with_name("attacker.c")


@pytest.fixture(scope="session")
def attacker_program(shared_dir: Path) -> Path:
    """The static attacker."""
    return runner.static_program(shared_dir / "attacker", SOURCE)


@pytest.fixture
def attacker(attacker_program: Path, rootfs: Path) -> Path:
    """The program as the host has it; a container of this test finds it at /bin/attacker."""
    shutil.copy2(attacker_program, rootfs / "bin/attacker")
    return attacker_program


@pytest.fixture
def victim(short_dir: Path) -> Iterator[victims.Victim]:
    """A tree on the host that the test points its attack at; untouched afterwards, or the test fails."""
    tree = victims.Victim(short_dir / "victim")
    yield tree
    assert tree.changes() == []
