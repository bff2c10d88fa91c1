# SPDX-License-Identifier: Apache-2.0
"""What a chain of somebody else's firewall does with one packet, as far as that can be told from its rules (nft(8)).

Rules are nft's own JSON (libnftables-json(5)). A match is true, false, or unknown where it asks for what a Packet does
not say. What follows from an unknown match is only possible; so a verdict is certain or it is in doubt. In nftables
an `accept` ends one base chain and no more, but a `drop` in any of them is final. Pure; imports nothing of minirt.
"""

from __future__ import annotations

import ipaddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACCEPT, DROP = "accept", "drop"
CLIENT_PORT = 40000  # whoever asks a service does so from a port of the ephemeral range
DEPTH = 16  # NFT_JUMP_STACK_SIZE
SILENT = frozenset(("comment", "limit", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CHECKSUM", "AUDIT", "NOTRACK"))
"""Extensions of iptables that decide nothing, or (limit) hold for a first packet."""


class Packet:
    """iif, oif: names of interfaces, "" where that is not known. states, status: of its connection (conntrack).
    protocol, port: of the transport, "" and 0 for any. family: "ip", "ip6" or "" for either. source, destination, mac:
    addresses. local: whether the destination is one of the host's own (fib daddr type); None: not known."""

    __slots__ = (
        "destination", "family", "iif", "local", "mac", "oif", "port", "protocol", "source", "states", "status",
    )  # fmt: skip

    def __init__(
        self, iif: str, oif: str, states: str = "new", status: str = "", *, protocol: str = "", port: int = 0,
        family: str = "", source: str = "", destination: str = "", mac: str = "", local: bool | None = None,
    ) -> None:  # fmt: skip
        self.iif = iif
        self.oif = oif
        self.states = states
        self.status = status
        self.protocol = protocol
        self.port = port
        self.family = family
        self.source = source
        self.destination = destination
        self.mac = mac
        self.local = local


class Chain:
    """family, table, name, and for a base chain: kind ("filter", "nat"), hook, priority, policy. rules: the expressions
    of each, as nft prints them. handles: nft's numbers of them."""

    __slots__ = ("family", "handles", "hook", "kind", "name", "policy", "priority", "rules", "table")

    def __init__(self, family: str, table: str, name: str, hook: str = "", policy: str = ACCEPT) -> None:
        self.family = family
        self.table = table
        self.name = name
        self.kind = "filter"
        self.hook = hook
        self.priority = 0
        self.policy = policy
        self.rules: list[list[dict[str, Any]]] = []
        self.handles: list[int] = []


class Table:
    """Chains by name, and what named sets and maps hold."""

    __slots__ = ("chains", "family", "maps", "name", "sets")

    def __init__(self, family: str, name: str) -> None:
        self.family = family
        self.name = name
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, list[Any]] = {}
        self.maps: dict[str, list[Any]] = {}


class Judgement:
    """verdict: accept or drop. certain: no rule in doubt could have decided otherwise. by: what decided,
    "policy" or "rule 3 of chain NAME". trail: each rule on the way, (chain, number from 1, whether it matches)."""

    __slots__ = ("by", "certain", "trail", "verdict")

    def __init__(self, verdict: str, certain: bool, by: str, trail: list[tuple[str, int, bool | None]]) -> None:
        self.verdict = verdict
        self.certain = certain
        self.by = by
        self.trail = trail


def judge(table: Table, base: Chain, packet: Packet) -> Judgement:
    """What becomes of a packet that reaches a base chain."""
    walk = _Walk(table, packet)
    verdict = walk.chain(base, False, 0)
    by, decided = walk.by if verdict else "policy", verdict or base.policy
    return Judgement(decided, ({ACCEPT, DROP} - {decided}).isdisjoint(walk.doubted), by, walk.trail)


class _Walk:
    """One packet on its way. doubted: the verdicts of rules that may or may not have decided."""

    __slots__ = ("by", "doubted", "packet", "table", "trail")

    def __init__(self, table: Table, packet: Packet) -> None:
        self.table = table
        self.packet = packet
        self.by = ""
        self.doubted: set[str] = set()
        self.trail: list[tuple[str, int, bool | None]] = []

    def chain(self, chain: Chain | None, doubt: bool, depth: int) -> str:
        """The verdict of a chain, "" if it has none and the packet goes on where it came from."""
        if chain is None or depth > DEPTH:
            return ""
        for number, rule in enumerate(chain.rules, 1):
            matched, verdicts = self.rule(rule)
            matched = None if doubt and matched else matched  # it may not come here at all
            self.trail.append((chain.name, number, matched))
            if matched is False:
                continue
            unsure = matched is None
            for verdict, target in verdicts:
                if verdict in ("jump", "goto"):
                    found = self.chain(self.table.chains.get(target), unsure, depth + 1)
                    if found or (verdict == "goto" and not unsure):
                        return found
                    doubt = doubt or verdict == "goto"
                elif verdict == "return":
                    if not unsure:
                        return ""
                    doubt = True
                elif unsure:
                    self.doubted.add(verdict)
                else:
                    self.by = f"rule {number} of chain {chain.name}"
                    return verdict
        return ""

    def rule(self, rule: list[dict[str, Any]]) -> tuple[bool | None, list[tuple[str, str]]]:
        """(does it match, its verdicts with their targets). What is written in a way not known here is in doubt."""
        matched: bool | None = True
        verdicts: list[tuple[str, str]] = []
        for statement in rule:
            try:
                answer, found = self.statement(*next(iter(statement.items())))
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration):
                answer, found = None, []
            if answer is False:
                return False, []
            matched = matched and answer
            verdicts += found
        return matched, verdicts

    def statement(self, kind: str, body: Any) -> tuple[bool | None, list[tuple[str, str]]]:
        if kind == "match":
            return self.match(body), []
        if kind == "vmap":
            return self.mapped(body)
        if kind == "xt":
            return _extension(body)
        if kind in ("dnat", "snat", "masquerade", "redirect"):
            return self.translated(body), [(ACCEPT, "")]
        return True, _verdict(kind, body)

    def match(self, body: dict[str, Any]) -> bool | None:
        if self.elsewhere(body["left"]):
            return False
        value, wanted = self.value(body["left"]), self.among(body["right"])
        if value is None or wanted is None:
            return None
        answers = [_same(value, one) for one in wanted]
        hit = True if True in answers else None if None in answers else False
        if body["op"] in ("==", "in"):
            return hit
        return (None if hit is None else not hit) if body["op"] == "!=" else None

    def elsewhere(self, left: Any) -> bool:
        """Whether it looks into a header that this packet has not: nft then goes on with the next rule."""
        parts = left.get("concat", [left]) if isinstance(left, dict) else []
        protocols = {
            part["payload"]["protocol"] for part in parts if "payload" in part and "protocol" in part["payload"]
        }
        network, transport = protocols & {"ip", "ip6", "arp"}, protocols & {"tcp", "udp", "icmp", "icmpv6", "sctp"}
        packet = self.packet
        return bool(
            (packet.family and network - {packet.family}) or (packet.protocol and transport - {packet.protocol})
        )

    def translated(self, body: Any) -> bool | None:
        """Whether a dnat by a map finds its key there."""
        address = body.get("addr") if isinstance(body, dict) else None
        if not isinstance(address, dict) or "map" not in address:
            return True
        key, data = address["map"]["key"], address["map"]["data"]
        if self.elsewhere(key):
            return False
        value = self.value(key)
        entries = self.table.maps.get(data[1:]) if isinstance(data, str) else None
        if value is None or entries is None:
            return None
        return any(_same(value, entry[0]) for entry in entries)

    def mapped(self, body: dict[str, Any]) -> tuple[bool | None, list[tuple[str, str]]]:
        """A verdict map: the element of the packet's value, or none."""
        value, data = self.value(body["key"]), body["data"]
        entries = data.get("set") if isinstance(data, dict) else None
        if entries is None:
            return None, [(ACCEPT, "")]  # a map of its own, whose elements may say anything
        if value is None:
            return None, [one for _, verdict in entries for one in _verdict(*next(iter(verdict.items())))]
        for key, verdict in entries:
            same = _same(value, key.get("elem", {}).get("val") if isinstance(key, dict) else key)
            if same is not False and isinstance(verdict, dict):
                (kind, content), *_ = verdict.items()
                return same, _verdict(kind, content)
        return False, []

    def value(self, left: Any) -> Any:
        """What the packet has there; None: a Packet does not say."""
        packet = self.packet
        if not isinstance(left, dict):
            return None
        if "concat" in left:
            values = [self.value(part) for part in left["concat"]]
            return None if None in values else values
        if "base" in left.get("payload", {}):
            return self.raw(left["payload"])
        if "payload" in left:
            return self.header(left["payload"].get("protocol", ""), left["payload"].get("field", ""))
        if "fib" in left and left["fib"].get("result") == "type" and "daddr" in left["fib"].get("flags", []):
            return {True: "local", False: "unicast", None: None}[packet.local]
        if "ct" in left:
            # no status is a status too: nothing matches it
            return {"state": packet.states, "status": packet.status or "none"}.get(left["ct"].get("key"))
        known = {"iifname": packet.iif, "oifname": packet.oif, "iif": packet.iif, "oif": packet.oif}
        known |= {"l4proto": packet.protocol, "protocol": packet.family}
        known["nfproto"] = {"ip": "ipv4", "ip6": "ipv6"}.get(packet.family, "")
        return known.get(str((left.get("meta") or {}).get("key"))) or None

    def raw(self, place: dict[str, Any]) -> int | None:
        """@nh,64,128: where IPv6 has the source (RFC 8200)."""
        here = (place["base"], place["offset"], place["len"]) == ("nh", 64, 128)
        known = here and self.packet.family == "ip6" and self.packet.source
        return int(ipaddress.IPv6Address(known)) if known else None

    def header(self, protocol: str, field: str) -> str | int | None:
        packet = self.packet
        if protocol == "ether":
            return {"saddr": packet.mac, "type": packet.family}.get(field) or None
        if field in ("saddr", "daddr"):
            return (packet.source if field == "saddr" else packet.destination) or None
        if field == "sport":
            return CLIENT_PORT if packet.port else None
        return (packet.port or None) if field == "dport" else None

    def among(self, right: Any) -> list[Any] | None:
        """The values of a match's right side; None: an expression that is not understood."""
        if isinstance(right, str) and right.startswith("@"):
            return self.table.sets.get(right[1:])
        if isinstance(right, dict):
            if isinstance(right.get("set"), list):
                return list(right["set"])
            return [right] if right.keys() & {"range", "prefix", "concat"} else None
        return right if isinstance(right, list) else [right]


def _same(value: Any, one: Any) -> bool | None:
    """Whether a value is one of a match's: a name with "*" at its end is a beginning, a range has two ends, a prefix
    holds addresses, a concatenation is compared part by part."""
    if isinstance(one, dict) and "elem" in one:
        one = one["elem"].get("val")
    if isinstance(one, dict) and "concat" in one:
        if not isinstance(value, list):
            return None
        answers = [_same(part, other) for part, other in zip(value, one["concat"], strict=True)]
        return False if False in answers else None if None in answers else True
    if isinstance(one, dict) and "prefix" in one:
        return ipaddress.ip_address(value) in ipaddress.ip_network(f"{one['prefix']['addr']}/{one['prefix']['len']}")
    if isinstance(one, dict):
        first, last = one["range"]
        if isinstance(first, str):
            value, first, last = (ipaddress.ip_address(end) for end in (value, first, last))
        return bool(first <= value <= last)
    if isinstance(one, str) and one.endswith("*") and isinstance(value, str):
        return value.startswith(one[:-1])
    if isinstance(value, int) and isinstance(one, str) and one.startswith("0x"):
        return value == int(one, 16)
    return bool(value == one)


def _verdict(kind: str, body: Any) -> list[tuple[str, str]]:
    if kind in ("accept", "drop", "return"):
        return [(kind, "")]
    if kind == "reject":
        return [(DROP, "")]
    return [(kind, str(body.get("target")))] if kind in ("jump", "goto") else []


def _extension(body: dict[str, Any] | None) -> tuple[bool | None, list[tuple[str, str]]]:
    """A match or target of iptables that nft does not know how to say."""
    name = (body or {}).get("name", "")
    if name == "REJECT":
        return True, [(DROP, "")]
    return (True if name in SILENT else None), []
