# SPDX-License-Identifier: Apache-2.0
"""Containers for tests of networks: started with a server inside, and entered by their network namespace.

`with box:` runs in the container's network, so that a test's own sockets are the container's client. The host's /usr is
mounted read-only, because programs of Debian's run inside (nginx, dnsmasq, iperf3, python3). Must not import minirt.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import exchange
import runner
import world
from runner import Minirt


class Box:
    """A running container. Addresses are read from its interfaces, not from what minirt says of them."""

    def __init__(self, mine: Minirt, name: str) -> None:
        self.mine, self.name = mine, name
        self.pid = int(mine.ok("inspect", "-f", "{{.State.Pid}}", name))
        self.namespace = world.of_process(self.pid)

    def __enter__(self) -> Box:
        self.namespace.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.namespace.__exit__()

    def interfaces(self) -> dict[str, dict[str, Any]]:
        """`ip address` inside, by name."""
        with self:
            told = subprocess.run(["ip", "-d", "-j", "address"], capture_output=True, check=True).stdout
        return {link["ifname"]: link for link in json.loads(told) if link}

    def address(self, interface: str = "eth0", family: str = "inet") -> str:
        """The global address there, "" if there is none."""
        every = self.interfaces()[interface]["addr_info"]
        return next((str(one["local"]) for one in every if one["family"] == family and one["scope"] == "global"), "")

    @property
    def address4(self) -> str:
        return self.address()

    @property
    def address6(self) -> str:
        return self.address(family="inet6")

    @property
    def mac(self) -> str:
        return str(self.interfaces()["eth0"]["address"])

    @property
    def veth(self) -> str:
        """The host's end of eth0, found by the kernel's word for it."""
        index = self.interfaces()["eth0"]["link_index"]
        told = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout
        return next(str(link["ifname"]) for link in json.loads(told) if link and link["ifindex"] == index)

    @property
    def gateway(self) -> str:
        with self:
            told = subprocess.run(["ip", "-j", "route", "show", "default"], capture_output=True, check=True).stdout
        return str(json.loads(told)[0]["gateway"])

    def route(self, destination: str) -> None:
        """A default route or another by the gateway: what a container with CAP_NET_ADMIN adds."""
        with self:
            world.ip(f"route add {destination}")


def debian(root: Path) -> tuple[str, ...]:
    """Makes a busybox root fit for the host's programs; the options that go with it."""
    for name in ("lib", "lib64"):
        if not (root / name).is_symlink() and Path("/usr", name).exists():
            (root / name).symlink_to(f"usr/{name}")
    return "-v", "/usr:/usr:ro"


def gateway_of(mine: Minirt, network: str, family: str) -> str:
    """From the bridge itself."""
    name = bridge_of(mine, network)
    told = subprocess.run(["ip", "-j", "address", "show", name], capture_output=True, check=True).stdout
    every = json.loads(told)[0]["addr_info"]
    return next((str(one["local"]) for one in every if one["family"] == family and one["scope"] == "global"), "")


def bridge_of(mine: Minirt, network: str) -> str:
    """The interface that carries the network's id as its alias."""
    identity = mine.ok("network", "inspect", "-f", "{{.Id}}", network)
    for alias in Path("/sys/class/net").glob("*/ifalias"):
        if identity in alias.read_text():
            return alias.parent.name
    raise AssertionError(f"no bridge of {network}")


@contextlib.contextmanager
def starter(mine: Minirt) -> Iterator[Callable[..., Box]]:
    """start(name, *options, command=(…), ready="tcp:80") -> a Box; what is opened here is closed at the end. Without
    a command it is an answerer on `ports`."""
    with contextlib.ExitStack() as stack:

        def start(
            name: str,
            *options: str | Path,
            command: tuple[str | Path, ...] = (),
            ports: tuple[int, ...] = (80,),
            ready: str = "",
        ) -> Box:
            usr = debian(mine.rootfs)
            if not command:
                usr += "-v", f"{exchange.ANSWERER}:/answerer.py:ro"
                command = (exchange.PYTHON, "-IS", "/answerer.py", name, *map(str, ports))
                ready = f"udp:{ports[-1]}"
            mine.ok("run", "-d", "--name", name, *usr, *options, "--rootfs", mine.rootfs, *command)
            box = Box(mine, name)
            stack.callback(box.namespace.close)
            if ready:
                runner.eventually(lambda: exchange.taken(ready, str(box.pid)))
            return box

        yield start
