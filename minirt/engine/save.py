# SPDX-License-Identifier: Apache-2.0
"""`save`: images of the store for others to load (docker-save(1)); what is written is in image/save.py."""

from __future__ import annotations

from minirt.engine import events
from minirt.image import save as image_save
from minirt.image import stored
from minirt.image.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine
    from minirt.image.save import Target
    from minirt.image.stored import Stored


def find(engine: Engine, texts: list[str]) -> list[Stored]:
    """The images that the user named, each once. Raises NotFound before anything is written."""
    engine.roots.prepare()
    return stored.by_names(Layout(engine.roots.root), texts)


def save(engine: Engine, images: list[Stored], target: Target, form: str) -> None:
    """Raises StoreError (missing, damaged), SinkError (the target takes no more)."""
    image_save.save(Layout(engine.roots.root), images, target, form)
    for image in images:
        events.of_image(engine, "save", f"sha256:{image.image.config.hex}", f"sha256:{image.image.config.hex}")
