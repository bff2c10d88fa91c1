# SPDX-License-Identifier: Apache-2.0
"""What a container with an address has on the host, against the kernel: the elements of nftables' sets as `nft -j`
lists them, the sockets that hold ports by their own options. All in a network namespace that is made for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from errno import EADDRINUSE, EADDRNOTAVAIL, EEXIST, ENOENT
from typing import Any

import pytest

from minirt.errors import InvalidValue
from minirt.kernel import execute, flat
from minirt.model.network import Endpoint, Port
from minirt.plan import publish, text
from minirt.plan.netlink import Batch, Elements, Socket
from minirt.plan.step import HOST, Fd, Flags, Plan, Step
from own import NONE, inside, run, step
from two import MAC, ip

pytestmark = pytest.mark.kernel

RULESET = """
table inet minirt {
  map ports4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map ports4_at { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
  map ports6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map ports6_at { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }
  set own4 { type ipv4_addr . inet_proto . inet_service; }
  set own6 { type ipv6_addr . inet_proto . inet_service; }
}
table bridge minirt {
  set guarded { type ifname; }
  set macs { type ifname . ether_addr; }
  set sources4 { type ifname . ether_addr . ipv4_addr; }
  set sources6 { type ifname . ether_addr . ipv6_addr; }
}
"""
ENDPOINTS = (
    Endpoint("n", "c", "eth0", 100, "veth1a2b3c4", MAC, "172.17.0.2", 16, "fd00::2", 64),
    Endpoint("m", "c", "eth1", 101, "veth4c3b2a1", "02:42:ac:12:00:07", "172.18.0.7", 16),
    Endpoint("l", "c", "eth2", 102, "", "02:42:c0:00:02:07", "192.0.2.7", 24),
)
PORTS = (
    Port("tcp", "", 8080, 80, "172.17.0.2", "fd00::2"),
    Port("udp", "127.0.0.2", 53, 53, "172.17.0.2"),
    Port("udp", "192.0.2.1", 53, 5353, "172.17.0.2"),
    Port("tcp", "0.0.0.0", 81, 65535, "172.17.0.2"),
    Port("tcp", "2001:db8::1", 82, 80, "172.17.0.2", "fd00::2"),
)


def elements() -> dict[str, Any]:
    """{set: elements} as `nft -j` lists them."""
    listed = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, check=True).stdout
    found = {}
    for item in json.loads(listed)["nftables"]:
        one = item.get("set") or item.get("map")
        if one and one.get("elem"):
            found[one["name"]] = sorted(map(flattened, one["elem"]))
    return found


def flattened(element: Any) -> list[Any]:
    """["tcp", 8080, "172.17.0.2", 80] of [{"concat": ["tcp", 8080]}, {"concat": ["172.17.0.2", 80]}]."""
    if isinstance(element, dict):
        return [part for value in element.values() for part in flattened(value)]
    if isinstance(element, list):
        return [part for value in element for part in flattened(value)]
    return [element]


def expected(endpoints: Any, ports: Any) -> dict[str, Any]:
    return {name: sorted(map(list, values)) for name, values in publish.elements(endpoints, ports).items()}


def load() -> None:
    subprocess.run(["nft", "-f", "-"], input=RULESET, text=True, check=True)
    ip("link set lo up", "address add 192.0.2.1/32 dev lo", "address add 2001:db8::1/128 dev lo nodad")


def carry_out(plan: Plan) -> dict[str, int]:
    return execute.run(flat.encode(plan))


def test_elements_are_what_nft_lists() -> None:
    def body() -> Any:
        load()
        carry_out(publish.take("minirt", ENDPOINTS, PORTS))
        full = elements()
        carry_out(publish.give("minirt", ENDPOINTS[1:], PORTS[1:]))
        rest = elements()
        carry_out(publish.give("minirt", ENDPOINTS, PORTS))
        return full, rest, elements()

    full, rest, nothing = inside(body)
    assert full == expected(ENDPOINTS, PORTS)
    assert full["ports6_at"] == [["tcp", "2001:db8::1", 82, "fd00::2", 80]]
    assert rest == expected(ENDPOINTS[:1], PORTS[:1])
    assert nothing == {}


def test_net_01_a_loopback_port_is_in_no_map() -> None:
    """NET-01: what is published on 127.0.0.0/8 or ::1 is never rewritten."""
    for address in ("127.0.0.1", "127.5.5.5", "::1"):
        assert publish.elements((), [Port("tcp", address, 80, 80, "172.17.0.2", "fd00::2")]) == {}


def test_giving_twice_and_without_a_table() -> None:
    def body() -> bool:
        load()
        carry_out(publish.take("minirt", ENDPOINTS, PORTS))
        for _ in range(2):
            carry_out(publish.give("minirt", ENDPOINTS, PORTS))
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        carry_out(publish.give("minirt", ENDPOINTS, PORTS))
        return True

    assert inside(body)


def test_at_once_means_all_or_nothing() -> None:
    def body() -> Any:
        load()
        carry_out(publish.take("minirt", ENDPOINTS, PORTS))
        carry_out(publish.give("minirt", ENDPOINTS[1:2], ()))
        before, errno = elements(), 0
        try:
            carry_out(publish.give("minirt", ENDPOINTS, PORTS, at_once=True))
        except execute.StepError as error:
            errno = error.errno or 0
        between = elements()
        carry_out(publish.give("minirt", ENDPOINTS[:1], PORTS, at_once=True))
        return errno, between == before, elements()

    assert inside(body) == (ENOENT, True, {})


def test_a_port_that_the_maps_have_for_another_container() -> None:
    """And of what stood in the same transaction nothing is there afterwards. The same entry twice is fine."""

    def body() -> Any:
        load()
        batch = publish.take("minirt", (), PORTS[:1]).steps[-2:]
        for _ in range(2):
            execute.run(flat.encode(Plan(batch)))
        before = elements()
        other = publish.take("minirt", ENDPOINTS, [Port("tcp", "", 8080, 80, "172.17.0.9")]).steps[-2:]
        try:
            execute.run(flat.encode(Plan(other)))
        except execute.StepError as error:
            return error.errno, text.failure(Plan(other), error.index, error.errno or 0)[1], elements() == before
        return None

    errno, remedy, unchanged = inside(body)
    assert (errno, unchanged) == (EEXIST, True)
    assert remedy == "minirt network reload; see nft(8)"


def test_a_table_that_somebody_has_flushed() -> None:
    def body() -> None:
        load()
        subprocess.run(["nft", "delete", "table", "bridge", "minirt"], check=True)
        carry_out(publish.take("minirt", ENDPOINTS, PORTS))

    with pytest.raises(execute.StepError) as failed:
        inside(body)
    assert failed.value.errno == ENOENT


def test_two_hundred_sockets_in_one_plan() -> None:
    def body() -> Any:
        load()
        ports = [Port("tcp", "", 20000 + n, 80, "172.17.0.2", "fd00::2") for n in range(publish.SOCKETS_MAX // 2)]
        made = carry_out(publish.take("minirt", ENDPOINTS, ports))
        listed = elements()
        return len(made), len(listed["ports4"]), len(listed["ports6"])

    assert inside(body) == (201, 100, 100)


def test_three_thousand_ports_go_at_once() -> None:
    """-p 1000-3999:…: more than one message, and more than one transaction, can take."""

    def body() -> Any:
        load()
        ports = [Port("udp", "", 1000 + n, 1000 + n, "172.17.0.2", "fd00::2") for n in range(3000)]
        for start in range(0, 3000, 100):
            for fd in carry_out(publish.take("minirt", (), ports[start : start + 100])).values():
                os.close(fd)
        before = len(elements()["ports6"])
        carry_out(publish.give("minirt", (), ports, at_once=True))
        return before, elements()

    assert inside(body) == (3000, {})


def test_three_thousand_ports_of_which_half_were_never_there() -> None:
    """What a start that failed half-way had taken goes in a few transactions: each one that fails costs the kernel's
    8 ms, and singly these 12 000 would be a minute and a half."""

    def body() -> Any:
        load()
        ports = [Port("tcp", "", 1000 + n, 1000 + n, "172.17.0.2", "fd00::2") for n in range(3000)]
        for start in range(0, 1500, 100):
            for fd in carry_out(publish.take("minirt", (), ports[start : start + 100])).values():
                os.close(fd)
        before, plan = len(elements()["ports6"]), publish.give("minirt", ENDPOINTS, ports)
        carry_out(plan)
        after = elements()
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        carry_out(plan)
        return before, len(plan.steps) < 50, after

    assert inside(body) == (1500, True, {})


def test_sockets_hold_their_ports() -> None:
    """bind, listen, setsockopt: and a second bind is refused."""

    def body() -> Any:
        load()
        made = carry_out(publish.take("minirt", (), PORTS))
        order = publish.sockets(PORTS)
        found: list[Any] = []
        for index, (_, family) in enumerate(order):
            with socket.socket(fileno=made[f"port-{index}"]) as one:
                listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                only = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) if family == "6" else 0
                found.append((*one.getsockname()[:2], listens, only, one.get_inheritable()))
                kept = os.dup(one.fileno())
                with socket.socket(one.family, one.type) as second:
                    if one.type == socket.SOCK_STREAM:
                        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        second.bind(one.getsockname())
                        second.listen()
                    except OSError as error:
                        found.append(error.errno)
                os.close(kept)
        return found

    assert inside(body) == [
        ("0.0.0.0", 8080, 1, 0, False), EADDRINUSE,
        ("::", 8080, 1, 1, False), EADDRINUSE,
        ("127.0.0.2", 53, 0, 0, False), EADDRINUSE,
        ("192.0.2.1", 53, 0, 0, False), EADDRINUSE,
        ("0.0.0.0", 81, 1, 0, False), EADDRINUSE,
        ("2001:db8::1", 82, 1, 1, False), EADDRINUSE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("port", "errno", "words"),
    [
        (Port("tcp", "127.0.0.1", 8080, 80), EADDRINUSE, "another process has the port; "),
        (Port("udp", "198.51.100.1", 53, 53), EADDRNOTAVAIL, "no interface of the host has this address"),
    ],
)
def test_net_11_a_port_that_cannot_be_had(port: Port, errno: int, words: str) -> None:
    """NET-11: nothing of it is left: no element, no socket."""
    plan = publish.take("minirt", ENDPOINTS, [port])

    def body() -> Any:
        load()
        taken = socket.create_server(("127.0.0.1", 8080))
        before = os.listdir("/proc/self/fd")
        try:
            carry_out(plan)
        except execute.StepError as error:
            return error.index, error.errno, elements(), os.listdir("/proc/self/fd") == before, taken.fileno() > 0
        return None

    index, found, left, closed, _ = inside(body)
    assert (found, left, closed) == (errno, {}, True)
    assert plan.steps[index].args[0] == Fd("port-0")
    assert words.rstrip("; ") in text.failure(plan, index, errno)[0]


def test_a_host_without_ipv6() -> None:
    """The second socket of a port of every address is left out where the family is unknown."""
    plan = publish.take("minirt", (), PORTS[:1])
    steps = [one for one in plan.steps if one.op != "netlink" and one.args[:1] != (Flags("AF_NETLINK"),)]
    foreign = [
        Step("socket", Flags("48"), *one.args[1:], out=str(*one.out), actor=HOST, tolerate=one.tolerate)
        if one.args[:1] == (Flags("AF_INET6"),)
        else one
        for one in steps
    ]
    assert inside(lambda: sorted(run(*foreign))) == ["port-0"]


def test_setsockopt_bind_and_listen_by_themselves() -> None:
    def body() -> Any:
        ip("link set lo up")
        made = run(
            step("socket", Flags("AF_INET"), Flags("SOCK_STREAM|SOCK_CLOEXEC"), NONE, out="it"),
            step("setsockopt", Fd("it"), Flags("SOL_SOCKET"), Flags("SO_REUSEADDR"), 1),
            step("bind", Fd("it"), Socket("127.0.0.1", 0)),
            step("listen", Fd("it"), 1),
        )
        with socket.socket(fileno=made["it"]) as it:
            return it.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), it.getsockname()[0]

    assert inside(body) == (1, "127.0.0.1")


def test_a_batch_of_nothing_cannot_be_said() -> None:
    wrong = Elements("NFT_MSG_NEWSETELEM", "inet", "minirt", "ports4", ("inet_service",), (), ((1, 2),))
    for batch in (Batch(()), Batch((wrong,)), Batch([wrong] * 1023)):
        with pytest.raises(InvalidValue):
            flat.encode(Plan((step("netlink", Fd("it"), batch),)))
