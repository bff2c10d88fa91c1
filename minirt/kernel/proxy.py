# SPDX-License-Identifier: Apache-2.0
"""Starts minirt:proxy (csrc/proxy.c): who serves published ports to clients on this host's loopback addresses.

nftables rewrites what comes to a published port from anywhere else. Rewriting 127.0.0.0/8 would need route_localnet,
which opens the loopback addresses to the neighbours on the wire; so a process listens and relays. It holds the bound
sockets, and with them the kernel's word that nobody else has the port. Must not import runtime.
"""

from __future__ import annotations

from minirt.kernel import monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SOCKETS", "spawn"]

SOCKETS = 8192
"""How many one proxy serves: MRT_DOORS in csrc/proxy.h."""
PROTOCOLS = ("tcp", "udp")
ADDRESS = frozenset("0123456789abcdef.:")


def spawn(sockets: Sequence[tuple[int, str, str, int]], watch: int) -> int:
    """Start a proxy that lives as long as the process behind the pidfd `watch`; its pid, at once.

    sockets: (descriptor, "tcp" or "udp", target address, target port), each bound already; the proxy inherits them
    and the caller closes its own. Raises HostError; ValueError for what is no protocol, address or port.
    """
    if len(sockets) > SOCKETS:
        raise ValueError(f"{len(sockets)} sockets are too many for one proxy")
    argv = [b"minirt:proxy", b"%d" % watch]
    for fd, protocol, address, port in sockets:
        if protocol not in PROTOCOLS or not 0 < port < 65536 or not address or not set(address) <= ADDRESS:
            raise ValueError(f"no target of a published port: {address}:{port}/{protocol}")
        argv.append(f"{fd}/{protocol}/{address}/{port}".encode())
    return monitor.execute(argv, (watch, *(fd for fd, *_ in sockets)))
