# SPDX-License-Identifier: Apache-2.0
"""The judge of foreign chains (network/verdict.py) against the kernel: rules drawn at random, and a packet that tells.

Whether it got through is known without waiting: behind it, with the rules gone, comes a second one, and what arrives
first says it. What the judge is certain of must be so; what is in doubt may be either.
"""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import namespaces
import runner
from minirt.network import foreign, verdict
from minirt.network.verdict import Packet
from world import ip

SOURCE, TARGET, PORT = "203.0.113.2", "192.0.2.2", 9
PACKET = Packet(
    "minirt0", "uplink0", "new", protocol="udp", port=PORT, family="ip", source=SOURCE, destination=TARGET, local=False
)
SEEDS, RULESETS = range(4), 40
MATCHES = (
    'iifname "minirt0"', 'iifname "mini*"', 'iifname != "minirt0"', 'iifname { "lo", "minirt0" }', "iifname @mine",
    "iifname @others", 'oifname "uplink0"', 'oifname "docker0"', 'oifname != { "docker0", "virbr0" }', "udp dport 9",
    "udp dport { 9, 53 }", "udp dport 1-8", "tcp dport 9", "th dport != 9", "ct state new",
    "ct state established,related",
    "ct state { new, invalid }", "ct status dnat", "ip saddr 203.0.113.0/24", "ip saddr != 203.0.113.2",
    "ip daddr 192.0.2.1-192.0.2.9", "ip daddr @nets", "ip6 saddr ::1", "meta l4proto udp", "meta l4proto { tcp, icmp }",
    "meta nfproto ipv4", "meta protocol ip6", "fib daddr type local", "iifname . oifname @pairs", "ip ttl > 1",
    "meta mark 7", "ip saddr . udp dport @places", "udp sport 40000-65535",
)  # fmt: skip
VERDICTS = ("accept", "drop", "return", "jump inner", "goto inner", "jump outer", "counter", "reject")
MAPS = (
    'iifname vmap { "minirt0" : drop, "lo" : accept }', "ct state vmap { new : accept, invalid : drop }",
    "udp dport vmap { 9 : jump inner, 53 : drop }", "meta mark vmap { 7 : accept }",
)  # fmt: skip
SETS = """
  set mine { type ifname; elements = { "minirt0" }; }
  set others { type ifname; elements = { "docker0" }; }
  set nets { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 10.0.0.0/8 }; }
  set pairs { type ifname . ifname; elements = { "minirt0" . "uplink0" }; }
  set places { type ipv4_addr . inet_service; elements = { 203.0.113.2 . 9, 203.0.113.3 . 10 }; }
"""


def drawn(dice: random.Random) -> str:
    """A table with a base chain on forward and two chains to jump to, which jump on, but in no circle."""

    def rules(allowed: tuple[str, ...]) -> str:
        lines = []
        for _ in range(dice.randint(0, 4)):
            words = dice.sample(MATCHES, dice.choice((0, 1, 1, 2)))
            lines.append(" ".join([*words, dice.choice(allowed)]))
            if dice.random() < 0.15 and "jump inner" in allowed:
                lines.append(dice.choice(MAPS))
        return "\n    ".join(lines)

    last = tuple(word for word in VERDICTS if " " not in word)
    middle = tuple(word for word in VERDICTS if "outer" not in word)
    hook = f"type filter hook forward priority {dice.choice((-10, 0, 10))}; policy {dice.choice(('accept', 'drop'))};"
    inner, outer, base = rules(last), rules(middle), rules(VERDICTS)
    return (
        f"table inet drawn {{ {SETS}\n  chain inner {{\n    {inner}\n  }}\n"
        f"  chain outer {{\n    {outer}\n  }}\n  chain base {{\n    {hook}\n    {base}\n  }}\n}}\n"
    )


def nft(text: str) -> bool:
    """Whether nft takes it: some matches contradict each other."""
    return subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True).returncode == 0


class Way:
    """A sender behind minirt0 and a receiver behind uplink0, with this host between them."""

    def __init__(self, inside: namespaces.Namespace, outside: namespaces.Namespace) -> None:
        self.inside = inside
        self.count = 0
        with outside:
            self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("", PORT))
        self.receiver.settimeout(10)

    def passes(self) -> bool:
        """Under the rules that are there now, which are gone afterwards."""
        self.send("first")
        assert nft("delete table inet drawn")
        self.send("second")
        came = self.receive()
        if came == "first":
            assert self.receive() == "second"
        return came == "first"

    def send(self, text: str) -> None:
        """A new connection each time."""
        self.count += 1
        with self.inside:
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            sender.bind(("", 40000 + self.count))
            sender.sendto(text.encode(), (TARGET, PORT))

    def receive(self) -> str:
        return self.receiver.recv(64).decode()


@pytest.fixture
def way() -> Iterator[Way]:
    with namespaces.host(), namespaces.new() as outside, namespaces.new() as inside:
        commands = []
        for place, (link, other) in enumerate((("uplink0", outside), ("minirt0", inside))):
            net = "203.0.113" if link == "minirt0" else "192.0.2"
            commands += [
                f"link add {link} index {50 + place} type veth peer name eth0 netns {other.path}",
                f"address add {net}.1/24 dev {link}", f"link set {link} up",
            ]  # fmt: skip
        ip(*commands)
        for other, net in ((outside, "192.0.2"), (inside, "203.0.113")):
            with other:
                ip(f"address add {net}.2/24 dev eth0", "link set eth0 up", f"route add default via {net}.1")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        made = Way(inside, outside)
        with made.receiver:
            runner.eventually(lambda: arrives(made))
            made.receiver.settimeout(10)
            made.send("last")
            while made.receive() != "last":  # those before it were held up
                pass
            yield made


def arrives(made: Way) -> bool:
    """The wires are up, the neighbours known."""
    made.receiver.settimeout(0.2)
    made.send("hello")
    try:
        return made.receive() == "hello"
    except TimeoutError:
        return False


@pytest.mark.parametrize("seed", SEEDS)
def test_certain_is_true(way: Way, seed: int) -> None:
    dice = random.Random(seed)
    certain = 0
    for _ in range(RULESETS):
        text = drawn(dice)
        if not nft(text):
            continue
        (table,) = [one for one in foreign.nft_tables() if one.name == "drawn"]
        judgement = verdict.judge(table, table.chains["base"], PACKET)
        passes = way.passes()
        if judgement.certain:
            certain += 1
            assert passes == (judgement.verdict == verdict.ACCEPT), f"{judgement.by}\n{judgement.trail}\n{text}"
    assert certain > RULESETS // 4
