# SPDX-License-Identifier: Apache-2.0
"""What creation settled about a container, as one JSON text in its row: the options, what the image said at that
time, and what was decided from both. `start`, `inspect` and `ps` read it; the image may be gone by then.

Must not import runtime, kernel or the database.
"""

from __future__ import annotations

from minirt.engine.options import RunOptions
from minirt.errors import StoreError
from minirt.model import json

_FIELDS: dict[str, type] = {
    "options": dict, "config": dict, "layers": list, "notes": list, "volumes": list, "hostname": str,
    "stop_signal": int, "labels": dict, "user": str,
}  # fmt: skip


class Record:
    """options: as settled. config: the image's (Env, Cmd, …). layers: bottom first, absolute. notes: what was left
    out, one line each. volumes: [type, name, source, destination, mode words, read-write] each. user: as resolved."""

    __slots__ = ("config", "hostname", "labels", "layers", "notes", "options", "stop_signal", "user", "volumes")

    def __init__(self, options: RunOptions, config: dict[str, object], layers: list[str]) -> None:
        self.options = options
        self.config = config
        self.layers = layers
        self.notes: list[str] = []
        self.volumes: list[list[object]] = []
        self.hostname = ""
        self.stop_signal = 15
        self.labels: dict[str, str] = {}
        self.user = ""

    def to_json(self) -> str:
        values = {name: getattr(self, name) for name in _FIELDS}
        values["options"] = self.options.to_dict()
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Raises StoreError for a text that no Record wrote."""
        try:
            values = json.loads(text)
            if any(not isinstance(values[name], kind) for name, kind in _FIELDS.items()):
                raise TypeError
            record = cls(RunOptions(**values["options"]), values["config"], values["layers"])
        except (TypeError, KeyError, ValueError) as error:
            raise StoreError("the stored options of this container are damaged", "remove it: minirt rm -f") from error
        for name in ("notes", "volumes", "hostname", "stop_signal", "labels", "user"):
            setattr(record, name, values[name])
        return record
