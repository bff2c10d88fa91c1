# SPDX-License-Identifier: Apache-2.0
"""`minirt image tree`: the layers of images as a tree: which they share, and what each added."""

from __future__ import annotations

from minirt.cli import output, phrase, table
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.errors import InvalidValue
from minirt.image import find
from minirt.image.forest import Node, forest
from minirt.image.layout import Layout
from minirt.model import json, reference

COMMAND_WIDTH = 60
COMMAND = Command(
    "image tree",
    "[OPTIONS] [IMAGE...]",
    "Show which layers images share and what each layer added",
    (
        Option("format", "", STRING, "Format output: 'json'"),
        Option("no-trunc", help="Don't truncate output"),
    ),
    notes="The lowest layer comes first, each under the one it is laid on. What images share is on the disk once.",
)


def run(session: Session, parsed: Parsed) -> int:
    if parsed.text("format") not in ("", "json"):
        raise InvalidValue(f"unknown format {parsed.text('format')!r}", "there is json")
    root = session.engine.roots.root
    chosen = [find.find(root, text) for text in parsed.arguments]
    names: dict[str, list[str]] = {one.id: [] for one in chosen}
    for listed in find.images(root):
        if not chosen or listed.id in names:
            names.setdefault(listed.id, [])
            names[listed.id] += [reference.parse(listed.name).short()] if listed.name else []
    wanted = []
    for identity, known in names.items():
        layers = [path.rpartition("/")[2] for path in find.look(root, identity).layers]
        wanted.append((identity.partition(":")[2], known, layers))
    nodes = forest(Layout(root), wanted)
    if parsed.text("format") == "json":
        output.line(json.dumps(_documents(nodes)))
        return 0
    lines: list[str] = []
    for node in nodes:
        lines += _lines(node, "", "", parsed.flag("no-trunc"))
    empty = [one for one in wanted if not one[2]]
    lines += [f"(no layers) ← {_named(identity, known, parsed.flag('no-trunc'))}" for identity, known, _ in empty]
    output.lines(lines)
    return 0


def _lines(node: Node, first: str, rest: str, whole: bool) -> list[str]:
    """A node and all above it, without recursion: an image may have 500 layers."""
    lines: list[str] = []
    waiting = [(node, first, rest)]
    while waiting:
        one, first, rest = waiting.pop()
        above = list(one.above.values())
        lines.append(f"{first}{_told(one, whole)}")
        bar = rest + ("│    " if above else "     ")
        lines += [f"{bar}{line}" for line in _below(one, whole)]
        if len(above) == 1:  # the usual case: a column, not a staircase
            waiting.append((above[0], rest, rest))
            continue
        for at, child in reversed(list(enumerate(above))):
            last = at == len(above) - 1
            waiting.append((child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")))
    return lines


def _told(node: Node, whole: bool) -> str:
    digits = node.diff_id if whole else node.diff_id[:12]
    if node.contents is None:
        return f"{digits}  missing: minirt system check --repair"
    counts = [
        (node.contents.files, "file", "files"),
        (node.contents.directories, "directory", "directories"),
        (node.contents.symlinks, "symlink", "symlinks"),
        (node.contents.others, "device or fifo", "devices and fifos"),
        (node.contents.whiteouts, "whiteout", "whiteouts"),
        (node.contents.opaque, "opaque directory", "opaque directories"),
    ]
    told = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    shared = f"  shared by {node.users} images" if node.users > 1 else ""
    return f"{digits}  {phrase.size(node.size)}  {', '.join(told) or 'empty'}{shared}"


def _below(node: Node, whole: bool) -> list[str]:
    lines = []
    if node.created_by:
        lines.append(node.created_by if whole else table.shorten(node.created_by, COMMAND_WIDTH))
    return lines + [f"← {_named(identity, known, whole)}" for identity, known in node.images]


def _named(identity: str, known: list[str], whole: bool) -> str:
    return f"{', '.join(known) or '<none>'} ({identity if whole else identity[:12]})"


def _documents(nodes: list[Node]) -> list[dict[str, object]]:
    """The trees as one list: "Number" is a layer's, "On" that of the layer below it, or null."""
    found: list[dict[str, object]] = []
    waiting: list[tuple[Node, int | None]] = [(node, None) for node in reversed(nodes)]
    while waiting:
        node, below = waiting.pop()
        found.append({"Number": len(found) + 1, "On": below, **_document(node)})
        waiting += [(child, len(found)) for child in reversed(node.above.values())]
    return found


def _document(node: Node) -> dict[str, object]:
    found = node.contents
    counts = {} if found is None else {
        "Files": found.files, "Directories": found.directories, "Symlinks": found.symlinks, "Others": found.others,
        "Whiteouts": found.whiteouts, "OpaqueDirectories": found.opaque, "Bytes": found.bytes,
    }  # fmt: skip
    return {
        "DiffID": f"sha256:{node.diff_id}",
        "Size": node.size,
        "CreatedBy": node.created_by,
        "Contents": counts or None,
        "SharedBy": node.users,
        "Images": [{"Id": f"sha256:{identity}", "RepoTags": names} for identity, names in node.images],
    }
