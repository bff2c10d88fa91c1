# SPDX-License-Identifier: Apache-2.0
"""Which ports of a container are open, and where the host answers for them: what `ps`, `port` and `inspect` show.

Light enough for `ps`. Must not import plan, kernel or the options.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirt.model.network import Port

IPV6 = "/proc/net/if_inet6"  # there where this host's kernel speaks IPv6


class Binding:
    """One way in. address: of the host; "" for a port that is open and not published. public: the host's port, 0 then.
    private: the container's."""

    __slots__ = ("address", "private", "protocol", "public")

    def __init__(self, address: str, public: int, private: int, protocol: str) -> None:
        self.address = address
        self.public = public
        self.private = private
        self.protocol = protocol

    @property
    def inner(self) -> str:
        return f"{self.private}/{self.protocol}"

    @property
    def outer(self) -> str:
        """0.0.0.0:8080 or [::]:8080"""
        return f"[{self.address}]:{self.public}" if ":" in self.address else f"{self.address}:{self.public}"


def bindings(ports: Iterable[Port]) -> list[Binding]:
    """A port that is published for every address of the host is two, one of each family."""
    found = []
    for port in ports:
        every = ("0.0.0.0", "::") if os.path.exists(IPV6) else ("0.0.0.0",)
        for address in (port.host_address,) if port.host_address else every:
            found.append(Binding(address, port.host_port, port.container_port, port.protocol))
    return found


def with_open(published: Sequence[Binding], open_ports: Iterable[str]) -> list[Binding]:
    """And those that are open ("80/tcp") without being published."""
    there = {one.inner for one in published}
    found = list(published)
    for text in open_ports:
        if text not in there:
            number, _, protocol = text.partition("/")
            found.append(Binding("", 0, int(number), protocol))
    return found


def column(found: Sequence[Binding]) -> str:
    """The PORTS of ps: neighbours that keep their number are one range (DisplayablePorts of docker/cli)."""
    groups: dict[tuple[str, str], list[int]] = {}
    done, moved = [], []
    for one in sorted(found, key=lambda one: (one.private, one.address, one.public, one.protocol)):
        if one.address and one.public != one.private:
            moved.append(f"{one.outer}->{one.inner}")
            continue
        key = one.address, one.protocol
        group = groups.get(key)
        if group is not None and one.private == group[1] + 1:
            group[1] = one.private
            continue
        if group is not None:
            done.append(_group(key, group))
        groups[key] = [one.private, one.private]
    return ", ".join([*done, *(_group(key, group) for key, group in groups.items()), *moved])


def _group(key: tuple[str, str], group: list[int]) -> str:
    address, protocol = key
    text = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    if address:
        text = f"[{address}]:{text}->{text}" if ":" in address else f"{address}:{text}->{text}"
    return f"{text}/{protocol}"


def mapping(found: Iterable[Binding]) -> dict[str, list[dict[str, str]] | None]:
    """As `inspect` shows them: {"80/tcp": [{"HostIp": …, "HostPort": …}], "443/tcp": null}."""
    shown: dict[str, list[dict[str, str]] | None] = {}
    for one in found:
        if one.address:
            there = shown.get(one.inner) or []
            shown[one.inner] = [*there, {"HostIp": one.address, "HostPort": str(one.public)}]
        else:
            shown.setdefault(one.inner, None)
    return shown
