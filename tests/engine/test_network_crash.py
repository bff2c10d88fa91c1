# SPDX-License-Identifier: Apache-2.0
"""network create and rm, several at once and killed anywhere: names and subnets are unique, no bridge is left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

import traces
from runner import Minirt, eventually


def networks(mine: Minirt) -> list[dict[str, object]]:
    names = mine.ok("network", "ls", "-q", "--filter", "type=custom").split()
    return list(json.loads(mine.ok("network", "inspect", *names))) if names else []


def bridges() -> set[str]:
    """Bridges of this test's host that carry a network's alias, or are half-made."""
    return {link["ifname"] for link in traces.links() if link.get("linkinfo", {}).get("info_kind") == "bridge"}


def test_many_at_once(networked: Minirt) -> None:
    """Each has a subnet of its own; of six that want one name, one gets it."""
    networked.ok("network", "ls")
    children = [networked.start("network", "create", f"net-{number}") for number in range(6)]
    children += [networked.start("network", "create", "same") for _ in range(6)]
    codes, errors = [], []
    for child in children:
        _, stderr = child.communicate(timeout=60)
        codes.append(child.returncode)
        errors.append(stderr.decode())
    assert codes[:6] == [0] * 6, errors
    assert sorted(codes[6:]) == [0, 1, 1, 1, 1, 1]
    assert sum("network with name same already exists" in text for text in errors) == 5
    made = networks(networked)
    subnets = {json.dumps(one["IPAM"]) for one in made}
    assert len(subnets) == len(made) == 7
    assert len(bridges()) == 7
    networked.ok("network", "prune", "-f")
    assert bridges() == set()


def test_same_subnet_at_once(networked: Minirt) -> None:
    networked.ok("network", "ls")
    words = ("network", "create", "--subnet", "10.66.0.0/24")
    children = [networked.start(*words, f"net-{number}") for number in range(4)]
    codes = sorted(child.wait(timeout=60) for child in children)
    assert codes == [0, 1, 1, 1]
    assert len(networks(networked)) == len(bridges()) == 1


@pytest.mark.parametrize("verb", ["create", "rm"])
def test_killed_anywhere(networked: Minirt, verb: str) -> None:
    """A SIGKILL at twelve moments of the command. What is left is a network that works and can be removed, or none."""
    default = networked.ok("network", "inspect", "-f", "{{.Minirt.Interface}}", "bridge")
    networked.ok("network", "create", "whole")
    began = time.monotonic()
    networked.ok("network", "rm", "whole")
    takes_s = time.monotonic() - began
    for number in range(12):
        if verb == "rm":
            networked.ok("network", "create", "lab")
        child = networked.start("network", verb, "lab")
        time.sleep(takes_s * (number + 1) / 12)
        child.send_signal(signal.SIGKILL)
        child.wait()
        if networks(networked):
            said = networked.ok("run", "--rm", "--network", "lab", "localhost/busybox", "ip", "route")
            assert "default via" in said
            networked.ok("network", "rm", "lab")
        networked.ok("network", "reload")
        assert bridges() == in_the_rules() <= {default}


@pytest.mark.parametrize("verb", ["connect", "disconnect"])
def test_connection_killed_anywhere(networked: Minirt, verb: str) -> None:
    """A SIGKILL at twelve moments of the command: the same command, or its opposite, then does the rest."""
    networked.ok("network", "create", "lab")
    networked.ok("run", "-d", "--name", "web", "localhost/busybox", "sleep", "1000")
    before = traces.count(networked)
    networked.ok("network", "connect", "lab", "web")
    began = time.monotonic()
    networked.ok("network", "disconnect", "lab", "web")
    takes_s = time.monotonic() - began
    for number in range(12):
        if verb == "disconnect":
            networked.ok("network", "connect", "lab", "web")
        child = networked.start("network", verb, "lab", "web")
        time.sleep(takes_s * (number + 1) / 12)
        child.send_signal(signal.SIGKILL)
        child.wait()
        if verb == "disconnect":
            networked("network", "disconnect", "lab", "web")  # it may have been done
        again = networked("network", "connect", "lab", "web")
        assert again.code == 0 or "already exists in network lab" in again.stderr, again
        assert networked.ok("exec", "web", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
        networked.ok("network", "disconnect", "lab", "web")
        assert networked.ok("exec", "web", "ls", "/sys/class/net").split() == ["eth0", "lo"]
        eventually(lambda: not traces.more(before, traces.count(networked)))


def in_the_rules() -> set[str]:
    """The bridges that our tables name."""
    told = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return {word.strip('",') for word in told.split() if word.startswith('"mr-')}
