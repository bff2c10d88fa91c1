# SPDX-License-Identifier: Apache-2.0
"""What is known of an image once it is in the store: nouns for those who find, run and list images.

Plain slotted classes, because dataclasses cost 12 ms at import. Pure; imports nothing of minirt.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EMBEDDED = "localhost/busybox:latest"


class Image:
    """id: "sha256:…" of the config. name: its reference in full; "" where it was found by id and has none.
    config: the `config` object of its configuration (Env, Cmd …). layers: absolute directories, bottom first.
    root: the mode, uid and gid that the layers give to "/". architecture: in Go's words, amd64."""

    __slots__ = ("id", "name", "config", "layers", "root", "architecture")

    def __init__(
        self,
        identity: str,
        name: str,
        config: dict[str, Any],
        layers: tuple[str, ...],
        root: tuple[int, int, int],
        architecture: str,
    ) -> None:
        self.id = identity
        self.name = name
        self.config = config
        self.layers = layers
        self.root = root
        self.architecture = architecture


class Listed:
    """One line of `images`: `name` is a reference in full or "" for a dangling image; `size` in bytes,
    uncompressed; `created` as the config says it (RFC 3339, or ""); `labels` those of the config."""

    __slots__ = ("name", "id", "digest", "created", "size", "architecture", "labels")

    def __init__(self, name: str, record: dict[str, Any]) -> None:
        self.name = name
        self.id = f"sha256:{record['id']}"
        self.digest = f"sha256:{record['manifest']}"
        self.created: str = record["created"]
        self.size: int = record["size"]
        self.architecture: str = record["architecture"]
        self.labels: dict[str, str] = record["config"].get("Labels") or {}
