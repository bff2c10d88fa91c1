# SPDX-License-Identifier: Apache-2.0
"""Columns as Docker's tables have them: Go's text/tabwriter with minimum width 10, padding 3, spaces.

The last cell of a line is not padded. Every cell passes through output.safe: one row is one line, and no image,
label or command writes a control byte to a terminal. Pure.
"""

from __future__ import annotations

from minirt.cli.output import safe

WIDTH, PADDING = 10, 3


def columns(rows: list[list[str]]) -> str:
    """The rows (the first one holds the titles) as text, every column as wide as its widest cell."""
    cells = [[safe(cell) for cell in row] for row in rows]
    widths: dict[int, int] = {}
    for row in cells:
        for place, cell in enumerate(row[:-1]):
            widths[place] = max(widths.get(place, WIDTH), len(cell) + PADDING)
    text = ""
    for row in cells:
        text += "".join(cell.ljust(widths[place]) for place, cell in enumerate(row[:-1])) + row[-1] + "\n"
    return text


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the last one an ellipsis when something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(text: str) -> str:
    """Go's strconv.Quote as the COMMAND column uses it."""
    return '"' + safe(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
