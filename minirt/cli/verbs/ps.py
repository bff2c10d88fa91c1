# SPDX-License-Identifier: Apache-2.0
"""`minirt ps`: list containers in Docker's columns (docker-ps(1))."""

from __future__ import annotations

import time

from minirt.cli import filters, output, phrase, table
from minirt.cli.parse import INT, LIST, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import network_flags, publications, store
from minirt.engine import ps as ps_
from minirt.errors import MinirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.cli.evaluate import Record
    from minirt.engine.ps import Listed

COMMAND = Command(
    "ps",
    "[OPTIONS]",
    "List containers",
    (
        Option("all", "a", help="Show all containers (default shows just running)"),
        Option(
            "filter",
            "f",
            LIST,
            "Filter output based on conditions provided",
            metavar="filter",
            check=filters.check,
        ),
        Option(
            "format",
            "",
            STRING,
            "Format output: 'table', 'table TEMPLATE', 'json', or a Go 'TEMPLATE'",
        ),
        Option("last", "n", INT, "Show n last created containers (includes all states)", default=-1),
        Option("latest", "l", help="Show the latest created container (includes all states)"),
        Option("no-trunc", help="Don't truncate output"),
        Option("quiet", "q", help="Only display container IDs"),
    ),
    maximum=0,
    aliases=("container ls", "container list", "container ps", "ps"),
)
TITLES = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "CreatedAt": "CREATED AT",
    "State": "STATE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
}
LAYOUT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def run(session: Session, parsed: Parsed) -> int:
    wanted = filters.read(parsed.list("filter"))
    last = 1 if parsed.flag("latest") else parsed.number("last")
    assert last is not None
    every = parsed.flag("all") or last > 0 or filters.ends(wanted)

    def stored(identity: str) -> tuple[dict[str, str], list[str]]:
        """A container's labels and the names of its networks: they lie deeper than what ps lists."""
        row = session.engine.database.by_id(identity)
        found = store.record(row) if row is not None else None
        return (found.labels, network_flags.names(found.options)) if found is not None else ({}, [])

    if "network" in wanted:
        wanted["network"] = [_network(session, value) for value in wanted["network"]]
    rows = filters.chosen(ps_.ps(session.engine, every), wanted, stored)
    rows = rows[:last] if last > 0 else rows
    whole = parsed.flag("no-trunc")
    if parsed.flag("quiet"):
        output.lines([row.id if whole else row.id[:12] for row in rows])
        return 0
    now_ns = time.time_ns()
    wish = parsed.text("format")
    if wish in ("", "table"):
        lines = [[TITLES[field] for field in LAYOUT]]
        lines += [_columns(row, now_ns, whole) for row in rows]
        output.raw(output.encode(table.columns(lines)))
        return 0
    from minirt.cli import formatting

    output.formatted(
        formatting.rows(wish, [record(row, now_ns, whole, *stored(row.id)) for row in rows], TITLES, LAYOUT)
    )
    return 0


def _columns(row: Listed, now_ns: int, whole: bool) -> list[str]:
    """The seven columns of the plain table."""
    command = " ".join(row.command)
    return [
        row.id if whole else row.id[:12],
        row.image or "<rootfs>",
        table.quoted(command if whole else table.shorten(command, 20)),
        f"{phrase.ago(now_ns - row.created_ns)} ago",
        phrase.status(row.status, row.exit_code, row.started_ns, row.finished_ns, now_ns),
        publications.column(row.ports),
        row.name,
    ]


def _network(session: Session, value: str) -> str:
    """The name of the network that an id stands for; whatever else there may be stays as it is."""
    from minirt.engine import networks

    try:
        return networks.find(session.engine, value).name
    except MinirtError:
        return value


def record(row: Listed, now_ns: int, whole: bool, labels: dict[str, str], networks: list[str]) -> Record:
    """What --format can name: Docker's fields (docker/cli formatter/container.go)."""
    from minirt.cli.evaluate import Record

    identity, image, command, running, status, ports, name = _columns(row, now_ns, whole)
    return Record(
        {
            "Command": command,
            "CreatedAt": phrase.local(row.created_ns),
            "ID": identity,
            "Image": image,
            "Labels": ",".join([f"{key}={value}" for key, value in labels.items()]),
            "LocalVolumes": "0",
            "Mounts": "",
            "Names": name,
            "Networks": ",".join(networks),
            "Ports": ports,
            "RunningFor": running,
            "Size": "0B",
            "State": row.status,
            "Status": status,
        },
        {"Label": lambda key: labels.get(key, "")},
    )
