# SPDX-License-Identifier: Apache-2.0
"""`.wh..wh..opq` in the root of a layer (OCI layer.md, "opaque whiteout"): nothing below that layer is seen."""

from __future__ import annotations

from pathlib import Path

from forge import DIRECTORY, Forged, archive, entry, tar
from minirt.image import find, load
from test_store import mounted

OLD = tar(entry("old", data=b"1"), entry("d/", DIRECTORY), entry("d/old", data=b"1"))
NEW = tar(entry("new", data=b"2"))


def merged(folder: Path, *layers: bytes) -> set[str]:
    """What an image of these layers shows."""
    source = folder / "archive.tar"
    source.write_bytes(archive(Forged(*layers, name="opaque:1").files()))
    load.load(str(folder / "root"), str(source))
    image = find.find(str(folder / "root"), "opaque:1")
    with mounted(image.layers, folder / "mounted") as top:
        return {str(path.relative_to(top)) for path in top.rglob("*")}


def test_an_opaque_root_hides_all_layers_below(tmp_path: Path) -> None:
    hiding = tar(entry(".wh..wh..opq"), entry("mine", data=b"3"))
    assert merged(tmp_path, OLD, hiding, NEW) == {"mine", "new"}


def test_an_opaque_directory_hides_only_its_own(tmp_path: Path) -> None:
    hiding = tar(entry("d/.wh..wh..opq"), entry("d/mine", data=b"3"))
    assert merged(tmp_path, OLD, hiding, NEW) == {"old", "d", "d/mine", "new"}
