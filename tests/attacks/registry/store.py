# SPDX-License-Identifier: Apache-2.0
"""A store seen from outside: what images, blobs, layers and unfinished work lie in it, and whether all of it is true.

Reads the files (image-layout.md) rather than asking minirt, so that it can contradict `minirt system check`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


class Store:
    """The store below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def blobs(self) -> list[str]:
        return names_in(self.root / "images/blobs/sha256")

    @property
    def layers(self) -> list[str]:
        return names_in(self.root / "layers")

    @property
    def partials(self) -> list[str]:
        """Unfinished downloads that the next pull goes on with."""
        return names_in(self.root / "partial")

    @property
    def images(self) -> list[dict[str, Any]]:
        index = self.root / "images/index.json"
        return list(json.loads(index.read_text())["manifests"]) if index.exists() else []

    def empty(self) -> None:
        """No image, blob, layer or staging directory; at most partial blobs, which no image can name."""
        assert self.images == []
        assert self.blobs == []
        assert self.layers == []
        self.tidy()

    def tidy(self) -> None:
        assert names_in(self.root / "staging") == []
        for folder in ("images", "records", "layers", "images/blobs/sha256"):
            for name in names_in(self.root / folder):
                assert ".tmp" not in name and name.count(".") < 2, f"half-made {folder}/{name}"

    def snapshot(self) -> tuple[list[str], list[str], list[dict[str, Any]]]:
        return self.blobs, self.layers, self.images

    def blob(self, digest: str) -> bytes:
        return (self.root / "images/blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def true(self) -> None:
        """Every blob has the digest of its name, every image all that it needs. As `system check`, by other hands."""
        for name in self.blobs:
            assert hashlib.sha256(self.blob(name)).hexdigest() == name, f"blob {name} is not what its name says"
        for described in self.images:
            manifest = json.loads(self.blob(described["digest"]))
            config = json.loads(self.blob(manifest["config"]["digest"]))
            for layer in manifest["layers"]:
                assert len(self.blob(layer["digest"])) == layer["size"]
            for diff_id in config["rootfs"]["diff_ids"]:
                assert (self.root / "layers" / diff_id[7:]).is_dir(), f"layer {diff_id} is missing"

    def content(self) -> dict[str, str]:
        """{path: hash} of every regular file in the layers: to compare with a clean pull's."""
        found = {}
        for parent, _, files in os.walk(self.root / "layers"):
            for name in files:
                path = Path(parent, name)
                if path.is_file() and not path.is_symlink():
                    found[str(path.relative_to(self.root))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found
