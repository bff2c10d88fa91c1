# SPDX-License-Identifier: Apache-2.0
"""The steps that made an image, as its config tells them (OCI image specification, config.md, "history").

Strangers wrote it: what is missing or of another type is empty, and a history that does not fit the layers is paired
with them as far as it goes. Nothing here writes.
"""

from __future__ import annotations

from minirt.image import records
from minirt.image.stored import by_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.image.layout import Layout


class Step:
    """diff_id: the layer that it made; "" for a step that only changed the config. size: of the layer, uncompressed.
    created: RFC 3339 or ""."""

    __slots__ = ("author", "comment", "created", "created_by", "diff_id", "size")

    def __init__(self, entry: dict[str, Any], diff_id: str, size: int) -> None:
        self.created = _text(entry, "created")
        self.created_by = _text(entry, "created_by")
        self.comment = _text(entry, "comment")
        self.author = _text(entry, "author")
        self.diff_id = diff_id
        self.size = size


def history(layout: Layout, identity: str) -> list[Step]:
    """First step first. NotFound for an image that is not here."""
    stored = by_identity(layout, identity)
    listed = stored.config.get("history")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    rest = list(stored.diff_ids)
    steps = []
    for entry in entries:
        diff_id = "" if entry.get("empty_layer") is True or not rest else rest.pop(0)
        steps.append(Step(entry, diff_id, _size(layout, diff_id)))
    return steps + [Step({}, diff_id, _size(layout, diff_id)) for diff_id in rest]


def made_by(steps: list[Step]) -> dict[str, str]:
    """{diff_id: what made it}; of a layer that is there twice, the last time."""
    return {step.diff_id: step.created_by or step.comment for step in steps if step.diff_id}


def _size(layout: Layout, diff_id: str) -> int:
    record = records.layer_record(layout, diff_id) if diff_id else None
    return record.size if record is not None else 0


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
