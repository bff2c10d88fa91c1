# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces in one process: the host's with a bridge, and a new one as init's."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from minirt.kernel import call
from minirt.plan import network
from minirt.plan.netlink import Batch, Request, named
from minirt.plan.step import Fd, Flags, Step
from own import opened, run, step

MAC = "02:42:ac:11:00:02"


def link(**wanted: Any) -> network.Link:
    """A veth on the bridge of `two_namespaces`."""
    about: dict[str, Any] = {
        "driver": "bridge", "interface": "eth0", "index": 100, "mac": MAC, "mtu": 0, "veth": "veth1a2b3c4",
        "master": 0, "addresses": (("172.17.0.2", 16), ("fd00::2", 64)), "gateways": ("172.17.0.1",),
    }  # fmt: skip
    return network.Link(**{**about, **wanted})


def ip(*commands: str) -> None:
    """Commands of ip(8) in this namespace: "link set lo up"."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)


def request(to: Fd, what: Request | Batch) -> Step:
    descriptor = named(what) if isinstance(what, Request) else None
    return step("netlink", to, *([descriptor] if descriptor else []), what)


def netlink_socket(slot: str, protocol: str = "NETLINK_ROUTE") -> Step:
    return step("socket", Flags("AF_NETLINK"), Flags("SOCK_RAW|SOCK_CLOEXEC"), Flags(protocol), out=slot)


class Two:
    """This process in a second network namespace, as init is in the container's; `host` is the first."""

    def __init__(self) -> None:
        ip(
            "link set lo up",
            "link add br0 address 06:00:00:00:00:01 type bridge",
            "link set br0 up",
            "link add lan0 type veth peer lan1",
        )
        self.bridge, self.parent = socket.if_nametoindex("br0"), socket.if_nametoindex("lan0")
        self.slots = run(
            opened("/proc/self/ns/net", "O_RDONLY|O_CLOEXEC", "host-network"), netlink_socket("host-links")
        )
        self.host = self.slots["host-network"]
        call.unshare("CLONE_NEWNET")
        self.slots |= run(netlink_socket("links"))
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)

    def renew(self) -> None:
        """Another new namespace, in place of the one before."""
        os.close(self.own)
        os.close(self.slots.pop("links"))
        call.unshare("CLONE_NEWNET")
        self.slots |= run(netlink_socket("links"))
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)

    def connect(self, *links: network.Link) -> None:
        """As plan/network.connect has them."""
        steps = (
            [request(network.LINKS, network.name_the_host())] if any(one.driver == "macvlan" for one in links) else []
        )
        for one in links:
            steps += [request(to, what) for to, what in network.requests(one)]
        run(*steps, inherited=self.slots)

    def on_host(self, function: Callable[[], Any]) -> Any:
        call.setns(self.host, "CLONE_NEWNET")
        try:
            return function()
        finally:
            call.setns(self.own, "CLONE_NEWNET")
