# SPDX-License-Identifier: Apache-2.0
"""`image which` against the kernel: whatever it says of a path, the mounted overlay agrees (overlayfs.rst)."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from forge import DIRECTORY, FILE, SYMLINK, entry, tar
from minirt.errors import InvalidValue
from minirt.image import find, lookup
from minirt.image.contents import contents
from test_store import BASE, MIDDLE, TOP, loaded, mounted

pytestmark = pytest.mark.kernel
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "root")


def random_layer(choose: random.Random) -> bytes:
    """Files, directories, links, whiteouts and opaque directories, two deep; no name twice."""
    members = []
    for name in NAMES:
        kind = choose.choice(("nothing", "file", "directory", "directory", "whiteout", "symlink", "opaque"))
        if kind == "file":
            members.append(entry(name, FILE, data=os.urandom(4).hex().encode()))
        elif kind == "whiteout":
            members.append(entry(f".wh.{name}"))
        elif kind == "symlink":
            members.append(entry(name, SYMLINK, link=choose.choice(("/a", "b/c", "../../c/./d", "nowhere", "/b/../d"))))
        elif kind in ("directory", "opaque"):
            members.append(entry(f"{name}/", DIRECTORY, mode=0o755))
            members += [entry(f"{name}/.wh..wh..opq")] if kind == "opaque" else []
            for inner in NAMES:
                what = choose.choice(("nothing", "nothing", "file", "whiteout", "directory"))
                if what == "file":
                    members.append(entry(f"{name}/{inner}", FILE, data=os.urandom(4).hex().encode()))
                elif what == "whiteout":
                    members.append(entry(f"{name}/.wh.{inner}"))
                elif what == "directory":
                    members.append(entry(f"{name}/{inner}/", DIRECTORY, mode=0o700))
    return tar(*members)


def every_path() -> list[str]:
    return ["/", *(f"/{one}" for one in NAMES), *(f"/{one}/{two}" for one in NAMES for two in NAMES)]


@pytest.mark.parametrize("seed", range(8))
def test_it_says_what_the_kernel_shows(root: str, tmp_path: Path, seed: int) -> None:
    """For every path: is it there, in which layer does what the kernel shows lie, and what do the links lead to."""
    choose = random.Random(seed)
    loaded(root, tmp_path, *(random_layer(choose) for _ in range(5)))
    layers = find.find(root, "a/b:1").layers
    seen = set()
    with mounted(layers, tmp_path / "merged") as merged:
        for path in every_path():
            if any(os.path.islink(merged / part.lstrip("/")) for part in (os.path.dirname(path), path)):
                continue  # what a link leads to is in the other tests: os.path knows no root
            last = lookup.look(layers, path.encode())[-1]
            shown = merged / path.lstrip("/")
            assert (last.provider is not None) == os.path.lexists(shown), (path, last.layers)
            if last.provider is None:
                continue
            assert last.provider.status is not None
            own = Path(layers[last.provider.at - 1]) / path.lstrip("/")
            assert shown.lstat().st_mode == own.lstat().st_mode == last.provider.status.st_mode
            if shown.is_file():
                assert shown.read_bytes() == own.read_bytes()
                seen.add("file")
            elif path != "/":
                merging = {one.at for one in last.layers if one.what in (lookup.PROVIDES, lookup.MERGED)}
                for entry_ in shown.iterdir():
                    holders = {
                        at for at in range(1, 6) if os.path.lexists(Path(layers[at - 1]) / path[1:] / entry_.name)
                    }
                    assert holders & merging, (path, entry_.name)
                seen.add("directory")
    assert seen == {"file", "directory"}


def test_hidden_layers_are_explained(root: str, tmp_path: Path) -> None:
    loaded(root, tmp_path, BASE, MIDDLE, TOP)
    layers = find.find(root, "a/b:1").layers
    gone = lookup.look(layers, b"etc/gone")[-1]
    assert gone.provider is None
    assert [(one.at, one.what) for one in gone.layers] == [(2, lookup.REMOVES), (1, lookup.HIDDEN)]
    assert "whiteout of /etc/gone" in gone.layers[1].why
    old = lookup.look(layers, b"/dir/old")[-1]
    assert [(one.at, one.what) for one in old.layers] == [(1, lookup.HIDDEN)] and "opaque" in old.layers[0].why
    below = lookup.look(layers, b"/swap/below")[-1]
    assert [(one.at, one.what) for one in below.layers] == [(1, lookup.HIDDEN)]
    assert "layer 2, in which /swap is no directory" in below.layers[0].why
    tmp = lookup.look(layers, b"tmp")[-1]
    assert [one.what for one in tmp.layers] == [lookup.PROVIDES, lookup.MERGED, lookup.MERGED]


def test_links_stay_in_the_image(root: str, tmp_path: Path) -> None:
    """IMG: absolute and climbing links, loops, a link to the host: what they lead to is looked for in the image."""
    layer = tar(
        entry("etc/", DIRECTORY, mode=0o755),
        entry("etc/passwd", data=b"of the image"),
        entry("up", SYMLINK, link="../../../../../etc"),
        entry("absolute", SYMLINK, link="/etc/passwd"),
        entry("host", SYMLINK, link="/proc/self/root/etc/shadow"),
        entry("loop", SYMLINK, link="loop"),
    )
    loaded(root, tmp_path, layer)
    layers = find.find(root, "a/b:1").layers
    for path in (b"up/passwd", b"absolute", b"/../../etc/passwd", b"up/../etc/passwd"):
        provider = lookup.look(layers, path)[-1].provider
        assert provider is not None and provider.status is not None and provider.status.st_size == 12, path
    assert [step.path for step in lookup.look(layers, b"up/passwd")] == [b"/up", b"/etc/passwd"]
    assert lookup.look(layers, b"host")[-1].provider is None
    with pytest.raises(InvalidValue, match="too many symbolic links"):
        lookup.look(layers, b"loop")
    with pytest.raises(InvalidValue, match="too long"):
        lookup.look(layers, b"a/" * 3000)


def test_what_a_layer_holds_is_counted(root: str, tmp_path: Path) -> None:
    loaded(root, tmp_path, BASE, MIDDLE, TOP)
    found = [contents(layer) for layer in find.find(root, "a/b:1").layers]
    assert [(one.files, one.directories, one.symlinks, one.whiteouts, one.opaque) for one in found] == [
        (4, 4, 1, 0, 0),
        (2, 3, 1, 1, 1),
        (2, 2, 0, 0, 0),
    ]
    assert found[0].bytes == 4 and found[0].entries == 9


def test_a_layer_deeper_than_any_path(root: str, tmp_path: Path) -> None:
    """IMG-13: 3,000 levels: counted without recursion, and a path into it is answered."""
    loaded(root, tmp_path, tar(*(entry("d/" * depth, DIRECTORY, mode=0o755) for depth in range(1, 1500))))
    layers = find.find(root, "a/b:1").layers
    assert contents(layers[0]).directories == 1499
    provider = lookup.look(layers, b"d/" * 1499)[-1].provider
    assert provider is not None and provider.status is not None and stat.S_ISDIR(provider.status.st_mode)
