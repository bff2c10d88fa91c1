# SPDX-License-Identifier: Apache-2.0
"""The layers of images as trees: images that begin with the same layers share the branch, and the disk. Nothing here
writes."""

from __future__ import annotations

from minirt.errors import StoreError
from minirt.image import records
from minirt.image.contents import Contents, contents
from minirt.image.history import history, made_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.image.layout import Layout


class Node:
    """One layer. images: (id, names) of those that end here. users: how many images stand on it, here and above.
    contents: None where the layer is missing."""

    __slots__ = ("above", "contents", "created_by", "diff_id", "images", "size", "users")

    def __init__(self, diff_id: str, size: int, created_by: str) -> None:
        self.diff_id = diff_id
        self.size = size
        self.created_by = created_by
        self.contents: Contents | None = None
        self.images: list[tuple[str, list[str]]] = []
        self.users = 0
        self.above: dict[str, Node] = {}


def forest(layout: Layout, images: list[tuple[str, list[str], list[str]]]) -> list[Node]:
    """The lowest layers of `images`, each (id, names, diff-ids bottom first)."""
    roots: dict[str, Node] = {}
    counted: dict[str, Contents | None] = {}
    for identity, names, diff_ids in images:
        commands = made_by(history(layout, f"sha256:{identity}"))
        branch, node = roots, None
        for diff_id in diff_ids:
            node = branch.get(diff_id)
            if node is None:
                record = records.layer_record(layout, diff_id)
                node = Node(diff_id, record.size if record is not None else 0, commands.get(diff_id, ""))
                if diff_id not in counted:
                    counted[diff_id] = _contents(layout, diff_id)
                node.contents = counted[diff_id]
                branch[diff_id] = node
            node.users += 1
            branch = node.above
        if node is not None:
            node.images.append((identity, names))
    return list(roots.values())


def _contents(layout: Layout, diff_id: str) -> Contents | None:
    try:
        return contents(layout.layer_path(diff_id))
    except StoreError:
        return None
