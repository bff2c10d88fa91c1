# SPDX-License-Identifier: Apache-2.0
"""The process of a network's resolver: with which powers it runs, how it starts and ends, what a crash leaves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import exchange
import resolving
import runner
import world
from minirt.errors import HostError
from minirt.network import resolver
from resolving import GATEWAY, Site, dnsmasqs


@pytest.fixture
def site(short_dir: Path) -> Iterator[Site]:
    with resolving.made(short_dir) as made:
        yield made


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that dnsmasq sees: on /tmp it has its own."""
    with tempfile.TemporaryDirectory(prefix="mrt-", dir="/run") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_whose_process_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of its own, no capability but to bind low ports, a fixed environment, none of our descriptors."""
    monkeypatch.setenv("SECRET", "1")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    site.ensure()
    os.close(writing)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b"", "nobody has the other end any more"
    os.close(reading)
    process = Path(f"/proc/{site.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    assert set(status["Uid"].split()) == {str(os.stat(f"{site.directory}/pid").st_uid)} != {"0"}
    assert status["CapEff"].strip() == status["CapPrm"].strip() == f"{1 << 10:016x}"  # CAP_NET_BIND_SERVICE
    environment = {word.split(b"=")[0] for word in (process / "environ").read_bytes().split(b"\0") if word}
    assert environment == {b"PATH", b"LC_ALL", b"MINIRT_RESOLVER"}
    assert f"/resolver-{os.path.basename(site.directory)[:12]}\n" in (process / "cgroup").read_text()
    assert all(os.readlink(process / "fd" / number) == "/dev/null" for number in ("0", "1", "2"))


def test_killed(site: Site) -> None:
    site.ensure()
    os.kill(site.pid, 9)
    runner.eventually(lambda: not resolver.alive(site.directory))
    site.ensure()
    assert site.ask("api").answers == ["172.30.0.2", "172.30.0.3"]


def test_number_of_another_process(site: Site) -> None:
    """The file of one that was killed names a process that only has its number: it is neither believed nor ended."""
    site.ensure()
    resolver.stop(site.directory)
    with exchange.program("sleep", "1000") as stranger:
        Path(site.directory, "pid").write_text(f"{stranger.pid}\n")
        assert not resolver.alive(site.directory)
        site.ensure()
        assert site.pid != stranger.pid
        assert site.ask("api").answers == ["172.30.0.2", "172.30.0.3"]
        Path(site.directory, "pid").rename(Path(site.directory, "kept"))
        Path(site.directory, "pid").write_text(f"{stranger.pid}\n")
        resolver.stop(site.directory)
        assert stranger.poll() is None
        Path(site.directory, "kept").rename(Path(site.directory, "pid"))


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "99999999999999999999", "1"])
def test_file_of_no_process(site: Site, text: str) -> None:
    site.ensure()
    resolver.stop(site.directory)
    Path(site.directory, "pid").write_text(text)
    assert not resolver.alive(site.directory)
    resolver.stop(site.directory)
    site.ensure()
    assert resolver.alive(site.directory)


@pytest.fixture
def connected(site: Site) -> Iterator[Site]:
    """Its dnsmasq was killed; the process of a TCP connection lives on, with the sockets that it inherited."""
    site.ensure()
    with site.client:
        connection = socket.create_connection((GATEWAY, 53), 5)
    with connection:
        runner.eventually(lambda: len(dnsmasqs(site.directory)) == 2)
        os.kill(site.pid, 9)
        runner.eventually(lambda: not resolver.alive(site.directory))
        assert len(dnsmasqs(site.directory)) == 1
        yield site


def test_killed_while_a_connection_was_open(connected: Site) -> None:
    connected.ensure()
    assert connected.ask("api", tcp=True).answers == ["172.30.0.2", "172.30.0.3"]
    assert connected.ask("api").answers == ["172.30.0.2", "172.30.0.3"]


def test_stopped_after_it_was_killed(connected: Site) -> None:
    resolver.stop(connected.directory)
    assert dnsmasqs(connected.directory) == []


def test_left_by_a_caller_that_was_killed(site: Site) -> None:
    """It was started, and its number was not written yet when we looked: it has the address that ours wants."""
    site.ensure({"172.30.0.2": ["old"]})
    pid = site.pid
    Path(site.directory, "pid").unlink()
    site.ensure({"172.30.0.2": ["new"]})
    assert dnsmasqs(site.directory) == [site.pid] != [pid]
    assert site.ask("new").answers == ["172.30.0.2"]


def test_bridge_was_made_again(site: Site) -> None:
    """Somebody deletes the bridge, and a start on the network makes it again: the resolver binds it by itself."""
    site.ensure()
    pid = site.pid
    world.ip(
        "link del mr-names", "link add mr-names type bridge", f"address add {GATEWAY}/24 dev mr-names",
        "link set mr-names up", "link set mr-namesp up master mr-names",
    )  # fmt: skip
    site.ensure()
    assert site.pid == pid
    runner.eventually(lambda: not site.silent("api"))
    assert site.ask("api").answers == ["172.30.0.2", "172.30.0.3"]


def test_of_another_version(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was started with other options is replaced."""
    site.ensure()
    pid = site.pid
    monkeypatch.setattr(resolver, "CACHED_NAMES", resolver.CACHED_NAMES + 1)
    site.ensure()
    assert site.pid != pid
    assert site.ask("api").answers == ["172.30.0.2", "172.30.0.3"]


def test_dnsmasq_is_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "PLACES", ("/nonexistent",))
    with pytest.raises(HostError) as caught:
        site.ensure()
    assert (caught.value.message, caught.value.remedy) == (
        "dnsmasq is missing: it answers the names on user networks", "apt install dnsmasq-base",
    )  # fmt: skip


def test_somebody_has_the_port(site: Site) -> None:
    """A name server of the host's on each of its addresses."""
    with exchange.answering("somebody", 53), pytest.raises(HostError) as caught:
        site.ensure()
    assert caught.value.message.startswith(
        f'cannot answer names on network "names": dnsmasq: failed to create listening socket for {GATEWAY}: '
        "Address already in use by python3["
    )
    assert "not on all" in caught.value.remedy
    assert not resolver.alive(site.directory) and not dnsmasqs(site.directory)


def test_it_never_gets_ready(site: Site, open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (open_dir / "dnsmasq").write_text("#!/bin/sh\nexec sleep 1000\n")
    (open_dir / "dnsmasq").chmod(0o755)
    monkeypatch.setattr(resolver, "PLACES", (str(open_dir),))
    monkeypatch.setattr(resolver, "START_S", 0.2)
    with pytest.raises(HostError, match="it was not ready after"):
        site.ensure()
    assert not dnsmasqs(site.directory)


def test_stop_leaves_no_file(site: Site) -> None:
    site.ensure()
    assert sorted(os.listdir(site.directory)) == ["hosts", "pid", "servers"]
    resolver.stop(site.directory)
    assert os.listdir(site.directory) == []
    resolver.stop(site.directory)
    resolver.stop("/nonexistent/names")


def test_networks_without_resolver(site: Site) -> None:
    """The default network's containers ask the host's servers; from macvlan the host cannot be reached."""
    for name, driver in (("bridge", "bridge"), ("wire", "macvlan")):
        site.network.name, site.network.driver = name, driver
        assert not resolver.serves(site.network)
        site.ensure()
        assert not os.path.exists(site.directory)


def test_nothing_dear_is_imported() -> None:
    """It is on the way of a `run` on a user network."""
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-c", "import minirt.network.resolver"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "minirt.network.resolver" in names
    assert not names & {"subprocess", "pyroute2", "signal", "json", "re"} - site_modules()


def site_modules() -> set[str]:
    """What this interpreter loads before it does anything."""
    done = subprocess.run([sys.executable, "-P", "-X", "importtime", "-c", ""], capture_output=True, text=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
