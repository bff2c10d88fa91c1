# SPDX-License-Identifier: Apache-2.0
"""What containers' networks may leave on a host, counted: veth(4) pairs, ports of bridges, elements of nft(8) sets and
maps, leases and ports in the database, resolvers, proxies.

Everything is looked at in the current network namespace, which a networked test has for itself: `before = count(mine)`,
act, `assert count(mine) == before`. Must not import minirt.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import invariants
from runner import Minirt

OWN = "minirt"  # what every table of ours is called, or begins with
OF_CONTAINERS = ("guarded", "macs", "sources", "ports")
"""How the sets and maps begin that tell of containers; the others tell of networks, and stay as long as these."""


def links() -> list[dict[str, Any]]:
    """`ip -details -json link`: the interfaces of this namespace."""
    told = subprocess.run(["ip", "-d", "-j", "link"], capture_output=True, check=True).stdout
    return [link for link in json.loads(told) if link]


def ruleset() -> list[dict[str, Any]]:
    """`nft -j list ruleset`: the objects of this namespace, each {"table" | "chain" | "rule" | "set" | "map": {…}}."""
    told = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, check=True).stdout
    return [thing for thing in json.loads(told)["nftables"] if "metainfo" not in thing]


def elements(name: str = "") -> dict[str, int]:
    """How many elements our sets and maps hold, as {"inet ports4": 2}; only those named `name`, if any."""
    counted: dict[str, int] = {}
    for thing in ruleset():
        for kind in ("set", "map"):
            found = thing.get(kind)
            if found and found["table"].startswith(OWN) and name in ("", found["name"]):
                counted[f"{found['family']} {found['name']}"] = len(found.get("elem", []))
    return counted


def table() -> str:
    """What our tables are called here: one test has one --root, so there is one pair of them."""
    (name,) = {thing["table"]["name"] for thing in ruleset() if thing.get("table", {}).get("name", "").startswith(OWN)}
    return str(name)


def rules() -> int:
    """How many rules our tables have."""
    return sum(1 for thing in ruleset() if "rule" in thing and thing["rule"]["table"].startswith(OWN))


def rows(root: Path) -> dict[str, int]:
    """Leases and ports in the database."""
    if not (root / "minirt.db").exists():
        return {}
    database = sqlite3.connect(f"file:{root}/minirt.db?mode=ro", uri=True)
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        wanted = sorted(tables & {"endpoints", "ports", "aliases"})
        return {name: int(database.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in wanted}
    finally:
        database.close()


def processes(name: str) -> list[int]:
    """Living processes of this network namespace that are called `name` (the first word of their command line)."""
    here, found = os.readlink("/proc/self/ns/net"), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if os.path.basename(words[0].decode(errors="replace")) == name and os.readlink(process / "ns/net") == here:
                found.append(int(process.name))
        except OSError:
            pass
    return sorted(found)


def count(mine: Minirt) -> dict[str, int]:
    """Everything that a container adds and its end must take away."""
    every = links()
    counted = {
        "veths": sum(link.get("linkinfo", {}).get("info_kind") == "veth" for link in every),
        "bridge ports": sum(link.get("linkinfo", {}).get("info_slave_kind") == "bridge" for link in every),
        "resolvers": len(processes("dnsmasq")),
        "proxies": len(processes("minirt:proxy")),
    }
    for name, size in elements().items():
        if name.split()[1].startswith(OF_CONTAINERS):
            counted[f"elements of {name}"] = size
    return counted | {f"rows of {name}": size for name, size in rows(mine.root).items()}


def more(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """What there is more of than before, one line each. A table that was not there yet was empty."""
    grown = {name: size for name, size in after.items() if size > before.get(name, 0)}
    return [f"{name}: {before.get(name, 0)} before, {size} now" for name, size in grown.items()]


def left_behind(mine: Minirt) -> list[str]:
    """After every container is gone nothing of theirs may be there. The kernel takes a namespace, and the veth in it,
    apart a moment after its last process."""
    invariants.wait(lambda: more({}, count(mine)))
    return more({}, count(mine))
