# SPDX-License-Identifier: Apache-2.0
"""What the attacks by a registry share: `pulls`, a minirt without a root filesystem and with short limits; `store`,
which tells what a failed pull left in it; `hostile`, the server; `names`, host names that lead to loopback."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store import Store

import runner
from certificates import Authority
from hostile_registry import Hostile
from runner import Minirt

NAMES = ("registry.example", "other.example", "docker.io.evil.example", "registry-1.docker.io")
MS_BIND, MNT_DETACH = 0x1000, 2


@pytest.fixture
def pulls(short_dir: Path, request: pytest.FixtureRequest) -> Iterator[Minirt]:
    """minirt with its own store and home, which gives up early; nothing may be left by it."""
    mine = Minirt(short_dir / "root", short_dir / "state", short_dir / "no-rootfs")
    mine.environment |= {"MINIRT_HTTP_TIMEOUT_S": "2", "MINIRT_HTTP_RETRY_S": "0.05"}
    with runner.tidy(mine):
        yield mine


@pytest.fixture
def store(pulls: Minirt) -> Store:
    """The store of `pulls`."""
    return Store(pulls.root)


@pytest.fixture
def make_hostile() -> Iterator[Callable[..., Hostile]]:
    """make_hostile(**keywords of Hostile) -> a server of this test's own."""
    with runner.maker(Hostile) as make:
        yield make


@pytest.fixture
def hostile(make_hostile: Callable[..., Hostile]) -> Hostile:
    """A plain server."""
    return make_hostile()


@pytest.fixture
def names(short_dir: Path) -> Iterator[tuple[str, ...]]:
    """NAMES lead to 127.0.0.1: /etc/hosts as this worker's own mount namespace has it."""
    table = short_dir / "hosts"
    table.write_text(f"127.0.0.1 localhost {' '.join(NAMES)}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(str(table).encode(), b"/etc/hosts", None, ctypes.c_ulong(MS_BIND), None) == 0
    try:
        yield NAMES
    finally:
        assert libc.umount2(b"/etc/hosts", MNT_DETACH) == 0


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA for this worker's tests; trusted where a test says so."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> tuple[Path, Path]:
    """(certificate, key) for loopback and all NAMES."""
    return authority.server(names=[*NAMES, "127.0.0.1", "localhost"])


@pytest.fixture
def trust(pulls: Minirt, authority: Authority, short_dir: Path) -> Callable[[Hostile], None]:
    """trust(server): `pulls` takes certificates of the CA for this server, as certs.d says it."""

    def add(server: Hostile) -> None:
        folder = short_dir / "certs.d" / server.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
        pulls.environment["MINIRT_CERTS_DIR"] = str(short_dir / "certs.d")

    return add
