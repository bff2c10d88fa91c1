# SPDX-License-Identifier: Apache-2.0
"""doctor about networks, each time on a host of its own: forwarding, and the firewalls of others, by their own tools.

Wherever doctor says that packets are dropped, or are not, real ones go that way and tell.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import namespaces
import runner
from minirt.engine import doctor_network
from minirt.engine.finding import OK, WARN, Finding
from minirt.engine.paths import Roots
from runner import Minirt

OUTSIDE = "192.0.2.2"


def sh(*argv: str, text: str | None = None) -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


@pytest.fixture
def roots(short_dir: Path) -> Roots:
    return Roots(str(short_dir / "root"), str(short_dir / "state"))


@pytest.fixture
def router() -> Iterator[None]:
    """A host that forwards between `uplink0` and `minirt0`, with one machine behind each."""
    with namespaces.host(), namespaces.new() as outside, namespaces.new() as inside:
        ends = (("uplink0", outside, "192.0.2", "outside"), ("minirt0", inside, "203.0.113", "inside"))
        for link, other, net, name in ends:
            sh("ip", "link", "add", link, "type", "veth", "peer", "name", name, "netns", other.path)
            sh("ip", "address", "add", f"{net}.1/24", "dev", link)
            sh("ip", "link", "set", link, "up")
            with other:
                sh("ip", "address", "add", f"{net}.2/24", "dev", name)
                sh("ip", "link", "set", name, "up")
                sh("ip", "route", "add", "default", "via", f"{net}.1")
        sh("ip", "route", "add", "default", "via", OUTSIDE)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        router_inside.append(inside)
        try:
            yield
        finally:
            router_inside.clear()


router_inside: list[namespaces.Namespace] = []


def reaches() -> bool:
    """Whether what is behind minirt0 gets an answer from outside: that nobody listens there is one."""
    with router_inside[0], socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        try:
            client.connect((OUTSIDE, 9))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    raise AssertionError("somebody listens")


def chains(roots: Roots) -> list[Finding]:
    return [one for one in doctor_network.examine(roots) if one.name.startswith("chain ")]


def by_name(roots: Roots) -> dict[str, Finding]:
    return {one.name: one for one in doctor_network.examine(roots)}


def test_a_host_with_nothing(roots: Roots) -> None:
    with namespaces.host():
        found = by_name(roots)
        assert [one.what for one in found.values() if one.status != OK] == []
        assert found["other firewalls"].what == "nobody else's"
        assert "is 0; set with the first network" in found["forwarding IPv4"].what


def obey(found: list[Finding]) -> None:
    """Does what the remedies say."""
    for one in found:
        for command in one.remedy.split("; "):
            sh("sh", "-c", command)


@pytest.mark.usefixtures("router")
@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy"])
def test_a_policy_of_iptables(roots: Roots, tool: str) -> None:
    assert runner.eventually(reaches)
    assert chains(roots) == []
    for words in ("-P FORWARD DROP", "-A FORWARD -i docker0 -j ACCEPT"):
        sh(tool, *words.split())
    sh(tool, *"-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".split())
    assert not reaches()
    (finding,) = chains(roots)
    assert finding.status == WARN
    assert "iptables drops (policy) what containers send out, the answers to it" in finding.what, finding.what
    assert finding.what.endswith(": minirt0")
    obey([finding])
    assert chains(roots) == []
    assert runner.eventually(reaches)


@pytest.mark.usefixtures("router")
def test_docker(roots: Roots) -> None:
    for words in ("-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER"):
        sh("iptables", *words.split())
    sh("iptables", *"-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".split())
    assert not reaches()
    (finding,) = chains(roots)
    assert finding.what.startswith("docker's firewall drops")
    assert "iptables -I DOCKER-USER -i minirt0 -j ACCEPT" in finding.remedy
    obey([finding])
    assert chains(roots) == []
    assert runner.eventually(reaches)


@pytest.mark.usefixtures("router")
def test_a_table_of_nft(roots: Roots) -> None:
    rules = """
    table inet mine {
        chain onward { type filter hook forward priority 10; policy drop; ct state established accept; }
    }"""
    sh("nft", "-f", "-", text=rules)
    assert not reaches()
    (finding,) = chains(roots)
    assert finding.name == "chain inet mine onward"
    assert "what containers send out, connections to published ports" in finding.what
    assert "answers" not in finding.what
    obey([finding])
    assert chains(roots) == []
    assert runner.eventually(reaches)


@pytest.mark.usefixtures("router")
def test_rules_that_decide_by_what_doctor_does_not_know(roots: Roots) -> None:
    rules = """
    table inet mine {
        chain onward { type filter hook forward priority 10; policy drop; ip saddr 203.0.113.0/24 accept
                       ip daddr 203.0.113.0/24 accept; }
    }"""
    sh("nft", "-f", "-", text=rules)
    assert runner.eventually(reaches)
    (finding,) = chains(roots)
    assert "may drop" in finding.what


@pytest.mark.usefixtures("router")
def test_what_is_left_out(roots: Roots) -> None:
    """Our own tables, chains of other hooks, and what drops only others' packets."""
    rules = """
    table inet minirt {
        chain forward { type filter hook forward priority 0; oifname "minirt0" drop; }
    }
    table inet others {
        chain out { type filter hook output priority 0; policy drop; accept; }
        chain onward { type filter hook forward priority 0; iifname "virbr0" drop; ct state invalid drop; }
    }"""
    sh("nft", "-f", "-", text=rules)
    found = by_name(roots)
    assert [name for name in found if name.startswith("chain")] == []
    assert found["other firewalls"].what == "none of 1 chains drops what is ours"


def test_no_nft(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert [name for name in by_name(roots) if not name.startswith("forwarding")] == []


def test_legacy_that_cannot_be_read(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    with namespaces.host():
        sh("iptables-legacy", "-P", "FORWARD", "DROP")
        monkeypatch.setattr(
            shutil, "which", lambda name, path=None: None if "legacy" in name else which(name, path=path)
        )
        finding = by_name(roots)["iptables ip"]
    assert finding.status == WARN
    assert finding.remedy


def test_a_host_that_takes_no_questions(networked: Minirt) -> None:
    """Names are asked of the gateway, which is the host: its input chain counts, too."""
    networked.ok("network", "create", "front")
    roots = Roots(str(networked.root), str(networked.state))
    assert chains(roots) == []
    sh("iptables", "-P", "INPUT", "DROP")
    (finding,) = chains(roots)
    assert finding.name == "chain ip filter INPUT"
    assert "containers' questions for names: mr-" in finding.what
    obey([finding])
    assert chains(roots) == []


# What minirt itself keeps there


def networks(minirt: Minirt) -> list[str]:
    """What the command says about networks, without its remedies."""
    lines = minirt("doctor").lines
    return [line for line in lines if line.partition("networks ")[0] in ("ok    ", "warn  ")]


def sleeper(minirt: Minirt, *options: str) -> None:
    minirt.ok("run", "-d", *options, "--rootfs", minirt.rootfs, "sleep", "1000")


def test_abilities(roots: Roots) -> None:
    with namespaces.host():
        before = subprocess.run(["ip", "link"], capture_output=True, text=True).stdout
        found = by_name(roots)
        assert [found[kind].status for kind in ("bridge", "veth", "macvlan", "nftables")] == [OK] * 4
        assert subprocess.run(["ip", "link"], capture_output=True, text=True).stdout == before
        listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True)
        assert (listed.returncode, listed.stdout) == (0, "")


def test_networks_in_place(networked: Minirt) -> None:
    networked.ok("network", "create", "--ipv6", "front")
    networked.ok("network", "create", "--internal", "--ipv6", "back")
    sleeper(networked, "--network", "front", "--network", "back", "-p", "8080:80", "-p", "[::1]:81:81/udp")
    (line,) = networks(networked)
    assert line.endswith("rules, bridges and resolvers of 1 running containers are in place"), line


def test_rules_that_somebody_flushed(networked: Minirt) -> None:
    sleeper(networked)
    sh("nft", "flush", "ruleset")
    (line,) = networks(networked)
    assert "are gone or changed" in line
    networked.ok("network", "reload")
    assert "in place" in networks(networked)[0]


@pytest.mark.parametrize("family", ["inet", "bridge"])
def test_elements_that_somebody_took_out(networked: Minirt, family: str) -> None:
    sleeper(networked, "-p", "8080:80")
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    table = next(line.split()[2] for line in listed.splitlines() if line.startswith(f"table {family} minirt"))
    name = {"inet": "ports4", "bridge": "guarded"}[family]
    sh("nft", "flush", {"inet": "map", "bridge": "set"}[family], family, table, name)
    (line,) = networks(networked)
    assert f"{name} of table {table} lacks 1 of 1 elements" in line, line
    networked.ok("network", "reload")
    assert "in place" in networks(networked)[0]


def test_a_bridge_that_is_gone_and_one_that_is_down(networked: Minirt) -> None:
    sleeper(networked)
    bridge = next(path.parent.name for path in Path("/sys/class/net").glob("*/bridge"))
    sh("ip", "link", "set", bridge, "down")
    assert f'the bridge {bridge} of the network "bridge" is down' in networks(networked)[0]
    sh("ip", "link", "delete", bridge)
    assert "is gone" in networks(networked)[0]


def test_a_resolver_that_is_gone(networked: Minirt) -> None:
    networked.ok("network", "create", "front")
    sleeper(networked, "--network", "front")
    (pid,) = Path(networked.state, "networks").glob("*/pid")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert 'nobody answers for names on the network "front"' in networks(networked)[0]
    networked.ok("network", "reload")
    assert "in place" in networks(networked)[0]
