# SPDX-License-Identifier: Apache-2.0
"""Docker on the same host: its rules (iptables-nft) and ours stand side by side, both runtimes' containers keep working
whoever comes first, goes or reloads, and nothing of docker's is touched.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import exchange
import runner
from boxes import Box
from runner import Minirt
from world import HOST, OUTSIDE, World


class Docker:
    """A dockerd of this test's own in the current network namespace, with its bridge and its rules."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        options = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"]
        options += [f"--host=unix://{home}/sock", "--bip=10.201.0.1/24", "--storage-driver=overlay2"]
        with open(home / "log", "w") as log:
            self.daemon = subprocess.Popen(["unshare", "-m", "/usr/sbin/dockerd", *options], stdout=log, stderr=log)
        self.client = ["docker", "--config", str(home), "-H", f"unix://{home}/sock"]
        try:
            runner.eventually(self.answers, 60)
        except BaseException:
            self.close()
            raise

    def answers(self) -> bool:
        assert self.daemon.poll() is None, (self.home / "log").read_text()
        return subprocess.run([*self.client, "version"], capture_output=True).returncode == 0

    def __call__(self, *words: str, data: bytes = b"") -> str:
        told = subprocess.run([*self.client, *words], input=data, capture_output=True)
        assert told.returncode == 0, told.stderr
        return told.stdout.decode().strip()

    def close(self) -> None:
        self.daemon.terminate()
        self.daemon.wait(30)


def rules() -> str:
    """docker's, by iptables and without counters."""
    return "".join(
        subprocess.run([program, "-t", table, "-S"], capture_output=True, text=True, check=True).stdout
        for program in ("iptables", "ip6tables")
        for table in ("filter", "nat")
    )


@pytest.fixture
def docker(world: World, short_dir: Path) -> Iterator[Docker]:
    """After minirt has made its default network: ip_forward is on already, so docker lets its FORWARD policy be."""
    mine = Docker(short_dir / "docker")
    yield mine
    for name in mine("ps", "-aq").split():
        mine("rm", "-f", name)
    mine.close()
    subprocess.run(["ip", "link", "del", "docker0"], check=True)


@pytest.fixture
def theirs(started: Box, docker: Docker, rootfs: Path) -> str:
    """A container of docker's that serves /etc on port 9090 of the host; its id."""
    archive = subprocess.run(["tar", "-C", str(rootfs), "-c", "."], capture_output=True, check=True).stdout
    docker("import", "-", "busybox", data=archive)
    return docker("run", "-d", "-p", "9090:80", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")


@pytest.fixture
def started(start: Callable[..., Box]) -> Box:
    return start("web", "-p", "8080:80")


def page(address: str) -> bool:
    fetch = ["curl", "-sS", "--noproxy", "*", "-m", "5", f"http://{address}:9090/passwd"]
    return b"root" in subprocess.run(fetch, capture_output=True).stdout


def both_work(world: World, web: Box) -> None:
    with world.outside:
        assert exchange.ask(HOST, 8080) == ("web", OUTSIDE, b"")
        assert page(HOST)
    assert page("127.0.0.1")
    assert exchange.ask("127.0.0.1", 8080).name == "web"
    with world.outside, exchange.answering("outside", 80), web:
        assert exchange.ask(OUTSIDE, 80) == ("outside", HOST, b"")


@pytest.mark.slow
def test_side_by_side(networked: Minirt, world: World, started: Box, theirs: str, start: Callable[..., Box]) -> None:
    """Starts, reloads, removals of ours; a flush of ours; docker's rules stay what they were, letter by letter."""
    before = rules()
    assert "DOCKER" in before
    both_work(world, started)
    networked.ok("network", "create", "net")
    start("other", "--network", "net", "-p", "8081:80")
    networked.ok("network", "reload")
    networked.ok("rm", "-f", "other")
    networked.ok("network", "rm", "net")
    both_work(world, started)
    assert rules() == before
    networked.fails("run", "--rm", "-p", "9090:80", "--rootfs", networked.rootfs, "true", code=125, says="docker-proxy")
