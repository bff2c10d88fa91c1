# SPDX-License-Identifier: Apache-2.0
"""How slowly an answer's body may come. A time limit for each read is not enough: one byte a second passes it."""

from __future__ import annotations

import time

from minirt.image.registry.faults import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.image.registry.http import Connection

PACE = 1024
"""Bytes per second that a body must bring on average."""


class Pace:
    """Ends a body that comes too slowly: after a deadline, or without one where a whole timeout's worth of waiting
    brought less than PACE bytes a second (slow loris). What the receiver does in between does not count."""

    __slots__ = ("_connection", "_deadline", "_begun", "_waited_s", "_bytes")

    def __init__(self, connection: Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._begun = self._waited_s = 0.0
        self._bytes = 0
        connection.socket.settimeout(connection.timeout_s)

    def begin(self) -> None:
        self._begun = time.monotonic()
        if self._deadline:
            left = min(self._deadline - self._begun, self._connection.timeout_s)
            self._connection.socket.settimeout(max(left, 0.001))

    def end(self, count: int) -> None:
        connection = self._connection
        self._waited_s += time.monotonic() - self._begun
        self._bytes += count
        if self._waited_s <= connection.timeout_s:
            return
        if self._bytes < PACE * self._waited_s:
            connection.close()
            raise Broken(f"{connection.where} sends less than {PACE} bytes a second")
        self._waited_s, self._bytes = 0.0, 0
