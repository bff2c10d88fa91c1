# SPDX-License-Identifier: Apache-2.0
"""`person`: a minirt whose home and settings about registries are its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import runner
from runner import Minirt


@pytest.fixture
def person(short_dir: Path, request: pytest.FixtureRequest) -> Iterator[Minirt]:
    """minirt with a home and settings of its own, which gives up early; nothing may be left by it."""
    mine = Minirt(short_dir / "root", short_dir / "state", short_dir / "no-rootfs")
    (short_dir / "registries.conf").touch()
    mine.environment |= {
        "CONTAINERS_REGISTRIES_CONF": str(short_dir / "registries.conf"),
        "MINIRT_CERTS_DIR": str(short_dir / "certs.d"),
        "MINIRT_HTTP_TIMEOUT_S": "5",
        "MINIRT_HTTP_RETRY_S": "0.05",
    }
    with runner.tidy(mine):
        yield mine
