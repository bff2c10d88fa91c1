# SPDX-License-Identifier: Apache-2.0
"""`tag`: one more name for an image (docker-tag(1))."""

from __future__ import annotations

from minirt.engine import events
from minirt.errors import InvalidValue
from minirt.image import find as images
from minirt.image import names, tags
from minirt.image.layout import Layout
from minirt.image.stored import by_identity
from minirt.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def tag(engine: Engine, source: str, target: str) -> None:
    """Raises NotFound, InvalidValue, StoreError. Whichever image had the name goes on without it."""
    name = reference.parse(target)
    if name.digest is not None:
        raise InvalidValue("refusing to create a tag with a digest reference", "write NAME:TAG")
    layout = Layout(engine.roots.root)
    image = images.find(engine.roots.root, source)
    of = names.named(layout, image.name) if image.name else None
    tags.tag(layout, (of or by_identity(layout, image.id).descriptor).hex, str(name.tagged()))
    events.of_image(engine, "tag", image.id, name.tagged().short())
