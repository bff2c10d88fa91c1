# SPDX-License-Identifier: Apache-2.0
"""The rules of one nft table that a packet meets on its way, in nft's own words, with their counters (nft(8)).

`nft -j` says what a rule is, `nft -a` how it is written; the handle joins the two. Which rules match is found out by
network/verdict.py from the sets and maps as they are at this moment. Must not import cli.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from minirt.errors import HostError
from minirt.network import foreign, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.network.verdict import Chain, Packet, Table

_COUNTER = re.compile(r" ?counter packets (\d+) bytes (\d+)")
_COMMENT = re.compile(r' comment "[^"]*"')
_LINE = re.compile(r"\s*(.*\S) # handle (\d+)")


class Rule:
    """One rule on the way. matched: yes, no, or None for "that depends". packets, bytes: its counter, None without."""

    __slots__ = ("bytes", "chain", "matched", "packets", "text")

    def __init__(self, chain: str, text: str, matched: bool | None, counter: tuple[int, int] | None) -> None:
        self.chain = chain
        self.text = text
        self.matched = matched
        self.packets = counter[0] if counter else None
        self.bytes = counter[1] if counter else None


class Passage:
    """A base chain that the packet passes: the rules that it meets, also where they jump to, and what becomes of it.
    verdict: "accept" or "drop"; certain: False where a rule on the way depends on what is not known."""

    __slots__ = ("certain", "chain", "family", "hook", "kind", "priority", "rules", "verdict")

    def __init__(self, chain: Chain, judgement: verdict.Judgement, rules: list[Rule]) -> None:
        self.family = chain.family
        self.chain = chain.name
        self.kind = chain.kind
        self.hook = chain.hook
        self.priority = chain.priority
        self.verdict = judgement.verdict
        self.certain = judgement.certain
        self.rules = rules


class Listing:
    """A table and how each of its rules is written: {handle: text with its counter}."""

    __slots__ = ("table", "texts")

    def __init__(self, table: Table, texts: dict[int, str]) -> None:
        self.table = table
        self.texts = texts

    def passages(self, hook: str, packet: Packet, kind: str = "") -> list[Passage]:
        """The base chains of a hook in the order of their priorities, as this packet meets them."""
        bases = [chain for chain in self.table.chains.values() if chain.hook == hook and kind in ("", chain.kind)]
        return [self._passage(chain, packet) for chain in sorted(bases, key=lambda chain: chain.priority)]

    def _passage(self, chain: Chain, packet: Packet) -> Passage:
        judgement = verdict.judge(self.table, chain, packet)
        rules = []
        for name, number, matched in judgement.trail:
            text = self.texts.get(self.table.chains[name].handles[number - 1], "")
            counter = _COUNTER.search(text)
            numbers = (int(counter[1]), int(counter[2])) if counter else None
            rules.append(Rule(name, _COMMENT.sub("", _COUNTER.sub("", text)).strip(), matched, numbers))
        return Passage(chain, judgement, rules)

    def element(self, name: str, key: str) -> str:
        """The element of a map, "tcp . 8080 : 172.17.0.2 . 80"; "" if there is none of that key."""
        for entry in self.table.maps.get(name, []):
            if foreign.words(entry[0]) == key:
                return f"{key} : {foreign.words(entry[1])}"
        return ""


def listing(family: str, name: str) -> Listing | None:
    """None: there is no such table. Raises HostError without nft."""
    # asked first: `list table` of one that is not there fails like anything else
    there = foreign.read(foreign.listing("tables"))
    if all((table.family, table.name) != (family, name) for table in there):
        return None
    (table,) = foreign.read(foreign.listing("table", family, name))
    program = shutil.which("nft", path=foreign.PATH)
    if program is None:
        raise HostError("nft is not installed", "apt-get install nftables")
    argv = [program, "-a", "-t", "list", "table", family, name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=foreign.TIMEOUT_S)
    found = (_LINE.fullmatch(line) for line in done.stdout.splitlines())
    return Listing(table, {int(match[2]): match[1] for match in found if match and not match[1].endswith("{")})
