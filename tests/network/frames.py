# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames as an attacker writes them (packet(7); RFC 826, 791, 4861, 8415; IEEE 802.1Q), and who sees them.

`throw` sends from the current namespace, `send` is what a container runs to send, `Listener` sees what arrives.
Must not import minirt.
"""

from __future__ import annotations

import socket
import struct
import time

BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
IPV4, ARP, IPV6, VLAN = 0x0800, 0x0806, 0x86DD, 0x8100
UDP, ICMPV6, DESTINATION_OPTIONS = 17, 58, 60
MARK = b"a frame that should not be"
"""What every payload of ours carries, so that a listener knows it."""

SENDER = (
    "import socket, sys; s = socket.socket(17, 3); s.bind((sys.argv[1], 0));"
    "[s.send(bytes.fromhex(word)) for word in sys.argv[2:]]"
)


def send(interface: str, *frames: bytes) -> tuple[str, ...]:
    """The command that sends them from inside a container that has Debian's /usr, or from anywhere."""
    return "/usr/bin/python3", "-ISc", SENDER, interface, *(frame.hex() for frame in frames)


def throw(interface: str, *frames: bytes) -> None:
    """Sends them in the current namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        for frame in frames:
            out.send(frame)


def same(sent: bytes, seen: bytes) -> bool:
    """A tag may have been taken off on the way."""
    untagged = sent[:12] + sent[16:] if sent[12:14] == struct.pack("!H", VLAN) else sent
    return seen in (sent, untagged)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip4(text: str) -> bytes:
    return socket.inet_aton(text)


def ip6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def sum16(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload.ljust(46, b"\0")


def tagged(frame: bytes, number: int = 0) -> bytes:
    """The same frame with an 802.1Q tag. Number 0 says priority only: every receiver takes it as untagged."""
    return frame[:12] + struct.pack("!HH", VLAN, number) + frame[12:]


def arp(
    source: str, *, sender: tuple[str, str], asked: str, target: str = BROADCAST, reply: bool = True, told: str = ""
) -> bytes:
    """sender: (MAC, IPv4) that the body claims. A reply to everybody, or a request for `asked`."""
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, 2 if reply else 1)
    body = head + mac(sender[0]) + ip4(sender[1]) + mac(told or target) + ip4(asked)
    return ethernet(source, target, ARP, body + MARK)


def udp4(source: str, target: str, sender: str, receiver: str, ports: tuple[int, int] = (7, 7)) -> bytes:
    """A datagram with MARK in it, checksum 0 (none)."""
    datagram = struct.pack("!HHHH", *ports, 8 + len(MARK), 0) + MARK
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 7, 0, 64, UDP, 0, ip4(sender), ip4(receiver))
    return ethernet(source, target, IPV4, head[:10] + struct.pack("!H", sum16(head)) + head[12:] + datagram)


def _ipv6(sender: str, receiver: str, following: int, payload: bytes, hops: int = 255) -> bytes:
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), following, hops, ip6(sender), ip6(receiver)) + payload


def _checked(sender: str, receiver: str, protocol: int, message: bytes, offset: int) -> bytes:
    """The message with its checksum over the pseudo header (RFC 8200, 8.1) at `offset`."""
    pseudo = ip6(sender) + ip6(receiver) + struct.pack("!II", len(message), protocol)
    return message[:offset] + struct.pack("!H", sum16(pseudo + message)) + message[offset + 2 :]


def icmp6(source: str, target: str, sender: str, receiver: str, message: bytes, hidden: bool = False) -> bytes:
    """`hidden`: behind a destination options header (RFC 7113)."""
    whole = _checked(sender, receiver, ICMPV6, message, 2)
    if hidden:
        options = struct.pack("!BB", ICMPV6, 0) + b"\x01\x04\0\0\0\0"  # PadN
        return ethernet(source, target, IPV6, _ipv6(sender, receiver, DESTINATION_OPTIONS, options + whole))
    return ethernet(source, target, IPV6, _ipv6(sender, receiver, ICMPV6, whole))


def udp6(source: str, target: str, sender: str, receiver: str, ports: tuple[int, int] = (7, 7)) -> bytes:
    datagram = struct.pack("!HHHH", *ports, 8 + len(MARK), 0) + MARK
    return ethernet(source, target, IPV6, _ipv6(sender, receiver, UDP, _checked(sender, receiver, UDP, datagram, 6)))


def advertised_router(prefix: str, lifetime_s: int = 1800) -> bytes:
    """A router advertisement's ICMPv6 part (RFC 4861, 4.2) with a prefix that asks for addresses of one's own."""
    option = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 7200, 7200, 0, ip6(prefix))
    return struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime_s, 0, 0) + option


def advertised_neighbour(target: str, at: str) -> bytes:
    """A neighbour advertisement (4.4): `target` is at that MAC; solicited and override."""
    return struct.pack("!BBHI16sBB6s", 136, 0, 0, 0x60000000, ip6(target), 2, 1, mac(at))


def redirect(target: str, destination: str) -> bytes:
    """4.5: for `destination`, go by `target`."""
    return struct.pack("!BBHI16s16s", 137, 0, 0, 0, ip6(target), ip6(destination))


def link_local(text: str) -> str:
    """fe80:: and the MAC's EUI-64 (RFC 4291, appendix A)."""
    raw = mac(text)
    whole = bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]
    return socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + b"\0" * 6 + whole)


class Listener:
    """Every frame that comes to `interface` of the current namespace, seen below its firewall."""

    def __init__(self, interface: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((interface, 0))

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def marked(self, patience_s: float = 0.6) -> bool:
        """One with MARK in it comes in."""
        deadline = time.monotonic() + patience_s
        while (remaining := deadline - time.monotonic()) > 0:
            self.socket.settimeout(remaining)
            try:
                if MARK in self.socket.recv(1 << 16):
                    return True
            except TimeoutError:
                break
        return False

    def until(self, last: bytes, patience_s: float = 5.0) -> list[bytes]:
        """What came in, by the order of coming, until `last`, which is among it: sent behind all others, by the same
        way, it tells that they would have come."""
        deadline, found = time.monotonic() + patience_s, []
        while (remaining := deadline - time.monotonic()) > 0:
            self.socket.settimeout(remaining)
            try:
                frame, address = self.socket.recvfrom(1 << 16)
            except TimeoutError:
                break
            if address[2] == socket.PACKET_OUTGOING:
                continue
            found.append(frame)
            if same(last, frame):
                return found
        raise AssertionError(f"the last frame did not come; seen: {[frame.hex() for frame in found]}")
