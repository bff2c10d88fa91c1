# SPDX-License-Identifier: Apache-2.0
"""Our two nft tables (nft(8)), `inet` and `bridge`, one pair for each --root: are they whole, and making them anew.

`present` is asked by every command that gives a container a network: one dump of each table's rules, counted, and
one of each must carry the mark of this version (network/ruleset.py) and boot. Flushed, half gone or of another one:
`load` makes both anew from what the database says, in one transaction. On the way of a `run` until `load`: nothing
dear may be imported at the top.
"""

from __future__ import annotations

import os

from minirt.errors import HostError
from minirt.network import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirt.model.network import Endpoint, Network, Port

DEFAULT_ROOT = "/var/lib/minirt"
RULES = {1: 32, 7: 14}
"""How many, by family: NFPROTO_INET, NFPROTO_BRIDGE (linux/netfilter.h). Constant, whatever there runs."""
MARK = "minirt 81c27ee5"
"""Begins a comment on one rule of each table: the first digits of the SHA-256 of what ruleset.py says."""
_GETRULE = 10 << 8 | 7  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETRULE: linux/netfilter/nfnetlink.h, nf_tables.h
_RULE_TABLE = 1  # NFTA_RULE_TABLE
_TRIES = 50
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 60


def table_name(root: str) -> str:
    """What both tables of this --root are called: "minirt", or "minirt-" and eight digits of the path's SHA-256."""
    if root == DEFAULT_ROOT:
        return "minirt"
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # hashlib costs 4 ms for what it has besides
    except ImportError:  # from Python 3.12 on
        from _sha2 import sha256  # type: ignore[import-not-found]
    digits: str = sha256(os.fsencode(root)).hexdigest()
    return f"minirt-{digits[:8]}"


def _mark() -> str:
    """With this boot's number: `nft list ruleset` is what some hosts load again at the next one, and then our rules are
    there with elements of containers that are not."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{MARK} {file.read(8)}"


def present(table: str, kept: list[int] | None = None) -> bool:
    """Whether both tables hold all their rules, of this version. No answer from the kernel is no table.

    kept: gets the socket that was asked by, to be closed later: while another command's deletions are worked off,
    closing it means waiting for that (csrc/linger.c).
    """
    try:
        channel = netlink.open_socket(netlink.NETLINK_NETFILTER)
    except OSError:
        return False
    try:
        return all(_whole(channel, table, family, count) for family, count in RULES.items())
    except OSError:
        return False
    finally:
        if kept is None:
            channel.close()
        else:
            kept.append(channel.detach())


def _whole(channel: netlink.Channel, table: str, family: int, count: int) -> bool:
    # struct nfgenmsg: the family, NFNETLINK_V0, no resource
    question = bytes((family, 0, 0, 0)) + netlink.attribute(_RULE_TABLE, table.encode() + b"\0")
    mark = _mark().encode() + b"\0"
    for _ in range(_TRIES):
        try:
            rules = netlink.exchange(channel, _GETRULE, question, netlink.NLM_F_DUMP)
        except netlink.Interrupted:
            continue  # another container's elements went in at this moment
        return len(rules) == count and sum(mark in rule for rule in rules) == 1
    return False


def load(table: str, networks: Iterable[Network], endpoints: Iterable[Endpoint], ports: Iterable[Port]) -> None:
    """Make both tables anew with these elements. All or nothing, and no moment between the old and the new.

    The caller holds the lock on the networks alone: an element put in meanwhile by another would be lost.
    HostError without nft(8), or with its own words.
    """
    from minirt.network import ruleset

    _run(ruleset.script(table, _mark(), networks, endpoints, ports))


def remove(table: str) -> None:
    """Take both away; that there is none is fine."""
    _run("".join(f"table {family} {table} {{ }}\ndelete table {family} {table}\n" for family in ("inet", "bridge")))


def _run(script: str) -> None:
    import subprocess

    environment = {**os.environ, "PATH": _PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=script, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_S
        )
    except FileNotFoundError:
        raise HostError(
            "nft is missing: networks need nftables", "install the package nftables, or run with --network none"
        ) from None
    except subprocess.TimeoutExpired:
        raise HostError(f"nft has not answered for {_TIMEOUT_S} s", "see whether nft list ruleset answers") from None
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "rror" in line), done.stderr.strip())
        raise HostError(f"nft refused minirt's rules: {said}", "see what `minirt doctor` says about nftables")
