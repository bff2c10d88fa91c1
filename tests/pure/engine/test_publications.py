# SPDX-License-Identifier: Apache-2.0
"""The PORTS of ps, the lines of `port`, the Ports of inspect: as Docker writes them."""

from __future__ import annotations

import pytest

from minirt.engine import publications
from minirt.engine.publications import Binding
from minirt.model.network import Port

SEVERAL = (
    "7/tcp, 9000-9001/tcp, 127.0.0.1:81->81/tcp, 0.0.0.0:82-83->82-83/tcp, [::]:82-83->82-83/tcp, "
    "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
)


@pytest.fixture(autouse=True)
def speaks_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publications, "IPV6", "/dev/null")


def test_every_address_is_two() -> None:
    found = publications.bindings([Port("tcp", "", 8080, 80), Port("udp", "::1", 53, 53)])
    assert [(one.outer, one.inner) for one in found] == [
        ("0.0.0.0:8080", "80/tcp"), ("[::]:8080", "80/tcp"), ("[::1]:53", "53/udp"),
    ]  # fmt: skip


def test_host_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publications, "IPV6", "/nonexistent")
    assert [one.outer for one in publications.bindings([Port("tcp", "", 8080, 80)])] == ["0.0.0.0:8080"]


@pytest.mark.parametrize(
    ("ports", "opened", "shown"),
    [
        ([], [], ""),
        ([], ["443/tcp", "80/tcp", "81/tcp", "53/udp"], "80-81/tcp, 53/udp, 443/tcp"),
        ([("tcp", "", 8080, 80)], ["80/tcp"], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([("tcp", "127.0.0.1", 80, 80)], [], "127.0.0.1:80->80/tcp"),
        (
            [("tcp", "0.0.0.0", 8000 + n, 8000 + n) for n in range(3)] + [("tcp", "0.0.0.0", 9000, 9000)],
            ["70/tcp"],
            "0.0.0.0:8000-8002->8000-8002/tcp, 70/tcp, 0.0.0.0:9000->9000/tcp",
        ),
        (
            [("tcp", "", 8080, 80), ("tcp", "127.0.0.1", 81, 81), ("tcp", "", 82, 82), ("tcp", "", 83, 83)],
            ["7/tcp", "9000/tcp", "9001/tcp"],
            SEVERAL,
        ),
        ([("udp", "::1", 53, 53), ("udp", "::1", 54, 54)], [], "[::1]:53-54->53-54/udp"),
    ],
)
def test_column(ports: list[tuple[str, str, int, int]], opened: list[str], shown: str) -> None:
    found = publications.with_open(publications.bindings([Port(*port) for port in ports]), opened)
    assert publications.column(found) == shown


def test_mapping() -> None:
    found = [Binding("0.0.0.0", 8080, 80, "tcp"), Binding("::", 8080, 80, "tcp"), Binding("", 0, 443, "tcp")]
    assert publications.mapping(found) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "443/tcp": None,
    }
