# SPDX-License-Identifier: Apache-2.0
"""What somebody flushed, removed or killed is put back: nftables, bridges, proxies (NET-03, NET-13, CRA-06); and port
53 beside minirt's own resolvers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import boxes
import runner
import traces
from runner import eventually
from served import SERVE, address, ask, fetch, inspect, nothing


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", f"{rootfs}:O"]


@pytest.fixture
def warm(networked: runner.Minirt, options: list[str]) -> runner.Minirt:
    networked.ok("run", "--rm", *options, "true")
    return networked


def flush(how: str) -> None:
    table = traces.table()
    for command in {
        "everything": ["flush ruleset"],
        "one table": [f"delete table bridge {table}"],
        "one rule": [f"flush chain inet {table} forward"],
    }[how]:
        subprocess.run(["nft", *command.split()], check=True)


@pytest.mark.parametrize("how", ["everything", "one table", "one rule"])
def test_net_03_next_command_restores_what_was_flushed(warm: runner.Minirt, options: list[str], how: str) -> None:
    """NET-03: rules, guards and ports of those that live, and nothing of those that do not."""
    warm.ok("run", "-d", "--name", "web", "-p", "8080:80", *options, *SERVE)
    eventually(lambda: fetch("172.17.0.1", 8080) == "hello")
    rules, elements = traces.rules(), traces.elements()
    flush(how)
    warm.ok("run", "--rm", *options, "true")
    assert (traces.rules(), traces.elements()) == (rules, elements)
    assert fetch("172.17.0.1", 8080) == "hello"
    flush(how)
    warm.ok("network", "reload")
    assert (traces.rules(), traces.elements()) == (rules, elements)


def test_end_after_a_flush_gives_back_all_the_same(warm: runner.Minirt, options: list[str]) -> None:
    warm.ok("run", "-d", "--name", "web", "-p", "8080:80", *options, "sleep", "100")
    flush("everything")
    warm.ok("rm", "-f", "web")
    eventually(nothing(warm))


def test_reboot(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-06 for networks: /run of another boot, no bridge, no tables; the leases of what was running are stale, and
    what starts gets them."""
    identity = warm.ok("run", "-d", "--name", "one", "-p", "8080:80", *options, "sleep", "100")
    pid = inspect(warm, "one")["State"]["Pid"]
    (warm.state / identity / "boot").write_text("another boot")
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    [bridge] = [link["ifname"] for link in traces.links() if link.get("linkinfo", {}).get("info_kind") == "bridge"]
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    os.kill(pid, 9)
    eventually(lambda: traces.count(warm)["proxies"] == 0)
    assert traces.rows(warm.root) == {"endpoints": 1, "ports": 1}
    warm.ok("run", "-d", "--name", "two", "-p", "8080:80", *options, *SERVE)
    assert address(warm, "two") in ("172.17.0.2", "172.17.0.3")
    assert sorted(traces.rows(warm.root).values()) == [1, 1]
    eventually(lambda: fetch("172.17.0.1", 8080) == "hello")
    assert inspect(warm, "one")["State"]["Status"] == "exited"
    warm.ok("start", "two")
    warm.fails("start", "one", code=1, says="by container two")


def test_reload_after_a_bridge_was_deleted(warm: runner.Minirt, options: list[str]) -> None:
    """The bridge is there again, and the containers that run are on it."""
    warm.ok("network", "create", "front")
    warm.ok("run", "-d", "--name", "web", "--network", "front", "-p", "8080:80", *options, *SERVE)
    there = inspect(warm, "web")["NetworkSettings"]["Networks"]["front"]["IPAddress"]
    eventually(lambda: fetch(there, 80) == "hello")
    interface = json.loads(warm.ok("network", "inspect", "front"))[0]["Minirt"]["Interface"]
    subprocess.run(["ip", "link", "del", interface], check=True)
    assert fetch(there, 80) == ""
    warm.ok("network", "reload")
    eventually(lambda: fetch(there, 80) == "hello")
    assert fetch("127.0.0.1", 8080) == "hello"


@pytest.mark.parametrize("where", ["", "0.0.0.0:"])
@pytest.mark.parametrize("order", ["resolver first", "port first"])
def test_port_53_beside_a_resolver(
    warm: runner.Minirt, start: Callable[..., boxes.Box], options: list[str], order: str, where: str
) -> None:
    """A user network's resolver has port 53 of its gateway; a container publishes port 53 of the host all the same."""
    warm.ok("network", "create", "--subnet", "10.9.0.0/24", "front")
    resolved = ("run", "-d", "--name", "one", "--network", "front", *options, "sleep", "100")
    if order == "resolver first":
        warm.ok(*resolved)
    start("dns", "-p", f"{where}53:53/udp", ports=(53,))
    if order == "port first":
        warm.ok(*resolved)
    for host in ("127.0.0.1", "172.17.0.1"):
        eventually(lambda host=host: ask(host, 53).startswith("dns "))  # type: ignore[misc]
    assert "10.9.0.2" in warm.ok("exec", "one", "nslookup", "one", "10.9.0.1")


def test_port_53_of_a_process_is_refused(warm: runner.Minirt, options: list[str]) -> None:
    subprocess.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("192.0.2.1", 53))
        said = f"by process {Path('/proc/self/comm').read_text().strip()}[{os.getpid()}]"
        warm.fails("run", "-p", "53:53/udp", *options, "true", code=125, says=said)
        assert not traces.more({}, traces.count(warm))


def test_reload_serves_ports_whose_proxy_is_gone(warm: runner.Minirt, options: list[str]) -> None:
    warm.ok("run", "-d", "--name", "web", "-p", "8080:80", "-p", "127.0.0.1:8081:80", *options, *SERVE)
    eventually(lambda: fetch("127.0.0.1", 8080) == "hello")
    [proxy] = traces.processes("minirt:proxy")
    os.kill(proxy, 9)
    eventually(lambda: fetch("127.0.0.1", 8080) == "")
    warm.ok("network", "reload")
    for host, port in (("127.0.0.1", 8080), ("::1", 8080), ("127.0.0.1", 8081), ("172.17.0.1", 8080)):
        assert fetch(host, port) == "hello", (host, port)
    warm.ok("network", "reload")
    warm.ok("rm", "-f", "web")
    eventually(nothing(warm))


def test_one_broken_bridge_spoils_no_other_network(warm: runner.Minirt, options: list[str]) -> None:
    """NET-13: somebody else's interface has a network's name. Only that network says so."""
    warm.ok("network", "create", "--subnet", "10.9.0.0/24", "front")
    front = "mr-" + json.loads(warm.ok("network", "inspect", "front"))[0]["Id"][:12]
    subprocess.run(["ip", "link", "delete", front], check=True)
    subprocess.run(["ip", "link", "add", front, "type", "veth", "peer", "name", "other"], check=True)
    flush("everything")
    warm.ok("run", "--rm", "-p", "8080:80", *options, "true")
    said = warm.fails("run", "--rm", "--network", "front", *options, "true", code=125)
    assert front in said
    assert front in warm.fails("network", "reload", code=1)
    subprocess.run(["ip", "link", "delete", front], check=True)
    warm.ok("run", "--rm", "--network", "front", *options, "true")
