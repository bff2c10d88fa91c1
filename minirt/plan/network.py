# SPDX-License-Identifier: Apache-2.0
"""The loopback interface of a new network namespace (network_namespaces(7), netdevice(7)): it exists, but is down.

Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan import namespaces
from minirt.plan.build import NONE, Build
from minirt.plan.step import Fd, Flags


def loopback(build: Build) -> None:
    """Init: up, unless the namespace is another container's or the host's."""
    path, pointer = namespaces.asked(build).get("network", ("", ""))
    if path or not pointer:
        return
    domain, kind = Flags("AF_INET"), Flags("SOCK_DGRAM|SOCK_CLOEXEC")
    build.add("socket", domain, kind, NONE, out="interfaces", pointer=pointer, kind="network")
    build.add("ioctl_ifflags", Fd("interfaces"), "lo", Flags("IFF_UP"), pointer=pointer, kind="network")
