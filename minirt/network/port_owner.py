# SPDX-License-Identifier: Apache-2.0
"""Which process has a port of this host: /proc/net/tcp and its like, and the descriptors of processes (proc_net(5)).

Asked only when a bind(2) has failed, for the error's sake. Must not import engine.
"""

from __future__ import annotations

import os
import sys

from minirt.network import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LISTEN = "0A"  # TCP_LISTEN of linux/tcp_states.h, as the column st shows it
MOST = 3


def find(protocol: str, port: int, everywhere: bool = False, passed: Callable[[str], bool] | None = None) -> str:
    """ "nginx[123]", several with commas between them; "" where nobody is to be seen: it may live in another pid
    namespace, or be gone by now. everywhere: who has it on all addresses of the host. passed: tells of an address
    whether whoever is bound there does not count."""
    every = _inodes(protocol, port, everywhere)
    wanted = {f"socket:[{inode}]" for inode, address in every if passed is None or not passed(address)}
    found: list[str] = []
    for word in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int) if wanted else ():
        if wanted.intersection(_descriptors(word)):
            found.append(f"{_name(word)}[{word}]")
    return ", ".join(found[:MOST])


def _inodes(protocol: str, port: int, everywhere: bool) -> set[tuple[str, str]]:
    """(inode, address) of the sockets that are bound to it, for TCP of those that listen."""
    found: set[tuple[str, str]] = set()
    for name in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/net/{name}", encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            address, _, number = words[1].partition(":")
            if everywhere and int(address, 16):
                continue
            if int(number, 16) == port and (protocol != "tcp" or words[3] == _LISTEN):
                found.add((words[9], _address(address)))
    return found


def _address(shown: str) -> str:
    """ "127.0.0.1" of "0100007F": words of 32 bits, each in the processor's own order."""
    words = [shown[at : at + 8] for at in range(0, len(shown), 8)]
    value = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    return addresses.write(len(value) * 8, int.from_bytes(value, "big"))


def _descriptors(pid: str) -> set[str]:
    found: set[str] = set()
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            found.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    except OSError:
        pass  # it has just ended, or closed it
    return found


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
