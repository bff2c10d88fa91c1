# SPDX-License-Identifier: Apache-2.0
"""Addresses and ports over a container's life: taken when it starts, given back when it ends, never another's, and put
back where somebody flushed them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import boxes
import runner
import traces
from runner import eventually
from served import SERVE, address, fetch, inspect, nothing


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", f"{rootfs}:O"]


@pytest.fixture
def warm(networked: runner.Minirt, options: list[str]) -> runner.Minirt:
    networked.ok("run", "--rm", *options, "true")
    return networked


def test_default_bridge(warm: runner.Minirt, options: list[str]) -> None:
    """One address each, a route out, no trace afterwards; the bridge stays."""
    warm.ok("run", "-d", "--name", "one", *options, "sleep", "100")
    warm.ok("run", "-d", "--name", "two", *options, "sleep", "100")
    assert (address(warm, "one"), address(warm, "two")) == ("172.17.0.2", "172.17.0.3")
    box = boxes.Box(warm, "one")
    assert box.address4 == "172.17.0.2" and box.gateway == "172.17.0.1"
    assert box.mac == "02:42:ac:11:00:02"
    assert list(box.interfaces()) == ["lo", "eth0"]
    box.namespace.close()
    warm.ok("exec", "two", "sh", "-c", "nc -w 5 172.17.0.2 80 || true")
    warm.ok("rm", "-f", "one", "two")
    eventually(nothing(warm))
    assert [link["ifname"] for link in traces.links() if link.get("linkinfo", {}).get("info_kind") == "bridge"]


def test_address_of_a_removed_container_is_given_anew(warm: runner.Minirt, options: list[str]) -> None:
    seen = {
        warm.ok("run", "--rm", *options, "sh", "-c", "ip -4 -o addr show eth0 | awk '{print $4}'") for _ in range(3)
    }
    assert seen == {"172.17.0.2/16"}


def test_stop_gives_back_and_start_takes_anew(warm: runner.Minirt, options: list[str]) -> None:
    warm.ok("run", "-d", "--name", "one", "-p", "8080:80", *options, *SERVE)
    eventually(lambda: fetch("127.0.0.1", 8080) == "hello")
    warm.ok("stop", "-t", "0", "one")
    eventually(nothing(warm))
    warm.ok("run", "-d", "--name", "two", *options, "sleep", "100")
    assert address(warm, "two") == "172.17.0.2"
    warm.ok("start", "one")
    assert address(warm, "one") == "172.17.0.3"
    for host in ("127.0.0.1", "::1", "172.17.0.1"):
        eventually(lambda host=host: fetch(host, 8080) == "hello")  # type: ignore[misc]
    for _ in range(3):
        warm.ok("restart", "-t", "0", "one")
    assert address(warm, "one") == "172.17.0.3"
    eventually(lambda: fetch("127.0.0.1", 8080) == "hello")


@pytest.mark.parametrize("stay", [("-d",), ()], ids=["detached", "foreground"])
@pytest.mark.parametrize("remove", [("--rm",), ()], ids=["removed", "kept"])
def test_end_that_nobody_watches_gives_back(
    warm: runner.Minirt, options: list[str], stay: tuple[str, ...], remove: tuple[str, ...]
) -> None:
    """Without any further command: the monitor sees to it where the caller has left, the caller where it has not."""
    warm.ok("run", *stay, *remove, "--name", "one", "-p", "8080:80", *options, "sleep", "0.1")
    eventually(nothing(warm))
    assert warm("inspect", "one").code == (1 if remove else 0)


def test_caller_killed_while_it_watches(warm: runner.Minirt, options: list[str]) -> None:
    child = warm.start("run", "--name", "one", "-p", "8080:80", *options, "sleep", "1")
    eventually(lambda: traces.count(warm)["proxies"] == 1)
    child.kill()
    child.wait()
    eventually(nothing(warm))


def test_failed_start_leaves_nothing(warm: runner.Minirt, options: list[str]) -> None:
    """A program that is not there, an invalid step: the network was ready by then."""
    warm.fails("run", "--name", "one", "-p", "8080:80", *options, "/no/such/program", code=127)
    eventually(nothing(warm))
    warm.ok("create", "--name", "one", "-p", "8080:80", *options, "/no/such/program")
    assert warm("start", "one").code != 0
    eventually(nothing(warm))
    warm.ok("run", "--rm", "-p", "8080:80", *options, "true")


# Taken addresses and ports


def test_port_of_another_container_is_named(warm: runner.Minirt, options: list[str]) -> None:
    """Refused before anything starts; ended holders do not count."""
    warm.ok("run", "-d", "--name", "web", "-p", "8080:80", *options, "sleep", "100")
    before = traces.count(warm)
    for words in (("-p", "8080:81"), ("-p", "127.0.0.1:8080:81"), ("-p", "9000:1", "-p", "8080:2")):
        warm.fails(
            "run", "--name", "late", *words, *options, "true", code=125,
            says=":8080 failed: port is already allocated by container web",
        )  # fmt: skip
        assert traces.count(warm) == before
        assert warm("inspect", "late").code == 1
    warm.ok("create", "--name", "late", "-p", "8080:81", *options, "sleep", "100")
    warm.fails("start", "late", code=1, says="by container web")
    assert traces.count(warm) == before
    warm.ok("stop", "-t", "0", "web")
    warm.ok("start", "late")
    warm.fails("start", "web", code=1, says="by container late")


def test_port_of_a_process_is_named(warm: runner.Minirt, options: list[str]) -> None:
    for kind, word in ((socket.SOCK_STREAM, "8080:80"), (socket.SOCK_DGRAM, "8080:80/udp")):
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", 8080))
            if kind == socket.SOCK_STREAM:
                other.listen()
            said = warm.fails(
                "run", "-p", word, *options, "true", code=125,
                says="Bind for 0.0.0.0:8080 failed: port is already allocated by process ",
            )  # fmt: skip
            assert f"[{os.getpid()}]" in said
            assert not traces.more({}, traces.count(warm)), "a rule, lease or veth was left"
    warm.ok("run", "--rm", "-p", "8080:80", *options, "true")


def test_port_once_published_is_refused_to_processes(warm: runner.Minirt, options: list[str]) -> None:
    """NET-11: the kernel itself refuses it, as long as the container runs."""
    warm.ok("run", "-d", "--name", "web", "-p", "8080:80", *options, "sleep", "100")
    for host, family in (("0.0.0.0", socket.AF_INET), ("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with socket.socket(family, socket.SOCK_STREAM) as other, pytest.raises(OSError, match="Address already in use"):
            other.bind((host, 8080))
            other.listen()
    warm.ok("rm", "-f", "web")
    eventually(nothing(warm))
    with socket.socket() as other:
        other.bind(("0.0.0.0", 8080))


def test_ephemeral_port_passes_over_those_that_are_taken(warm: runner.Minirt, options: list[str]) -> None:
    """Four ports, one a process has, one is published by number: two containers get the others, a third gets none."""
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40003")
    with socket.socket() as other:
        other.bind(("0.0.0.0", 40001))
        other.listen()
        warm.ok("run", "-d", "--name", "fixed", "-p", "40002:80", *options, "sleep", "100")
        got = set()
        for name in ("one", "two"):
            warm.ok("run", "-d", "--name", name, "-p", "80", *options, "sleep", "100")
            [bound, *_] = inspect(warm, name)["NetworkSettings"]["Ports"]["80/tcp"]
            got.add(bound["HostPort"])
        assert got == {"40000", "40003"}
        before = traces.count(warm)
        warm.fails("run", "-p", "80", *options, "true", code=125, says="all ports are allocated")
        assert traces.count(warm) == before


def test_range_takes_the_first_that_is_free(warm: runner.Minirt, options: list[str]) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 8000))
        other.listen()
        warm.ok("run", "-d", "--name", "one", "-p", "8000-8002:80", *options, "sleep", "100")
        assert inspect(warm, "one")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == "8001"


def test_taken_address_names_its_holder(warm: runner.Minirt, options: list[str]) -> None:
    warm.ok("network", "create", "--subnet", "10.9.0.0/24", "front")
    warm.ok("run", "-d", "--name", "one", "--network", "front", "--ip", "10.9.0.7", *options, "sleep", "100")
    said = warm.fails("run", "--network", "front", "--ip", "10.9.0.7", *options, "true", code=125)
    assert "Address already in use: 10.9.0.7" in said and "the container one has it" in said
    warm.fails(
        "run", "--network", "front", "--ip", "10.9.0.1", *options, "true", code=125, says="Address already in use"
    )
    warm.fails(
        "run", "--network", "front", "--ip", "10.8.0.7", *options, "true", code=125, says="does not belong to any"
    )
    warm.ok("kill", "one")
    warm.ok("run", "--rm", "--network", "front", "--ip", "10.9.0.7", *options, "true")


def test_full_subnet(warm: runner.Minirt, options: list[str]) -> None:
    """A /29 has five places beside the gateway's; one that an ended container held is free again."""
    warm.ok("network", "create", "--subnet", "10.9.0.0/29", "small")
    for number in range(5):
        warm.ok("run", "-d", "--name", f"n{number}", "--network", "small", *options, "sleep", "100")
    before = traces.count(warm)
    warm.fails(
        "run", "--network", "small", *options, "true", code=125, says="no available addresses on the network small"
    )
    assert traces.count(warm) == before
    warm.ok("rm", "-f", "n3")
    assert "10.9.0.5/29" in warm.ok("run", "--rm", "--network", "small", *options, "ip", "-o", "addr")


def test_several_networks(warm: runner.Minirt, options: list[str]) -> None:
    for name, subnet in (("front", "10.9.1.0/24"), ("back", "10.9.2.0/24"), ("third", "10.9.3.0/24")):
        warm.ok("network", "create", "--subnet", subnet, name)
    warm.ok(
        "run", "-d", "--name", "one", "--network", "front", "--network", "back", "--network", "third", *options,
        "sleep", "100",
    )  # fmt: skip
    box = boxes.Box(warm, "one")
    found = {name: box.address(name) for name in box.interfaces() if name != "lo"}
    assert found == {"eth0": "10.9.1.2", "eth1": "10.9.2.2", "eth2": "10.9.3.2"}
    assert box.gateway == "10.9.1.1"
    box.namespace.close()
    warm.fails("network", "rm", "back", code=1, says="has active endpoints")
    warm.ok("rm", "-f", "one")
    eventually(nothing(warm))
    warm.ok("network", "rm", "front", "back", "third")


def test_unknown_network(warm: runner.Minirt, options: list[str]) -> None:
    warm.fails("run", "--network", "absent", *options, "true", code=125, says="network absent not found")
    assert not traces.more({}, traces.count(warm))


@pytest.mark.parametrize("mode", ["none", "host"])
def test_modes_without_a_lease(warm: runner.Minirt, options: list[str], mode: str) -> None:
    warm.ok("run", "-d", "--name", "one", "--network", mode, *options, "sleep", "100")
    assert not traces.more({}, traces.count(warm))
    shown = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    inside = warm.ok("exec", "one", "ip", "-o", "link")
    assert len(inside.splitlines()) == (1 if mode == "none" else len(shown.splitlines()))


def test_sharing_anothers_network(warm: runner.Minirt, options: list[str]) -> None:
    warm.ok("run", "-d", "--name", "one", *options, "sleep", "100")
    before = traces.count(warm)
    assert "172.17.0.2/16" in warm.ok("run", "--rm", "--network", "container:one", *options, "ip", "-o", "addr")
    assert traces.count(warm) == before


# Many at once


@pytest.mark.slow
def test_fifty_parallel_runs_and_removes(warm: runner.Minirt, options: list[str]) -> None:
    """Each has an address and a port of its own while it runs; afterwards nothing is left."""
    seen: list[tuple[str, str]] = []
    failures: list[runner.Result] = []

    def work(first: int) -> None:
        for number in range(first, 50, 5):
            made = warm("run", "-d", "--name", f"n{number}", "-p", "80", "-p", f"{20000 + number}:81", *options, "sleep", "100")  # fmt: skip  # noqa: E501
            if made.code:
                failures.append(made)
                continue
            told = inspect(warm, f"n{number}")["NetworkSettings"]
            seen.append((told["Networks"]["bridge"]["IPAddress"], told["Ports"]["80/tcp"][0]["HostPort"]))
            if number % 2:
                warm("rm", "-f", f"n{number}")

    threads = [threading.Thread(target=work, args=(first,)) for first in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not failures, failures[0]
    left = [f"n{number}" for number in range(0, 50, 2)]
    addresses = [address(warm, name) for name in left]
    assert len(set(addresses)) == len(left) and all(re.fullmatch(r"172\.17\.0\.\d+", one) for one in addresses)
    assert traces.rows(warm.root) == {"endpoints": 25, "ports": 50}
    assert traces.count(warm)["veths"] == 25
    warm.ok("rm", "-f", *left)
    eventually(nothing(warm), 20)


def test_two_want_one_port(warm: runner.Minirt, options: list[str]) -> None:
    """NET-11: exactly one wins, the others name it, and leave nothing."""
    children = [warm.start("run", "-d", "--name", f"n{i}", "-p", "8080:80", *options, "sleep", "100") for i in range(6)]
    told = [child.communicate(timeout=60)[1].decode() for child in children]
    codes = sorted(child.returncode for child in children)
    warm.look()
    assert codes == [0] + [125] * 5
    assert all("already allocated by container n" in text for text in told if text)
    assert traces.rows(warm.root) == {"endpoints": 1, "ports": 1}
    assert traces.count(warm)["proxies"] == 1


def test_link_goes_with_its_container_from_a_shared_namespace(warm: runner.Minirt, options: list[str]) -> None:
    """NET-12: who lives on in there keeps neither the address nor an interface that nobody guards any more."""
    warm.ok("run", "-d", "--name", "one", "-p", "8080:80", *options, "sleep", "100")
    warm.ok("run", "-d", "--name", "two", "--network", "container:one", *options, "sleep", "100")
    warm.ok("run", "-d", "--name", "three", "--network", "container:two", *options, "sleep", "100")
    warm.ok("rm", "-f", "two")
    assert "172.17.0.2" in warm.ok("exec", "three", "ip", "-o", "addr")
    warm.ok("stop", "-t", "0", "one")
    eventually(nothing(warm))
    assert len(warm.ok("exec", "three", "ip", "-o", "link").splitlines()) == 1
    warm.ok("run", "-d", "--name", "four", *options, "sleep", "100")
    assert address(warm, "four") == "172.17.0.2"
