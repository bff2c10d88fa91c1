# SPDX-License-Identifier: Apache-2.0
"""A container with an interface on a bridge, through runtime.start alone: what it sees, what speaks, what is left."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

import containers
import namespaces
from minirt.errors import StepFailed
from minirt.plan.network import Link
from minirt.runtime import stop

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers: needs root")

VETH = "veth1a2b3c4"


@pytest.fixture
def bridge() -> Iterator[int]:
    """The number of a bridge in a network namespace of this test's own, which is its host."""
    with namespaces.host():
        commands = "link add br0 type bridge\naddress add 172.17.0.1/16 dev br0\nlink set br0 up\n"
        subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
        yield socket.if_nametoindex("br0")


@pytest.fixture
def box(tmp_path: pathlib.Path) -> Iterator[containers.Box]:
    box = containers.Box(tmp_path, containers.busybox_root(tmp_path / "root"))
    yield box
    box.destroy()


def link(master: int, **wanted: Any) -> Link:
    about: dict[str, Any] = {
        "driver": "bridge", "interface": "eth0", "index": 100, "mac": "02:42:ac:11:00:02", "mtu": 1400, "veth": VETH,
        "master": master, "addresses": (("172.17.0.2", 16),), "gateways": ("172.17.0.1",),
        "pointer": "--network bridge",
    }  # fmt: skip
    return Link(**{**about, **wanted})


def gone(interface: str) -> bool:
    """Whether the interface goes away: the kernel takes its time once nobody is in the other namespace."""
    for _ in range(500):
        if interface not in [name for _, name in socket.if_nameindex()]:
            return True
        time.sleep(0.02)
    return False


def opened(pid: int) -> list[str]:
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


def test_it_speaks_with_its_host(bridge: int, box: containers.Box) -> None:
    """And when it has ended its veth is gone, both ends."""
    with socket.create_server(("172.17.0.1", 8080)) as server:
        server.settimeout(20)
        script = "echo hello | /bin/busybox nc 172.17.0.1 8080"
        started = box.start(containers.spec("sh", "-c", script), links=(link(bridge),))
        peer, (address, _) = server.accept()
        with peer:
            assert (address, peer.recv(100)) == ("172.17.0.2", b"hello\n")
    assert box.finish() == 0
    assert [step.op for step in started.plan.steps].count("netlink") == 7
    assert gone(VETH)


def test_what_it_sees(bridge: int, box: containers.Box) -> None:
    config = containers.spec(
        "sh", "-c", "/bin/busybox ip addr; /bin/busybox ip route; cat /proc/sys/net/ipv4/conf/*/tag"
    )
    config["linux"]["sysctl"] |= {"net.ipv4.conf.eth0.tag": "7", "net.ipv4.conf.default.tag": "5"}
    code, out, err = box.run(config, links=(link(bridge),))
    assert (code, err) == (0, "")
    assert "100: eth0@" in out and "mtu 1400" in out and "link/ether 02:42:ac:11:00:02" in out
    assert "inet 172.17.0.2/16 brd 172.17.255.255" in out
    assert "default via 172.17.0.1 dev eth0" in out
    assert out.split()[-4:] == ["0", "5", "7", "5"], "all, default, eth0, lo"


def test_nothing_of_the_host_is_open_in_it(bridge: int, box: containers.Box) -> None:
    """ROOT-11: neither the host's network namespace nor a socket in there."""
    box.start(containers.spec("sleep", "100"), links=(link(bridge),))
    assert box.started is not None
    inside, keeper = (opened(pid) for pid in (box.started.pid, box.started.monitor_pid))
    assert len(inside) == 3 and not any("net:" in name or "socket:" in name for name in inside)
    assert not any("net:" in name for name in keeper)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"veth": "br0"}, "{RTM_NEWLINK, eth0, index 100,"),
        ({"master": 4711}, "usually the network's bridge is gone"),
        ({"gateways": ("10.0.0.1",)}, "the gateway is outside of the interface's subnet"),
    ],
)
def test_a_link_that_cannot_be_made(bridge: int, box: containers.Box, wanted: dict[str, Any], words: str) -> None:
    """One line, that asks for it by its flag; and no end of a veth stays behind."""
    with pytest.raises(StepFailed) as failed:
        box.start(containers.spec("true"), links=(link(**{"master": bridge, **wanted}),))
    assert words in failed.value.message and "asked for by --network bridge" in failed.value.message
    assert "rtnetlink(7)" in failed.value.remedy
    assert gone(VETH)


def test_a_joined_network_gets_no_link(bridge: int, box: containers.Box) -> None:
    """--network container:X: the namespace is another's, with what it has."""
    config = containers.spec("/bin/busybox", "ip", "link")
    network = next(one for one in config["linux"]["namespaces"] if one["type"] == "network")
    network["path"] = "/proc/self/ns/net"
    config["linux"]["sysctl"] = {}
    code, out, _ = box.run(config, links=(link(bridge),))
    assert code == 0 and "br0" in out and "eth0" not in out


@pytest.mark.parametrize("watched", [False, True])
def test_whoever_left_is_stood_in_for(bridge: int, box: containers.Box, watched: bool, tmp_path: pathlib.Path) -> None:
    """watched: the clean-up verb runs at the end of a container whose caller has gone, --rm or not."""
    mark = tmp_path / "mark"
    started = box.start(
        containers.spec("sleep", "100"), links=(link(bridge),), watched=watched, cleanup=("/bin/touch", str(mark))
    )
    os.close(started.control)
    box.started = None
    stop.kill_and_wait(box.run_dir, box.cgroup)
    os.waitpid(started.monitor_pid, 0)
    assert mark.exists() is watched
