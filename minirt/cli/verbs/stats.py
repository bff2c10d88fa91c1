# SPDX-License-Identifier: Apache-2.0
"""`minirt stats`: a live table of what containers use (docker-stats(1)), with pressure (PSI) beside Docker's columns.

On a terminal each table is written over the last one: the cursor goes home, each line is cleared behind its text, and
all below (ECMA-48: CUP, EL, ED). Elsewhere the tables follow one another.
"""

from __future__ import annotations

import os
import time

from minirt.cli import output, phrase, table
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import stats as stats_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.stats import Usage

COMMAND = Command(
    "stats",
    "[OPTIONS] [CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
    (
        Option("all", "a", help="Show all containers (default shows just running)"),
        Option("format", "", STRING, "Format output: 'table', 'table TEMPLATE', 'json', or a Go 'TEMPLATE'"),
        Option("no-stream", help="Disable streaming stats and only pull the first result"),
        Option("no-trunc", help="Do not truncate output"),
    ),
    aliases=("container stats", "stats"),
)
TITLES = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    "CPUPressure": "CPU SOME / FULL",
    "MemPressure": "MEM SOME / FULL",
    "IOPressure": "I/O SOME / FULL",
}
LAYOUT = (
    "ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs", "CPUPressure", "MemPressure",
    "IOPressure",
)  # fmt: skip
INTERVAL_S = 1.0
FIRST_S = 0.5  # between the two looks that the first table is made of
UNKNOWN = "--"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def run(session: Session, parsed: Parsed) -> int:
    wish, whole = parsed.text("format"), parsed.flag("no-trunc")
    watch = stats_.Watch(session.engine, parsed.arguments, parsed.flag("all"))
    plain = wish.strip() in ("", "table")
    note = stats_.uncounted() if plain else ""
    if wish:
        _render(wish, [], whole)  # a malformed template is known before anything is measured
    over = not parsed.flag("no-stream") and os.isatty(1)
    if note and not over:
        output.hint(f"minirt: {note}\n")
        note = ""
    watch.look()
    time.sleep(FIRST_S)
    cleared = False
    while True:
        text = _render(wish, watch.look(), whole)
        if over:
            text = _over(text + (note + "\n" if note else ""), cleared)
            cleared = True
        output.raw(output.encode(text)) if plain or over else output.formatted(text)
        if parsed.flag("no-stream") or watch.over:
            return 0
        time.sleep(INTERVAL_S)


def _render(wish: str, found: list[Usage], whole: bool) -> str:
    if wish.strip() in ("", "table"):
        lines = [[TITLES[field] for field in LAYOUT]]
        lines += [[values[field] for field in LAYOUT] for values in (fields(one, whole) for one in found)]
        return table.columns(lines)
    from minirt.cli import formatting
    from minirt.cli.evaluate import Record

    return formatting.rows(wish, [Record(dict(fields(one, whole)), {}) for one in found], TITLES, LAYOUT)


def _over(text: str, cleared: bool) -> str:
    """The text in place of the one before; control characters in it are none of ours."""
    shown = "".join(line + CLEAR_LINE + "\n" for line in output.safe(text, "\n\t").splitlines())
    return HOME + ("" if cleared else CLEAR_BELOW) + shown + CLEAR_BELOW


def fields(one: Usage, whole: bool) -> dict[str, str]:
    """What --format can name: Docker's fields (docker/cli formatter_stats.go), and the three of pressure."""
    share = one.memory_percent
    used, most = (_binary(count) if count is not None else UNKNOWN for count in (one.memory_bytes, one.limit_bytes))
    return {
        "BlockIO": _pair(one.block),
        "CPUPerc": f"{one.cpu_percent:.2f}%" if one.cpu_percent is not None else UNKNOWN,
        "CPUPressure": _pressure(one, "cpu"),
        "Container": one.reference,
        "ID": one.id if whole else one.id[:12],
        "IOPressure": _pressure(one, "io"),
        "MemPerc": f"{share:.2f}%" if share is not None else UNKNOWN,
        "MemPressure": _pressure(one, "memory"),
        "MemUsage": f"{used} / {most}",
        "Name": one.name,
        "NetIO": _pair(one.network),
        "PIDs": str(one.pids) if one.pids is not None else UNKNOWN,
    }


def _pair(counts: tuple[int, int] | None) -> str:
    return f"{phrase.size(counts[0])} / {phrase.size(counts[1])}" if counts is not None else UNKNOWN


def _pressure(one: Usage, resource: str) -> str:
    found = one.pressure.get(resource)
    return f"{found[0]:.2f}% / {found[1]:.2f}%" if found is not None else UNKNOWN


def _binary(count: int) -> str:
    """go-units BytesSize: four significant digits, 1024 each."""
    value, units = float(count), ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    unit = 0
    while value >= 1024 and unit < len(units) - 1:
        value /= 1024
        unit += 1
    return f"{value:.4g}{units[unit]}"
