# SPDX-License-Identifier: Apache-2.0
"""Who has a port, for the error that names him (proc_net(5))."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from minirt.network import port_owner

ME = f"{Path('/proc/self/comm').read_text().strip()}[{os.getpid()}]"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_owner_is_found_and_its_address_read(host: str, protocol: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as mine:
        mine.bind((host, 0))
        if protocol == "tcp":
            mine.listen()
        port = mine.getsockname()[1]
        assert port_owner.find(protocol, port) == ME
        assert port_owner.find(protocol, port, passed=lambda address: address != host) == ME
        assert port_owner.find(protocol, port, passed=lambda address: address == host) == ""
        assert port_owner.find("udp" if protocol == "tcp" else "tcp", port) == ""
    assert port_owner.find(protocol, port) == ""


def test_connection_is_no_owner() -> None:
    """What is connected from a port does not keep others from listening there (SO_REUSEADDR)."""
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        assert port_owner.find("tcp", client.getsockname()[1]) == ""
