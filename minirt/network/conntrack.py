# SPDX-License-Identifier: Apache-2.0
"""Forget what the kernel remembers about published UDP ports (conntrack, linux/netfilter/nfnetlink_conntrack.h).

A UDP sender that goes on sending keeps its entry alive, and with it the container that had the port before: NAT rules
are asked for new entries only. So entries of a port are deleted when it is taken and when it is given back. TCP needs
none of it. On the way of a `run -p 53:53/udp`: must not import pyroute2, socket or anything dear.
"""

from __future__ import annotations

from minirt.network import addresses, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirt.model.network import Port

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25  # CTA_TUPLE_ORIG, _REPLY, CTA_ID, CTA_ZONE, CTA_FILTER
_IP, _PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_SOURCE4, _DESTINATION4, _SOURCE6, _DESTINATION6 = 1, 2, 3, 4  # CTA_IP_V4_SRC …
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_NUM, _SRC_PORT, _DST_PORT
_FILTER_ORIGINAL = 1  # CTA_FILTER_ORIG_FLAGS
_BY_PROTOCOL = 1 << 3  # CTA_FILTER_F_CTA_PROTO_NUM; older kernels (before 5.8) answer with all entries
_IPPROTO_UDP = 17
_FAMILIES = ((2, 4), (10, 6))  # AF_INET, AF_INET6


class Flow:
    """One entry: addresses and ports as first seen (original) and as answers come back (reply)."""

    __slots__ = ("destination", "key", "port", "reply_destination", "reply_port", "reply_source", "source")

    def __init__(self, message: dict[int, bytes], version: int) -> None:
        original, reply = message.get(_ORIGINAL, b""), message.get(_REPLY, b"")
        self.source, self.destination, protocol, self.port = _tuple(original, version)
        self.reply_source, self.reply_destination, _, self.reply_port = _tuple(reply, version, _SOURCE_PORT)
        # what names the entry, given back to the kernel as it came; the id makes sure that it is still this one
        self.key = b"" if protocol != _IPPROTO_UDP else _named(message)


def flush(ports: Iterable[Port]) -> None:
    """Delete the entries of these ports, those that are not UDP's left out. Where conntrack can't be asked there is
    nothing to be forgotten, and nothing fails.

    An entry is a port's if it was first sent to its number and address, and was either rewritten to somewhere (the
    port's container, or one that had the port before) or has reached this host itself. What merely passes through,
    under the host's address or not, stays.
    """
    wanted: dict[int, set[bytes]] = {}
    for port in ports:
        if port.protocol == "udp" and not port.is_loopback:
            wild = port.host_address in ("", "0.0.0.0", "::")
            wanted.setdefault(port.host_port, set()).add(b"" if wild else addresses.packed(port.host_address))
    if not wanted:
        return
    try:
        channel = netlink.open_socket(netlink.NETLINK_NETFILTER)
    except OSError:
        return
    try:
        for family, version in _FAMILIES:
            for flow in _flows(channel, family, version):
                hosts = wanted.get(flow.port)
                if hosts and (b"" in hosts or flow.destination in hosts) and _is_ours(flow):
                    _delete(channel, family, flow)
    finally:
        channel.close()


def _is_ours(flow: Flow) -> bool:
    rewritten = flow.reply_source != flow.destination or flow.reply_port != flow.port
    only_masqueraded = flow.reply_destination != flow.source
    return rewritten or not only_masqueraded


def _flows(channel: netlink.Channel, family: int, version: int) -> list[Flow]:
    """All of UDP's. A kernel that takes no such filter is asked for everything; one without conntrack has none."""
    protocol = netlink.nested(_PROTO, netlink.attribute(_NUMBER, bytes((_IPPROTO_UDP,))))
    flags = netlink.attribute(_FILTER_ORIGINAL, _BY_PROTOCOL.to_bytes(4, netlink.BYTE_ORDER))
    for filter_ in (netlink.nested(_ORIGINAL, protocol) + netlink.nested(_FILTER, flags), b""):
        try:
            answers = netlink.exchange(channel, _GET, bytes((family, 0, 0, 0)) + filter_, netlink.NLM_F_DUMP)
        except OSError:
            continue
        flows = [Flow(netlink.attributes(answer, 4), version) for answer in answers]
        return [flow for flow in flows if flow.key]
    return []


def _delete(channel: netlink.Channel, family: int, flow: Flow) -> None:
    try:
        netlink.exchange(channel, _DELETE, bytes((family, 0, 0, 0)) + flow.key)
    except OSError:
        pass  # it has ended by itself meanwhile


def _named(message: dict[int, bytes]) -> bytes:
    key = netlink.nested(_ORIGINAL, message[_ORIGINAL])
    return key + b"".join(netlink.attribute(kind, message[kind]) for kind in (_ID, _ZONE) if kind in message)


def _tuple(data: bytes, version: int, which: int = _DESTINATION_PORT) -> tuple[bytes, bytes, int, int]:
    """(source, destination, protocol, port) of one direction."""
    parts = netlink.attributes(data)
    ip, proto = netlink.attributes(parts.get(_IP, b"")), netlink.attributes(parts.get(_PROTO, b""))
    source, destination = (_SOURCE4, _DESTINATION4) if version == 4 else (_SOURCE6, _DESTINATION6)
    number = int.from_bytes(proto.get(_NUMBER, b""), "big")
    return ip.get(source, b""), ip.get(destination, b""), number, int.from_bytes(proto.get(which, b""), "big")
