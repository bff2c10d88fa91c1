# SPDX-License-Identifier: Apache-2.0
"""Requests as bytes: pyroute2, which shares no code with the encoder, reads the same in them; what cannot be said is
refused. Needs no privilege."""

from __future__ import annotations

import ipaddress
import random
import socket
import struct
from typing import Any

import pytest

from minirt.errors import InvalidValue
from minirt.kernel import flat, netlink
from minirt.plan import network, publish
from minirt.plan.netlink import Batch, Byte, Elements, Index, Ip, Mac, Request, Socket
from minirt.plan.step import Fd, Flags, Plan, Step

MAC = "02:42:ac:11:00:02"
LINK = network.Link(
    "bridge", "eth0", 100, MAC, 1400, "veth1a2b3c4", 7, (("172.17.0.2", 16), ("fd00::2", 64)),
    ("172.17.0.1", "fd00::1"), "", "minirt0",
)  # fmt: skip
LAN = network.Link("macvlan", "eth1", 101, "", 0, "", 3, (("192.0.2.7", 31),), ())


def encoded(request: Request) -> bytes:
    return netlink.encode(request, 5, flat.number)[0]


def decoded(request: Request) -> Any:
    """The message as pyroute2 reads it."""
    from pyroute2.netlink.rtnl import ifaddrmsg, ifinfmsg, nsidmsg, rtmsg

    kinds = {
        "RTM_NEWLINK": ifinfmsg.ifinfmsg, "RTM_GETLINK": ifinfmsg.ifinfmsg, "RTM_NEWADDR": ifaddrmsg.ifaddrmsg,
        "RTM_NEWROUTE": rtmsg.rtmsg, "RTM_NEWNSID": nsidmsg.nsidmsg,
    }  # fmt: skip
    message = kinds[request.type](encoded(request))
    message.decode()
    assert message["header"]["length"] == len(encoded(request))
    assert message["header"]["sequence_number"] == 5
    return message


def requests(link: network.Link) -> list[Request]:
    return [request for _, request in network.requests(link)]


def test_a_veth() -> None:
    made, bridged, up, *asked = (decoded(request) for request in requests(LINK)[:5])
    assert made["header"]["type"] == 16 and made["header"]["flags"] == 0x605, "REQUEST, ACK, CREATE, EXCL"
    assert (made["index"], made["flags"], made["change"]) == (100, 1, 1)
    assert (made.get_attr("IFLA_IFNAME"), made.get_attr("IFLA_ADDRESS"), made.get_attr("IFLA_MTU")) == (
        "eth0",
        MAC,
        1400,
    )
    assert made.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "veth"
    peer = made.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert (peer["index"], peer.get_attr("IFLA_IFNAME"), peer.get_attr("IFLA_MTU")) == (0, "veth1a2b3c4", 1400)
    assert peer.get_attr("IFLA_NET_NS_FD") == 0xFFFFFFFF
    assert (bridged["header"]["flags"], bridged["change"], bridged.get_attr("IFLA_MASTER")) == (5, 0, 7)
    assert bridged.get_nested("IFLA_AF_SPEC", "AF_INET6", "IFLA_INET6_ADDR_GEN_MODE") == 1
    assert [(one["header"]["type"], one["index"], one.get_attr("IFLA_IFNAME")) for one in asked] == [
        (18, 0, "veth1a2b3c4"),
        (18, 100, None),
    ]
    assert (up.get_attr("IFLA_IFNAME"), up["flags"], up["change"]) == ("veth1a2b3c4", 1, 1)


def test_a_macvlan() -> None:
    made = decoded(requests(LAN)[0])
    assert (made["index"], made.get_attr("IFLA_LINK"), made.get_attr("IFLA_LINK_NETNSID")) == (101, 3, 0)
    assert made.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_MACVLAN_MODE") == "bridge"
    assert made.get_attr("IFLA_ADDRESS") is None and made.get_attr("IFLA_MTU") is None
    assert decoded(network.name_the_host()).get_attr("NETNSA_NSID") == 0


def test_addresses_and_routes() -> None:
    four, six, route4, route6 = (decoded(request) for request in requests(LINK)[5:])
    assert (four["family"], four["prefixlen"], four["index"]) == (2, 16, 100)
    for name, value in (("LOCAL", "172.17.0.2"), ("ADDRESS", "172.17.0.2"), ("BROADCAST", "172.17.255.255")):
        assert four.get_attr(f"IFA_{name}") == value
    assert (six["family"], six.get_attr("IFA_ADDRESS"), six.get_attr("IFA_FLAGS")) == (10, "fd00::2", 2)
    assert (route4.get_attr("RTA_GATEWAY"), route4.get_attr("RTA_OIF")) == ("172.17.0.1", 100)
    assert (route6["family"], route6.get_attr("RTA_GATEWAY"), route6["dst_len"]) == (10, "fd00::1", 0)
    assert (route4["table"], route4["proto"], route4["scope"], route4["type"]) == (254, 3, 0, 1)


def test_the_broadcast_address_is_the_subnets_last() -> None:
    chance = random.Random(4)
    for _ in range(300):
        address, prefix = str(ipaddress.IPv4Address(chance.randrange(1 << 32))), chance.randrange(1, 33)
        expected = ipaddress.ip_interface(f"{address}/{prefix}").network.broadcast_address
        found = decoded(network.new_address(Index(1, "lo"), address, prefix)).get_attr("IFA_BROADCAST")
        assert found == (str(expected) if prefix < 31 else None)


def test_link_local_addresses() -> None:
    """RFC 4291, appendix A: what the container's kernel makes of its MAC address."""
    chance = random.Random(5)
    for _ in range(100):
        raw = chance.randbytes(6)
        expected = b"\xfe\x80" + bytes(6) + bytes((raw[0] ^ 2, *raw[1:3], 0xFF, 0xFE, *raw[3:]))
        assert socket.inet_pton(socket.AF_INET6, publish.link_local(raw.hex(":"))) == expected


def test_addresses_are_read_as_inet_pton_does() -> None:
    for text in ("0.0.0.0", "255.255.255.255", "::", "::1", "fe80::1", "::ffff:1.2.3.4", "2001:db8:0:0::7"):
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        assert netlink.address(text) == socket.inet_pton(family, text)
    for text in ("", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4 ", ":", ":::", "fe80::1%lo", "1.2.3.4\0", "é", "g::"):
        with pytest.raises(InvalidValue, match="not an address"):
            netlink.address(text)


@pytest.mark.parametrize(
    "text", ["", "02:42", "02:42:ac:11:00:0g", "0242ac110002", "02:42:ac:11:00:02:03", "2:4:a:1:0:2"]
)
def test_what_is_no_mac_address(text: str) -> None:
    with pytest.raises(InvalidValue, match="not a MAC address"):
        netlink.mac_address(text)


def test_socket_addresses() -> None:
    """struct sockaddr_in and sockaddr_in6 of ip(7) and ipv6(7)."""
    four = netlink.socket_address(Socket("192.0.2.1", 8080))
    assert struct.unpack("=H", four[:2])[0] == socket.AF_INET
    assert four[2:] == b"\x1f\x90" + bytes((192, 0, 2, 1)) + bytes(8)
    six = netlink.socket_address(Socket("2001:db8::1", 1))
    assert struct.unpack("=H", six[:2])[0] == socket.AF_INET6
    assert six[2:] == b"\0\1" + bytes(4) + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + bytes(4)


def messages(data: bytes) -> list[tuple[int, int, int]]:
    """(type, flags, sequence) of each message."""
    found = []
    while data:
        size, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data)
        found.append((kind, flags, sequence))
        data = data[(size + 3) & ~3 :]
    return found


def test_a_batch_stands_between_its_marks() -> None:
    """NFNL_MSG_BATCH_BEGIN is 16, END 17; nf_tables' messages are 10 << 8 and theirs. Only the last wants an answer."""
    new = Elements("NFT_MSG_NEWSETELEM", "inet", "minirt", "set", ("ipv4_addr",), (), (("1.2.3.4",),))
    old = Elements("NFT_MSG_DELSETELEM", "bridge", "minirt", "set", ("ifname",), (), (("lo",),))
    data, where = netlink.encode(Batch((new, old)), 9, flat.number)
    assert where == 0
    assert messages(data) == [(16, 1, 9), (10 << 8 | 12, 0x401, 10), (10 << 8 | 14, 5, 11), (17, 1, 12)]
    assert len(data) % 4 == 0


def test_a_concatenation_is_made_of_registers() -> None:
    key, data = ("inet_proto", "ipv4_addr", "inet_service"), ("ifname", "ether_addr")
    one = Elements("NFT_MSG_NEWSETELEM", "inet", "t", "s", key, data, (("udp", "1.2.3.4", 80, "eth0", MAC),))
    raw = netlink.encode(Batch((one,)), 1, flat.number)[0]
    assert b"\x11\0\0\0\x01\x02\x03\x04\0\x50\0\0" in raw
    assert b"eth0" + bytes(12) + bytes.fromhex(MAC.replace(":", "")) + bytes(2) in raw


def wrong(key: tuple[str, ...], *values: str | int) -> Batch:
    return Batch((Elements("NFT_MSG_NEWSETELEM", "inet", "minirt", "set", key, (), (values,)),))


@pytest.mark.parametrize(
    "bad",
    [
        Request("RTM_NOSUCH", "0", {}),
        Request("RTM_NEWLINK", "NLM_F_NOSUCH", {}),
        Request("RTM_NEWLINK", "0", {"ifa_index": 1}),
        Request("RTM_NEWLINK", "0", {}, (("IFLA_NOSUCH", 1),)),
        Request("RTM_NEWLINK", "0", {}, (("IFLA_MTU", 1.5),)),
        Request("RTM_NEWLINK", "0", {}, (("IFLA_IFNAME", "a\0b"),)),
        Request("RTM_NEWLINK", "0", {}, (("IFLA_ADDRESS", Mac("1")),)),
        Request("RTM_NEWADDR", "0", {}, (("IFA_LOCAL", Ip("1")),)),
        Request("RTM_NEWLINK", "0", {}, (("IFLA_IFNAME", "a" * 70000),)),
        wrong(("ifname",), "a" * 16),
        wrong(("inet_proto",), "icmp"),
        wrong(("no_such_type",), "a"),
        wrong(("ipv4_addr",), "1.2.3"),
        wrong(("inet_service",), 1, 2),
        wrong(("inet_service",), 70000),
        Batch((Elements("NFT_MSG_NEWSETELEM", "ip9", "minirt", "set", ("ifname",), (), (("lo",),)),)),
        Batch(()),
    ],
    ids=range(17),
)
def test_what_cannot_be_said(bad: Request | Batch) -> None:
    with pytest.raises(InvalidValue):
        flat.encode(Plan((Step("netlink", Fd("it"), bad),)))


def test_where_the_descriptor_goes() -> None:
    """In the plan's buffer, exactly where the four bytes of IFLA_NET_NS_FD lie."""
    data, where = netlink.encode(requests(LINK)[0], 1, flat.number)
    assert data[where : where + 4] == b"\xff" * 4
    assert struct.unpack_from("=HH", data, where - 4) == (8, 28), "IFLA_NET_NS_FD"
    assert netlink.encode(requests(LINK)[1], 1, flat.number)[1] == 0


def test_no_two_steps_share_a_sequence_number() -> None:
    elements = [
        Elements("NFT_MSG_NEWSETELEM", "inet", "t", "s", ("inet_service",), (), ((port,),)) for port in range(300)
    ]
    one = Step("netlink", Fd("s"), requests(LINK)[2])
    code = flat.encode(Plan((one, Step("netlink", Fd("s"), Batch(elements)), one, one)))
    found = []
    for index in range(4):
        fields = flat.STEP.unpack_from(code.buffer, flat.HEAD.size + index * flat.STEP.size)
        offset, length = fields[16], fields[20]
        found += [sequence for _, _, sequence in messages(bytes(code.buffer[offset : offset + length]))]
    assert len(found) == len(set(found)) == 305


def test_flags_of_eight_bits() -> None:
    odd = Request(
        "RTM_NEWLINK",
        "0",
        {},
        (("IFLA_INET6_ADDR_GEN_MODE", Byte("IN6_ADDR_GEN_MODE_NONE")), ("IFLA_MTU", Flags("12"))),
    )
    assert encoded(odd)[32:] == b"\x05\0\x08\0\1\0\0\0" + b"\x08\0\x04\0\x0c\0\0\0"
