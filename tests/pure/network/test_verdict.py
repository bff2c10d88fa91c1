# SPDX-License-Identifier: Apache-2.0
"""What foreign chains do with our packets, judged from rules as nft and iptables-save print them."""

from __future__ import annotations

from typing import Any

import pytest

from minirt.network import foreign, verdict
from minirt.network.verdict import Chain, Packet, Table

OUT = Packet("minirt0", "eth0")
BACK = Packet("eth0", "minirt0", "established")
IN = Packet("eth0", "minirt0", "new", "dnat")
NAMES = Packet("minirt0", "", protocol="udp", port=53)

DOCKER = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [12:900]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
UFW = """\
*filter
:FORWARD DROP [0:0]
:ufw-before-forward - [0:0]
:ufw-user-forward - [0:0]
-A FORWARD -j ufw-before-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j ACCEPT
COMMIT
"""


def judged(table: Table, packet: Packet, chain: str = "FORWARD") -> tuple[str, bool]:
    judgement = verdict.judge(table, table.chains[chain], packet)
    return judgement.verdict, judgement.certain


def nft(policy: str, *rules: list[dict[str, Any]], sets: dict[str, list[Any]] | None = None) -> Table:
    """One base chain "forward" of nft's own."""
    table = Table("inet", "filter")
    table.sets = sets or {}
    chain = table.chains["forward"] = Chain("inet", "filter", "forward", "forward", policy)
    chain.rules += rules
    return table


def equal(key: str, right: object, op: str = "==", of: str = "meta") -> dict[str, Any]:
    return {"match": {"op": op, "left": {of: {"key": key}}, "right": right}}


ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
SADDR = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.0.1"}}


@pytest.mark.parametrize("packet", [OUT, BACK, IN])
def test_docker_drops_what_is_not_its_own(packet: Packet) -> None:
    assert judged(foreign.parse("ip", "filter", DOCKER), packet) == ("drop", True)


def test_docker_lets_its_own_through() -> None:
    table = foreign.parse("ip", "filter", DOCKER)
    assert judged(table, Packet("docker0", "eth0")) == ("accept", True)
    assert judged(table, Packet("eth0", "docker0", "established")) == ("accept", True)


def test_docker_with_the_remedy() -> None:
    head = "-A DOCKER-USER -i minirt0 -j ACCEPT\n-A DOCKER-USER -o minirt0 -j ACCEPT\n-A DOCKER-USER -j RETURN"
    table = foreign.parse("ip", "filter", DOCKER.replace("-A DOCKER-USER -j RETURN", head))
    for packet in (OUT, BACK, IN):
        assert judged(table, packet) == ("accept", True)


def test_ufw_lets_answers_through_only() -> None:
    table = foreign.parse("ip", "filter", UFW)
    assert judged(table, BACK) == ("accept", True)
    assert judged(table, OUT) == ("drop", False)  # unless it is ICMP, which a packet of any protocol may be
    assert "PREROUTING" not in table.chains


@pytest.mark.parametrize(
    ("words", "packet", "answer"),
    [
        ("-i minirt+ -j ACCEPT", OUT, ("accept", True)),
        ("! -i minirt0 -j ACCEPT", OUT, ("drop", True)),
        ("! -i docker0 -j ACCEPT", OUT, ("accept", True)),
        ("-s 10.0.0.0/8 -j ACCEPT", OUT, ("drop", False)),
        ('-i minirt0 -m comment --comment "-j DROP" -j ACCEPT', OUT, ("accept", True)),
        ("-m conntrack --ctstate DNAT -j ACCEPT", IN, ("accept", True)),
        ("-m conntrack --ctstate DNAT -j ACCEPT", OUT, ("drop", True)),
        ("-p udp -m udp --dport 53 -j ACCEPT", NAMES, ("accept", True)),
        ("-p tcp -m tcp --dport 53 -j ACCEPT", NAMES, ("drop", True)),
        ("-p udp -m multiport --dports 53,67 -j ACCEPT", NAMES, ("drop", False)),
        ("-i minirt0 -j LOG --log-prefix x", OUT, ("drop", True)),
        ("-m limit --limit 3/min --limit-burst 10 -j ACCEPT", OUT, ("accept", True)),
        ("-i minirt0 -j REJECT --reject-with icmp-port-unreachable", OUT, ("drop", True)),
        ("-j NOWHERE", OUT, ("drop", True)),
    ],
)
def test_one_rule_of_iptables(words: str, packet: Packet, answer: tuple[str, bool]) -> None:
    text = f"*filter\n:FORWARD DROP [0:0]\n-A FORWARD {words}\nCOMMIT\n"
    assert judged(foreign.parse("ip", "filter", text), packet) == answer


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ([equal("iifname", "minirt0"), ACCEPT], ("accept", True)),
        ([equal("iifname", "mini*"), {"counter": {"packets": 1, "bytes": 2}}, ACCEPT], ("accept", True)),
        ([equal("iifname", {"set": ["lo", "minirt0"]}), ACCEPT], ("accept", True)),
        ([equal("iifname", {"set": ["lo", "docker0"]}), ACCEPT], ("drop", True)),
        ([equal("iifname", "@mine"), ACCEPT], ("accept", True)),
        ([equal("iifname", "@nobodys"), ACCEPT], ("drop", False)),
        ([equal("oifname", "minirt0", "!="), ACCEPT], ("accept", True)),
        ([equal("state", ["established", "related"], "in", "ct"), ACCEPT], ("drop", True)),
        ([equal("state", ["new", "related"], "in", "ct"), ACCEPT], ("accept", True)),
        ([equal("status", "dnat", "in", "ct"), ACCEPT], ("drop", True)),
        ([SADDR, ACCEPT], ("drop", False)),
        ([SADDR, {"return": None}], ("drop", True)),
        ([{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["minirt0", ACCEPT]]}}}], ("accept", True)),
        ([{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["lo", ACCEPT]]}}}], ("drop", True)),
        ([{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@map"}}], ("drop", False)),
        ([{"vmap": {"key": {"meta": {"key": "mark"}}, "data": {"set": [[1, ACCEPT]]}}}], ("drop", False)),
        ([{"reject": {"type": "icmpx"}}], ("drop", True)),
        ([{"xt": None}, ACCEPT], ("drop", False)),
    ],
)
def test_one_rule_of_nft(rule: list[dict[str, Any]], answer: tuple[str, bool]) -> None:
    table = nft("drop", rule, sets={"mine": ["minirt0"]})
    assert judged(table, OUT, "forward") == answer


def test_a_rule_that_drops_before_an_accepting_policy() -> None:
    judgement = verdict.judge((table := nft("accept", [DROP])), table.chains["forward"], OUT)
    assert (judgement.verdict, judgement.by) == ("drop", "rule 1 of chain forward")


def test_after_a_return_in_doubt_nothing_is_certain() -> None:
    table = nft("drop", [SADDR, {"return": None}], [ACCEPT])
    assert judged(table, OUT, "forward") == ("drop", False)


def test_a_goto_does_not_come_back() -> None:
    table = nft("drop", [{"goto": {"target": "other"}}], [ACCEPT])
    table.chains["other"] = Chain("inet", "filter", "other")
    assert judged(table, OUT, "forward") == ("drop", True)


def test_chains_that_jump_in_a_circle_end() -> None:
    table = nft("drop", [{"jump": {"target": "forward"}}])
    assert judged(table, OUT, "forward") == ("drop", True)


def test_names_of_tables() -> None:
    for name in ("minirt", "minirt-0123abcd"):
        assert foreign.OURS.fullmatch(name)
    for name in ("filter", "minirt2", "minirt-0123abcd-x", "minirt-0123abcg"):
        assert not foreign.OURS.fullmatch(name)
