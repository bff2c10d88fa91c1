# SPDX-License-Identifier: Apache-2.0
"""NET-08, NET-09: the resolver of a network in hostile hands: as a way out of an internal network, under a flood, and
fed by an upstream that lies (RFC 1035).

The resolver by itself is in tests/network/test_names.py; here it is what `run` started, asked by containers.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dns
import exchange
import traces
from boxes import Box, gateway_of
from runner import Minirt
from world import OUTSIDE, World

NAMESERVER = Path(dns.__file__).with_name("nameserver.py")
RESIDENT_LIMIT_KIB = 32 * 1024
FLOOD = 20_000


@pytest.fixture
def asked(world: World, short_dir: Path) -> Iterator[Path]:
    """A name server outside, and a host that asks it: the file where it notes every question."""
    log, settings = short_dir / "asked", short_dir / "resolv.conf"
    log.touch()
    settings.write_text(f"nameserver {OUTSIDE}\n")
    with contextlib.ExitStack() as stack:
        with world.outside:
            stack.enter_context(exchange.program(exchange.PYTHON, "-IS", NAMESERVER, log, OUTSIDE, ready="udp:53"))
        subprocess.run(["mount", "--bind", str(settings), "/etc/resolv.conf"], check=True)
        stack.callback(subprocess.run, ["umount", "/etc/resolv.conf"], check=True)
        yield log


def test_net_08_no_tunnel_out_of_an_internal_network(networked: Minirt, asked: Path, start: Callable[..., Box]) -> None:
    """NET-08 (CVE-2024-29018): questions of a container on an internal network, of any type, by UDP or TCP, never get
    to the host's name servers; names of its own network are answered. Other networks' questions get there."""
    networked.ok("network", "create", "--internal", "cell")
    networked.ok("network", "create", "open")
    prisoner, free = start("prisoner", "--network", "cell"), start("free", "--network", "open")
    start("mate", "--network", "cell")
    cell, gateway = (gateway_of(networked, name, "inet") for name in ("cell", "open"))
    with prisoner:
        for kind in ("A", "AAAA", "TXT", "MX", "PTR"):
            for tcp in (False, True):
                reply = dns.ask("secret.outside", kind, server=cell, tcp=tcp)
                assert reply.code in ("NXDOMAIN", "REFUSED") and not reply.answers
        assert dns.silent("secret.outside", server=OUTSIDE), "nor directly"
        assert dns.silent("secret.outside", server=gateway), "nor by the resolver of another network"
        assert dns.ask("mate", server=cell).code == "NOERROR"
    assert asked.read_text() == ""
    with free:
        assert dns.ask("open.outside", server=gateway) == dns.ask("open.outside", server=gateway)
    assert "open.outside" in asked.read_text(), "the control: a network that is not internal"


def resident_kib(pid: int) -> int:
    """The most that it ever had (proc(5), VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def test_net_09_a_flood(networked: Minirt, asked: Path, start: Callable[..., Box]) -> None:
    """NET-09: a container asks tens of thousands of questions without waiting for answers, and sends rubbish: the
    resolver's memory stays small, it is the same process, and a peer's questions are answered."""
    networked.ok("network", "create", "net")
    attacker, peer = start("attacker", "--network", "net"), start("peer", "--network", "net")
    (resolver,) = traces.processes("dnsmasq")
    gateway = gateway_of(networked, "net", "inet")
    with attacker, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        out.connect((gateway, 53))
        for number in range(FLOOD):
            message = dns.question(f"x{number}.outside", "A", number % 65536)
            with contextlib.suppress(OSError):
                out.send(message if number % 4 else os.urandom(100))
    with peer:
        assert dns.ask("attacker", server=gateway).answers == [attacker.address4]
        assert dns.ask("good.outside", server=gateway).code == "NOERROR"
    assert traces.processes("dnsmasq") == [resolver]
    assert resident_kib(resolver) < RESIDENT_LIMIT_KIB


def test_net_09_answers_that_lie(networked: Minirt, asked: Path, start: Callable[..., Box]) -> None:
    """NET-09: 64 kB answers, names that lead to themselves, answers to other questions, and answers from outside about
    a container's name: peers still resolve, a container's name stays the container's."""
    networked.ok("network", "create", "net")
    box, peer = start("box", "--network", "net"), start("peer", "--network", "net")
    (resolver,) = traces.processes("dnsmasq")
    gateway = gateway_of(networked, "net", "inet")
    with box:
        for name in ("big.outside", "loop.outside", "fake.outside", "peer.outside"):
            for tcp in (False, True):
                with contextlib.suppress(OSError):
                    dns.ask(name, "TXT" if name.startswith("big") else "A", server=gateway, tcp=tcp, patience_s=0.5)
        assert dns.ask("peer", server=gateway).answers == [peer.address4]
        assert dns.ask("good.outside", server=gateway).code == "NOERROR"
    assert traces.processes("dnsmasq") == [resolver]
    assert resident_kib(resolver) < RESIDENT_LIMIT_KIB


@pytest.mark.parametrize("alias", ["a b", "x\n10.0.0.1 bank", "*", "", "-" * 300, "a/b", "#", "a\0b"])
def test_net_09_names_that_are_none(networked: Minirt, alias: str) -> None:
    """NET-09: an alias that no file of names could hold is refused, and nothing of it is written."""
    networked.ok("network", "create", "net")
    if "\0" in alias:
        alias = alias.replace("\0", "\x01")
    options = ["--network", "net", "--network-alias", alias, "--rootfs", str(networked.rootfs)]
    networked.fails("run", "--rm", *options, "true", code=125)
