# SPDX-License-Identifier: Apache-2.0
"""A container's address and ports, as inspect has them and as a client on the host finds them.

Must not import minirt.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import runner
import traces

SERVE = ("sh", "-c", "mkdir -p /www; echo hello >/www/index.html; exec httpd -f -h /www")


def inspect(minirt: runner.Minirt, name: str) -> dict[str, Any]:
    return dict(json.loads(minirt.ok("inspect", name))[0])


def address(minirt: runner.Minirt, name: str) -> str:
    return str(inspect(minirt, name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])


def nothing(minirt: runner.Minirt) -> Callable[[], bool]:
    return lambda: not traces.more({}, traces.count(minirt))


def fetch(host: str, port: int) -> str:
    """The body of / by a client on the host, "" where nobody answers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect((host, port))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        except OSError:
            return ""
    return answer.decode().rpartition("\r\n\r\n")[2].strip()


def ask(host: str, port: int) -> str:
    """What a server of tests/network/answerer.py says, "" where nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.sendto(b"hello", (host, port))
        try:
            return client.recv(100).decode().strip()
        except OSError:
            return ""
