# SPDX-License-Identifier: Apache-2.0
"""hosts and resolv.conf of a container: Docker's rules, on made-up hosts and networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minirt.engine import etc
from minirt.engine.options import RunOptions
from minirt.errors import InvalidValue
from minirt.model.network import Endpoint, Network

DEFAULT = Network("0" * 64, "bridge", "bridge", "minirt0", subnet4="172.17.0.0/16", gateway4="172.17.0.1")
OPEN = Network("1" * 64, "open", "bridge", "mr-1", subnet4="172.18.0.0/16", gateway4="172.18.0.1")
SIX = Network(
    "2" * 64, "six", "bridge", "mr-2", subnet4="172.19.0.0/16", gateway4="172.19.0.1", subnet6="fd00:2::/64",
    gateway6="fd00:2::1",
)  # fmt: skip
INTERNAL = Network("3" * 64, "in", "bridge", "mr-3", subnet4="172.20.0.0/16", gateway4="172.20.0.1", internal=True)
LAN = Network("4" * 64, "lan", "macvlan", "eth0", subnet4="192.0.2.0/24", gateway4="192.0.2.1")
ONLY_SIX = Network("5" * 64, "only6", "bridge", "mr-5", subnet6="fd00:5::/64", gateway6="fd00:5::1")
HOST = "# of the host\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch corp.example\noptions edns0 timeout:2\n"


def place(network: Network, last: int = 2) -> tuple[Network, Endpoint]:
    address6 = network.subnet6.partition("/")[0] + str(last) if network.subnet6 else ""
    address4 = network.subnet4.rpartition(".")[0] + f".{last}" if network.subnet4 else ""
    return network, Endpoint(
        network.id, "c" * 64, "eth0", 100, "veth0", "02:42:00:00:00:00", address4, 16, address6, 64
    )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """host(resolv_conf, behind the stub): what the host's files say."""
    (tmp_path / "etc").write_text(HOST)
    monkeypatch.setattr(etc, "RESOLVERS", str(tmp_path / "etc"))
    monkeypatch.setattr(etc, "BEHIND_STUB", str(tmp_path / "run"))

    def says(text: str, behind: str = "") -> None:
        (tmp_path / "etc").write_text(text)
        if behind:
            (tmp_path / "run").write_text(behind)

    return says


def resolvers(*networks: Network, **options: object) -> list[str]:
    wanted = RunOptions(network=[network.name for network in networks] or ["none"], **options)
    return etc.resolvers(wanted, networks, False).splitlines()


REST = ["search corp.example", "options edns0 timeout:2"]
ASKING = ["search corp.example", "options edns0 timeout:2 ndots:0"]
DNS = {"dns": ["192.0.2.99"]}


@pytest.mark.parametrize(
    ("networks", "options", "expected"),
    [
        ((), {}, ["nameserver 192.0.2.53", "nameserver 2001:db8::53", *REST]),
        ((DEFAULT,), {}, ["nameserver 192.0.2.53", *REST]),
        ((DEFAULT,), DNS, ["nameserver 192.0.2.99", *REST]),
        ((OPEN,), {}, ["nameserver 172.18.0.1", *ASKING]),
        ((OPEN,), DNS, ["nameserver 192.0.2.99", *REST]),
        ((SIX,), {}, ["nameserver 172.19.0.1", *ASKING]),
        ((ONLY_SIX,), {}, ["nameserver fd00:5::1", *ASKING]),
        ((DEFAULT, OPEN), {}, ["nameserver 172.18.0.1", *ASKING]),
        ((INTERNAL, OPEN), {}, ["nameserver 172.18.0.1", *ASKING]),
        ((INTERNAL,), {}, ["nameserver 172.20.0.1", *ASKING]),
        ((INTERNAL,), DNS, ["nameserver 172.20.0.1", *ASKING]),
        ((DEFAULT, INTERNAL), {}, ["nameserver 192.0.2.53", *REST]),
        ((LAN,), {}, ["nameserver 192.0.2.53", *REST]),
        ((OPEN,), {"dns_search": ["a.example", "b.example"]},
         ["nameserver 172.18.0.1", "search a.example b.example", ASKING[1]]),
        ((OPEN,), {"dns_search": ["."]}, ["nameserver 172.18.0.1", ASKING[1]]),
        ((OPEN,), {"dns_option": ["ndots:3", "rotate"]},
         ["nameserver 172.18.0.1", REST[0], "options ndots:3 rotate"]),
        ((DEFAULT,), {"dns_option": ["rotate"]}, ["nameserver 192.0.2.53", REST[0], "options rotate"]),
    ],
)  # fmt: skip
def test_resolv_conf(
    host: Callable[..., None], networks: tuple[Network, ...], options: dict[str, object], expected: list[str]
) -> None:
    assert resolvers(*networks, **options) == expected


def test_resolv_conf_on_the_host_s_network(host: Callable[..., None]) -> None:
    """As it is there, comments included, loopback and all, unless a flag says otherwise."""
    host("# mine\nnameserver 127.0.0.53\nsearch x\n")
    assert etc.resolvers(RunOptions(network=["host"]), (), True) == "# mine\nnameserver 127.0.0.53\nsearch x\n"
    given = etc.resolvers(RunOptions(network=["host"], dns_search=["y"]), (), True)
    assert given == "nameserver 127.0.0.53\nsearch y\n"


@pytest.mark.parametrize(
    ("text", "behind", "expected"),
    [
        ("nameserver 127.0.0.53\n", "nameserver 192.0.2.7\nnameserver 192.0.2.8\n", ["192.0.2.7", "192.0.2.8"]),
        ("nameserver 127.0.0.53\n", "nameserver 127.0.0.1\n", ["8.8.8.8", "8.8.4.4"]),
        ("nameserver 127.0.0.53\n", "", ["8.8.8.8", "8.8.4.4"]),
        ("nameserver 127.0.0.53\nnameserver 192.0.2.1\n", "nameserver 192.0.2.7\n", ["192.0.2.1"]),
        ("nameserver 127.0.0.1\nnameserver ::1\n", "", ["8.8.8.8", "8.8.4.4"]),
        ("nameserver fe80::1%eth0\n", "", ["8.8.8.8", "8.8.4.4"]),
        ("nameserver 2001:db8::1\n", "", ["8.8.8.8", "8.8.4.4"]),
        ("nameserver\n# nameserver 1.1.1.1\n\tnameserver 9.9.9.9 \n", "", ["9.9.9.9"]),
        ("", "", ["8.8.8.8", "8.8.4.4"]),
    ],
)
def test_host_resolvers_on_loopback(host: Callable[..., None], text: str, behind: str, expected: list[str]) -> None:
    """As Docker handles them: systemd-resolved's servers for its stub, public ones where nothing else is left."""
    host(text, behind)
    assert resolvers(DEFAULT) == [f"nameserver {server}" for server in expected]


def test_the_older_word_for_search(host: Callable[..., None]) -> None:
    host("nameserver 192.0.2.1\ndomain old.example\n")
    assert resolvers(DEFAULT) == ["nameserver 192.0.2.1", "search old.example"]


@pytest.fixture
def bundle(tmp_path: Path, host: Callable[..., None]) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    return folder


def made(folder: Path, **options: object) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        etc.write(directory, "box", RunOptions(**options))
    finally:
        os.close(directory)


def own(folder: Path) -> list[str]:
    """The lines of hosts that are not everybody's."""
    text = (folder / "hosts").read_text()
    assert text.startswith(etc.HOSTS)
    return text.removeprefix(etc.HOSTS).splitlines()


def join(folder: Path, *networks: Network, look: Callable[[], dict[str, list[str]]] = dict, **options: object) -> None:
    wanted = RunOptions(network=[network.name for network in networks], **options)
    etc.join(str(folder), "box", wanted, [place(network) for network in networks], look)


def test_at_creation(bundle: Path) -> None:
    made(bundle, network=["none"], add_host=["db:10.0.0.2"])
    assert own(bundle) == ["127.0.0.1\tbox", "10.0.0.2\tdb"]
    assert (bundle / "hostname").read_text() == "box\n"
    assert {(bundle / name).stat().st_mode & 0o777 for name in ("hosts", "hostname", "resolv.conf")} == {0o644}


def test_on_networks(bundle: Path) -> None:
    made(bundle, network=["six"])
    join(bundle, SIX, LAN, domainname="example.org")
    assert own(bundle)[:3] == [
        "172.19.0.2\tbox.example.org box", "fd00:2::2\tbox.example.org box", "192.0.2.2\tbox.example.org box",
    ]  # fmt: skip
    join(bundle, OPEN)
    assert own(bundle) == ["172.18.0.2\tbox"]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [((DEFAULT,), "172.17.0.1"), ((LAN, OPEN), "172.18.0.1"), ((INTERNAL,), "172.20.0.1"), ((ONLY_SIX,), "fd00:5::1")],
)
def test_host_gateway(bundle: Path, networks: tuple[Network, ...], expected: str) -> None:
    join(bundle, *networks, add_host=["up:host-gateway"])
    assert f"{expected}\tup" in own(bundle)


def test_host_gateway_on_the_host_s_network(bundle: Path) -> None:
    made(bundle, network=["host"], add_host=["up:host-gateway"])
    assert (bundle / "hosts").read_text().endswith("127.0.0.1\tup\n")


def test_no_host_gateway(bundle: Path) -> None:
    with pytest.raises(InvalidValue, match="host is not reached"):
        made(bundle, network=["none"], add_host=["up=host-gateway"])
    with pytest.raises(InvalidValue, match="host is not reached"):
        join(bundle, LAN, add_host=["up=host-gateway"])


@pytest.mark.parametrize(
    ("networks", "options", "needed"),
    [
        ((), {}, False),
        ((DEFAULT,), {}, False),
        ((DEFAULT,), DNS, False),
        ((OPEN,), {}, False),
        ((OPEN,), DNS, True),
        ((DEFAULT, OPEN), {}, False),
        ((OPEN, SIX), {}, True),
        ((INTERNAL,), DNS, False),
        ((DEFAULT, INTERNAL), {}, True),
        ((LAN,), {}, True),
    ],
)
def test_who_finds_neighbours_by_hosts(networks: tuple[Network, ...], options: dict[str, object], needed: bool) -> None:
    assert etc.needs_neighbours(RunOptions(network=["x"], **options), networks) is needed


def test_neighbours(bundle: Path) -> None:
    """Their block follows who is there; what else stands in the file, the container's own lines too, stays."""
    known = {"172.18.0.2": ["box"], "172.18.0.3": ["web", "api"]}
    join(bundle, OPEN, SIX, look=lambda: known)
    assert own(bundle)[3:] == [etc._BEGIN, "172.18.0.3\tweb api", etc._END]
    number = (bundle / "hosts").stat().st_ino
    with (bundle / "hosts").open("a") as file:
        file.write("10.0.0.1\tmine\n")
    known["172.19.0.9"] = ["db"]
    etc.neighbours(str(bundle), lambda: known)
    assert own(bundle)[3:] == [etc._BEGIN, "172.18.0.3\tweb api", "172.19.0.9\tdb", etc._END, "10.0.0.1\tmine"]
    known.clear()
    etc.neighbours(str(bundle), lambda: known)
    assert own(bundle)[3:] == [etc._BEGIN, etc._END, "10.0.0.1\tmine"]
    assert (bundle / "hosts").stat().st_ino == number, "another file would not be seen inside"


def test_neighbours_of_who_needs_none(bundle: Path) -> None:
    join(bundle, OPEN)
    etc.neighbours(str(bundle), lambda: pytest.fail("nobody asked"))
    etc.neighbours(str(bundle / "gone"), lambda: pytest.fail("nobody asked"))
    assert own(bundle) == ["172.18.0.2\tbox"]


@pytest.mark.parametrize(
    "text", ["", "no newline", f"{etc._BEGIN}\nnever ends", f"{etc._END}\n{etc._BEGIN}\n", "\xff\0"]
)
def test_hosts_that_the_container_has_changed(bundle: Path, text: str) -> None:
    """What it did to its own file harms nobody but itself."""
    join(bundle, OPEN, SIX)
    (bundle / "hosts").write_bytes(text.encode("latin-1"))
    for _ in range(2):
        etc.neighbours(str(bundle), lambda: {"172.18.0.3": ["web"]})
    found = (bundle / "hosts").read_bytes().decode("latin-1")
    assert found.count("172.18.0.3\tweb") == 1


def test_links_in_the_bundle_are_not_followed(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("as it was")
    (bundle / "hosts").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        join(bundle, OPEN)
    assert (tmp_path / "victim").read_text() == "as it was"
