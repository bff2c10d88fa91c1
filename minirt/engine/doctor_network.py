# SPDX-License-Identifier: Apache-2.0
"""What of this host helps or hinders networks: forwarding, other firewalls, and whether our own rules still stand.

What can be tried is tried, in a network namespace that ends with the child that made it; the host's own is only read.
Nothing here is "fail": containers with --network none or host run all the same. Where somebody else's chain would drop
our packets, the finding says which chain, which packets, and what its owner's own tool needs to be told (nft(8)).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from minirt.engine import doctor_rules, network_db
from minirt.engine.db import Database
from minirt.engine.finding import OK, WARN, Finding
from minirt.engine.paths import Roots
from minirt.engine.store import Engine
from minirt.errors import MinirtError
from minirt.model.network import BRIDGE, DEFAULT, Network
from minirt.network import foreign, verdict
from minirt.network.verdict import Chain, Packet, Table

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_BRIDGE = "minirt0"
USER_BRIDGES = "mr-"
"""What the names of all other bridges begin with."""
SYSCTL = "/proc/sys/net"
RELOAD = "minirt network reload"


def examine(roots: Roots) -> Iterator[Finding]:
    """In the order in which a packet needs it. Everything but the first only where there is an nft to ask."""
    networks = known(roots)
    yield from _forwarding(networks)
    if os.geteuid() != 0 or shutil.which("nft", path=PATH) is None:
        return  # doctor has said so
    try:
        tables = foreign.tables()
    except MinirtError as error:
        yield Finding("nftables", WARN, f"cannot be listed: {error.message}", error.remedy)
        return
    yield from doctor_rules.abilities()
    yield from _others(tables, networks)
    if networks:
        yield from doctor_rules.standing(Engine(roots))


def known(roots: Roots) -> list[Network]:
    """The networks there are. No database is made to find that out."""
    if os.geteuid() != 0 or not os.path.exists(roots.database):
        return []
    try:
        return network_db.networks(Database(roots.database))
    except MinirtError:
        return []  # other verbs say what is wrong with the database


def _setting(name: str) -> str:
    """A kernel parameter below net, "" where this kernel or namespace has none."""
    try:
        with open(f"{SYSCTL}/{name}") as file:
            return file.read().strip()
    except OSError:
        return ""


def _forwarding(networks: list[Network]) -> Iterator[Finding]:
    """minirt sets it with the first network that needs it; a sysctl.d file or an admin may have taken it back."""
    families = [("ipv4/ip_forward", "IPv4", [one for one in networks if not one.internal])]
    families.append(("ipv6/conf/all/forwarding", "IPv6", [one for one in networks if _routes6(one)]))
    for name, family, needing in families:
        label, sysctl = f"forwarding {family}", "net." + name.replace("/", ".")
        needing = [one for one in needing if one.driver == BRIDGE and os.path.isdir(f"/sys/class/net/{one.interface}")]
        value = _setting(name)
        if value == "1":
            yield Finding(label, OK, f"{sysctl} is 1")
        elif needing:
            what = f"{sysctl} is {value or 'missing'}: containers on {_names(needing)} reach nothing outside"
            yield Finding(label, WARN, what, f"{RELOAD}, and look for what sets it: grep -r {sysctl} /etc/sysctl*")
        elif not os.access(f"{SYSCTL}/{name}", os.W_OK) and (value or family == "IPv4"):
            remedy = f"mount /proc/sys writable, or set {sysctl}=1 before"
            yield Finding(label, WARN, f"{sysctl} is {value} and cannot be set from here", remedy)
        elif value:
            yield Finding(label, OK, f"{sysctl} is {value}; set with the first network that needs it")


def _routes6(network: Network) -> bool:
    return bool(network.subnet6) and network.name != DEFAULT and not network.internal


def _names(networks: list[Network]) -> str:
    return ", ".join(network.name for network in networks)


# Other people's chains

ON_THE_WAY = {
    "out": "what containers send out",
    "back": "the answers to it",
    "in": "connections to published ports",
    "within": "packets between containers of one network (br_netfilter is on)",
    "names": "containers' questions for names",
}


def packets(bridge: str, uplink: str, filtered: bool, resolver: bool) -> list[tuple[str, str, Packet]]:
    """(word, hook, packet) for everything that a container's bridge lets through. filtered: br_netfilter is on.
    resolver: a dnsmasq listens on the bridge's address."""
    found = [
        ("out", "forward", Packet(bridge, uplink, "new")),
        ("back", "forward", Packet(uplink, bridge, "established")),
        ("in", "forward", Packet(uplink, bridge, "new", "dnat")),
    ]
    if filtered:
        found.append(("within", "forward", Packet(bridge, bridge, "new")))
    if resolver:
        found.append(("names", "input", Packet(bridge, "", "new", protocol="udp", port=53)))
    return found


class Obstacle:
    """One base chain that drops: words of ON_THE_WAY by bridge, and whether every one of them is sure to be dropped."""

    __slots__ = ("by", "certain", "chain", "dropped", "table")

    def __init__(self, table: Table, chain: Chain) -> None:
        self.table = table
        self.chain = chain
        self.by = ""
        self.certain = True
        self.dropped: dict[str, list[str]] = {}


def obstacles(
    tables: list[Table], bridges: dict[str, bool], uplink: str, filtered: bool, family6: bool
) -> list[Obstacle]:
    """Every base chain that drops something of ours. bridges: {name: a resolver listens there}. family6: there are
    networks whose IPv6 is routed."""
    found = []
    for table in tables:
        if table.family == "ip6" and not family6:
            continue
        for chain in table.chains.values():
            obstacle = Obstacle(table, chain)
            for bridge, resolver in bridges.items():
                for word, hook, packet in packets(bridge, uplink, filtered, resolver):
                    if hook == chain.hook and _decides(chain) and table.family != "bridge":
                        _judge(obstacle, bridge, word, packet)
            if obstacle.dropped:
                found.append(obstacle)
    return found


def _decides(chain: Chain) -> bool:
    return chain.kind == "filter" and chain.hook in ("forward", "input")


def _judge(obstacle: Obstacle, bridge: str, word: str, packet: Packet) -> None:
    judgement = verdict.judge(obstacle.table, obstacle.chain, packet)
    if judgement.verdict == verdict.DROP:
        obstacle.dropped.setdefault(bridge, []).append(word)
        obstacle.certain = obstacle.certain and judgement.certain
        obstacle.by = obstacle.by or judgement.by


def _others(tables: list[Table], networks: list[Network]) -> Iterator[Finding]:
    bridges = {one.interface: not one.is_default for one in networks if one.driver == BRIDGE}
    bridges = bridges or {DEFAULT_BRIDGE: False}
    filtered = _setting("bridge/bridge-nf-call-iptables") == "1"
    found = obstacles(tables, bridges, uplink(), filtered, any(_routes6(one) for one in networks))
    for obstacle in found:
        chain = obstacle.chain
        name = f"{obstacle.table.family} {obstacle.table.name} {chain.name}"
        words = list(dict.fromkeys(word for words in obstacle.dropped.values() for word in words))
        may = "drops" if obstacle.certain else "may drop"
        what = f"{owner(obstacle)[0]} {may} ({obstacle.by}) {', '.join(ON_THE_WAY[word] for word in words)}"
        yield Finding(f"chain {name}", WARN, f"{what}: {', '.join(obstacle.dropped)}", remedy(obstacle))
    for family in foreign.unreadable():
        what = f"the older iptables has a filter table for {family}, and nothing here can print it"
        yield Finding(f"iptables {family}", WARN, what, "apt-get install iptables, then ask doctor again")
    if not found:
        chains = sum(1 for table in tables for chain in table.chains.values() if _decides(chain))
        text = f"none of {chains} chains drops what is ours" if chains else "nobody else's"
        yield Finding("other firewalls", OK, text)
    if filtered:
        yield Finding("br_netfilter", OK, "on: what stays within one bridge passes the forward chains too")


def uplink() -> str:
    """The interface of the default route (proc_net(5)), "" if there is none."""
    try:
        with open("/proc/net/route") as file:
            lines = [line.split() for line in file][1:]
    except OSError:
        return ""
    return next((fields[0] for fields in lines if fields[1] == fields[7] == "00000000"), "")


def owner(obstacle: Obstacle) -> tuple[str, str]:
    """(whose chain it is, by the names of what stands in the table; a word for it)."""
    table = obstacle.table
    if "DOCKER-USER" in table.chains:
        return "docker's firewall", "docker"
    if table.name == "firewalld":
        return "firewalld", "firewalld"
    if any(name.startswith(("ufw-", "ufw6-")) for name in table.chains):
        return "ufw", "ufw"
    if any(name.startswith("LIBVIRT_") for name in table.chains):
        return "libvirt's firewall", "iptables"
    if table.family in foreign.SAVES and table.name in ("filter", "filter" + foreign.LEGACY):
        return "iptables", "iptables"
    return "nftables", "nft"


def remedy(obstacle: Obstacle) -> str:
    """What the chain's owner needs to be told, one command for each bridge and direction."""
    kind = owner(obstacle)[1]
    hook, chain, table = obstacle.chain.hook, obstacle.chain, obstacle.table
    tool = "ip6tables" if table.family == "ip6" else "iptables"
    if table.name.endswith(foreign.LEGACY):
        tool += "-legacy"
    words: list[str] = []
    for bridge in _patterns(list(obstacle.dropped)):
        plus, star = bridge.replace("*", "+"), f"'\"{bridge}\"'"
        ways = (("-i", "iifname"), ("-o", "oifname")) if hook == "forward" else (("-i", "iifname"),)
        if kind == "firewalld":
            words.append(f"firewall-cmd --permanent --zone=trusted --add-interface={plus}")
        elif kind == "ufw" and hook == "forward":
            words += [f"ufw route allow in on {plus}", f"ufw route allow out on {plus}"]
        elif kind == "ufw":
            words.append(f"ufw allow in on {plus} to any port 53")
        elif kind in ("docker", "iptables"):
            place = "DOCKER-USER" if kind == "docker" and hook == "forward" else chain.name
            words += [f"{tool} -I {place} {option} {plus} -j ACCEPT" for option, _ in ways]
        else:
            words += [
                f"nft insert rule {table.family} {table.name} {chain.name} {key} {star} accept" for _, key in ways
            ]
    if kind == "firewalld":
        words.append("firewall-cmd --reload")
    return "; ".join(words)


def _patterns(bridges: list[str]) -> list[str]:
    """The default bridge by its name, all others together, where a pattern can stand for them."""
    users = [bridge for bridge in bridges if bridge.startswith(USER_BRIDGES)]
    rest = [bridge for bridge in bridges if bridge not in users]
    return [*rest, f"{USER_BRIDGES}*"] if len(users) > 1 else bridges
