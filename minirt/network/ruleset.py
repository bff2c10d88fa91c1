# SPDX-License-Identifier: Apache-2.0
"""Our two tables as nft(8) reads them: `inet` routes, rewrites and refuses packets; `bridge` pins containers' frames.

The number of rules is constant: whatever there may be many of (networks, containers, ports) is an element of a set or
map. Everything about networks is loaded here; a container's own elements (guarded, macs, sources4, sources6, ports…)
are also put in and taken out singly (plan/publish.py). Pure; must not be imported on the way to a container.

A packet passes, in this order: bridge prerouting (guard) → inet arrival, prerouting → input | forward → postrouting.
"""

from __future__ import annotations

import re

from minirt.model.network import BRIDGE as BRIDGE_DRIVER
from minirt.network import addresses
from minirt.plan import publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirt.model.network import Endpoint, Network, Port

_ELEMENTS = re.compile(r"ELEMENTS\((\w+)\)")

INET = """\
  set bridges { type ifname; ELEMENTS(bridges) }
  set within { type ifname . ifname; ELEMENTS(within) }
  set internal { type ifname; ELEMENTS(internal) }
  set subnets4 { type ipv4_addr; flags interval; ELEMENTS(subnets4) }
  set subnets6 { type ipv6_addr; flags interval; ELEMENTS(subnets6) }
  set gateways4 { type ipv4_addr; ELEMENTS(gateways4) }
  set gateways6 { type ipv6_addr; ELEMENTS(gateways6) }
  set home4 { type ifname . ipv4_addr; ELEMENTS(home4) }
  set home6 { type ifname . ipv6_addr; ELEMENTS(home6) }
  set named4 { type ifname . ipv4_addr; ELEMENTS(named4) }
  set named6 { type ifname . ipv6_addr; ELEMENTS(named6) }
  map ports4 { type inet_proto . inet_service : ipv4_addr . inet_service; ELEMENTS(ports4) }
  map ports4_at { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; ELEMENTS(ports4_at) }
  map ports6 { type inet_proto . inet_service : ipv6_addr . inet_service; ELEMENTS(ports6) }
  map ports6_at { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; ELEMENTS(ports6_at) }
  set own4 { type ipv4_addr . inet_proto . inet_service; ELEMENTS(own4) }
  set own6 { type ipv6_addr . inet_proto . inet_service; ELEMENTS(own6) }

  # The host's loopback is never a container's, whatever route_localnet says.
  chain arrival { type filter hook prerouting priority raw; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 counter drop comment "MARK"
  }
  # Published ports, for whoever comes from elsewhere. Addresses of loopback and link-local ones are left to the proxy.
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local counter jump ports
    ip6 daddr != { ::1, fe80::/10 } fib daddr type local counter jump ports
  }
  # … and for the host itself.
  chain output { type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local counter jump ports
    ip6 daddr != { ::1, fe80::/10 } fib daddr type local counter jump ports
  }
  # Who asks for a port of his own goes by the proxy: rewritten by br_netfilter, his frame would have to leave the
  # bridge where it came in, and no bridge does that. Who asks his network's resolver gets it, whoever has port 53.
  chain ports {
    th dport 53 iifname . ip daddr @named4 counter return
    th dport 53 iifname . ip6 daddr @named6 counter return
    ip saddr . meta l4proto . th dport @own4 counter return
    ip6 saddr . meta l4proto . th dport @own6 counter return
    dnat ip to meta l4proto . ip daddr . th dport map @ports4_at
    dnat ip to meta l4proto . th dport map @ports4
    dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports6_at
    dnat ip6 to meta l4proto . th dport map @ports6
  }
  # A gateway address, where a network's names are served, is there for its own network and for the host.
  chain input { type filter hook input priority filter - 5; policy accept;
    iifname "lo" accept
    ct state established,related accept
    ip daddr @gateways4 iifname . ip daddr != @home4 counter drop
    ip6 daddr @gateways6 iifname . ip6 daddr != @home6 counter drop
  }
  # br_netfilter shows bridged frames here too: within one bridge everything may pass.
  chain forward { type filter hook forward priority filter - 5; policy accept;
    iifname . oifname @within counter accept
    iifname @internal counter drop
    oifname @internal counter drop
    iifname != @bridges ip saddr @subnets4 oifname @bridges counter drop
    iifname != @bridges ip6 saddr @subnets6 oifname @bridges counter drop
    oifname @bridges ct state established,related counter accept
    oifname @bridges ct status dnat counter accept
    oifname @bridges counter drop
    iifname @bridges ct state invalid counter drop
    iifname @bridges counter accept
  }
  # Out into the world under the host's address; through a published port back to the own network as well, or the
  # answer would take the direct way and not be recognized.
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    oifname "lo" accept
    ip saddr @subnets4 oifname != @bridges counter masquerade
    ip6 saddr @subnets6 oifname != @bridges counter masquerade
    ip saddr @subnets4 ct status dnat counter masquerade
    ip6 saddr @subnets6 ct status dnat counter masquerade
  }
"""

BRIDGE = """\
  set guarded { type ifname; ELEMENTS(guarded) }
  set macs { type ifname . ether_addr; ELEMENTS(macs) }
  set sources4 { type ifname . ether_addr . ipv4_addr; ELEMENTS(sources4) }
  # (interface, MAC, IPv6 address), the last as a number: it is compared with two places of a packet
  set sources6 { typeof iifname . ether saddr . @nh,64,128; ELEMENTS(sources6) }

  chain prerouting { type filter hook prerouting priority filter; policy accept;
    iifname @guarded jump guard comment "MARK"
  }
  # Only what is known to be right passes. A frame with a VLAN tag, be it number 0, has neither of the three types.
  chain guard {
    iifname . ether saddr != @macs counter drop
    ether type ip udp sport 67 counter drop
    ether type ip iifname . ether saddr . ip saddr @sources4 counter accept
    ether type arp jump guard_arp
    ether type ip6 jump guard_ip6
    counter drop
  }
  # RFC 826; RFC 5227: who asks whether an address is free has none yet.
  chain guard_arp {
    arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation { request, reply } \\
      iifname . arp saddr ether . arp saddr ip @sources4 counter accept
    arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request \\
      arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs counter accept
  }
  # RFC 4861, RFC 8415: containers are neither routers nor DHCP servers, and advertise no address but their own.
  # From :: come only the question whether an address is free and multicast reports (RFC 4862, RFC 3590).
  chain guard_ip6 {
    icmpv6 type { nd-router-advert, nd-redirect } counter drop
    udp sport 547 counter drop
    icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @sources6 counter drop
    iifname . ether saddr . @nh,64,128 @sources6 counter accept
    ip6 saddr :: ip6 daddr ff02::/16 icmpv6 type { nd-neighbor-solicit, mld-listener-report, mld-listener-done, \\
      mld2-listener-report } counter accept
  }
"""


def script(
    table: str, mark: str, networks: Iterable[Network], endpoints: Iterable[Endpoint], ports: Iterable[Port]
) -> str:
    """What `nft -f -` takes: both tables made anew, in one transaction. Other tables are not touched."""
    sets = elements(networks, endpoints, ports)
    text = []
    for family, body in (("inet", INET), ("bridge", BRIDGE)):
        filled = _ELEMENTS.sub(lambda place: _listed(sets.get(place[1], {})), body)
        text.append(f"table {family} {table} {{ }}\ndelete table {family} {table}\n")
        text.append(f"table {family} {table} {{\n{filled.replace('MARK', mark)}}}\n")
    return "".join(text)


def elements(
    networks: Iterable[Network], endpoints: Iterable[Endpoint], ports: Iterable[Port]
) -> dict[str, dict[str, str]]:
    """What the sets and maps hold, {name: {key: data, "" in a set}}."""
    sets = _networks(networks)
    for name, values in publish.elements(list(endpoints), list(ports)).items():
        _, key, data = publish.LAYOUTS[name]
        members = sets.setdefault(name, {})
        for value in values:
            words = [_word(name, kind, one) for kind, one in zip((*key, *data), value, strict=True)]
            members.setdefault(" . ".join(words[: len(key)]), " . ".join(words[len(key) :]) if data else "")
    return sets


def _listed(members: dict[str, str]) -> str:
    """{key: data}, data "" in a set: each key once, nft refuses a second one."""
    listed = ", ".join(f"{key} : {data}" if data else key for key, data in members.items())
    return f"elements = {{ {listed} }};" if listed else ""


def _word(name: str, kind: str, value: str | int) -> str:
    """One part of a container's element. sources6 has its addresses as numbers."""
    if name == "sources6" and kind == "ipv6_addr":
        return "0x" + addresses.packed(str(value)).hex()
    return f'"{value}"' if kind == "ifname" else str(value)


def _networks(networks: Iterable[Network]) -> dict[str, dict[str, str]]:
    """The elements that say what networks there are. Gateways of internal networks are there, too."""
    sets: dict[str, dict[str, str]] = {}

    def add(name: str, key: str) -> None:
        sets.setdefault(name, {})[key] = ""

    for network in networks:
        if network.driver != BRIDGE_DRIVER:
            continue
        name = f'"{network.interface}"'
        add("bridges", name)
        add("within", f"{name} . {name}")
        if network.internal:
            add("internal", name)
        both = ("4", network.subnet4, network.gateway4), ("6", network.subnet6, network.gateway6)
        for family, subnet, gateway in both:
            if subnet and not network.internal:
                add("subnets" + family, subnet)
            if gateway:
                add("gateways" + family, gateway)
                add("home" + family, f"{name} . {gateway}")
            if gateway and not network.is_default:
                add("named" + family, f"{name} . {gateway}")
    return sets
