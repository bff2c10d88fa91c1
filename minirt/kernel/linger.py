# SPDX-License-Identifier: Apache-2.0
"""Closing sockets without waiting for it: csrc/linger.c takes them over for a moment. Must not import runtime."""

from __future__ import annotations

import os

from minirt.errors import HostError
from minirt.kernel import monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def close(sockets: Sequence[int]) -> None:
    """They are closed for this process; where nobody can take them over, that may take a moment."""
    try:
        monitor.execute((b"minirt:linger",), sockets)
    except (HostError, OSError):
        pass
    for descriptor in sockets:
        os.close(descriptor)
