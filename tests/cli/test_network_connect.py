# SPDX-License-Identifier: Apache-2.0
"""network connect and disconnect, of containers that run and of those that don't; network reload."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

import traces
from runner import Minirt, eventually

SLEEP = ("localhost/busybox", "sleep", "1000")


def networks(mine: Minirt, container: str) -> dict[str, Any]:
    return dict(json.loads(mine.ok("inspect", "-f", "{{json .NetworkSettings.Networks}}", container)))


def interfaces(mine: Minirt, container: str) -> list[str]:
    return mine.ok("exec", container, "ls", "/sys/class/net").split()


@pytest.fixture
def two(networked: Minirt) -> Minirt:
    """The networks front and back; "web" runs on front, "cold" was made for it and never started."""
    networked.ok("network", "create", "--subnet", "10.61.0.0/24", "front")
    networked.ok("network", "create", "--subnet", "10.62.0.0/24", "--ipv6", "--subnet", "fd00:62::/64", "back")
    networked.ok("run", "-d", "--name", "web", "--network", "front", "--ip", "10.61.0.9", *SLEEP)
    networked.ok("create", "--name", "cold", "--network", "front", *SLEEP)
    return networked


def test_connect_a_running_container(two: Minirt) -> None:
    """It has the interface at once, is reached by its alias, keeps its way out, and has both after a restart."""
    two.ok("network", "connect", "--alias", "shop", "--ip", "10.62.0.7", "back", "web")
    assert interfaces(two, "web") == ["eth0", "eth1", "lo"]
    inside = two.ok("exec", "web", "ip", "addr", "show", "eth1")
    assert "10.62.0.7/24" in inside and "fd00:62::" in inside
    assert "default via 10.61.0.1 dev eth0" in two.ok("exec", "web", "ip", "route")
    place = networks(two, "web")["back"]
    assert (place["IPAddress"], place["Aliases"]) == ("10.62.0.7", ["shop"])
    for name in ("web", "shop"):
        said = two.ok(
            "run", "--rm", "--cap-add", "NET_RAW", "--network", "back", "localhost/busybox", "ping", "-c1", "-W2", name
        )
        assert "10.62.0.7" in said or "fd00:62::" in said
    two.ok("restart", "-t", "0", "web")
    assert interfaces(two, "web") == ["eth0", "eth1", "lo"]
    found = networks(two, "web")
    assert (found["front"]["IPAddress"], found["back"]["IPAddress"]) == ("10.61.0.9", "10.62.0.7")


def test_disconnect_where_somebody_renamed_the_veth(two: Minirt) -> None:
    """Its guards go by the host's name for it: left on the bridge it could take any address."""
    front = json.loads(two.ok("network", "inspect", "front"))[0]["Minirt"]["Interface"]
    shown = subprocess.run(["ip", "-json", "link", "show", "master", front], capture_output=True, check=True)
    [port] = json.loads(shown.stdout)
    for words in (f"{port['ifname']} down", f"{port['ifname']} name other0", "other0 up"):
        subprocess.run(["ip", "link", "set", *words.split()], check=True)
    two.ok("network", "disconnect", "front", "web")
    assert interfaces(two, "web") == ["lo"]
    assert subprocess.run(["ip", "link", "show", "other0"], capture_output=True, check=False).returncode == 1


def test_a_container_leaves_a_network_that_is_gone(two: Minirt) -> None:
    """Nothing else would ever start it again (docker: the same)."""
    two.ok("create", "--name", "late", "--network", "back", *SLEEP)
    two.ok("network", "rm", "back")
    two.fails("start", "late", code=1, says="network back not found")
    two.fails("network", "disconnect", "back", "web", code=1, says="network back not found")
    two.ok("network", "disconnect", "back", "late")
    two.ok("network", "connect", "front", "late")
    two.ok("start", "late")
    assert list(networks(two, "late")) == ["front"]


def test_disconnect_a_running_container(two: Minirt) -> None:
    """The interface, its veth, its lease and its elements are gone; so they are after a restart."""
    before = traces.count(two)
    two.ok("network", "connect", "back", "web")
    assert traces.more(before, traces.count(two))
    two.ok("network", "disconnect", "back", "web")
    eventually(lambda: traces.count(two) == before)
    assert interfaces(two, "web") == ["eth0", "lo"]
    two.ok("network", "disconnect", "front", "web")
    assert interfaces(two, "web") == ["lo"]
    assert networks(two, "web") == {}
    two.ok("restart", "-t", "0", "web")
    assert interfaces(two, "web") == ["lo"]
    two.ok("network", "connect", "back", "web")
    assert interfaces(two, "web") == ["eth0", "lo"]
    assert "default via 10.62.0.1 dev eth0" in two.ok("exec", "web", "ip", "route")


def test_the_way_out_goes_on_by_another_network(two: Minirt) -> None:
    two.ok("network", "connect", "back", "web")
    two.ok("network", "disconnect", "front", "web")
    assert "default via 10.62.0.1 dev eth1" in two.ok("exec", "web", "ip", "route")
    assert "default via fd00:62::1 dev eth1" in two.ok("exec", "web", "ip", "-6", "route")


def test_connect_a_container_that_does_not_run(two: Minirt) -> None:
    two.ok("network", "connect", "--alias", "shop", "back", "cold")
    assert networks(two, "cold")["back"]["Aliases"] == ["shop"]
    two.ok("network", "disconnect", "front", "cold")
    two.ok("start", "cold")
    assert list(networks(two, "cold")) == ["back"]
    assert networks(two, "cold")["back"]["IPAddress"].startswith("10.62.0.")


def test_connect_to_the_default_network(two: Minirt) -> None:
    """It is made by that, where it was not there yet."""
    two.ok("network", "connect", "bridge", "web")
    assert networks(two, "web")["bridge"]["IPAddress"] != ""


def test_connect_refused(two: Minirt) -> None:
    """Nothing is left, and what it wants stays what it was."""
    two.ok("run", "-d", "--name", "there", "--network", "back", "--ip", "10.62.0.7", *SLEEP)
    before, asked = traces.count(two), networks(two, "web")
    for words, says in (
        (("--ip", "10.62.0.7"), "Address already in use: 10.62.0.7"),
        (("--ip", "10.99.0.7"), "10.99.0.7"),
        (("--alias", "a b"), "invalid network alias: a b"),
    ):
        two.fails("network", "connect", *words, "back", "web", code=1, says=says)
    assert not traces.more(before, traces.count(two))
    assert networks(two, "web") == asked
    for mode, says in (
        ("none", "in private (none) mode"),
        ("host", "disconnected from host network or connected to host network"),
        ("container:web", "container sharing network namespace with another container"),
    ):
        name = mode.partition(":")[0]
        two.ok("run", "-d", "--name", name, "--network", mode, *SLEEP)
        two.fails("network", "connect", "back", name, code=1, says=says)


def test_rename_is_heard(two: Minirt) -> None:
    two.ok("rename", "web", "shop")
    said = two.ok(
        "run", "--rm", "--cap-add", "NET_RAW", "--network", "front", "localhost/busybox", "ping", "-c1", "-W2", "shop"
    )
    assert "10.61.0.9" in said


def test_reload_after_a_flush(two: Minirt) -> None:
    """Somebody flushes nftables: `network reload` puts all of it back."""
    before = traces.elements()
    assert before
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    assert traces.elements() == {}
    two.ok("network", "reload")
    assert traces.elements() == before


def test_next_run_restores_after_a_flush(two: Minirt) -> None:
    before = traces.elements()
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    two.ok("run", "--rm", "--network", "back", "localhost/busybox", "true")
    eventually(lambda: traces.elements() == before)
