# SPDX-License-Identifier: Apache-2.0
"""A server that says who it is and who asked: run inside containers and in the world's namespaces, by any python3.

answerer.py NAME PORT… [ADDRESS]: TCP and UDP on each port, both families. TCP: "NAME PEER\\n", then everything that
comes is sent back until the end of it. UDP: "NAME PEER\\n" and the datagram, from the address that was asked (ipv6(7),
IPV6_PKTINFO). Must not import anything but sockets.
"""

from __future__ import annotations

import select
import socket
import sys


class Stream:
    """One TCP connection: what has come and was not sent back yet."""

    def __init__(self, connection: socket.socket, greeting: bytes) -> None:
        self.connection, self.waiting, self.ended = connection, greeting, False

    def step(self, readable: bool) -> bool:
        """False: it is over."""
        try:
            if readable:
                found = self.connection.recv(1 << 16)
                self.waiting += found
                self.ended = not found
            if self.waiting:
                self.waiting = self.waiting[self.connection.send(self.waiting) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(self.waiting) or not self.ended


def bound(kind: int, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address or not address else socket.AF_INET
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not address else 1)
    made.bind((address or "::", port))
    made.setblocking(False)
    if kind == socket.SOCK_STREAM:
        made.listen(128)
    elif not address:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return made


def greeting(name: str, peer: str) -> bytes:
    return f"{name} {peer.removeprefix('::ffff:')}\n".encode()


def serve(name: str, listening: list[socket.socket], datagrams: list[socket.socket]) -> None:
    """For ever."""
    streams: dict[socket.socket, Stream] = {}
    while True:
        writing = [one for one, stream in streams.items() if stream.waiting]
        reading = [one for one, stream in streams.items() if not stream.ended and len(stream.waiting) < 1 << 20]
        readable, writable, _ = select.select([*listening, *datagrams, *reading], writing, [])
        for one in readable:
            if one in listening:
                connection, peer = one.accept()
                connection.setblocking(False)
                streams[connection] = Stream(connection, greeting(name, peer[0]))
            elif one in datagrams:
                data, asked, _, peer = one.recvmsg(1 << 16, 256)
                one.sendmsg([greeting(name, peer[0]) + data], asked, 0, peer)
        for one in {*writable, *readable}.intersection(streams):
            if not streams[one].step(one in readable):
                streams.pop(one).connection.close()


def main(name: str, words: list[str]) -> None:
    ports = [int(word) for word in words if word.isdecimal()]
    address = "".join(word for word in words if not word.isdecimal())
    serve(
        name,
        [bound(socket.SOCK_STREAM, address, port) for port in ports],
        [bound(socket.SOCK_DGRAM, address, port) for port in ports],
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
