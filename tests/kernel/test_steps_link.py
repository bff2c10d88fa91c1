# SPDX-License-Identifier: Apache-2.0
"""Each request of rtnetlink that a birth makes, against the kernel: read back through pyroute2, which shares no code
with it. All of it in network namespaces that are made for it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from errno import EADDRNOTAVAIL, EEXIST, EINVAL, EIO, ENODEV, EPERM, EXFULL
from typing import Any

import pytest

from minirt.kernel import call, execute, host
from minirt.plan import network, publish, text
from minirt.plan.netlink import Index, Request
from minirt.plan.step import Fd, Plan, Step
from own import inside, run, step
from two import MAC, Two, ip, link, request

pytestmark = pytest.mark.kernel


def seen(name: str) -> dict[str, Any]:
    """A link of this namespace, its addresses and routes, as pyroute2 says."""
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        found = ip.link("get", ifname=name)[0]
        index = found["index"]
        return {
            "index": index,
            "up": bool(found["flags"] & 1),
            "mac": found.get_attr("IFLA_ADDRESS"),
            "mtu": found.get_attr("IFLA_MTU"),
            "master": found.get_attr("IFLA_MASTER"),
            "state": found.get_attr("IFLA_OPERSTATE"),
            "kind": found.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND"),
            "addresses": sorted(
                (one.get_attr("IFA_ADDRESS"), one["prefixlen"], one.get_attr("IFA_BROADCAST") or "")
                for one in ip.get_addr(index=index)
            ),
            "tentative": [one.get_attr("IFA_FLAGS") & 0x40 for one in ip.get_addr(index=index) if one["scope"] == 0],
            "routes": sorted(
                str(one.get_attr("RTA_GATEWAY"))
                for one in (*ip.get_default_routes(family=2), *ip.get_default_routes(family=10))
                if one.get_attr("RTA_OIF") == index
            ),
        }


def test_a_veth_on_a_bridge() -> None:
    def body() -> Any:
        two = Two()
        two.connect(link(master=two.bridge, mtu=1400))
        return two.bridge, seen("eth0"), two.on_host(lambda: seen("veth1a2b3c4")), two.on_host(lambda: seen("br0"))

    bridge, inner, outer, _ = inside(body)
    own = publish.link_local(MAC)
    assert inner["addresses"] == [("172.17.0.2", 16, "172.17.255.255"), ("fd00::2", 64, ""), (own, 64, "")]
    assert (inner["index"], inner["up"], inner["mac"], inner["mtu"], inner["kind"]) == (100, True, MAC, 1400, "veth")
    assert (inner["tentative"], inner["routes"], inner["state"]) == ([0, 0], ["172.17.0.1"], "UP")
    assert (outer["up"], outer["master"], outer["mtu"], outer["state"]) == (True, bridge, 1400, "UP")


def test_net_07_the_outer_end_has_no_address_of_its_own() -> None:
    """NET-07: nothing on the host's end that a container could speak to, not even before it is a port of the bridge."""

    def body() -> Any:
        two = Two()
        events = two.on_host(lambda: subprocess.Popen(["ip", "monitor", "address"], stdout=subprocess.PIPE))
        two.connect(link(master=two.bridge))
        found = two.on_host(lambda: seen("veth1a2b3c4")["addresses"])
        two.on_host(lambda: ip("address add 192.0.2.9/32 dev lo"))
        for line in events.stdout:
            assert b"veth" not in line
            if b"192.0.2.9" in line:
                break
        events.kill()
        return found

    assert inside(body) == []


@pytest.mark.skipif(host.facts().kernel < (6, 8), reason="the kernel acts upon a carrier when it comes to it")
def test_the_first_packet_gets_through() -> None:
    """Sent at once and once only: the neighbour is known, so nobody asks again for what was lost."""

    def body() -> Any:
        two, arrived = Two(), []
        mac = two.on_host(lambda: seen("br0")["mac"])
        two.on_host(lambda: ip("address add 172.17.0.1/16 dev br0"))
        with two.on_host(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
            server.bind(("172.17.0.1", 7))
            server.settimeout(10)
            for number in range(60):
                if number:
                    two.renew()
                two.connect(link(master=two.bridge, veth=f"veth{number:07x}", gateways=()))
                ip(f"neighbour replace 172.17.0.1 lladdr {mac} dev eth0")
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.sendto(b"%d" % number, ("172.17.0.1", 7))
                arrived.append(int(server.recv(10)))
        return arrived

    assert inside(body) == list(range(60))


def test_two_gateways_and_no_ipv4() -> None:
    def body() -> Any:
        two = Two()
        addresses, gateways = (("fd00::2", 64),), ("fd00::1",)
        two.connect(link(master=two.bridge, mac="", addresses=addresses, gateways=gateways))
        return seen("eth0")

    found = inside(body)
    assert found["routes"] == ["fd00::1"]
    assert [address for address, *_ in found["addresses"] if not address.startswith("fe80")] == ["fd00::2"]


def test_a_macvlan_beside_a_veth() -> None:
    """It is made last, when the kernel has numbered the host's namespace for the veth's sake already."""

    def body() -> Any:
        two = Two()
        lan = link(
            driver="macvlan", interface="eth1", index=101, mac="", veth="", master=two.parent,
            addresses=(("192.0.2.7", 31),), gateways=(),
        )  # fmt: skip
        two.connect(link(master=two.bridge), lan)
        return seen("eth0")["kind"], seen("eth1")

    kind, found = inside(body)
    assert kind == "veth"
    assert (found["index"], found["kind"], found["up"]) == (101, "macvlan", True)
    assert found["addresses"] == [("192.0.2.7", 31, "")]


def test_an_interface_number_that_the_host_has_as_well() -> None:
    """The number is the container's own affair: 100 is some veth of the host on a host with many containers."""

    def body() -> Any:
        ip("link add other index 100 type veth peer another index 101")
        two = Two()
        lan = link(
            driver="macvlan", interface="eth1", index=101, mac="", veth="", master=two.parent, addresses=(), gateways=()
        )  # fmt: skip
        two.connect(link(master=two.bridge), lan)
        return seen("eth0")["index"], seen("eth1")["index"]

    assert inside(body) == (100, 101)


def test_the_other_end_goes_with_the_namespace() -> None:
    def body() -> Any:
        two = Two()
        two.connect(link(master=two.bridge))
        call.setns(two.host, "CLONE_NEWNET")
        os.close(two.own)
        os.close(two.slots["links"])
        for _ in range(500):
            if subprocess.run(["ip", "link", "show", "veth1a2b3c4"], capture_output=True).returncode:
                return True
            time.sleep(0.02)
        return False

    assert inside(body)


@pytest.mark.parametrize(
    ("wanted", "index", "errno", "words"),
    [
        ({"veth": "lan0"}, 0, EEXIST, "an interface of this name or number is there already"),
        ({"interface": "lo"}, 0, EEXIST, "an interface of this name or number is there already"),
        ({"master": 4711}, 1, EINVAL, "the network's bridge is gone"),
        ({"mtu": 1}, 0, EINVAL, "the kernel does not accept the MTU"),
        ({"mac": "01:00:5e:00:00:01"}, 0, EADDRNOTAVAIL, "the MAC address is a group's"),
        ({"gateways": ("10.9.8.7",)}, 7, 101, "the gateway is outside of the interface's subnet"),
        ({"gateways": ("172.17.0.1", "172.17.0.3")}, 8, EEXIST, "another network has brought a default route"),
        (
            {"driver": "macvlan", "veth": "", "master": 4711},
            1,
            ENODEV,
            "the interface that the network stands on is gone",
        ),
    ],
)
def test_what_the_kernel_refuses(wanted: dict[str, Any], index: int, errno: int, words: str) -> None:
    """The acknowledgement's error is the step's, and the message says what it means."""
    steps: list[Step] = []

    def body() -> None:
        two = Two()
        two.connect(link(**{"master": two.bridge, **wanted}))

    with pytest.raises(execute.StepError) as failed:
        inside(body)
    assert (failed.value.index, failed.value.errno) == (index, errno)
    one = link(**{"master": 3, **wanted})
    steps = [request(to, what) for to, what in network.requests(one)]
    if one.driver == "macvlan":
        steps.insert(0, request(network.LINKS, network.name_the_host()))
    message, remedy = text.failure(Plan(tuple(steps)), index, errno)
    assert words in message and "rtnetlink(7)" in remedy


def test_a_full_bridge() -> None:
    def body() -> None:
        two = Two()

        def fill() -> None:
            lines = [f"link add p{i} type veth peer name q{i}" for i in range(512)]
            lines += [f"link set {end}{i} master br0" for i in range(512) for end in "pq"[: 1 + (i < 511)]]
            ip(*lines)

        two.on_host(fill)
        two.connect(link(master=two.bridge))

    with pytest.raises(execute.StepError) as failed:
        inside(body)
    assert (failed.value.index, failed.value.errno) == (1, EXFULL)


def test_without_the_capability() -> None:
    def body() -> None:
        two = Two()
        call.capset(0, 0, 0)
        two.connect(link(master=two.bridge))

    with pytest.raises(execute.StepError) as failed:
        inside(body)
    assert failed.value.errno == EPERM


def test_what_does_not_answer() -> None:
    """A socket of which no acknowledgement comes: the step fails at once instead of waiting."""

    def body() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        up = Request("RTM_NEWLINK", "0", {"ifi_index": Index(1, "lo")})
        run(step("netlink", Fd("it"), up), inherited={"it": ours.detach()})
        theirs.close()

    with pytest.raises(execute.StepError) as failed:
        inside(body)
    assert failed.value.errno in (EIO, EINVAL, 106)  # an address on a connected socket: EISCONN
