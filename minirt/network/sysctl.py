# SPDX-License-Identifier: Apache-2.0
"""Kernel parameters below /proc/sys/net that networks need: ip-sysctl.rst of the kernel's documentation.

/proc/sys/net shows the network namespace of who looks. A host without IPv6 has no ipv6 directory: nothing to set
there. Cold path: when a bridge is made. Must not import anything but errors.
"""

from __future__ import annotations

import os

from minirt.errors import HostError

BASE = "/proc/sys/net"
# The host learns nothing from its containers: no routes, no addresses, no neighbours' redirections (CVE-2020-13401).
_BRIDGE6 = (("accept_ra", "0"), ("autoconf", "0"), ("accept_redirects", "0"), ("accept_dad", "0"))
# Loopback stays on this host, and who asks on this wire is told of this bridge's addresses only.
_BRIDGE4 = (("route_localnet", "0"), ("accept_redirects", "0"), ("arp_ignore", "1"))


def bridge(interface: str, six: bool) -> None:
    """What holds for one bridge. Without `six` it has no IPv6 at all, no link-local address either (CVE-2024-32473).

    To be called before the interface is up.
    """
    for name, value in _BRIDGE4:
        _write(f"ipv4/conf/{interface}/{name}", value)
    if os.path.isdir(f"{BASE}/ipv6/conf/{interface}"):
        for name, value in (("disable_ipv6", "0" if six else "1"), *_BRIDGE6):
            _write(f"ipv6/conf/{interface}/{name}", value)


def forward4() -> None:
    """The host forwards IPv4 (ip_forward)."""
    _write("ipv4/ip_forward", "1")


def forward6() -> None:
    """The host forwards IPv6, and goes on listening to its routers: a forwarding host with accept_ra=1 would not."""
    conf = f"{BASE}/ipv6/conf"
    if not os.path.isdir(conf) or _read("ipv6/conf/all/forwarding") == "1":
        return
    for interface in os.listdir(conf):
        if interface not in ("all", "default") and _read(f"ipv6/conf/{interface}/accept_ra") == "1":
            _write(f"ipv6/conf/{interface}/accept_ra", "2")
    _write("ipv6/conf/all/forwarding", "1")


def has_ipv6() -> bool:
    """Whether this host speaks IPv6 at all (ipv6.disable=1 and disable_ipv6=1 say that it does not)."""
    return _read("ipv6/conf/all/disable_ipv6") == "0"


def own_ipv6(interface: str, six: bool) -> None:
    """Whether this interface, of the namespace that the caller is in, has IPv6: new ones take after `default`."""
    if os.path.isdir(f"{BASE}/ipv6/conf/{interface}"):
        _write(f"ipv6/conf/{interface}/disable_ipv6", "0" if six else "1")


def _read(name: str) -> str:
    try:
        with open(f"{BASE}/{name}") as file:
            return file.read().strip()
    except OSError:
        return ""


def _write(name: str, value: str) -> None:
    """Nothing is written where it says so already: /proc/sys may be read-only and right."""
    if _read(name) == value:
        return
    try:
        with open(f"{BASE}/{name}", "w") as file:
            file.write(value)
    except OSError as error:
        setting = name.replace("/", ".")
        raise HostError(
            f"cannot set net.{setting} to {value}: {os.strerror(error.errno or 0)}",
            f"set it by hand: sysctl -w net.{setting}={value}",
        ) from error
