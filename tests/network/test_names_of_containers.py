# SPDX-License-Identifier: Apache-2.0
"""Containers find each other by name, through the C library's own resolver and the files that they were given.

Inside is the host's python3 (tests/network/boxes.py), so getaddrinfo(3) is glibc's: hosts(5), then resolv.conf(5).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dns
import exchange
import runner
import traces
import world as worlds
from boxes import Box, debian, gateway_of
from runner import Minirt
from world import World

LOOK = """
import socket, sys
for name in sys.argv[1:]:
    try:
        found = {row[4][0] for row in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}
    except OSError as error:
        found = {error.strerror}
    print(" ".join(sorted(found)))
"""
UNKNOWN = ("Name or service not known", "No address associated with hostname")
SLEEP = ("localhost/busybox", "sleep", "1000")


def looked_up(mine: Minirt, container: str, *names: str) -> list[list[str]]:
    """What getaddrinfo(3) says inside a running container, for each name."""
    lines = mine.ok("exec", container, exchange.PYTHON, "-IS", "-c", LOOK, *names).splitlines()
    return [line.split() if line not in UNKNOWN else [] for line in lines]


def look_up(mine: Minirt, container: str, name: str) -> list[str]:
    return looked_up(mine, container, name)[0]


def address_of(mine: Minirt, name: str) -> str:
    """Of a container that was not started by `start`."""
    box = Box(mine, name)
    try:
        return box.address4
    finally:
        box.namespace.close()


@pytest.fixture
def net(networked: Minirt) -> Minirt:
    """With the networks `one` and `two`."""
    networked.ok("network", "create", "one")
    networked.ok("network", "create", "two")
    return networked


def test_every_name_of_a_container(net: Minirt, start: Callable[..., Box]) -> None:
    web = start("Web_1", "--network", "one", "--network-alias", "shop", "--network-alias", "a.b.example",
                "--hostname", "mill")  # fmt: skip
    start("seeker", "--network", "one")
    short = net.ok("inspect", "-f", "{{.Id}}", "Web_1")[:12]
    for name in ("Web_1", "web_1", "WEB_1", short, "shop", "a.b.example", "mill"):
        assert look_up(net, "seeker", name) == [web.address4], name
    for name in ("Web", "nobody", "shop_"):
        assert look_up(net, "seeker", name) == [], name
    assert look_up(net, "Web_1", "Web_1") == [web.address4], "itself"
    with web:
        assert dns.ask(dns.reverse(web.address4), "PTR", server=web.gateway).answers == ["web_1"]


def test_the_very_first_question(net: Minirt) -> None:
    """Each run finds itself and its neighbour, the one that starts the resolver too."""
    net.ok("run", "-d", "--name", "web", "--network", "two", *SLEEP)
    usr = debian(net.rootfs)
    for _ in range(4):
        for network in ("one", "two"):
            command = ("--name", "me", "--rootfs", net.rootfs, exchange.PYTHON, "-IS", "-c", LOOK, "me", "web")
            me, web = net.ok("run", "--rm", "--network", network, *usr, *command).splitlines()
            assert me not in UNKNOWN
            assert (web not in UNKNOWN) == (network == "two")


def test_an_alias_of_several(net: Minirt, start: Callable[..., Box]) -> None:
    boxes = [start(f"web{number}", "--network", "one", "--network-alias", "web") for number in range(3)]
    assert look_up(net, "web0", "web") == sorted(box.address4 for box in boxes)
    net.ok("stop", "-t", "0", "web1")
    assert look_up(net, "web0", "web") == sorted(box.address4 for box in (boxes[0], boxes[2]))


def test_names_of_another_network_are_unknown(net: Minirt, start: Callable[..., Box]) -> None:
    start("here", "--network", "one")
    start("there", "--network", "two")
    assert look_up(net, "here", "there") == []


def test_default_network_has_no_names(net: Minirt, start: Callable[..., Box]) -> None:
    """As Docker has it. The name servers are the host's."""
    start("left")
    start("right")
    settings = net.ok("exec", "right", "cat", "/etc/resolv.conf")
    assert gateway_of(net, "bridge", "inet") not in settings
    assert traces.count(net)["resolvers"] == 0


def test_the_resolver_lives_as_long_as_somebody_is_there(net: Minirt) -> None:
    net.ok("run", "-d", "--name", "left", "--network", "one", *SLEEP)
    net.ok("run", "-d", "--name", "right", "--network", "one", *SLEEP)
    net.ok("run", "-d", "--name", "alone", "--network", "two", *SLEEP)
    assert traces.count(net)["resolvers"] == 2
    net.ok("rm", "-f", "left")
    assert traces.count(net)["resolvers"] == 2
    net.ok("rm", "-f", "right")
    assert traces.count(net)["resolvers"] == 1
    net.ok("stop", "-t", "0", "alone")
    assert traces.count(net)["resolvers"] == 0
    assert not [name for _, _, names in os.walk(net.state / "networks") for name in names]
    net.ok("start", "alone")
    assert traces.count(net)["resolvers"] == 1


def test_ipv6(networked: Minirt, start: Callable[..., Box]) -> None:
    networked.ok("network", "create", "--ipv6", "six")
    networked.ok("network", "create", "four")
    web = start("web", "--network", "six")
    start("seeker", "--network", "six")
    assert look_up(networked, "seeker", "web") == sorted([web.address4, web.address6])
    with web:
        gateway6 = gateway_of_box(web)
        assert dns.ask("web", "AAAA", server=gateway6).answers == [web.address6]
    plain = start("plain", "--network", "four")
    with plain:
        assert dns.ask("plain", "AAAA", server=plain.gateway)[:2] == ("NOERROR", [])


def gateway_of_box(box: Box) -> str:
    return box.address6.rpartition(":")[0] + ":1"


def test_several_networks(net: Minirt, start: Callable[..., Box]) -> None:
    """One that is on two networks finds everybody of both, who comes later too; those do not find each other."""
    left = start("left", "--network", "one", "--network-alias", "l")
    both = start("both", "--network", "one", "--network", "two")
    right = start("right", "--network", "two", "--network-alias", "r")
    assert looked_up(net, "both", "left", "l", "right", "r") == [[left.address4]] * 2 + [[right.address4]] * 2
    assert look_up(net, "left", "both") == [both.address()]
    assert look_up(net, "right", "both") == [both.address("eth1")]
    assert look_up(net, "left", "right") == []
    net.ok("rm", "-f", "right")
    assert look_up(net, "both", "right") == []


def test_connected_while_it_runs(net: Minirt, start: Callable[..., Box]) -> None:
    """A container of the default network finds those of the one that it is connected to, and is found, until it is
    disconnected."""
    web = start("web", "--network", "one")
    box = start("box")
    net.ok("network", "connect", "--alias", "guest", "one", "box")
    assert look_up(net, "box", "web") == [web.address4]
    assert look_up(net, "web", "guest") == look_up(net, "web", "box") == [box.address("eth1")]
    net.ok("network", "connect", "two", "box")
    other = start("other", "--network", "two")
    assert looked_up(net, "box", "web", "other") == [[web.address4], [other.address4]]
    net.ok("network", "disconnect", "one", "box")
    assert looked_up(net, "box", "web", "other") == [[], [other.address4]]
    assert look_up(net, "web", "box") == []


def test_own_name_servers(net: Minirt, world: World, start: Callable[..., Box], short_dir: Path) -> None:
    """--dns: those servers are asked, and neighbours are found all the same, who comes later too."""
    log = short_dir / "asked"
    log.touch()
    server = Path(dns.__file__).with_name("nameserver.py")
    with world.outside:
        outside = exchange.program(exchange.PYTHON, "-IS", server, log, worlds.OUTSIDE, ready="udp:53")
        outside.__enter__()
    try:
        start("box", "--network", "one", "--dns", worlds.OUTSIDE, "--dns-search", "outside", "--dns-option", "ndots:2")
        web = start("web", "--network", "one")
        assert net.ok("exec", "box", "cat", "/etc/resolv.conf").splitlines() == [
            f"nameserver {worlds.OUTSIDE}", "search outside", "options ndots:2",
        ]  # fmt: skip
        assert looked_up(net, "box", "www.outside", "www", "web") == [["203.0.113.7"], ["203.0.113.7"], [web.address4]]
        assert "web" not in {line.split()[0] for line in log.read_text().splitlines()}
        net.ok("rm", "-f", "web")
        assert web.address4 not in net.ok("exec", "box", "cat", "/etc/hosts")
    finally:
        outside.__exit__(None, None, None)


def test_who_shares_a_network_shares_its_names(net: Minirt, start: Callable[..., Box]) -> None:
    web = start("web", "--network", "one")
    start("box", "--network", "one", "--add-host", "far:192.0.2.200")
    start("guest", "--network", "container:box", ports=(81,))
    for name in ("hosts", "resolv.conf", "hostname"):
        assert net.ok("exec", "guest", "cat", f"/etc/{name}") == net.ok("exec", "box", "cat", f"/etc/{name}")
    assert looked_up(net, "guest", "web", "far") == [[web.address4], ["192.0.2.200"]]


def test_host_gateway(net: Minirt, start: Callable[..., Box]) -> None:
    """--add-host NAME:host-gateway leads to the host's servers."""
    start("box", "--network", "one", "--add-host", "up:host-gateway")
    assert look_up(net, "box", "up") == [gateway_of(net, "one", "inet")]
    net.fails("run", "--rm", "--network", "none", "--add-host", "up:host-gateway", "localhost/busybox", "true",
              code=125, says="the host is not reached from this container's networks")  # fmt: skip


def test_macvlan(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """No resolver is reached from there: neighbours stand in hosts."""
    options = ("--driver", "macvlan", "--opt", f"parent={worlds.UPLINK}", "--subnet", "192.0.2.0/24")
    networked.ok("network", "create", *options, "--ip-range", "192.0.2.128/25", "lan")
    first = start("first", "--network", "lan")
    second = start("second", "--network", "lan", "--network-alias", "twin")
    assert look_up(networked, "first", "twin") == [second.address4]
    assert look_up(networked, "second", "first") == [first.address4]
    networked.ok("rm", "-f", "second")
    assert "twin" not in networked.ok("exec", "first", "cat", "/etc/hosts")


def test_new_name(net: Minirt, start: Callable[..., Box]) -> None:
    web = start("web", "--network", "one")
    start("seeker", "--network", "one")
    net.ok("rename", "web", "shop")
    assert looked_up(net, "seeker", "shop", "web") == [[web.address4], []]


def test_restart_brings_names_up_to_date(net: Minirt) -> None:
    usr = debian(net.rootfs)
    for name in ("web", "seeker"):
        net.ok("run", "-d", "--name", name, "--network", "one", *usr, "--rootfs", net.rootfs, "sleep", "1000")
    net.ok("stop", "-t", "0", "web")
    assert look_up(net, "seeker", "web") == []
    net.ok("run", "-d", "--name", "taker", "--network", "one", *SLEEP)
    net.ok("start", "web")
    assert look_up(net, "seeker", "web") == [address_of(net, "web")]
    assert f"{address_of(net, 'web')}\t" in net.ok("exec", "web", "cat", "/etc/hosts")


def test_ended_by_itself(net: Minirt, start: Callable[..., Box]) -> None:
    """A container that ends unobserved is forgotten by the next command that looks at it."""
    start("seeker", "--network", "one")
    net.ok("run", "-d", "--rm", "--name", "brief", "--network", "one", "localhost/busybox", "sleep", "0.2")
    runner.eventually(lambda: "brief" not in net.ok("ps", "-a", "--format", "{{.Names}}").splitlines())
    assert look_up(net, "seeker", "brief") == []


@pytest.mark.parametrize(
    "heal", [("network", "reload"), ("run", "--rm", "--network", "one", "localhost/busybox", "true")]
)
def test_resolver_was_killed(net: Minirt, start: Callable[..., Box], heal: tuple[str, ...]) -> None:
    """The next start on its network, or a reload, brings it back with everybody's names."""
    web = start("web", "--network", "one")
    start("seeker", "--network", "one")
    for pid in traces.processes("dnsmasq"):
        os.kill(pid, 9)
    runner.eventually(lambda: not traces.processes("dnsmasq"))
    net.ok(*heal)
    assert look_up(net, "seeker", "web") == [web.address4]


def test_reload_brings_nothing_back_for_the_dead(net: Minirt, start: Callable[..., Box]) -> None:
    """Monitor and resolver were killed, and nobody has looked since: a reload starts no resolver for nobody."""
    box = start("box", "--network", "one")
    status = Path(f"/proc/{box.pid}/status").read_text()
    monitor = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
    for pid in (monitor, *traces.processes("dnsmasq")):
        os.kill(pid, 9)
    runner.eventually(lambda: not traces.processes("dnsmasq") and not os.path.exists(f"/proc/{box.pid}/exe"))
    net.ok("network", "reload")
    assert traces.count(net)["resolvers"] == traces.count(net)["rows of endpoints"] == 0


def test_twenty_starts_at_once(net: Minirt) -> None:
    """None is forgotten, whichever order they come in; and of as many ends none is left."""
    usr = debian(net.rootfs)
    names = [f"c{number}" for number in range(20)]
    net.ok("run", "-d", "--name", "seeker", "--network", "one", *usr, "--rootfs", net.rootfs, "sleep", "1000")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: net.ok("run", "-d", "--name", name, "--network", "one", *SLEEP), names))
    assert looked_up(net, "seeker", *names) == [[address_of(net, name)] for name in names]
    assert traces.count(net)["resolvers"] == 1
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: net.ok("rm", "-f", name), names))
    assert looked_up(net, "seeker", *names) == [[]] * len(names)


def test_dnsmasq_is_missing(net: Minirt, short_dir: Path) -> None:
    """Only user networks need it; its package is named, and nothing is left of the container."""
    (short_dir / "empty").touch(mode=0o644)
    program = "/usr/sbin/dnsmasq"
    mounted("--bind", str(short_dir / "empty"), program)
    try:
        before = traces.count(net)
        message = net.fails("run", "--rm", "--network", "one", "localhost/busybox", "true", code=125,
                            says="dnsmasq is missing")  # fmt: skip
        assert "apt install dnsmasq-base" in message
        assert traces.more(before, traces.count(net)) == []
        assert net.ok("ps", "-aq") == ""
        net.ok("run", "--rm", "localhost/busybox", "true")
    finally:
        mounted(program)


def mounted(*words: str) -> None:
    """mount(8), or umount(8) of a single path, in this worker's mount namespace."""
    subprocess.run([*(("umount",) if len(words) == 1 else ("mount",)), *words], check=True)
