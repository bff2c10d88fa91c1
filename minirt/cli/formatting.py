# SPDX-License-Identifier: Apache-2.0
"""What --format may say for lists and objects: json, table TEMPLATE, TEMPLATE (docker/cli command/formatter). Pure."""

from __future__ import annotations

from minirt.cli import table
from minirt.cli.evaluate import Record, render
from minirt.cli.template import parse
from minirt.model import json

HELP = """Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json', or 'TEMPLATE',
with the actions of a Go template"""
HELP_ONE = "Format output using a custom template: 'json', or 'TEMPLATE' with the actions of a Go template"


def rows(wish: str, records: list[Record], titles: dict[str, str], layout: tuple[str, ...]) -> str:
    """A list as text. `titles` names the columns, `layout` the fields of the plain table."""
    text = wish.strip().replace("\\t", "\t").replace("\\n", "\n")
    if text in ("", "table"):
        lines = [[titles[field] for field in layout]]
        lines += [[str(record[field]) for field in layout] for record in records]
        return table.columns(lines)
    if text == "json":
        return "".join([json.dumps(record) + "\n" for record in records])
    if text.startswith(("table ", "table\t")):
        template = parse(text[6:])
        heading = Record(dict(titles), {"Label": lambda key: key.rpartition(".")[2]})
        cells = [render(template, record).split("\t") for record in [heading, *records]]
        return table.columns(cells)
    template = parse(text)
    return "".join([render(template, record) + "\n" for record in records])


def objects(wish: str, found: list[dict[str, object]]) -> str:
    """Documents as `inspect` shows them: an indented JSON list, or one line of template for each."""
    text = wish.strip()
    if not text:
        return json.pretty(found) + "\n"
    if text == "json":
        return json.dumps(found) + "\n"
    template = parse(text)
    return "".join([render(template, document) + "\n" for document in found])
