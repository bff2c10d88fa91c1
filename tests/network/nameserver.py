# SPDX-License-Identifier: Apache-2.0
"""A name server of the world outside, and not always a friendly one: nameserver.py LOG ADDRESS…, by any python3.

It notes every question in LOG, one line "NAME TYPE PORT", and answers below "outside" only:
    *.outside     A 203.0.113.7; nothing of other types      big.outside    65 000 bytes of TXT, over TCP
    loop.outside  an answer whose name leads to itself        late.outside   nothing, ever
    fake.outside  first an answer with another number          *              NXDOMAIN
Must not import anything but sockets.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

A, TXT, TCP_LENGTH = 1, 16, 2
HERE = b"\xc0\x0c"  # the name of the question (RFC 1035, 4.1.4)


def asked(message: bytes) -> tuple[str, int, bytes]:
    """(name, type, the question's bytes)."""
    labels, place = [], 12
    while message[place]:
        labels.append(message[place + 1 : place + 1 + message[place]].decode("latin-1"))
        place += 1 + message[place]
    kind = struct.unpack(">H", message[place + 1 : place + 3])[0]
    return ".".join(labels).lower(), kind, message[12 : place + 5]


def reply(number: bytes, question: bytes, code: int, records: list[bytes], truncated: bool = False) -> bytes:
    flags = 0x8180 | code | (0x200 if truncated else 0)
    return number + struct.pack(">5H", flags, 1, len(records), 0, 0) + question + b"".join(records)


def record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack(">2HIH", kind, 1, 60, len(data)) + data


def answers(message: bytes, tcp: bool) -> list[bytes]:
    """What is sent back, in this order."""
    name, kind, question = asked(message)
    number = message[:2]
    address = record(HERE, A, socket.inet_aton("203.0.113.7"))
    if name == "late.outside":
        return []
    if name == "big.outside" and kind == TXT:
        text = record(HERE, TXT, (b"\xff" + b"x" * 255) * 253)
        return [reply(number, question, 0, [text] if tcp else [], not tcp)]
    if name == "loop.outside":
        place = 12 + len(question)
        return [reply(number, question, 0, [record(struct.pack(">H", 0xC000 | place), A, b"\1\2\3\4")])]
    if name == "fake.outside":
        lie = record(HERE, A, socket.inet_aton("6.6.6.6"))
        other = bytes([number[0] ^ 1, number[1]])
        return [reply(other, question, 0, [lie]), reply(number, question, 0, [address])]
    if name.endswith(".outside"):
        return [reply(number, question, 0, [address] if kind == A else [])]
    return [reply(number, question, 3, [])]


def serve(log: str, datagrams: list[socket.socket], listening: list[socket.socket]) -> None:
    while True:
        for one in select.select([*datagrams, *listening], [], [])[0]:
            if one in datagrams:
                message, peer = one.recvfrom(1 << 16)
                note(log, message, peer[1])
                for answer in answers(message, False):
                    one.sendto(answer, peer)
                continue
            connection, peer = one.accept()
            with connection:
                connection.settimeout(1)
                size = struct.unpack(">H", connection.recv(TCP_LENGTH))[0]
                message = connection.recv(size)
                note(log, message, peer[1])
                for answer in answers(message, True):
                    connection.sendall(struct.pack(">H", len(answer)) + answer)


def note(log: str, message: bytes, port: int) -> None:
    name, kind, _ = asked(message)
    with open(log, "a") as file:
        file.write(f"{name} {kind} {port}\n")


def bound(kind: int, address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, 53))
    if kind == socket.SOCK_STREAM:
        made.listen(16)
    return made


if __name__ == "__main__":
    streams = [bound(socket.SOCK_STREAM, address) for address in sys.argv[2:]]
    serve(sys.argv[1], [bound(socket.SOCK_DGRAM, address) for address in sys.argv[2:]], streams)
