# SPDX-License-Identifier: Apache-2.0
"""Our two nft tables: known as whole or damaged, loaded in one go, elements put in one by one (nft(8) is the judge)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import firewalls
import namespaces
import room as rooms
from minirt.errors import HostError
from minirt.kernel import execute, flat
from minirt.model.network import Endpoint, Port
from minirt.network import firewall, ruleset
from minirt.plan import publish
from minirt.plan.step import Plan

NETS = [rooms.network(1, six=True), rooms.network(2, internal=True)]
POINTS = [
    Endpoint(
        NETS[0].id, "c" * 64, "eth0", 100, "veth0000001", "02:42:0a:4d:01:02", "10.77.1.2", 24, "fd00:77:1::2", 64
    ),
    Endpoint(NETS[1].id, "d" * 64, "eth0", 100, "veth0000002", "02:42:0a:4d:02:02", "10.77.2.2", 24),
    Endpoint(NETS[1].id, "e" * 64, "eth1", 101, "", "02:42:0a:4d:02:03", "10.77.2.3", 24),
]
PORTS = [
    Port("tcp", "", 8080, 80, "10.77.1.2", "fd00:77:1::2"),
    Port("udp", "192.0.2.2", 53, 5353, "10.77.1.2"),
    Port("tcp", "2001:db8:1::2", 443, 8443, "", "fd00:77:1::2"),
    Port("tcp", "0.0.0.0", 81, 80, "10.77.1.2", "fd00:77:1::2"),
    Port("tcp", "::", 82, 80, "10.77.1.2", "fd00:77:1::2"),
    Port("tcp", "127.0.0.1", 83, 80, "10.77.1.2"),
    Port("tcp", "::1", 84, 80, "10.77.1.2", "fd00:77:1::2"),
]


def load(endpoints: list[Endpoint] = POINTS, ports: list[Port] = PORTS, table: str = rooms.TABLE) -> None:
    firewall.load(table, NETS, endpoints, ports)


def rules(family: str, table: str = rooms.TABLE) -> int:
    said = json.loads(
        subprocess.run(["nft", "-j", "list", "table", family, table], capture_output=True, check=True).stdout
    )
    return sum("rule" in one for one in said["nftables"])


@pytest.mark.parametrize("count", [0, 1, 300])
def test_the_number_of_rules_is_constant(here: namespaces.Namespace, count: int) -> None:
    ports = [Port("tcp", "", 10_000 + number, 80, "10.77.1.2", "fd00:77:1::2") for number in range(count)]
    load(POINTS if count else [], ports)
    assert {1: rules("inet"), 7: rules("bridge")} == firewall.RULES
    assert firewall.present(rooms.TABLE)


def test_the_mark_is_of_these_rules() -> None:
    """Other rules need another mark, or a host with the old ones would keep them."""
    digits = hashlib.sha256((ruleset.INET + ruleset.BRIDGE).encode()).hexdigest()[:8]
    assert f"minirt {digits}" == firewall.MARK


@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete table inet {0}",
        "delete table bridge {0}",
        "flush table inet {0}",
        "flush chain bridge {0} guard_ip6",
        "add rule inet {0} forward accept",
        "flush chain inet {0} arrival; add rule inet {0} arrival counter",
    ],
)
def test_damage_is_seen_and_mended(here: namespaces.Namespace, damage: str) -> None:
    load()
    whole = firewalls.listing("inet", rooms.TABLE) + firewalls.listing("bridge", rooms.TABLE)
    assert firewall.present(rooms.TABLE)
    firewalls.nft(damage.format(rooms.TABLE))
    assert not firewall.present(rooms.TABLE)
    load()
    assert firewall.present(rooms.TABLE)
    assert firewalls.listing("inet", rooms.TABLE) + firewalls.listing("bridge", rooms.TABLE) == whole


def test_tables_of_an_earlier_boot(here: namespaces.Namespace) -> None:
    """Saved by `nft list ruleset`, as Debian's nftables.service loads them again: whole, of containers that were."""
    load()
    saved = "".join(firewalls.listing(family, rooms.TABLE) for family in ("inet", "bridge"))
    firewalls.nft("flush ruleset")
    firewalls.nft(saved)
    assert firewall.present(rooms.TABLE), "the control: of the same boot they are as they were"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    firewalls.nft("flush ruleset\n" + saved.replace(boot, "00000000"))
    assert not firewall.present(rooms.TABLE)


def test_no_table_no_root(here: namespaces.Namespace) -> None:
    assert not firewall.present(rooms.TABLE)
    firewall.remove(rooms.TABLE)
    load()
    firewall.remove(rooms.TABLE)
    firewall.remove(rooms.TABLE)
    assert subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout == ""


@contextlib.contextmanager
def coming_and_going(table: str) -> Iterator[None]:
    """Somebody puts in and takes out elements all the time: each transaction moves nftables' generation on."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for plan in (publish.take(table, POINTS[:1], ()), publish.give(table, POINTS[:1], ())):
                for descriptor in execute.run(flat.encode(plan)).values():
                    os.close(descriptor)

    other = threading.Thread(target=churn)
    other.start()
    try:
        yield
    finally:
        stop.set()
        other.join()


def test_present_while_others_come_and_go(here: namespaces.Namespace) -> None:
    """A dump is interrupted by them; the answer is right all the same."""
    load()
    with coming_and_going(rooms.TABLE):
        assert all(firewall.present(rooms.TABLE) for _ in range(300))


def test_loading_while_others_come_and_go(here: namespaces.Namespace) -> None:
    """Elsewhere, as docker's do: nft has to cope with it, and we with nft."""
    load(table="minirt-ffffffff")
    with coming_and_going("minirt-ffffffff"):
        for _ in range(50):
            load()
    assert firewall.present(rooms.TABLE)


def members(text: str) -> list[str]:
    """A listing's lines in an order of their own: sets are printed as their hash has them."""
    return sorted(word.strip(" \t,{}") for line in text.splitlines() for word in line.replace("= {", ",").split(", "))


def test_single_elements_are_the_same_as_loaded_ones(here: namespaces.Namespace) -> None:
    """What a container's start puts in and what `load` makes of the database do not differ."""
    load()
    loaded = [firewalls.listing(family, rooms.TABLE) for family in ("inet", "bridge")]
    ports = [Port("tcp", "127.0.0.1", 83, 80, "10.77.1.2")]
    load([], ports)
    empty = [firewalls.listing(family, rooms.TABLE) for family in ("inet", "bridge")]
    steps = publish.take(rooms.TABLE, POINTS, PORTS).steps
    elements = Plan(tuple(step for step in steps if "port-" not in str(step.args + step.out)))  # without the sockets
    for descriptor in execute.run(flat.encode(elements)).values():
        os.close(descriptor)
    singly = [firewalls.listing(family, rooms.TABLE) for family in ("inet", "bridge")]
    assert [members(text) for text in singly] == [members(text) for text in loaded]
    for descriptor in execute.run(flat.encode(publish.give(rooms.TABLE, POINTS, PORTS))).values():
        os.close(descriptor)
    assert [firewalls.listing(family, rooms.TABLE) for family in ("inet", "bridge")] == empty


def test_other_tables_are_not_touched(here: namespaces.Namespace) -> None:
    """NET-13: docker's and libvirt's, another root's, and one that only looks like ours."""
    firewalls.nft(
        "table ip nat { chain DOCKER { ip daddr 1.2.3.4 counter accept; }; }\n"
        "table ip minirt { chain forward { type filter hook forward priority 0; ip daddr 1.2.3.4 counter accept; }; }\n"
        "table inet libvirt { set minirt { type ifname; elements = { virbr0 }; }; }"
    )
    load(table="minirt-ffffffff")
    load(table="minirt")
    others = [("ip", "nat"), ("ip", "minirt"), ("inet", "libvirt"), ("inet", "minirt-ffffffff"), ("bridge", "minirt")]
    before = [firewalls.listing(*one) for one in others]
    load()
    load()
    firewall.remove(rooms.TABLE)
    assert [firewalls.listing(*one) for one in others] == before
    assert firewall.present("minirt-ffffffff")
    assert firewall.present("minirt")


def test_the_table_of_a_root() -> None:
    assert firewall.table_name("/var/lib/minirt") == "minirt"
    digits = hashlib.sha256(b"/srv/a").hexdigest()[:8]
    assert firewall.table_name("/srv/a") == f"minirt-{digits}"


def test_without_nft(here: namespaces.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "_PATH", "/nonexistent")
    with pytest.raises(HostError) as refused:
        load()
    assert "nftables" in str(refused.value)
    assert "package nftables" in refused.value.remedy


def test_what_nft_refuses_leaves_what_was_there(here: namespaces.Namespace) -> None:
    load()
    with pytest.raises(HostError, match="nft refused"):
        firewall.load(rooms.TABLE, NETS, POINTS, [Port("tcp", "", 80, 80, "not-an-address")])
    assert firewall.present(rooms.TABLE)
