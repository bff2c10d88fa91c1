# SPDX-License-Identifier: Apache-2.0
"""`system df`: what images, containers and volumes take, and what a prune would give back (docker-system-df(1))."""

from __future__ import annotations

from minirt.engine import lifecycle, ps, rmi, usage, volumes
from minirt.image import usage as image_usage
from minirt.image.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.ps import Listed
    from minirt.engine.store import Engine
    from minirt.engine.volumes import Volume
    from minirt.image.usage import Usage


class Kind:
    """One line: how many there are, how many are in use, bytes, and how many of these nobody needs."""

    __slots__ = ("active", "count", "name", "reclaimable", "size")

    def __init__(self, name: str, count: int, active: int, size: int, reclaimable: int) -> None:
        self.name = name
        self.count = count
        self.active = active
        self.size = size
        self.reclaimable = reclaimable


class Report:
    """images: with the number of their containers. containers: with the bytes that they have written."""

    __slots__ = ("containers", "images", "kinds", "volumes")

    def __init__(
        self, images: list[tuple[Usage, int]], containers: list[tuple[Listed, int]], found: list[Volume]
    ) -> None:
        self.images = images
        self.containers = containers
        self.volumes = found
        self.kinds: list[Kind] = []


def df(engine: Engine) -> Report:
    layout = Layout(engine.roots.root)
    listed = ps.ps(engine, all=True)
    written = [(one, usage.tree(f"{engine.roots.container(one.id)}/upper")) for one in listed]
    found = volumes.volumes(engine)
    for volume in found:
        volume.measure()
    images = [(one, _users(listed, one)) for one in image_usage.images(layout)]
    report = Report(images, written, found)
    there = image_usage.everything(layout)
    spared = {part for one, users in images if users for part in one.parts}
    spared |= {("layer", diff_id) for diff_id in rmi.layers_in_use(engine)}
    idle = sum(size for part, size in there.items() if part not in spared)
    report.kinds.append(Kind("Images", len(images), sum(1 for _, n in images if n), sum(there.values()), idle))
    still = [size for one, size in written if one.status not in lifecycle.ALIVE]
    total = sum(size for _, size in written)
    report.kinds.append(Kind("Containers", len(written), len(written) - len(still), total, sum(still)))
    free = [volume.size or 0 for volume in found if not volume.users]
    total = sum(volume.size or 0 for volume in found)
    report.kinds.append(Kind("Local Volumes", len(found), len(found) - len(free), total, sum(free)))
    return report


def _users(listed: list[Listed], image: Usage) -> int:
    return sum((one.image_id or "").removeprefix("sha256:") == image.owner.id for one in listed)
