# SPDX-License-Identifier: Apache-2.0
"""The firewalls beside ours: tables of nft(8), of iptables on nftables and of the older iptables, read and not touched.

Everything comes from what their own tools print (nft -j, iptables-save(8)). Tables of minirt, of whatever --root, are
left out. Where an iptables rule says more than nft can show (xtables extensions), iptables-nft-save is asked. Must not
be imported on the way to a container.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess

from minirt.errors import HostError
from minirt.network.verdict import Chain, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
OURS = re.compile("minirt(-[0-9a-f]{8})?")
TIMEOUT_S = 20
SAVES = {"ip": ("iptables", "/proc/net/ip_tables_names"), "ip6": ("ip6tables", "/proc/net/ip6_tables_names")}
LEGACY = " (legacy)"
"""What marks a table of the older iptables: its kernel tables are not nftables'."""


def tables() -> list[Table]:
    """Every table that is not ours, by nftables and by the older iptables. Raises HostError without nft."""
    found = [table for table in nft_tables() if not OURS.fullmatch(table.name)]
    for place, table in enumerate(found):
        if table.family in SAVES and _opaque(table):
            found[place] = _saved(table.family, f"{SAVES[table.family][0]}-nft-save", table.name) or table
    for family in SAVES:
        legacy = (
            _saved(family, f"{SAVES[family][0]}-legacy-save", "filter") if "filter" in legacy_names(family) else None
        )
        if legacy is not None:
            legacy.name += LEGACY
            found.append(legacy)
    return found


def unreadable() -> list[str]:
    """Families with a filter table of the older iptables, which no tool here can print."""
    return [
        family
        for family, (tool, _) in SAVES.items()
        if "filter" in legacy_names(family) and not shutil.which(f"{tool}-legacy-save", path=PATH)
    ]


def legacy_names(family: str) -> list[str]:
    """The tables of the older iptables in this network namespace; none are made by looking."""
    try:
        with open(SAVES[family][1]) as file:
            return file.read().split()
    except OSError:
        return []


def nft_tables() -> list[Table]:
    """Every table of nftables, ours too."""
    return read(listing("ruleset"))


def read(document: list[dict[str, Any]]) -> list[Table]:
    """The tables among what `nft -j list` printed."""
    tables: dict[tuple[str, str], Table] = {}
    for entry in document:
        (kind, body), *_ = entry.items()
        if kind == "metainfo":
            continue
        name = body["name"] if kind == "table" else body.get("table", "")
        table = tables.setdefault((body["family"], name), Table(body["family"], name))
        _add(table, kind, body)
    return list(tables.values())


def listing(*words: str) -> list[dict[str, Any]]:
    """`nft -j list …`: its objects. Raises HostError: nft is missing, or says why it cannot."""
    program = shutil.which("nft", path=PATH)
    if program is None:
        raise HostError("nft is not installed", "apt-get install nftables")
    done = subprocess.run([program, "-j", "list", *words], capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise HostError(f"nft: {said[0] if said else f'exit {done.returncode}'}", "see nft list ruleset")
    objects: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return objects


def _add(table: Table, kind: str, body: dict[str, Any]) -> None:
    if kind == "chain":
        hook, policy = body.get("hook", ""), body.get("policy", "accept")
        chain = table.chains.setdefault(body["name"], Chain(table.family, table.name, body["name"]))
        chain.hook, chain.policy = hook, policy
        chain.kind, chain.priority = body.get("type", ""), body.get("prio", 0)
    elif kind == "set":
        table.sets[body["name"]] = body.get("elem", [])
    elif kind == "map":
        table.maps[body["name"]] = body.get("elem", [])
    elif kind == "rule":
        chain = table.chains.setdefault(body["chain"], Chain(table.family, table.name, body["chain"]))
        chain.rules.append(body.get("expr", []))
        chain.handles.append(body["handle"])


def words(value: object) -> str:
    """An element, or one side of a map's, as nft writes it: "tcp . 8080", "172.17.0.0/16"."""
    if isinstance(value, dict) and "concat" in value:
        return " . ".join(words(part) for part in value["concat"])
    if isinstance(value, dict) and "elem" in value:
        return words(value["elem"].get("val"))
    if isinstance(value, dict) and "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return str(value)


def _opaque(table: Table) -> bool:
    return any("xt" in statement for chain in table.chains.values() for rule in chain.rules for statement in rule)


def _saved(family: str, tool: str, name: str) -> Table | None:
    """A table as iptables-save prints it, in nft's words; None if the tool is not there or fails."""
    program = shutil.which(tool, path=PATH)
    if program is None:
        return None
    done = subprocess.run([program, "-t", name], capture_output=True, text=True, timeout=TIMEOUT_S)
    return parse(family, name, done.stdout) if done.returncode == 0 else None


def parse(family: str, name: str, text: str) -> Table:
    """The table `name` of iptables-save's output.

    :FORWARD DROP [0:0]                          a chain and its policy, "-" for one that rules jump to
    -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    """
    table, reading = Table(family, name), False
    for line in text.splitlines():
        if line.startswith("*"):
            reading = line == f"*{name}"
        elif reading and line.startswith(":"):
            chain, policy, *_ = line[1:].split()
            made = table.chains[chain] = Chain(family, name, chain)
            if policy != "-":
                made.hook, made.policy = chain.lower(), policy.lower()
        elif reading and line.startswith("-A "):
            _, chain, *words = shlex.split(line)
            table.chains.setdefault(chain, Chain(family, name, chain)).rules.append(_rule(words))
    return table


def _rule(words: list[str]) -> list[dict[str, Any]]:
    """The options of one iptables rule as nft's statements; what is not understood is an unknown match."""
    rule: list[dict[str, Any]] = []
    negated, place = False, 0
    while place < len(words):
        word, value = words[place], words[place + 1] if place + 1 < len(words) else ""
        if word == "!":
            negated, place = True, place + 1
            continue
        place += 2
        if word in ("-j", "-g"):
            rule.append(_target(word, value))
            break  # what follows are the target's own options
        if word not in ("-m", "--comment", "--limit", "--limit-burst"):
            rule.append(_option(word, value, "!=" if negated else "=="))
        negated = False
        while place < len(words) and word not in _ONE_VALUE and not words[place].startswith(("-", "!")):
            place += 1
    return rule


_ONE_VALUE = ("-m", "-i", "-o", "-p", "--comment", "--ctstate", "--dport")
_META = {"-i": "iifname", "-o": "oifname", "-p": "l4proto"}
_UNKNOWN: dict[str, Any] = {"xt": {"type": "match", "name": "unknown"}}


def _option(word: str, value: str, op: str) -> dict[str, Any]:
    if word in _META:
        shown = value[:-1] + "*" if value.endswith("+") else value
        return {"match": {"op": op, "left": {"meta": {"key": _META[word]}}, "right": shown}}
    if word in ("--ctstate", "--state"):
        states = value.lower().split(",")
        left = {"ct": {"key": "status" if states == ["dnat"] else "state"}}
        if "dnat" in states and len(states) > 1:
            return _UNKNOWN
        return {"match": {"op": op, "left": left, "right": states}}
    if word == "--dport" and value.isdecimal():
        left = {"payload": {"protocol": "th", "field": "dport"}}
        return {"match": {"op": op, "left": left, "right": int(value)}}
    return _UNKNOWN


def _target(word: str, value: str) -> dict[str, Any]:
    if value in ("ACCEPT", "DROP", "RETURN"):
        return {value.lower(): None}
    if value.isupper() and value in ("REJECT", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CHECKSUM", "AUDIT"):
        return {"xt": {"type": "target", "name": value}}
    return {"goto" if word == "-g" else "jump": {"target": value}}
