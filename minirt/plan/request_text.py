# SPDX-License-Identifier: Apache-2.0
"""A request to the kernel's network half as a person reads it, in the words of ip(8) and nft(8):

    {RTM_NEWLINK, eth0, index 100, mac 02:42:ac:11:00:02, veth, peer {veth1a2b3c4, netns host-network}, up}
    {RTM_NEWADDR, eth0, 172.17.0.2/16, broadcast 172.17.255.255}
    {NFT_MSG_NEWSETELEM, bridge minirt: guarded {veth1a2b3c4}, inet minirt: ports4 {tcp . 8080 : 172.17.0.2 . 80}}

Derived from the value, as plan/text.py does it for every other argument. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan.netlink import Batch, Elements, Index, Request
from minirt.plan.step import Fd

_ELEMENTS_SHOWN = 4
# a field or attribute: what stands before its value; None: not shown, because another one says it
_WORDS: dict[str, str | None] = {
    "ifi_index": "index ", "ifi_flags": None, "ifi_change": None, "ifa_family": None, "ifa_prefixlen": None,
    "ifa_index": "", "rtm_family": None, "rtm_table": None, "rtm_protocol": None, "rtm_scope": None, "rtm_type": None,
    "IFLA_IFNAME": "", "IFLA_ADDRESS": "mac ", "IFLA_MTU": "mtu ", "IFLA_MASTER": "master ", "IFLA_LINK": "link ",
    "IFLA_LINK_NETNSID": "link-netnsid ", "IFLA_NET_NS_FD": "netns ", "IFLA_LINKINFO": "", "IFLA_INFO_KIND": "",
    "IFLA_INFO_DATA": "", "VETH_INFO_PEER": "peer ", "IFLA_MACVLAN_MODE": "", "IFLA_AF_SPEC": "",
    "AF_INET6": "", "IFLA_INET6_ADDR_GEN_MODE": "", "IFA_LOCAL": "", "IFA_ADDRESS": None, "IFA_BROADCAST": "broadcast ",
    "IFA_FLAGS": "", "RTA_GATEWAY": "default via ", "RTA_DST": "to ", "RTA_OIF": "dev ", "NETNSA_NSID": "number ",
    "NETNSA_FD": "",
}  # fmt: skip
_INLINE = ("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_AF_SPEC", "AF_INET6")  # what is in them stands as if beside them


def describe(request: Request | Batch) -> str:
    if isinstance(request, Batch):
        return _batch(request)
    header, attributes = request.header, request.attributes
    first = [pair for pair in attributes if pair[0] == "IFLA_IFNAME"]  # what it is about, before what shall be of it
    parts = [request.type, *_attributes(tuple(first))]
    parts += [_pair(name, value) for name, value in header.items() if _WORDS.get(name, name) is not None]
    parts += _attributes(tuple(pair for pair in attributes if pair not in first), header.get("ifa_prefixlen"))
    if "ifi_flags" in header:
        parts.append("up" if header["ifi_flags"] == "IFF_UP" else str(header["ifi_flags"]))
    return "{" + ", ".join(parts) + "}"


def _attributes(attributes: tuple[tuple[str, object], ...], prefix: object = None) -> list[str]:
    parts: list[str] = []
    for name, value in attributes:
        if name == "IFA_LOCAL" and prefix is not None:
            parts.append(f"{value}/{prefix}")
        elif name in _INLINE and type(value) is tuple:
            parts += _attributes(value)
        elif _WORDS.get(name, name + " ") is not None:
            parts.append(_pair(name, value))
    return parts


def _pair(name: str, value: object) -> str:
    """One that is in no table here is shown by the kernel's name, so that nothing that is sent is left out."""
    word = _WORDS.get(name, name + " ")
    return _value(value) if name == "ifi_index" and isinstance(value, Index) else f"{word}{_value(value)}"


def _value(value: object) -> str:
    if type(value) is tuple:
        return "{" + ", ".join(_attributes(value)) + "}"
    if isinstance(value, Fd | Index):
        return value.name
    return _safe(str(value))


def _batch(batch: Batch) -> str:
    """The sets of one table behind its name, as nft(8) writes them."""
    table, parts = "", []
    for elements in batch:
        place = f"{elements.family} {elements.table}: " if elements.family != table else ""
        table = elements.family
        parts.append(f"{place}{elements.set} {{{_elements(elements)}}}")
    return "{" + ", ".join([batch[0].type, *parts]) + "}"


def _elements(elements: Elements) -> str:
    """The first of them, and how many there are besides."""
    width, shown = len(elements.key), []
    for values in elements.elements[:_ELEMENTS_SHOWN]:
        key, data = " . ".join(map(str, values[:width])), " . ".join(map(str, values[width:]))
        shown.append(_safe(f"{key} : {data}" if data else key))
    more = len(elements.elements) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more > 0 else [])])


def _safe(text: str) -> str:
    """Names of interfaces are anybody's to choose: what is not printable is not printed."""
    return "".join(c if c.isprintable() else "?" for c in text)
