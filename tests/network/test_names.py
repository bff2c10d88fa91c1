# SPDX-License-Identifier: Apache-2.0
"""What a network's resolver answers, whom it asks, and who gets no answer: a real dnsmasq on a bridge made here.

What containers see of it by the command line is in test_names_of_containers.py.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import dns
import exchange
import resolving
import runner
import world
from minirt.network import resolver
from resolving import GATEWAY, GATEWAY6, NAMESERVER, UPSTREAM, UPSTREAM6, Site, dnsmasqs, plugged

MOST_CONNECTIONS = 20  # dnsmasq's own limit, a process each


@pytest.fixture
def site(short_dir: Path) -> Iterator[Site]:
    with resolving.made(short_dir) as made:
        yield made


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that dnsmasq sees: on /tmp it has its own."""
    with tempfile.TemporaryDirectory(prefix="mrt-", dir="/run") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("server", [GATEWAY, GATEWAY6])
@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("web_1", "A", "NOERROR", ["172.30.0.2"]),
        ("WEB_1.", "AAAA", "NOERROR", ["fd00:30::2"]),
        ("0123456789ab", "A", "NOERROR", ["172.30.0.2"]),
        ("api", "A", "NOERROR", ["172.30.0.2", "172.30.0.3"]),
        ("db.example", "A", "NOERROR", ["172.30.0.3"]),
        ("db.example", "AAAA", "NOERROR", []),
        ("web_1", "MX", "NOERROR", []),
        ("nobody", "A", "NXDOMAIN", []),
        (dns.reverse("172.30.0.2"), "PTR", "NOERROR", ["web_1"]),
        (dns.reverse("fd00:30::2"), "PTR", "NOERROR", ["web_1"]),
        (dns.reverse("172.30.0.77"), "PTR", "NXDOMAIN", []),
    ],
)
def test_names_of_the_network(
    site: Site, name: str, kind: str, code: str, answers: list[str], server: str, tcp: bool
) -> None:
    site.ensure()
    assert site.ask(name, kind, server=server, tcp=tcp)[:2] == (code, answers)
    assert site.asked() == [], "no name of a container's gets out"


def test_other_names_are_asked_of_the_host_s_servers(site: Site) -> None:
    site.ensure()
    assert site.ask("www.outside")[:2] == ("NOERROR", ["203.0.113.7"])
    assert site.ask("www.elsewhere")[:2] == ("NXDOMAIN", [])
    assert site.asked() == ["www.outside", "www.elsewhere"]


def test_servers_over_ipv6(site: Site) -> None:
    site.ensure(upstream=(UPSTREAM6,))
    assert site.ask("www.outside").answers == ["203.0.113.7"]


def test_a_first_question_is_answered(site: Site) -> None:
    """When ensure returns the resolver is bound and knows its names: no start of a container meets a deaf one."""
    for round_ in range(10):
        site.ensure({"172.30.0.2": [f"web{round_}"]})
        with site.client:
            assert dns.ask(f"web{round_}", server=GATEWAY).answers == ["172.30.0.2"]
        resolver.stop(site.directory)
        assert not resolver.alive(site.directory)


def test_names_change_while_it_runs(site: Site) -> None:
    site.ensure()
    pid = site.pid
    for round_ in range(20):
        site.ensure({"172.30.0.2": [f"web{round_}"]})
        assert site.ask(f"web{round_}").answers == ["172.30.0.2"]
        assert site.ask(f"web{round_ - 1}").code == "NXDOMAIN"
    assert site.pid == pid, "it was told, not started again"


def test_a_thousand_names(site: Site) -> None:
    names = {f"172.30.{index >> 8}.{index & 255}": [f"c{index}", f"{index:012x}", "all"] for index in range(1000)}
    site.ensure(names)
    assert site.ask("c999").answers == ["172.30.3.231"]
    assert len(site.ask("all", tcp=True).answers) == 1000


def test_follows_the_host_s_resolv_conf(site: Site, open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """upstream None: dnsmasq reads the host's file again when it was changed, without a word from us."""
    file = open_dir / "resolv.conf"
    file.write_text("search lan\noptions edns0\n")
    monkeypatch.setattr(resolver, "HOST_RESOLVERS", str(file))
    site.ensure(upstream=None)
    assert site.ask("one.outside").code == "REFUSED"
    (open_dir / "resolv.new").write_text(f"nameserver {UPSTREAM}\n")
    (open_dir / "resolv.new").rename(file)
    runner.eventually(lambda: site.ask("two.outside").answers == ["203.0.113.7"])


def test_server_on_the_host_s_loopback(site: Site, open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd-resolved's stub: the resolver runs on the host, where it is reached."""
    (open_dir / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    monkeypatch.setattr(resolver, "HOST_RESOLVERS", str(open_dir / "resolv.conf"))
    words = (exchange.PYTHON, "-IS", NAMESERVER, site.log, "127.0.0.53")
    with exchange.program(*words, ready="udp:53"):
        site.ensure(upstream=None)
        assert site.ask("www.outside").answers == ["203.0.113.7"]


def test_internal_network_asks_nobody(site: Site) -> None:
    """NET-08 (CVE-2024-29018): no data leaves an internal network in names; the same name is asked of an open one."""
    site.network.internal = True
    site.ensure()
    for kind in ("A", "AAAA", "TXT", "MX"):
        assert site.ask("secret-data.outside", kind).code == "NXDOMAIN"
        assert site.ask("secret-data.outside", kind, tcp=True).code == "NXDOMAIN"
    assert site.ask(dns.reverse("203.0.113.7"), "PTR").code == "NXDOMAIN"
    assert site.ask("api").answers == ["172.30.0.2", "172.30.0.3"]
    assert site.asked() == []
    site.network.internal = False
    site.ensure()
    assert site.ask("secret-data.outside").answers == ["203.0.113.7"]
    assert site.asked() == ["secret-data.outside"]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_who_routes_to_the_gateway_gets_no_answer(site: Site, tcp: bool) -> None:
    """A neighbour on the wire sends his questions to the bridge's address by way of the host. Other servers there hear
    him: it is the resolver that does not answer."""
    site.ensure()
    assert site.ask("api", tcp=tcp).answers == ["172.30.0.2", "172.30.0.3"]
    with site.outside:
        assert dns.silent("api", server=GATEWAY, tcp=tcp)
    with exchange.answering("host", 5353), site.outside:
        assert exchange.ask(GATEWAY, 5353).name == "host", "the way there is open"


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_other_networks_get_no_answer(site: Site, tcp: bool) -> None:
    site.ensure()
    world.ip("link add mr-other type bridge", "address add 172.31.0.1/24 dev mr-other", "link set mr-other up")
    with plugged("mr-other", "172.31.0.2/24", routes=("route add default via 172.31.0.1",)) as other, other:
        assert dns.silent("api", server=GATEWAY, tcp=tcp)


def test_only_the_bridge_s_addresses_are_bound(site: Site) -> None:
    site.ensure()
    told = subprocess.run(["ss", "-Hlntup"], capture_output=True, text=True, check=True).stdout
    mine = {(line.split()[0], line.split()[4]) for line in told.splitlines() if f"pid={site.pid}," in line}
    linked = {place for place in mine if "[fe80:" in place[1]}
    assert mine - linked == {(kind, f"{at}:53") for kind in ("tcp", "udp") for at in (GATEWAY, f"[{GATEWAY6}]")}
    assert all("%mr-names" in address for _, address in linked)


def test_flood_of_questions(site: Site) -> None:
    """NET-09: a container asks as fast as it can, for names that nobody answers; memory stays bounded, and neighbours
    are answered meanwhile."""
    site.ensure()
    with site.client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        flood.connect((GATEWAY, 53))
        for index in range(50_000):
            with contextlib.suppress(OSError):
                flood.send(dns.question(f"x{index}.late.outside" if index % 3 else "late.outside", "A", index & 0xFFFF))
            if index % 10_000 == 0:
                assert dns.ask("api", server=GATEWAY).answers == ["172.30.0.2", "172.30.0.3"]
    assert site.ask("web_1").answers == ["172.30.0.2"]
    status = Path(f"/proc/{site.pid}/status").read_text()
    resident_kb = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
    assert resident_kb < 32 << 10


def test_connections_that_say_nothing(site: Site) -> None:
    """NET-09: all the connections that there may be are taken and silent; UDP goes on, and so does the process."""
    site.ensure()
    with site.client, contextlib.ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS * 2):
            stack.enter_context(socket.create_connection((GATEWAY, 53), 5))
        assert dns.ask("api", server=GATEWAY).answers == ["172.30.0.2", "172.30.0.3"]
        assert len(dnsmasqs(site.directory)) <= 1 + MOST_CONNECTIONS
    resolver.stop(site.directory)


@pytest.mark.parametrize(
    "message", ["", "00", "ff" * 12, "1234010000010000000000000c00", "12340100000100000000" + "ff" * 500]
)
def test_malformed_questions(site: Site, message: str) -> None:
    """NET-09: neither a broken header nor a name that leads to itself (RFC 1035, 4.1.4) ends it."""
    site.ensure()
    with site.client:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as mine:
                mine.settimeout(dns.SILENCE_S)
                mine.connect((GATEWAY, 53))
                mine.send(bytes.fromhex(message) or b"\0")
    assert site.ask("api").answers == ["172.30.0.2", "172.30.0.3"]


def test_hostile_answers(site: Site) -> None:
    """NET-09: an answer of 64 kB comes whole over TCP and truncated over UDP; one that leads to itself and one with
    another number are no answers."""
    site.ensure()
    assert site.ask("big.outside", "TXT").truncated
    assert site.ask("big.outside", "TXT", tcp=True).size > 60_000
    with site.client:
        assert dns.silent("loop.outside", server=GATEWAY) or dns.ask("loop.outside", server=GATEWAY).answers == []
    assert site.ask("fake.outside").answers == ["203.0.113.7"]
    assert site.ask("api").answers == ["172.30.0.2", "172.30.0.3"]


def test_questions_leave_from_unforeseeable_ports(site: Site) -> None:
    """NET-09: who wants to forge an answer has to know the port that its question came from (RFC 5452)."""
    site.ensure()
    for index in range(12):
        assert site.ask(f"n{index}.outside").answers == ["203.0.113.7"]
    ports = {line.split()[2] for line in site.log.read_text().splitlines()}
    assert len(ports) > 6


def test_outside_cannot_speak_for_a_container(site: Site) -> None:
    """A container called like a host of the outside's: the container is meant, for every type."""
    site.ensure({"172.30.0.2": ["www.outside"]})
    assert site.ask("www.outside").answers == ["172.30.0.2"]
    assert site.ask("www.outside", "AAAA")[:2] == ("NOERROR", [])
    assert site.asked() == []
    assert site.ask("other.outside").answers == ["203.0.113.7"]


def test_names_that_no_file_can_hold(site: Site) -> None:
    """What is not a name is left out: it can neither end a line nor begin another."""
    names = ["web", "a b", "c\n172.30.0.66 evil", "d#e", "", ".", "x" * 64, "tab\tbed", "sl/ash", "ü"]
    site.ensure({"172.30.0.2": names})
    assert Path(site.directory, "hosts").read_text() == "172.30.0.2\tweb\n"
    assert site.ask("web").answers == ["172.30.0.2"]
    assert site.ask("evil").code == "NXDOMAIN"
