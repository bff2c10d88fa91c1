# SPDX-License-Identifier: Apache-2.0
"""Published ports with real servers and real clients: nginx asked by curl, wget and http.client, dnsmasq over UDP, TCP;
from outside, from the host by each of its addresses, from other containers, and by the container itself.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import dns
import exchange
import runner
from boxes import Box
from runner import Minirt
from world import HOST, HOST6, OUTSIDE, OUTSIDE6, World

PAGE = os.urandom(1 << 16)
NGINX = """
daemon off; pid /run/nginx.pid; error_log stderr; worker_processes 1;
events { worker_connections 512; }
http { access_log off; client_body_temp_path /tmp; server { listen 80; listen [::]:80; root /www; } }
"""


@pytest.fixture
def nginx(networked: Minirt, start: Callable[..., Box], short_dir: Path) -> Callable[..., Box]:
    """nginx(name, *options) -> a container with Debian's nginx, which has PAGE at /page."""
    (short_dir / "www").mkdir()
    (short_dir / "www/page").write_bytes(PAGE)
    (short_dir / "nginx.conf").write_text(NGINX)

    def make(name: str, *options: str) -> Box:
        files = ["-v", f"{short_dir}/www:/www:ro", "-v", f"{short_dir}/nginx.conf:/nginx.conf:ro", "--tmpfs", "/var"]
        command = ("sh", "-c", "mkdir -p /var/lib/nginx /var/log/nginx; exec /usr/sbin/nginx -c /nginx.conf")
        return start(name, *files, *options, command=command, ready="tcp:80")

    return make


def got(address: str, port: int) -> bytes:
    """The page, by http.client."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", "/page")
        return connection.getresponse().read()
    finally:
        connection.close()


def fetched(address: str, port: int) -> bytes:
    """The page, by curl, in the current namespace."""
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}/page"
    told = subprocess.run(["curl", "-sS", "--noproxy", "*", "-m", "10", url], capture_output=True)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_nginx_from_everywhere(world: World, nginx: Callable[..., Box], start: Callable[..., Box]) -> None:
    """One port, both families, on the default network: from outside and from the wire, from the host by all of its
    addresses, from a container beside it, from one of another network, and from itself."""
    web = nginx("web", "-p", "8080:80")
    web.mine.ok("network", "create", "net")
    beside, other = start("beside"), start("other", "--network", "net")
    for place in (world.outside, world.neighbour, world.router):
        with place:
            for address in (HOST, HOST6):
                assert got(address, 8080) == fetched(address, 8080) == PAGE
    for address in ("127.0.0.1", "::1", "127.1.2.3", HOST, HOST6, web.gateway, web.address4):
        assert got(address, 8080 if address != web.address4 else 80) == PAGE, address
    for box in (beside, other, web):
        with box:
            assert got(HOST, 8080) == PAGE, f"by the host's address from {box.name}"
    for box in (beside, web):
        with box:
            assert got(web.gateway, 8080) == PAGE, f"by the gateway from {box.name}"
            assert got(web.address4, 80) == PAGE, f"directly from {box.name}"


def test_the_page_through_a_shell_inside(networked: Minirt, nginx: Callable[..., Box]) -> None:
    """As people do it: wget in one container, the other by its name on a user network."""
    networked.ok("network", "create", "net")
    nginx("web", "--network", "net", "-p", "8080:80")
    words = "run", "--rm", "--network", "net", "--rootfs", networked.rootfs, "sh", "-c", "wget -q -O - $0 | sha256sum"
    assert networked.ok(*words, "http://web/page").split()[0] == hashlib.sha256(PAGE).hexdigest()


@pytest.mark.parametrize("network", ["bridge", "both"])
def test_who_is_seen(networked: Minirt, world: World, start: Callable[..., Box], network: str) -> None:
    """A server sees its clients by their own addresses, in both protocols; over IPv6 where its network has a way out
    for that, else they come by the proxy."""
    networked.ok("network", "create", "--ipv6", "both")
    web = start("web", "-p", "8080:80", "-p", "8080:80/udp", "--network", network)
    for protocol in ("tcp", "udp"):
        for place in (world.outside, world.neighbour):
            with place:
                assert exchange.ask(HOST, 8080, protocol).peer == place.address4
                six = exchange.ask(HOST6, 8080, protocol)
                assert six.name == "web"
                assert six.peer == (place.address6 if network == "both" else web.gateway)


@pytest.mark.parametrize("address", [HOST, HOST6, "127.0.0.1", "::1", "0.0.0.0", "::"])
def test_one_address(world: World, start: Callable[..., Box], address: str) -> None:
    """A port published on one address is at no other; on 0.0.0.0 or :: it is on those of that family."""
    start("web", "-p", f"[{address}]:8080:80" if ":" in address else f"{address}:8080:80", "-p", "8081:80")
    every = [HOST, HOST6, "127.0.0.1", "::1"]
    open_at = {"0.0.0.0": [HOST, "127.0.0.1"], "::": [HOST6, "::1"]}.get(address, [address])
    for one in every:
        if one in open_at:
            assert exchange.ask(one, 8080).name == "web", one
    assert exchange.silent([one for one in every if one not in open_at], 8080, "tcp")
    with world.outside:
        for one in (HOST, HOST6):
            if one in open_at:
                assert exchange.ask(one, 8080).name == "web", one
        assert exchange.silent([one for one in (HOST, HOST6) if one not in open_at], 8080, "tcp")
        assert exchange.ask(HOST, 8081).name == "web", "the control: published everywhere"


def test_dns_through_a_published_port(world: World, start: Callable[..., Box]) -> None:
    """Debian's dnsmasq in a container, asked over UDP and TCP from outside, from the host and by its loopback."""
    words = "--keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --group=root --pid-file="
    command = ("/usr/sbin/dnsmasq", *words.split(), "--address=/web.test/203.0.113.80")
    start("dns", "-p", "53:53/udp", "-p", "53:53", "--tmpfs", "/var", command=command, ready="udp:53")
    for tcp in (False, True):
        for address in (HOST, "127.0.0.1"):
            assert dns.ask("web.test", server=address, tcp=tcp).answers == ["203.0.113.80"]
        with world.outside:
            assert dns.ask("web.test", server=HOST, tcp=tcp).answers == ["203.0.113.80"]


def test_ranges_and_many(world: World, start: Callable[..., Box]) -> None:
    """A range, several ports to one, one port twice; two hundred ports of one container work from the first to the last
    and add no rule."""
    few = start("few", "-p", "8000-8002:80-82", "-p", "8080:80", "-p", "8081:80", ports=(80, 81, 82))
    with world.outside:
        for port in (8000, 8001, 8002, 8080, 8081):
            assert exchange.ask(HOST, port).name == "few"
    ports = tuple(range(9000, 9200))
    many = start("many", "-p", "9000-9199:9000-9199", ports=ports)
    assert few.address4 != many.address4
    with world.outside:
        for port in (9000, 9001, 9100, 9198, 9199):
            assert exchange.ask(HOST, port).name == "many"
    assert exchange.ask("127.0.0.1", 9199).name == "many"


def test_the_port_moves_with_the_container(world: World, start: Callable[..., Box]) -> None:
    """stop takes the port away, start brings it back, kill -9 of what ran inside as well."""
    box = start("web", "-p", "8080:80")
    box.mine.ok("stop", "-t", "0", "web")
    with world.outside:
        assert exchange.silent((HOST, HOST6), 8080)
    assert exchange.silent(("127.0.0.1", "::1"), 8080, "tcp")
    box.mine.ok("start", "web")

    def answers() -> bool:
        with world.outside:
            return not exchange.silent(HOST, 8080, "tcp")

    runner.eventually(answers)
    box.mine.ok("kill", "web")
    runner.eventually(lambda: box.mine.ok("inspect", "-f", "{{.State.Status}}", "web") == "exited")
    with world.outside:
        assert exchange.silent((HOST, HOST6), 8080)


def test_pause(world: World, start: Callable[..., Box]) -> None:
    """A paused container keeps its ports and answers when it goes on."""
    box = start("web", "-p", "8080:80")
    box.mine.ok("pause", "web")
    with world.outside:
        assert exchange.silent(HOST, 8080)
    box.mine.ok("unpause", "web")
    with world.outside:
        assert exchange.ask(HOST, 8080).name == "web"


def test_outside_is_who_it_says(world: World, start: Callable[..., Box]) -> None:
    """The other way round: what a container asks outside comes from the host's address, in both families."""
    box = start("box")
    with world.outside, exchange.answering("outside", 80), box:
        assert exchange.ask(OUTSIDE, 80) == ("outside", HOST, b"")
        assert exchange.ask(OUTSIDE, 80, "udp", b"x") == ("outside", HOST, b"x")
        assert exchange.silent(OUTSIDE6, 80), "the default network's IPv6 is for published ports and neighbours only"
