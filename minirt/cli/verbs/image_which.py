# SPDX-License-Identifier: Apache-2.0
"""`minirt image which`: which layer of an image provides a path, and which layers have it and are hidden."""

from __future__ import annotations

import os
import stat

from minirt.cli import output, phrase, table
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.errors import InvalidValue
from minirt.image import find, lookup
from minirt.image.history import history, made_by
from minirt.image.layout import Layout
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.image.find import Image
    from minirt.image.lookup import Layered, Looked

COMMAND_WIDTH = 60
KINDS = (
    (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "symlink"), (stat.S_ISREG, "file"), (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "character device"), (stat.S_ISBLK, "block device"),
)  # fmt: skip
COMMAND = Command(
    "image which",
    "[OPTIONS] IMAGE PATH",
    "Show which layer of an image provides a path, and which hide it",
    (Option("format", "", STRING, "Format output: 'json'"),),
    minimum=2,
    maximum=2,
    notes="Layer 1 is the lowest. Exit status 1: the image has no such path.",
)


def run(session: Session, parsed: Parsed) -> int:
    if parsed.text("format") not in ("", "json"):
        raise InvalidValue(f"unknown format {parsed.text('format')!r}", "there is json")
    root = session.engine.roots.root
    image = find.find(root, parsed.arguments[0])
    steps = lookup.look(image.layers, os.fsencode(parsed.arguments[1]))
    if parsed.text("format") == "json":
        output.line(json.dumps([_document(step, image) for step in steps]))
    else:
        commands = made_by(history(Layout(root), image.id))
        output.lines([line for step in steps for line in _lines(step, image, commands)])
    return 0 if steps[-1].provider is not None else 1


def _lines(step: Looked, image: Image, commands: dict[str, str]) -> list[str]:
    path = _text(step.path)
    lines = [] if step.provider is not None else [f"{path}: not in the image"]
    for one in step.layers:
        digits = _diff_id(image, one)
        where = f"layer {one.at} of {len(image.layers)} ({digits[:12]})"
        shown = _shown(one)
        if one.what == lookup.PROVIDES:
            lines.append(f"{path}: {shown}, from {where}")
            command = commands.get(digits, "")
            lines += [f"    made by: {table.shorten(command, COMMAND_WIDTH)}"] if command else []
        elif one.what == lookup.MERGED:
            lines.append(f"    merged with the {shown} of {where}")
        elif one.what == lookup.REMOVES:
            lines.append(f"    removed {one.why}")
        else:
            lines.append(f"    {shown} in {where}: hidden {one.why}")
    return lines


def _shown(one: Layered) -> str:
    if one.status is None:
        return "whiteout"
    kind = next((name for test, name in KINDS if test(one.status.st_mode)), "entry")
    if kind == "symlink":
        return f"symlink to {_text(one.link)}"
    size = f" of {phrase.size(one.status.st_size)}" if kind == "file" else ""
    opaque = "opaque " if one.opaque else ""
    owner = f"{one.status.st_uid}:{one.status.st_gid}"
    return f"{opaque}{kind}{size} ({stat.S_IMODE(one.status.st_mode):04o} {owner})"


def _diff_id(image: Image, one: Layered) -> str:
    return image.layers[one.at - 1].rpartition("/")[2]


def _document(step: Looked, image: Image) -> dict[str, object]:
    layers: list[dict[str, object]] = []
    for one in step.layers:
        found: dict[str, object] = {"Layer": one.at, "DiffID": f"sha256:{_diff_id(image, one)}", "Is": one.what}
        if one.status is not None:
            found.update(Mode=stat.filemode(one.status.st_mode), Uid=one.status.st_uid, Gid=one.status.st_gid)
            found.update(Size=one.status.st_size, Opaque=one.opaque)
        found.update(Why=one.why, Target=_text(one.link))
        layers.append(found)
    return {"Path": _text(step.path), "InImage": step.provider is not None, "Layers": layers}


def _text(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
