# SPDX-License-Identifier: Apache-2.0
"""What a chain of somebody else's firewall does with one packet, as far as that can be told from its rules (nft(8)).

Rules are nft's own JSON (libnftables-json(5)). A match is true, false, or unknown where it asks for what a Packet does
not say. What follows from an unknown match is only possible; so a verdict is certain or it is in doubt. In nftables
an `accept` ends one base chain and no more, but a `drop` in any of them is final. Pure; must not import anything.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACCEPT, DROP = "accept", "drop"
DEPTH = 16  # NFT_JUMP_STACK_SIZE
SILENT = frozenset(("comment", "limit", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CHECKSUM", "AUDIT", "NOTRACK"))
"""Extensions of iptables that decide nothing, or (limit) hold for a first packet."""


class Packet:
    """iif, oif: names of interfaces, "" where that is not known. states, status: of its connection (conntrack).
    protocol, port: of the transport, "" and 0 for any."""

    __slots__ = ("iif", "oif", "port", "protocol", "states", "status")

    def __init__(
        self, iif: str, oif: str, states: str = "new", status: str = "", protocol: str = "", port: int = 0
    ) -> None:
        self.iif = iif
        self.oif = oif
        self.states = states
        self.status = status
        self.protocol = protocol
        self.port = port


class Chain:
    """family, table, name, and for a base chain: hook, policy. rules: the expressions of each, as nft prints them."""

    __slots__ = ("family", "hook", "name", "policy", "rules", "table")

    def __init__(self, family: str, table: str, name: str, hook: str = "", policy: str = ACCEPT) -> None:
        self.family = family
        self.table = table
        self.name = name
        self.hook = hook
        self.policy = policy
        self.rules: list[list[dict[str, Any]]] = []


class Table:
    """Chains by name, and what named sets hold."""

    __slots__ = ("chains", "family", "name", "sets")

    def __init__(self, family: str, name: str) -> None:
        self.family = family
        self.name = name
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, list[Any]] = {}


class Judgement:
    """verdict: accept or drop. certain: no rule that could have accepted it was passed over in doubt. by: what dropped
    it, "policy" or "rule 3 of chain NAME"."""

    __slots__ = ("by", "certain", "verdict")

    def __init__(self, verdict: str, certain: bool, by: str) -> None:
        self.verdict = verdict
        self.certain = certain
        self.by = by


def judge(table: Table, base: Chain, packet: Packet) -> Judgement:
    """What becomes of a packet that reaches a base chain."""
    walk = _Walk(table, packet)
    verdict = walk.chain(base, False, 0)
    by = walk.by if verdict else "policy"
    return Judgement(verdict or base.policy, not walk.accepted_in_doubt, by)


class _Walk:
    """One packet on its way. accepted_in_doubt: some rule may have accepted it."""

    __slots__ = ("accepted_in_doubt", "by", "packet", "table")

    def __init__(self, table: Table, packet: Packet) -> None:
        self.table = table
        self.packet = packet
        self.by = ""
        self.accepted_in_doubt = False

    def chain(self, chain: Chain | None, doubt: bool, depth: int) -> str:
        """The verdict of a chain, "" if it has none and the packet goes on where it came from."""
        if chain is None or depth > DEPTH:
            return ""
        for number, rule in enumerate(chain.rules, 1):
            matched, verdicts = self.rule(rule)
            if matched is False:
                continue
            unsure = doubt or matched is None
            for verdict, target in verdicts:
                if verdict in ("jump", "goto"):
                    found = self.chain(self.table.chains.get(target), unsure, depth + 1)
                    if found or (verdict == "goto" and not unsure):
                        return found
                elif verdict == "return":
                    if not unsure:
                        return ""
                    doubt = True
                elif not unsure:
                    self.by = f"rule {number} of chain {chain.name}"
                    return verdict
                elif verdict == ACCEPT:
                    self.accepted_in_doubt = True
        return ""

    def rule(self, rule: list[dict[str, Any]]) -> tuple[bool | None, list[tuple[str, str]]]:
        """(does it match, its verdicts with their targets)."""
        matched: bool | None = True
        verdicts: list[tuple[str, str]] = []
        for statement in rule:
            (kind, body), *_ = statement.items()
            answer: bool | None = True
            if kind == "match":
                answer = self.match(body)
            elif kind == "vmap":
                answer, found = self.mapped(body)
                verdicts += found
            elif kind == "xt":
                answer, found = _extension(body)
                verdicts += found
            else:
                verdicts += _verdict(kind, body)
            if answer is False:
                return False, []
            matched = matched and answer
        return matched, verdicts

    def match(self, body: dict[str, Any]) -> bool | None:
        value = self.value(body["left"])
        if value is None:
            return None
        wanted = self.among(body["right"])
        if wanted is None:
            return None
        answers = [_same(value, one) for one in wanted]
        hit = True if True in answers else None if None in answers else False
        if body["op"] in ("==", "in"):
            return hit
        return (None if hit is None else not hit) if body["op"] == "!=" else None

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

    def value(self, left: Any) -> str | int | None:
        """What the packet has there; None: a Packet does not say."""
        packet = self.packet
        if not isinstance(left, dict):
            return None
        key = str((left.get("meta") or left.get("ct") or {}).get("key", ""))
        if "payload" in left:
            payload = left["payload"]
            if payload.get("field") == "dport":
                other = payload["protocol"] not in ("th", packet.protocol) and packet.protocol
                return -1 if other else packet.port or None
            return None
        known: dict[str, str] = {
            "iifname": packet.iif,
            "oifname": packet.oif,
            "iif": packet.iif,
            "oif": packet.oif,
            "l4proto": packet.protocol,
        }
        if "ct" in left:
            # no status is a status too: nothing matches it
            return {"state": packet.states, "status": packet.status or "none"}.get(key)
        return known.get(key) or None

    def among(self, right: Any) -> list[Any] | None:
        """The values of a match's right side; None: an expression that is not understood."""
        if isinstance(right, str) and right.startswith("@"):
            return self.table.sets.get(right[1:])
        if isinstance(right, dict):
            return right["set"] if isinstance(right.get("set"), list) else [right] if "range" in right else None
        return right if isinstance(right, list) else [right]


def _same(value: str | int, one: Any) -> bool | None:
    """Whether a value is one of a match's: a name with "*" at its end is a beginning, a range has two ends."""
    if isinstance(one, dict):
        one = one.get("elem", {}).get("val") if "elem" in one else one
    if isinstance(one, dict):
        ends = one.get("range")
        return ends[0] <= value <= ends[1] if ends and isinstance(value, type(ends[0])) else None
    if isinstance(one, str) and one.endswith("*") and isinstance(value, str):
        return value.startswith(one[:-1])
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
