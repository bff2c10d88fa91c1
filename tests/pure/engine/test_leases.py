# SPDX-License-Identifier: Apache-2.0
"""Which address, MAC and port a container gets, and who is named where it is another's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirt.engine import leases, network_db
from minirt.engine.db import Database, Row
from minirt.engine.network_flags import Wanted, WantedPort
from minirt.errors import Conflict, InvalidValue
from minirt.model.network import Endpoint, Network, Port

WEB, DNS = "a" * 64, "b" * 64
SMALL = Network(
    "1" * 64, "small", "bridge", "mr-111111111111", subnet4="172.20.0.0/29", gateway4="172.20.0.1",
    subnet6="fd00:1::/64", gateway6="fd00:1::1",
)  # fmt: skip
INSIDE = Network("2" * 64, "inside", "bridge", "mr-222222222222", subnet4="172.21.0.0/24", internal=True)
DEFAULT = Network("3" * 64, "bridge", "bridge", "minirt0", subnet4="172.17.0.0/16", subnet6="fd00:3::/64")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(str(tmp_path / "minirt.db"))
    for identity, name in ((WEB, "web"), (DNS, "dns")):
        made.insert(Row(identity, name, "", None, "[]", 1, "running", "{}", 0, None, None, None, None, None))
    for network in (SMALL, INSIDE, DEFAULT):
        network_db.insert_network(made, network)
    return made


def wanted(address4: str = "", mac: str = "", address6: str = "") -> Wanted:
    one = Wanted("small")
    one.address4, one.mac, one.address6 = address4, mac, address6
    return one


def take(database: Database, container: str, one: Wanted, *ports: WantedPort) -> tuple[Endpoint, list[Port]]:
    [place], published = network_db.lease(
        database, container, lambda: leases.choose(database, container, [(SMALL, one)], ports, set())
    )
    return place, published


def test_first_free_addresses(database: Database) -> None:
    one, _ = take(database, WEB, wanted())
    assert (one.address4, one.prefix4, one.mac) == ("172.20.0.2", 29, "02:42:ac:14:00:02")
    assert (one.address6, one.prefix6) == ("fd00:1::2", 64)
    assert (one.interface, one.index) == ("eth0", 100)
    assert one.veth[:4] == "veth" and len(one.veth) == 11 and set(one.veth[4:]) <= set("0123456789abcdef")
    two, _ = take(database, DNS, wanted())
    assert (two.address4, two.address6) == ("172.20.0.3", "fd00:1::3")


def test_full_subnet_names_the_network_and_its_holders(database: Database) -> None:
    for number in range(5):
        identity = f"{number:064x}"
        database.insert(Row(identity, f"n{number}", "", None, "[]", 1, "running", "{}", 0, *[None] * 5))
        take(database, identity, wanted())
    with pytest.raises(leases.Held, match=r"no available addresses on the network small \(172.20.0.0/29\)") as caught:
        take(database, WEB, wanted())
    assert caught.value.holders == {f"{number:064x}" for number in range(5)}


def test_address_that_is_taken_or_no_hosts(database: Database) -> None:
    take(database, WEB, wanted("172.20.0.4"))
    with pytest.raises(leases.Held, match=r"Address already in use: 172.20.0.4") as caught:
        take(database, DNS, wanted("172.20.0.4"))
    assert caught.value.holders == {WEB} and "web" in caught.value.remedy
    with pytest.raises(Conflict, match="Address already in use"):
        take(database, DNS, wanted("172.20.0.1"))
    for address in ("172.21.0.4", "172.20.0.8", "172.20.0.0", "172.20.0.7"):
        with pytest.raises(InvalidValue, match=f"invalid address {address}"):
            take(database, DNS, wanted(address))
    with pytest.raises(leases.Held, match="fd00:1::2"):
        take(database, DNS, wanted(address6="fd00:1::2"))
    assert network_db.holders(database) == {WEB}


def test_mac_that_another_was_given_by_name(database: Database) -> None:
    take(database, WEB, wanted("172.20.0.5", "02:42:ac:14:00:02"))
    one, _ = take(database, DNS, wanted())
    assert one.address4 == "172.20.0.2"
    assert one.mac != "02:42:ac:14:00:02" and one.mac.startswith("02:")
    with pytest.raises(leases.Held, match="02:42:ac:14:00:02 is already in use on network small"):
        take(database, "c" * 64, wanted(mac="02:42:ac:14:00:02"))


def test_ipv6_where_there_is_none(database: Database) -> None:
    with pytest.raises(InvalidValue, match="does not belong to any of this network's subnets"):
        leases.endpoint(database, WEB, INSIDE, wanted(address6="fd00::1"), 0)


@pytest.mark.parametrize(
    ("there", "here", "clash"),
    [
        ("", "", True), ("", "127.0.0.1", True), ("127.0.0.1", "", True), ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False), ("0.0.0.0", "::", False), ("0.0.0.0", "127.0.0.1", True),
        ("::", "::1", True), ("::1", "127.0.0.1", False), ("10.0.0.1", "0.0.0.0", True), ("", "::1", True),
    ],
)  # fmt: skip
def test_port_that_another_has(database: Database, there: str, here: str, clash: bool) -> None:
    take(database, WEB, wanted(), WantedPort("tcp", there, 8080, 80))
    if clash:
        said = rf"Bind for {leases.shown(here, 8080)} failed: port is already allocated by container web"
        with pytest.raises(leases.Held, match=said.replace("[", r"\[").replace("]", r"\]")):
            take(database, DNS, wanted(), WantedPort("tcp", here, 8080, 80))
        assert network_db.holders(database) == {WEB}
    else:
        take(database, DNS, wanted(), WantedPort("tcp", here, 8080, 80))


def test_other_protocol_is_another_port(database: Database) -> None:
    take(database, WEB, wanted(), WantedPort("tcp", "", 53, 53))
    _, [port] = take(database, DNS, wanted(), WantedPort("udp", "", 53, 53))
    assert (port.protocol, port.host_port, port.target4, port.target6) == ("udp", 53, "172.20.0.3", "fd00:1::3")


def test_same_port_twice_in_one_container(database: Database) -> None:
    with pytest.raises(leases.Held, match="already allocated"):
        take(database, WEB, wanted(), WantedPort("tcp", "", 8080, 80), WantedPort("tcp", "", 8080, 81))


def test_ranges_leave_room_for_fixed_ports(database: Database) -> None:
    """Whatever the order they are written in."""
    _, ports = take(
        database, WEB, wanted(), WantedPort("tcp", "", 8000, 80, 8002), WantedPort("tcp", "", 8000, 81),
        WantedPort("tcp", "", 8000, 82, 8001),
    )  # fmt: skip
    assert [(port.container_port, port.host_port) for port in ports] == [(80, 8002), (81, 8000), (82, 8001)]
    with pytest.raises(leases.Held, match="all ports are allocated"):
        take(database, DNS, wanted(), WantedPort("tcp", "", 8000, 80, 8002))


def test_any_port_is_of_the_ephemeral_range(database: Database) -> None:
    first, last = leases.ephemeral()
    _, ports = take(database, WEB, wanted(), *(WantedPort("udp", "", 0, number) for number in range(1, 50)))
    numbers = {port.host_port for port in ports}
    assert len(numbers) == 49 and all(first <= number <= last for number in numbers)


def test_port_that_a_process_has_is_passed_over(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "ephemeral", lambda: (40000, 40002))
    open_port = WantedPort("tcp", "", 0, 80)
    refused = {("tcp", 40000), ("tcp", 40002)}
    [port] = leases.choose_ports(database, WEB, ("172.20.0.2", ""), [open_port], refused)
    assert port.host_port == 40001
    fixed = WantedPort("tcp", "", 40000, 80)
    assert leases.choose_ports(database, WEB, ("172.20.0.2", ""), [fixed], refused)[0].host_port == 40000


def test_ports_lead_where_there_is_a_way_out(database: Database) -> None:
    places = [(INSIDE, Wanted("inside")), (SMALL, Wanted("small"))]
    _, [port] = leases.choose(database, WEB, places, [WantedPort("tcp", "", 8080, 80)], set())
    assert (port.target4, port.target6) == ("172.20.0.2", "fd00:1::2")
    assert leases.choose(database, WEB, places[:1], [WantedPort("tcp", "", 8080, 80)], set())[1] == []
    _, [port] = leases.choose(database, WEB, [(DEFAULT, Wanted("bridge"))], [WantedPort("tcp", "", 1, 1)], set())
    assert port.target6 == ""


def test_ephemeral_range_is_the_hosts() -> None:
    text = Path(leases.EPHEMERAL).read_text().split()
    assert leases.ephemeral() == (int(text[0]), int(text[1])) and os.path.exists(leases.EPHEMERAL)
