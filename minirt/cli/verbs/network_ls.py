# SPDX-License-Identifier: Apache-2.0
"""`minirt network ls`: list networks (docker-network-ls(1))."""

from __future__ import annotations

from minirt.cli import filters, formatting, output, phrase
from minirt.cli.evaluate import Record
from minirt.cli.parse import FALSE, LIST, STRING, TRUE, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import network_db, network_inspect, networks
from minirt.errors import InvalidValue
from minirt.model.network import Network

TITLES = {
    "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "CreatedAt": "CREATED AT",
    "IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS",
}  # fmt: skip
KEYS = ("dangling", "driver", "id", "label", "name", "scope", "type")
COMMAND = Command(
    "network ls",
    "[OPTIONS]",
    "List networks",
    (
        Option("filter", "f", LIST, 'Provide filter values (e.g. "driver=bridge")', None, "filter", filters.check),
        Option("format", "", STRING, formatting.HELP),
        Option("no-trunc", help="Do not truncate the output"),
        Option("quiet", "q", help="Only display network IDs"),
    ),
    maximum=0,
    aliases=("network ls", "network list"),
)


def run(session: Session, parsed: Parsed) -> int:
    wanted = filters.collect(parsed.list("filter"), KEYS, _check)
    found = [*networks.listed(session.engine), *_special()]
    busy = {one.network for one in network_db.endpoints(session.engine.database)} if "dangling" in wanted else set()
    rows = sorted((one for one in found if _passes(one, wanted, busy)), key=lambda one: one.name)
    whole = parsed.flag("no-trunc")
    if parsed.flag("quiet"):
        output.lines([one.id if whole else one.id[:12] for one in rows])
        return 0
    records = [_record(one, whole) for one in rows]
    output.formatted(formatting.rows(parsed.text("format"), records, TITLES, ("ID", "Name", "Driver", "Scope")))
    return 0


def _special() -> list[Network]:
    return [
        Network(network_inspect.special_id(name), name, "null" if name == "none" else name, "")
        for name in networks.SPECIAL
    ]


def _check(key: str, value: str) -> None:
    if key == "dangling" and value not in (*TRUE, *FALSE):
        raise InvalidValue(f"invalid filter 'dangling={value}'", "write true or false")
    if key == "type" and value not in ("builtin", "custom"):
        raise InvalidValue(f"invalid filter: 'type'='{value}'", "there are builtin and custom")


def _passes(one: Network, wanted: dict[str, list[str]], busy: set[str]) -> bool:
    builtin = one.is_default or one.name in networks.SPECIAL
    for key, values in wanted.items():
        if key == "dangling":
            passes = all((value in TRUE) == (not builtin and one.id not in busy) for value in values)
        elif key == "label":
            passes = all(filters.labelled(one.labels, value) for value in values)
        elif key == "type":
            passes = any((value == "builtin") == builtin for value in values)
        elif key == "id":
            passes = any(one.id.startswith(value) for value in values)
        elif key == "name":
            passes = any(value in one.name for value in values)
        else:
            passes = (one.driver if key == "driver" else "local") in values
        if not passes:
            return False
    return True


def _record(one: Network, whole: bool) -> Record:
    return Record(
        {
            "CreatedAt": phrase.local(one.created_ns) if one.created_ns else "",
            "Driver": one.driver,
            "ID": one.id if whole else one.id[:12],
            "IPv4": "true",
            "IPv6": "true" if one.subnet6 else "false",
            "Internal": "true" if one.internal else "false",
            "Labels": ",".join([f"{key}={value}" for key, value in one.labels.items()]),
            "Name": one.name,
            "Scope": "local",
        },
        {"Label": lambda key: one.labels.get(key, "")},
    )
