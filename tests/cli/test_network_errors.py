# SPDX-License-Identifier: Apache-2.0
"""Bad input about networks: one line and its remedy, Docker's exit code, nothing left: no row, veth, rule, lease."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

import runner
import traces
from runner import Minirt, Result

SLEEP = ("localhost/busybox", "sleep", "1000")
TRUE = ("localhost/busybox", "true")


def refused(mine: Minirt, *argv: str, code: int, says: str) -> str:
    """The one line. Of leases, interfaces and rules there is afterwards no more than before."""
    before = traces.count(mine)
    told = mine.fails(*argv, code=code, says=says).splitlines()
    assert told[0].startswith("minirt: ") and says in told[0], told
    assert len(told) == 2, "one line, and its remedy"
    assert not traces.more(before, traces.count(mine))
    return told[0]


@pytest.fixture
def lab(networked: Minirt) -> Minirt:
    """A network "lab", 10.77.0.0/29, with the container "one" on it, which has published 8080."""
    networked.ok("network", "create", "--subnet", "10.77.0.0/29", "lab")
    networked.ok("run", "-d", "--name", "one", "--network", "lab", "-p", "8080:80", *SLEEP)
    return networked


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("create",), "'minirt network create' requires 1 argument"),
        (("create", "lab"), "network with name lab already exists"),
        (("create", "bridge"), "operation is not permitted on predefined bridge network"),
        (("create", "a b"), "invalid network name: a b"),
        (("create", "--driver", "overlay", "x"), 'could not find a network driver plugin "overlay"'),
        (("create", "--subnet", "10.77.0.0/33", "x"), "invalid subnet 10.77.0.0/33: invalid CIDR block notation"),
        (("create", "--subnet", "10.78.0.1/24", "x"), "invalid subnet 10.78.0.1/24: it should be 10.78.0.0/24"),
        (("create", "--gateway", "10.78.0.1", "x"), "every ip-range or gateway must have a corresponding subnet"),
        (("create", "-o", "mtu=1", "x"), "invalid mtu 1"),
        (("create", "--config-only", "x"), "--config-only is not supported yet"),
        (("create", "--ipv4=false", "x"), "--ipv4=false is not supported yet"),
        (("rm", "host"), "host is a pre-defined network and cannot be removed"),
        (("rm", "nosuch"), "network nosuch not found"),
        (("inspect", "nosuch"), "network nosuch not found"),
        (("connect", "nosuch", "one"), "network nosuch not found"),
        (("connect", "lab", "nosuch"), "No such container: nosuch"),
        (("connect", "lab", "one"), "endpoint with name one already exists in network lab"),
        (("connect", "host", "one"), "container cannot be disconnected from host network or connected to host network"),
        (("connect", "none", "one"), "with one of the networks in private (none) mode"),
        (("connect", "--ip", "x", "lab", "one"), "invalid IPv4 address: x"),
        (("connect", "--link", "a:b", "lab", "one"), "--link is not supported yet"),
        (("disconnect", "nosuch", "one"), "network nosuch not found"),
        (("disconnect", "bridge", "one"), "is not connected to network bridge"),
        (("disconnect", "host", "one"), "container cannot be disconnected from host network"),
        (("disconnect", "lab", "one"), "container one publishes ports through the network lab"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_bad_network_verbs(lab: Minirt, argv: tuple[str, ...], says: str) -> None:
    refused(lab, "network", *argv, code=1, says=says)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--network", "nosuch"), "network nosuch not found"),
        (("--network", "lab", "--network", "nosuch"), "network nosuch not found"),
        (("--network", "lab", "--network", "name=lab,alias=x"), 'network "lab" is specified multiple times'),
        (("--network", "lab", "--network", "none"), "cannot attach both user-defined and non-user-defined"),
        (
            ("--network", "name=lab,color=red"),
            'invalid argument "name=lab,color=red" for "--network" flag: invalid field key',
        ),
        (("--network", "lab", "--ip", "10.77.0.2"), "Address already in use: 10.77.0.2"),
        (("--network", "lab", "--ip", "10.77.0.1"), "Address already in use: 10.77.0.1"),
        (("--network", "lab", "--ip", "10.78.0.2"), "10.78.0.2"),
        (("--network", "lab", "--ip6", "fd00::2"), "fd00::2"),
        (("--network", "lab", "--ip", "one"), "invalid IPv4 address: one"),
        (("--network", "lab", "--mac-address", "x"), "x is not a valid mac address"),
        (("--network", "lab", "--link", "one"), "--link is not supported yet"),
        (("-p", "8080:80"), "Bind for 0.0.0.0:8080 failed: port is already allocated by container one"),
        (("-p", "127.0.0.1:8080:80"), "Bind for 127.0.0.1:8080 failed: port is already allocated by container one"),
        (("-p", "8081:80", "-p", "8081:81"), "Bind for 0.0.0.0:8081 failed: port is already allocated"),
        (("-p", "eighty"), "invalid containerPort: eighty"),
        (("-p", "x:80"), "invalid hostPort: x"),
        (("-p", "80:80/icmp"), "invalid proto: icmp"),
        (("-p", "1.2.3:80:80"), "invalid IP address: 1.2.3"),
        (("-p", "8000-8001:80-85"), "invalid ranges specified for container and host Ports: 80-85 and 8000-8001"),
        (("--expose", "x"), "invalid range format for --expose: x"),
        (("--network", "container:one", "-p", "80"), "port publishing and the container type network mode"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_bad_flags(lab: Minirt, argv: tuple[str, ...], says: str) -> None:
    for verb in (
        ("run", "create") if not says.startswith(("network no", "Address", "Bind", "10.78", "fd00")) else ("run",)
    ):
        refused(lab, verb, *argv, *TRUE, code=125, says=says)
    assert lab.ok("ps", "-aq", "--filter", "name=one") == lab.ok("ps", "-aq")


def test_dns_flags(networked: Minirt) -> None:
    networked.fails("run", "--dns", "x", *TRUE, code=125, says="IP address is not correctly formatted: x")
    networked.fails("run", "--dns-search", "a b", *TRUE, code=125, says="a b is not a valid domain")


@pytest.mark.parametrize("subnet", ["10.77.0.0/29", "10.77.0.0/16", "10.77.0.4/30"])
def test_overlapping_subnet(lab: Minirt, subnet: str) -> None:
    """The same, a wider one, one within."""
    says = "invalid pool request: Pool overlaps with other one on this address space"
    refused(lab, "network", "create", "--subnet", subnet, "x", code=1, says=says)


def test_subnet_of_a_host_route(networked: Minirt) -> None:
    networked.ok("network", "ls")
    subprocess.run(["ip", "route", "add", "unreachable", "10.80.0.0/16"], check=True)
    says = "invalid pool request: Pool overlaps with other one on this address space"
    refused(networked, "network", "create", "--subnet", "10.80.7.0/24", "x", code=1, says=says)


def test_full_subnet(lab: Minirt) -> None:
    """10.77.0.0/29 has a gateway and five addresses. Who stops gives his back."""
    for name in ("two", "three", "four", "five"):
        lab.ok("run", "-d", "--name", name, "--network", "lab", *SLEEP)
    refused(lab, "run", "--network", "lab", *TRUE, code=125, says="no available addresses on the network lab")
    lab.ok("stop", "-t", "0", "two")
    assert lab.ok("run", "--rm", "--network", "lab", "localhost/busybox", "echo", "in") == "in"


def test_network_in_use(lab: Minirt) -> None:
    told = refused(lab, "network", "rm", "lab", code=1, says="network lab has active endpoints")
    assert 'name:"one"' in told
    lab.ok("stop", "-t", "0", "one")
    assert lab.ok("network", "rm", "lab") == "lab"
    refused(lab, "start", "one", code=1, says="network lab not found")


def test_taken_port(lab: Minirt) -> None:
    """By a process: named by its program and number; with -p 80 the container gets another one."""
    with socket.create_server(("0.0.0.0", 8090)):
        told = refused(lab, "run", "-p", "8090:80", *TRUE, code=125, says="Bind for 0.0.0.0:8090 failed")
        assert "by process " in told
        assert lab.ok("run", "--rm", "-p", "8090-8091:80", "localhost/busybox", "echo", "in") == "in"
    assert lab.ok("run", "--rm", "-p", "8090:80", "localhost/busybox", "echo", "in") == "in"


def test_privileged_port(lab: Minirt) -> None:
    assert lab.ok("run", "--rm", "-p", "80:80", "localhost/busybox", "echo", "in") == "in"
    with socket.create_server(("127.0.0.1", 80)):
        refused(lab, "run", "-p", "80:80", *TRUE, code=125, says="Bind for 0.0.0.0:80 failed")


def test_foreign_bridge_of_that_name(networked: Minirt) -> None:
    networked.ok("network", "ls")
    subprocess.run(["ip", "link", "add", "br-mine", "type", "bridge"], check=True)
    option = "com.docker.network.bridge.name=br-mine"
    refused(networked, "network", "create", "-o", option, "x", code=1, says="br-mine")
    subprocess.run(["ip", "link", "delete", "br-mine"], check=True)
    networked.ok("network", "create", "-o", option, "x")
    networked.ok("network", "rm", "x")


def without(mine: Minirt, missing: str, *argv: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """minirt on a host whose /usr/sbin has nft and dnsmasq, less the one that is missing."""
    kept = folder / f"sbin-{missing}"
    kept.mkdir()
    for name in {"nft", "dnsmasq"} - {missing}:
        shutil.copy2(shutil.which(name) or name, kept / name)
    script = 'mount --bind "$0" /usr/sbin && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", script, str(kept), *runner.program()]
    with monkeypatch.context() as patched:
        patched.setattr(runner, "program", lambda: words)
        return mine(*argv)


def test_missing_nft(networked: Minirt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what needs it fails, with the package's name; what runs without a network runs."""
    networked.ok("network", "ls")
    for number, argv in enumerate((("run", *TRUE), ("network", "create", "x"))):
        (tmp_path / str(number)).mkdir()
        done = without(networked, "nft", *argv, folder=tmp_path / str(number), monkeypatch=monkeypatch)
        told = done.stderr.splitlines()
        assert done.code == (125 if argv[0] == "run" else 1), repr(done)
        assert "nft is missing" in told[0] and "nftables" in done.stderr and len(told) == 2
    words = ("run", "--rm", "--network", "none", "localhost/busybox", "echo", "in")
    assert without(networked, "nft", *words, folder=tmp_path, monkeypatch=monkeypatch).out == "in"
    assert networked.ok("ps", "-aq") == ""
    assert networked.ok("network", "ls", "-q", "--filter", "type=custom") == ""
    rows = sqlite3.connect(networked.root / "minirt.db").execute("SELECT count(*) FROM networks").fetchone()
    assert rows == (0,)


def test_missing_dnsmasq(networked: Minirt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User networks need it, the default one does not."""
    networked.ok("network", "create", "lab")
    words = ("run", "--rm", "--network", "lab", *TRUE)
    before = traces.count(networked)
    done = without(networked, "dnsmasq", *words, folder=tmp_path, monkeypatch=monkeypatch)
    assert done.code == 125 and "dnsmasq is missing" in done.stderr and "dnsmasq-base" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not traces.more(before, traces.count(networked))
    (tmp_path / "more").mkdir()
    plain = ("run", "--rm", "localhost/busybox", "echo", "in")
    assert without(networked, "dnsmasq", *plain, folder=tmp_path / "more", monkeypatch=monkeypatch).out == "in"
