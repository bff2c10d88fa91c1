# SPDX-License-Identifier: Apache-2.0
"""-p, -P, `port`, the PORTS of ps, the ports of inspect: as Docker's users know them."""

from __future__ import annotations

import json
import socket

import pytest

from runner import Minirt

SLEEP = ("localhost/busybox", "sleep", "1000")


def run(mine: Minirt, *options: str) -> str:
    return mine.ok("run", "-d", "--name", "web", *options, *SLEEP)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("-p", "8080:80"), ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
        (("-p", "127.0.0.1:8080:80"), ["80/tcp -> 127.0.0.1:8080"]),
        (("-p", "0.0.0.0:8080:80"), ["80/tcp -> 0.0.0.0:8080"]),
        (("-p", "[::1]:8080:80"), ["80/tcp -> [::1]:8080"]),
        (("-p", "8053:53/udp"), ["53/udp -> 0.0.0.0:8053", "53/udp -> [::]:8053"]),
        (
            ("-p", "127.0.0.1:8000-8001:80-81"),
            ["80/tcp -> 127.0.0.1:8000", "81/tcp -> 127.0.0.1:8001"],
        ),
        (("-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp"), [
            "80/tcp -> 127.0.0.1:8080", "80/udp -> 127.0.0.1:8080",
        ]),
        (("--publish", "published=8080,target=80"), ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
    ],
)  # fmt: skip
def test_port(networked: Minirt, options: tuple[str, ...], lines: list[str]) -> None:
    run(networked, *options)
    assert networked.ok("port", "web").splitlines() == lines
    place, _, address = lines[0].partition(" -> ")
    assert address in networked.ok("port", "web", place).splitlines()
    shown = networked.ok("ps", "--format", "{{.Ports}}")
    assert f"{address}->{place}" in shown or "-8001->" in shown or "-81" in shown
    networked.ok("stop", "-t", "0", "web")
    assert networked.ok("port", "web") == networked.ok("ps", "-a", "--format", "{{.Ports}}") == ""


def test_any_free_port(networked: Minirt) -> None:
    """-p 80 takes one of the host's ephemeral range; each start may take another."""
    run(networked, "-p", "80")
    (first, second) = networked.ok("port", "web", "80").splitlines()
    number = int(first.rpartition(":")[2])
    assert second == f"[::]:{number}"
    assert 32768 <= number <= 60999


def test_first_free_of_a_range(networked: Minirt) -> None:
    networked.ok("run", "-d", "--name", "other", "-p", "8000:1", *SLEEP)
    run(networked, "-p", "8000-8001:80")
    assert networked.ok("port", "web", "80/tcp").splitlines()[0] == "0.0.0.0:8001"
    networked.fails(
        "run", "--rm", "-p", "8000-8001:80", "localhost/busybox", "true", code=125, says="all ports are allocated"
    )


def test_publish_all(networked: Minirt) -> None:
    run(networked, "-P", "--expose", "80", "--expose", "53/udp", "-p", "127.0.0.1:8080:80")
    assert networked.ok("port", "web", "80").splitlines() == ["127.0.0.1:8080"]
    assert networked.ok("port", "web", "53/udp").startswith("0.0.0.0:")


def test_exposed_ports_are_shown(networked: Minirt) -> None:
    """Open, and not published: ps says so, `port` does not."""
    run(networked, "--expose", "7000-7002", "-p", "127.0.0.1:80:80")
    assert networked.ok("ps", "--format", "{{.Ports}}") == "127.0.0.1:80->80/tcp, 7000-7002/tcp"
    assert networked.ok("port", "web") == "80/tcp -> 127.0.0.1:80"
    assert networked.ok("ps", "-q", "--filter", "expose=7001").strip()
    assert networked.ok("ps", "-q", "--filter", "publish=80").strip()
    assert networked.ok("ps", "-q", "--filter", "publish=81") == ""


def test_inspect(networked: Minirt) -> None:
    run(networked, "-p", "127.0.0.1:8080:80", "--expose", "443")
    found = json.loads(networked.ok("inspect", "web"))[0]
    assert found["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "443/tcp": None,
    }  # fmt: skip
    assert found["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert found["HostConfig"]["PublishAllPorts"] is False
    assert found["Config"]["ExposedPorts"] == {"80/tcp": {}, "443/tcp": {}}
    template = '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'
    assert networked.ok("inspect", "-f", template, "web") == "8080"


def test_privileged_port(networked: Minirt) -> None:
    """Below 1024, free: published; the same once more: refused, with the name of who has it."""
    run(networked, "-p", "80:80")
    told = networked.fails("run", "--rm", "-p", "80:80", "localhost/busybox", "true", code=125)
    assert told.splitlines()[0] == "minirt: Bind for 0.0.0.0:80 failed: port is already allocated by container web"


def test_port_of_a_process(networked: Minirt) -> None:
    """Named as well, and nothing is started."""
    with socket.create_server(("127.0.0.1", 8080)):
        told = networked.fails("run", "-p", "8080:80", "localhost/busybox", "true", code=125)
    assert told.splitlines()[0].startswith("minirt: Bind for 0.0.0.0:8080 failed: port is already allocated by process")
    assert networked.ok("ps", "-aq") == ""


def test_port_words(networked: Minirt) -> None:
    run(networked, "-p", "127.0.0.1:8080:80")
    networked.fails("port", "web", "81", code=1, says="no public port '81/tcp' published for web")
    networked.fails("port", "web", "80/udp", code=1, says="no public port '80/udp' published for web")
    networked.fails("port", "web", "eighty", code=1, says="invalid port 'eighty'")
    networked.fails("port", "nosuch", code=1, says="No such container: nosuch")
    assert networked.ok("container", "port", "web", "80/tcp") == "127.0.0.1:8080"
