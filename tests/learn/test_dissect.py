# SPDX-License-Identifier: Apache-2.0
"""network dissect: what it says is held against ip(8), nft(8) and the packets that it talks about.

A rule that is said to match must have counted a packet that went this way, and one that is said not to, must not.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import exchange
from boxes import Box
from runner import Minirt
from world import HOST, HOST6, OUTSIDE, OUTSIDE6, ROUTER, UPLINK, World, ip

ANSWER = "oifname @bridges ct state established,related accept"
Start = Callable[..., Box]
pytestmark = pytest.mark.usefixtures("world")


def told(*argv: str) -> Any:
    """What a program with -j says."""
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)


def links() -> dict[str, dict[str, Any]]:
    return {link["ifname"]: link for link in told("ip", "-d", "-j", "address") if link}


def addresses(link: dict[str, Any]) -> list[str]:
    every = [one for one in link["addr_info"] if one.get("scope") != "link"]
    return [f"{one['local']}/{one['prefixlen']}" for one in every]


def dissected(minirt: Minirt, name: str, to: str = OUTSIDE) -> dict[str, Any]:
    return dict(json.loads(minirt.ok("network", "dissect", "--json", "--to", to, name)))


def drawn(minirt: Minirt, name: str, *options: str) -> str:
    return minirt.ok("network", "dissect", *options, name)


def assert_wire(wire: dict[str, Any], link: dict[str, Any]) -> None:
    """An interface as ip(8) has it."""
    assert (wire["name"], wire["index"], wire["mac"]) == (link["ifname"], link["ifindex"], link["address"])
    assert wire["mtu"] == link["mtu"]
    assert sorted(wire["addresses"]) == sorted(addresses(link))
    assert wire["up"] == ("UP" in link["flags"])


def counted(passages: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[bool | None, int]]:
    """{(chain, rule): (whether it matches, packets)} of the rules that count."""
    return {
        (rule["chain"], rule["text"]): (rule["matched"], rule["packets"])
        for passage in passages
        for rule in passage["rules"]
        if rule["packets"] is not None
    }


def assert_counts(before: list[dict[str, Any]], after: list[dict[str, Any]], *others: str) -> None:
    """Between the two looks exactly the rules that are said to match have counted; others: what the rest of the
    conversation met."""
    first, second = counted(before), counted(after)
    assert first.keys() == second.keys()
    said = {rule for rule, (matched, _) in second.items() if matched}
    real = {rule for rule in second if second[rule][1] > first[rule][1]}
    assert None not in [matched for matched, _ in second.values()]
    assert {rule for rule in real if rule[1] not in others} == said
    assert said


def test_what_the_kernel_says(networked: Minirt, start: Start) -> None:
    box = start("web", "-p", "8080:80")
    found = dissected(networked, "web")
    assert found["namespace"] == os.readlink(f"/proc/{box.pid}/ns/net")
    assert found["host"] == os.readlink("/proc/self/ns/net")
    assert found["pid"] == box.pid
    (nic,) = found["nics"]
    assert_wire(nic["wire"], box.interfaces()["eth0"])
    host = links()
    end = host[box.veth]
    assert_wire(nic["host"], end)
    assert_wire(nic["bridge"], host[end["master"]])
    assert nic["host"]["peer"] == nic["wire"]["index"]
    port = end["linkinfo"]["info_slave_data"]
    assert (nic["host"]["port"], nic["host"]["state"]) == (int(port["no"], 16), port["state"])
    assert nic["network"] == "bridge"
    assert_wire(found["out"]["uplink"], host[UPLINK])
    with box:
        routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    words = [re.sub(r" (proto|scope) \S+", "", line).strip() for line in routes.splitlines()]
    assert set(words) <= set(found["routes"])


def test_the_way_out(networked: Minirt, start: Start) -> None:
    box = start("web")
    out = dissected(networked, "web")["out"]
    (route,) = told("ip", "-j", "route", "get", OUTSIDE, "from", box.address4, "iif", links()[box.veth]["master"])
    assert (out["way"]["interface"], out["way"]["gateway"]) == (route["dev"], route["gateway"]) == (UPLINK, ROUTER)
    assert (out["source"], out["seen"]) == (box.address4, HOST)
    assert [passage["hook"] for passage in out["passages"]][-2:] == ["forward", "postrouting"]
    with box, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (OUTSIDE, 9))
    after = dissected(networked, "web")["out"]
    assert_counts(out["passages"], after["passages"], ANSWER)  # nobody is there: an ICMP message comes back


def test_to_a_neighbour(networked: Minirt, start: Start) -> None:
    """Bridged, not routed; br_netfilter shows it to our inet table all the same, where it is on."""
    box, other = start("web"), start("other")
    before = dissected(networked, "web", other.address4)["out"]
    assert before["kind"] == "bridged"
    assert before["uplink"]["name"] == other.veth
    with box:
        assert exchange.ask(other.address4, 80, "udp")[:2] == ("other", box.address4)
    assert_counts(before["passages"], dissected(networked, "web", other.address4)["out"]["passages"])
    text = drawn(networked, "web", "--to", other.address4)
    assert f"port {links()[other.veth]['linkinfo']['info_slave_data']['no'][2:]} of the same bridge" in text
    assert "nobody that minirt knows has" in drawn(networked, "web", "--to", box.address4.rpartition(".")[0] + ".99")


def test_to_the_host_itself(networked: Minirt, start: Start) -> None:
    box = start("web")
    before = dissected(networked, "web", HOST)["out"]
    assert before["kind"] == "local"
    assert [passage["hook"] for passage in before["passages"]][-1] == "input"
    with exchange.answering("host", 80), box:
        assert exchange.ask(HOST, 80)[:2] == ("host", box.address4)
    assert_counts(before["passages"], dissected(networked, "web", HOST)["out"]["passages"])
    assert f"route: {HOST} is this host itself" in drawn(networked, "web", "--to", HOST)


def test_the_way_out_by_ipv6(networked: Minirt, start: Start, world: World) -> None:
    networked.ok("network", "create", "--ipv6", "six")
    box = start("web", "--network", "six")
    before = dissected(networked, "web", OUTSIDE6)["out"]
    assert (before["source"], before["seen"]) == (box.address6, HOST6)
    with world.outside, exchange.answering("outside", 80), box:
        assert exchange.ask(OUTSIDE6, 80)[:2] == ("outside", HOST6)
    after = dissected(networked, "web", OUTSIDE6)["out"]
    assert_counts(before["passages"], after["passages"], ANSWER)
    assert_counts(before["answer"], after["answer"], "iifname @bridges accept")


def test_the_source_that_the_world_sees(networked: Minirt, start: Start, world: World) -> None:
    """And what the answer meets."""
    box = start("web")
    before = dissected(networked, "web")["out"]
    with world.outside, exchange.answering("outside", 80), box:
        assert exchange.ask(OUTSIDE, 80)[:2] == ("outside", before["seen"])
    assert_counts(before["answer"], dissected(networked, "web")["out"]["answer"])


def test_rules_in_their_own_words(networked: Minirt, start: Start) -> None:
    start("web", "-p", "8080:80")
    found = dissected(networked, "web")
    listed = ""
    for family in ("inet", "bridge"):
        argv = ["nft", "list", "table", family, found["table"]]
        listed += subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    lines = {
        re.sub(r" (counter packets \d+ bytes \d+|comment \"[^\"]*\")", "", line).strip() for line in listed.splitlines()
    }
    passages = [*found["out"]["passages"], *found["out"]["answer"], *found["ports"][0]["passages"]]
    for passage in passages:
        assert passage["rules"]
        assert {rule["text"] for rule in passage["rules"]} <= lines


def test_a_published_port(networked: Minirt, start: Start, world: World) -> None:
    box = start("web", "-p", "8080:80", "-p", "127.0.0.1:81:80")
    every, local = sorted(dissected(networked, "web")["ports"], key=lambda one: -one["port"]["host_port"])
    assert every["elements"]["ports4"] == f"tcp . 8080 : {box.address4} . 80"
    assert not every["missing"]
    with world.outside:
        assert exchange.ask(HOST, 8080)[:2] == ("web", OUTSIDE)
    after = dissected(networked, "web")["ports"]
    again = next(one for one in after if one["port"]["host_port"] == 8080)
    assert_counts(every["passages"], again["passages"], ANSWER, "iifname @bridges accept")
    assert (local["elements"], local["passages"], local["missing"]) == ({}, [], [])
    for one in (every, local):
        name, _, pid = one["proxy"].rstrip("]").partition("[")
        assert Path(f"/proc/{pid}/comm").read_text().strip() == name == "minirt:proxy"


def test_the_picture(networked: Minirt, start: Start) -> None:
    box = start("web", "-p", "8080:80")
    start("other")
    text = drawn(networked, "web", "--to", OUTSIDE)
    host = links()
    bridge = host[box.veth]["master"]
    for words in (
        os.readlink(f"/proc/{box.pid}/ns/net"), "eth0", "ifindex 100", f"{box.address4}/16", box.mac, box.veth,
        f"ifindex {host[box.veth]['ifindex']}", bridge, f"ifindex {host[bridge]['ifindex']}", UPLINK, f"{HOST}/24",
        "masquerade", f"{OUTSIDE} via {ROUTER} dev {UPLINK}", "8080/tcp", f"tcp . 8080 : {box.address4} . 80",
        "neighbours: other ", "minirt:proxy[",
    ):  # fmt: skip
        assert words in text, f"{words}\n{text}"
    boxes = [line for line in text.splitlines() if line.startswith(("┌", "│", "└"))]
    assert len({len(line) for line in boxes}) == 1, text
    assert all(line[-1] in "┐│┘" for line in boxes), text
    stem = [line[9] for line in boxes]
    assert set("".join(stem)) & set("│├┼┴┬"), text


def test_several_networks(networked: Minirt, start: Start) -> None:
    networked.ok("network", "create", "front")
    networked.ok("network", "create", "--internal", "back")
    box = start("web", "--network", "front", "--network", "back")
    found = dissected(networked, "web")
    assert [(nic["network"], nic["internal"]) for nic in found["nics"]] == [("front", False), ("back", True)]
    assert found["out"]["interface"] == "eth0"
    host = links()
    for nic, name in zip(found["nics"], ("eth0", "eth1"), strict=True):
        assert_wire(nic["wire"], box.interfaces()[name])
        assert host[nic["host"]["name"]]["master"] == nic["bridge"]["name"]
    text = drawn(networked, "web")
    assert "eth1 (ifindex 101)" in text
    assert 'bridge of the network "back", internal: no way out' in text
    assert ", port 53: dnsmasq" in text


def test_what_is_dropped_has_no_answer(networked: Minirt, start: Start) -> None:
    networked.ok("network", "create", "front")
    other = start("db", "--network", "front")
    start("web")
    assert dissected(networked, "web", other.address4)["out"]["answer"] == []
    text = drawn(networked, "web", "--to", other.address4)
    assert "dropped here" in text and "the answer" not in text


def test_an_internal_network_only(networked: Minirt, start: Start) -> None:
    networked.ok("network", "create", "--internal", "back")
    start("web", "--network", "back")
    assert "no way to 203.0.113.1 from inside: Network is unreachable" in drawn(networked, "web")


def test_no_network(networked: Minirt) -> None:
    networked.ok("run", "-d", "--name", "lonely", "--network", "none", "--rootfs", networked.rootfs, "sleep", "1000")
    assert "no interface but lo" in drawn(networked, "lonely")


def test_the_hosts_network(networked: Minirt) -> None:
    networked.ok("run", "-d", "--name", "guest", "--network", "host", "--rootfs", networked.rootfs, "sleep", "1000")
    text = drawn(networked, "guest", "--to", OUTSIDE)
    assert "has no network of its own" in text
    assert f"{OUTSIDE} via {ROUTER} dev {UPLINK}" in text


def test_another_containers_network(networked: Minirt, start: Start) -> None:
    box = start("web", "-p", "8080:80")
    networked.ok(
        "run", "-d", "--name", "guest", "--network", "container:web", "--rootfs", networked.rootfs, "sleep", "1000"
    )
    found = dissected(networked, "guest")
    assert (found["namespace"], found["shares"]) == (os.readlink(f"/proc/{box.pid}/ns/net"), "web")
    assert found["ports"][0]["elements"]
    assert "the network namespace of web" in drawn(networked, "guest")


def test_macvlan(networked: Minirt, start: Start) -> None:
    networked.ok(
        "network", "create", "-d", "macvlan", "-o", f"parent={UPLINK}", "--subnet", "192.0.2.0/24",
        "--gateway", ROUTER, "--ip-range", "192.0.2.128/25", "wire",
    )  # fmt: skip
    box = start("web", "--network", "wire")
    found = dissected(networked, "web")
    (nic,) = found["nics"]
    assert_wire(nic["wire"], box.interfaces()["eth0"])
    assert_wire(nic["host"], links()[UPLINK])
    assert (nic["network"], nic["bridge"]) == ("wire", None)
    assert found["out"]["passages"] == []
    assert "macvlan: eth0 is a second MAC address of uplink" in drawn(networked, "web")


def test_not_running(networked: Minirt) -> None:
    networked.ok("create", "--name", "idle", "--rootfs", networked.rootfs, "true")
    networked.fails("network", "dissect", "idle", code=1, says="container idle is not running")
    networked.fails("network", "dissect", "nobody", code=1, says="No such container")


def test_no_address(networked: Minirt, start: Start) -> None:
    start("web")
    networked.fails("network", "dissect", "--to", "somewhere", "web", code=1, says='"somewhere" is not an IP address')


def test_names_that_draw(networked: Minirt, start: Start) -> None:
    """Inside, with CAP_NET_ADMIN, an interface can be called anything without blanks."""
    box = start("web", "--cap-add", "NET_ADMIN")
    with box:
        ip("link set eth0 down", "link set eth0 name e\x1b[31m\u202e│", "link set e\x1b[31m\u202e│ up")
    text = drawn(networked, "web")
    assert "e\\x1b[31m\\u202e│" in text
    assert text.replace("\n", "").isprintable()


def test_tables_that_somebody_flushed(networked: Minirt, start: Start) -> None:
    start("web", "-p", "8080:80")
    table = dissected(networked, "web")["table"]
    for family in ("inet", "bridge"):
        subprocess.run(["nft", "delete", "table", family, table], check=True)
    text = drawn(networked, "web")
    assert f'table "{table}" is not whole: minirt network reload' in text
    assert "ports4: no element of this port" in text
    networked.ok("network", "reload")
    assert "is not whole" not in drawn(networked, "web")


def test_somebody_elses_firewall(networked: Minirt, start: Start) -> None:
    start("web")
    rules = "table inet mine { chain onward { type filter hook forward priority 10; policy drop; }\n}"
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    assert "another firewall on this way: inet mine onward drops (policy)" in drawn(networked, "web")
