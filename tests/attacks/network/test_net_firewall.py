# SPDX-License-Identifier: Apache-2.0
"""NET-03, NET-13: somebody else's hands on the firewall and on our names (nft(8), ip-link(8)).

Flushed or half-deleted tables come back with the next command or by `network reload`, whole; while they are gone a port
published on loopback is as closed as before. What others called like us is not touched.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable

import pytest

import exchange
import firewalls
import runner
import traces
import world as worlds
from boxes import Box, bridge_of
from runner import Minirt
from world import HOST, NEIGHBOUR, World

DAMAGE = {
    "flush ruleset": "flush ruleset",
    "both tables deleted": "delete table inet TABLE; delete table bridge TABLE",
    "one table deleted": "delete table bridge TABLE",
    "one chain flushed": "flush chain inet TABLE forward",
    "all rules flushed": "flush table inet TABLE",
}


def damage(script: str) -> None:
    firewalls.nft(script.replace("TABLE", traces.table()).replace("; ", "\n"))


def served(world: World, box: Box) -> None:
    """The container is what it was: reached on its ports from everywhere, pinned, and let out."""
    with world.outside, exchange.answering("outside", 80), box:
        assert exchange.ask(world.outside.address4, 80) == ("outside", HOST, b"")
    for place in (world.outside, world.neighbour):
        with place:
            assert exchange.ask(HOST, 8080) == ("web", place.address4, b""), "rewritten, not relayed"


@pytest.mark.parametrize("how", ["network reload", "the next command"])
@pytest.mark.parametrize("what", DAMAGE)
def test_net_03_damaged_rules_come_back(world: World, start: Callable[..., Box], what: str, how: str) -> None:
    """NET-03 (CVE-2025-54388, CVE-2025-54410): rules flushed or deleted while containers live; elements and rules are
    the same afterwards, and the container's ports, pins and way out work."""
    box = start("web", "-p", "8080:80", "-p", "127.0.0.1:8081:80")
    before, rules = traces.elements(), traces.rules()
    damage(DAMAGE[what])
    assert traces.rules() < rules
    if how == "network reload":
        box.mine.ok("network", "reload")
    else:
        box.mine.ok("run", "--rm", "--rootfs", box.mine.rootfs, "true")
    assert (traces.elements(), traces.rules()) == (before, rules)
    served(world, box)


def test_net_03_loopback_ports_have_no_window(world: World, start: Callable[..., Box]) -> None:
    """NET-03: with every rule gone, and while they come back, a port published on 127.0.0.1 is not on the wire, and
    the host itself goes on reaching it."""
    box = start("web", "-p", "127.0.0.1:8080:80")
    with world.neighbour:
        worlds.sysctl("net.ipv4.conf.all.route_localnet", "1")
        worlds.ip(
            "route del local 127.0.0.1 dev lo table local",
            "route del local 127.0.0.0/8 dev lo table local",
            f"route add 127.0.0.1/32 via {HOST}",
        )
    for _ in range(2):
        firewalls.nft("flush ruleset")
        with world.neighbour:
            assert exchange.silent((HOST, "127.0.0.1"), 8080, source=NEIGHBOUR)
        assert exchange.ask("127.0.0.1", 8080).name == "web"
        box.mine.ok("network", "reload")


def test_net_03_elements_taken_out(world: World, start: Callable[..., Box]) -> None:
    """NET-03: rules whole, but elements gone: `network reload` puts every one of them back."""
    box = start("web", "-p", "8080:80")
    before = traces.elements()
    damage("flush map inet TABLE ports4; flush set bridge TABLE sources4; flush set inet TABLE bridges")
    assert traces.elements() != before
    box.mine.ok("network", "reload")
    assert traces.elements() == before
    served(world, box)


def test_net_03_doctor_shows_the_damage(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-03: whoever asks is told, and what helps."""
    start("web")
    assert "network reload" not in networked("doctor").stdout, "the control: nothing is wrong"
    firewalls.nft("flush ruleset")
    assert "network reload" in networked("doctor").stdout


def test_net_03_a_reboot(world: World, start: Callable[..., Box]) -> None:
    """NET-03, a host reboot as far as networks go: bridge and tables are gone, leases remain. The next start makes all
    of it anew."""
    box = start("web", "-p", "8080:80")
    bridge = bridge_of(box.mine, "bridge")
    box.mine.ok("stop", "-t", "0", "web")
    subprocess.run(["ip", "link", "del", bridge], check=True)
    firewalls.nft("flush ruleset")
    worlds.sysctl("net.ipv4.ip_forward", "0")
    box.mine.ok("start", "web")
    again = Box(box.mine, "web")
    with again.namespace:
        runner.eventually(lambda: exchange.taken("udp:80"))
    served(world, again)
    again.namespace.close()


FOREIGN = """
table inet mine {
  set bridges { type ifname; elements = { "minirt0" } }
  chain input { type filter hook input priority 0; policy accept; tcp dport 9 drop; }
  chain forward { type filter hook forward priority 0; policy accept; tcp dport 9 drop; }
}
table bridge mine {
  chain prerouting { type filter hook prerouting priority 0; policy accept; ether type 0x9999 drop; }
}
table ip minirt-of-somebody {
  chain forward { type filter hook forward priority 0; policy accept; tcp dport 9 drop; }
}
table ip6 minirt { chain nothing { }; }
"""


def others() -> list[str]:
    return [
        firewalls.listing(*name.split()) for name in ("inet mine", "bridge mine", "ip minirt-of-somebody", "ip6 minirt")
    ]


def test_net_13_tables_of_others(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-13: tables of any other family or name stay as they are: through starts, reloads, removals, also where they
    are called nearly as ours."""
    firewalls.nft(FOREIGN)
    before = others()
    networked.ok("network", "create", "net")
    start("web", "-p", "8080:80", "--network", "net")
    networked.ok("network", "reload")
    networked.ok("rm", "-f", "web")
    networked.ok("network", "rm", "net")
    assert others() == before


def test_net_13_a_table_with_our_name(networked: Minirt) -> None:
    """NET-13: a table that is called exactly as ours but is somebody else's is made ours as a whole, never by
    halves: a container starts and is pinned, or the error names the table."""
    name = "minirt-" + hashlib.sha256(bytes(networked.root)).hexdigest()[:8]
    firewalls.nft(f"table inet {name} {{ set ports4 {{ type ipv4_addr; }}; chain forward {{ }}; }}")
    done = networked("run", "--rm", "--rootfs", networked.rootfs, "true")
    if done.code == 0:
        assert traces.rules() > 10
    else:
        assert name in done.stderr and done.code == 125


@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_net_13_an_interface_with_our_name(networked: Minirt, kind: str) -> None:
    """NET-13: an interface of somebody else's that has our bridge's name: the error names it, and it stays."""
    networked.ok("network", "create", "net")
    name = bridge_of(networked, "net")
    worlds.ip(f"link del {name}", f"link add {name} type {kind}")
    index = [link["ifindex"] for link in traces.links() if link["ifname"] == name]
    said = networked.fails("run", "--rm", "--network", "net", "--rootfs", networked.rootfs, "true", code=125, says=name)
    assert len(said.splitlines()) <= 2
    networked("network", "rm", "net")
    assert [link["ifindex"] for link in traces.links() if link["ifname"] == name] == index
    worlds.ip(f"link del {name}")


def test_net_13_our_bridge_was_renamed(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """NET-13: somebody renames our bridge. The next container works, or the error says what has happened; nothing is
    left twice after the network is removed."""
    networked.ok("network", "create", "net")
    before = len(traces.links())
    name = bridge_of(networked, "net")
    worlds.ip(f"link set {name} down", f"link set {name} name mine0", "link set mine0 up")
    done = networked("run", "--rm", "--network", "net", "--rootfs", networked.rootfs, "true")
    assert done.code == 0 or (done.code == 125 and "mine0" in done.stderr), repr(done)
    assert len(traces.links()) == before, [link["ifname"] for link in traces.links()]


def test_net_13_long_names_inside(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-13: interfaces of fifteen characters beside ours, also such as begin like ours."""
    names = ["minirt0-is-mine", "mr-0123456789ab", "veth0123456789a"]
    worlds.ip(*(f"link add {name} type bridge" for name in names))
    box = start("web")
    with box:
        assert exchange.ask("127.0.0.1", 80).name == "web"
    networked.ok("rm", "-f", "web")
    assert set(names) <= {link["ifname"] for link in traces.links()}
    worlds.ip(*(f"link del {name}" for name in names))
