# SPDX-License-Identifier: Apache-2.0
"""`minirt system check`: read everything in the store again, and say what is wrong with it."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import check
from minirt.errors import InvalidValue
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.image.check import Checked

COMMAND = Command(
    "system check",
    "[OPTIONS]",
    "Check everything in the image store",
    (
        Option("format", "", STRING, "Format output: 'json'"),
        Option("repair", help="Make right what can be made right, and take out what cannot"),
    ),
    maximum=0,
    notes="Exit code 0 when everything is whole, 1 when something is wrong (with --repair: still is).",
)


def run(session: Session, parsed: Parsed) -> int:
    if parsed.text("format") not in ("", "json"):
        raise InvalidValue(f"unknown format {parsed.text('format')!r}", "there is json")
    found, done = check.examine(session.engine), []
    if found.faults and parsed.flag("repair"):
        if not parsed.text("format"):
            _show(found)
        done = check.mend(session.engine, found)
        output.lines([f"repair: {line}" for line in done] if not parsed.text("format") else [])
        found = check.examine(session.engine)
    if parsed.text("format"):
        output.line(json.dumps(_document(found, done)))
    else:
        _show(found)
        counted = f"{found.images} images, {found.blobs} blobs, {found.layers} layers"
        wrong = len(found.faults)
        output.line(f"{counted}: {'all is well' if not wrong else f'{wrong} faults' if wrong > 1 else '1 fault'}")
    return 1 if found.faults else 0


def _show(found: Checked) -> None:
    lines = []
    for fault in found.faults:
        lines.append(f"{fault.kind} {fault.name}: {fault.what}")
        if fault.remedy:
            lines.append(f"    {fault.remedy}")
    output.lines(lines)


def _document(found: Checked, done: list[str]) -> dict[str, object]:
    fields = ("kind", "name", "what", "remedy")
    return {
        "Images": found.images,
        "Blobs": found.blobs,
        "Layers": found.layers,
        "Faults": [{field.capitalize(): getattr(fault, field) for field in fields} for fault in found.faults],
        "Repaired": done,
    }
