# SPDX-License-Identifier: Apache-2.0
"""What can go wrong on the way to a registry, for those who try again or another way. People see RegistryError."""

from __future__ import annotations

from minirt.errors import RegistryError


class Broken(RegistryError):
    """The connection failed or was too slow: the same again may work."""


class Refused(Broken):
    """Nobody listens there."""


class Silent(Broken):
    """Connected, and no answer in time."""


class PlainHttp(RegistryError):
    """The TLS handshake met a server that does not speak TLS."""


class Foreign(RegistryError):
    """What answers does not speak HTTP/1.1."""
