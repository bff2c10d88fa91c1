# SPDX-License-Identifier: Apache-2.0
"""network create, ls, inspect, rm, prune as people and scripts use them; what inspect says of a container's."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from runner import Minirt, eventually

SLEEP = ("localhost/busybox", "sleep", "1000")


def inspected(mine: Minirt, network: str) -> dict[str, Any]:
    (found,) = json.loads(mine.ok("network", "inspect", network))
    return dict(found)


def settings(mine: Minirt, container: str) -> dict[str, Any]:
    return dict(json.loads(mine.ok("inspect", "-f", "{{json .NetworkSettings}}", container)))


def test_create_prints_the_id(networked: Minirt) -> None:
    identity = networked.ok("network", "create", "back")
    assert len(identity) == 64
    assert inspected(networked, "back")["Id"] == inspected(networked, identity[:12])["Id"] == identity
    assert networked.ok("network", "rm", "back") == "back"
    networked.fails("network", "inspect", "back", code=1, says="network back not found")


def test_ls(networked: Minirt) -> None:
    """bridge, host and none are there before anything is made, and bridge keeps its id when it is."""
    lines = networked.ok("network", "ls").splitlines()
    assert lines[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert [line.split()[1:] for line in lines[1:]] == [
        ["bridge", "bridge", "local"], ["host", "host", "local"], ["none", "null", "local"],
    ]  # fmt: skip
    before = networked.ok("network", "ls", "-q", "--no-trunc", "--filter", "name=bridge")
    networked.ok("run", "--rm", "localhost/busybox", "true")
    assert networked.ok("network", "ls", "-q", "--no-trunc", "--filter", "name=bridge") == before
    identity = networked.ok("network", "create", "--label", "tier=back", "--internal", "--ipv6", "lab")
    for words, expected in (
        (("--format", "{{.Name}} {{.Driver}} {{.Internal}} {{.IPv6}}", "-f", "type=custom"), "lab bridge true true"),
        (("-q", "--filter", "label=tier=back"), identity[:12]),
        (("-q", "--no-trunc", "--filter", f"id={identity[:5]}"), identity),
        (("-q", "--filter", "driver=null", "--format", "{{.Name}}"), networked.ok("network", "ls", "-qf", "name=none")),
        (("--filter", "dangling=true", "--format", '{{.Name}}:{{.Label "tier"}}'), "lab:back"),
        (("-q", "--filter", "scope=global"), ""),
    ):
        assert networked.ok("network", "ls", *words) == expected, words
    assert json.loads(networked.ok("network", "ls", "--format", "json").splitlines()[-2])["Name"] == "lab"
    networked.fails("network", "ls", "--filter", "colour=red", code=1, says="invalid filter 'colour'")
    networked.fails("network", "ls", "--filter", "type=x", code=1, says="'type'='x'")


def test_inspect_in_dockers_shape(networked: Minirt) -> None:
    networked.ok(
        "network", "create", "--subnet", "10.77.0.0/16", "--gateway", "10.77.0.254", "--ip-range", "10.77.8.0/24",
        "--subnet", "fd00:77::/64", "--ipv6", "-o", "com.docker.network.driver.mtu=1400", "--label", "a=b", "lab",
    )  # fmt: skip
    networked.ok("run", "-d", "--name", "one", "--network", "lab", *SLEEP)
    found = inspected(networked, "lab")
    assert found["IPAM"]["Config"] == [
        {"Subnet": "10.77.0.0/16", "IPRange": "10.77.8.0/24", "Gateway": "10.77.0.254"},
        {"Subnet": "fd00:77::/64", "Gateway": "fd00:77::1"},
    ]
    assert (found["Driver"], found["Scope"], found["EnableIPv4"], found["EnableIPv6"]) == (
        "bridge",
        "local",
        True,
        True,
    )
    assert (found["Internal"], found["Labels"]) == (False, {"a": "b"})
    assert found["Options"]["com.docker.network.driver.mtu"] == "1400"
    ((identity, place),) = found["Containers"].items()
    assert identity == networked.ok("inspect", "-f", "{{.Id}}", "one")
    assert place["Name"] == "one"
    assert place["IPv4Address"].startswith("10.77.8.") and place["IPv4Address"].endswith("/16")
    assert place["IPv6Address"].startswith("fd00:77::") and place["IPv6Address"].endswith("/64")
    inside = networked.ok("exec", "one", "ip", "addr", "show", "eth0")
    assert place["IPv4Address"] in inside and place["IPv6Address"] in inside and place["MacAddress"] in inside
    assert "mtu 1400" in inside
    networked.ok("rm", "-f", "one")
    assert inspected(networked, "lab")["Containers"] == {}


def test_settings_of_a_container(networked: Minirt) -> None:
    """The members that scripts read, as Docker has them: the flat ones are the default network's alone."""
    networked.ok("run", "-d", "--name", "one", "--expose", "9000", *SLEEP)
    found = settings(networked, "one")
    place = found["Networks"]["bridge"]
    assert found["IPAddress"] == place["IPAddress"] != ""
    assert found["Gateway"] == place["Gateway"] == inspected(networked, "bridge")["IPAM"]["Config"][0]["Gateway"]
    assert (
        found["MacAddress"] == place["MacAddress"] == networked.ok("exec", "one", "cat", "/sys/class/net/eth0/address")
    )
    assert found["Ports"] == {"9000/tcp": None}
    assert place["NetworkID"] == inspected(networked, "bridge")["Id"]
    assert place["EndpointID"] == inspected(networked, "bridge")["Containers"][found["SandboxID"]]["EndpointID"]
    networked.ok("stop", "-t", "0", "one")
    gone = settings(networked, "one")
    assert (gone["IPAddress"], gone["Ports"], gone["Networks"]["bridge"]["IPAddress"]) == ("", {}, "")
    assert networked.ok("inspect", "-f", "{{.HostConfig.NetworkMode}}", "one") == "bridge"


def test_settings_on_user_networks(networked: Minirt) -> None:
    networked.ok("network", "create", "--subnet", "10.78.0.0/24", "front")
    networked.ok("network", "create", "back")
    networked.ok(
        "run", "-d", "--name", "web", "-h", "inner", "--network", "name=front,alias=www,ip=10.78.0.9", "--net", "back",
        "--mac-address", "02:00:00:00:00:07", *SLEEP,
    )  # fmt: skip
    found = settings(networked, "web")
    # the first network written with --net comes first, as two spellings of one flag
    assert set(found["Networks"]) == {"front", "back"}
    front = found["Networks"]["front"]
    assert (front["IPAddress"], front["IPPrefixLen"], front["Gateway"]) == ("10.78.0.9", 24, "10.78.0.1")
    assert (front["Aliases"], front["IPAMConfig"]) == (["www"], {"IPv4Address": "10.78.0.9"})
    assert set(front["DNSNames"]) == {"web", "www", "inner", networked.ok("inspect", "-f", "{{.Id}}", "web")[:12]}
    assert "02:00:00:00:00:07" in {place["MacAddress"] for place in found["Networks"].values()}
    assert found["IPAddress"] == ""
    assert networked.ok("ps", "--filter", "network=front", "--format", "{{.Names}} {{.Networks}}").startswith("web ")
    assert networked.ok("ps", "-q", "--filter", "network=none") == ""


def test_modes_without_a_network(networked: Minirt) -> None:
    for mode in ("none", "host"):
        networked.ok("run", "-d", "--name", f"of-{mode}", "--network", mode, *SLEEP)
        found = settings(networked, f"of-{mode}")
        assert list(found["Networks"]) == [mode] and found["Networks"][mode]["IPAddress"] == ""
        (there,) = inspected(networked, mode)["Containers"].values()
        assert there["Name"] == f"of-{mode}"
    networked.ok("run", "-d", "--name", "joined", "--network", "container:of-none", *SLEEP)
    assert settings(networked, "joined")["Networks"] == {}
    mode = networked.ok("inspect", "-f", "{{.HostConfig.NetworkMode}}", "joined")
    assert mode == "container:" + networked.ok("inspect", "-f", "{{.Id}}", "of-none")


def test_rm_several(networked: Minirt) -> None:
    """What can be removed is, what can't is named; -f forgives what is not there."""
    for name in ("one", "two"):
        networked.ok("network", "create", name)
    done = networked("network", "rm", "one", "nosuch", "two")
    assert (done.code, done.lines) == (1, ["one", "two"])
    assert "network nosuch not found" in done.stderr
    assert networked("network", "rm", "-f", "nosuch").code == 0
    assert networked.ok("network", "ls", "--filter", "type=custom", "-q") == ""


def test_rm_takes_the_bridge_and_its_rules(networked: Minirt) -> None:
    networked.ok("network", "create", "lab")
    interface = inspected(networked, "lab")["Minirt"]["Interface"]
    assert interface in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert interface in subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    networked.ok("network", "rm", "lab")
    assert interface not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert (
        interface not in subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    )


def test_prune(networked: Minirt) -> None:
    """Networks on which nobody runs; not the default one."""
    for name, label in (("busy", "x=1"), ("idle", "x=1"), ("kept", "x=2")):
        networked.ok("network", "create", "--label", label, name)
    networked.ok("run", "-d", "--name", "one", "--network", "busy", *SLEEP)
    assert networked("network", "prune", input="n\n").stdout.endswith("[y/N] ")
    out = networked.ok("network", "prune", "-f", "--filter", "label=x=1")
    assert out.splitlines() == ["Deleted Networks:", "idle", ""] or out.splitlines() == ["Deleted Networks:", "idle"]
    networked.ok("rm", "-f", "one")
    eventually(lambda: inspected(networked, "busy")["Containers"] == {})
    assert "kept" in networked.ok("system", "prune", "-f")
    assert networked.ok("network", "ls", "--format", "{{.Name}}").split() == ["bridge", "host", "none"]


def test_macvlan(networked: Minirt) -> None:
    """On an interface of the host: the container has a MAC of its own there."""
    subprocess.run(["ip", "link", "add", "wire", "type", "veth", "peer", "far"], check=True)
    subprocess.run(["ip", "link", "set", "wire", "up"], check=True)
    networked.fails("network", "create", "-d", "macvlan", "-o", "parent=nosuch", "lan", code=1, says="nosuch")
    networked.ok("network", "create", "-d", "macvlan", "-o", "parent=wire", "--subnet", "10.79.0.0/24", "lan")
    inside = networked.ok("run", "--rm", "--network", "lan", "localhost/busybox", "ip", "addr", "show", "eth0")
    assert "eth0@" in inside and "10.79.0.2/24" in inside
    assert inspected(networked, "lan")["Options"] == {"parent": "wire"}
    networked.ok("network", "rm", "lan")
    subprocess.run(["ip", "link", "delete", "wire"], check=True)


def test_default_network_is_made_once(networked: Minirt) -> None:
    """By the first container; its bridge and subnet stay."""
    assert inspected(networked, "bridge")["IPAM"]["Config"] == []
    networked.ok("run", "--rm", "localhost/busybox", "true")
    made = inspected(networked, "bridge")
    assert made["IPAM"]["Config"][0]["Subnet"] == "172.17.0.0/16"
    networked.ok("run", "--rm", "--network", "default", "localhost/busybox", "true")
    assert inspected(networked, "bridge") == made
    networked.fails("network", "rm", "bridge", code=1, says="bridge is a pre-defined network and cannot be removed")
    networked.fails("network", "rm", made["Id"], code=1, says="bridge is a pre-defined network and cannot be removed")
