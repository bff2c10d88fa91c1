# SPDX-License-Identifier: Apache-2.0
"""Layers made to write, link or look outside of their directory (IMG-01 to IMG-10, IMG-13).

Each is unpacked in three ways (forge.WAYS). After each the canary beside the store is byte- and stat-identical,
and the attack is either refused or confined as the test says.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import forge
from forge import CHARACTER, DIRECTORY, FIFO, FILE, LINK, SYMLINK, entry, kind_of, tar, tree, with_xattrs
from minirt.errors import ImageError

OPAQUE = "trusted.overlay.opaque"


@pytest.fixture(params=forge.WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scene(tmp_path: Path) -> forge.Scene:
    return forge.Scene(tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "./../x", "..", "../../victim/x"])
def test_img_01_name_with_parents_is_refused(scene: forge.Scene, way: str, name: str) -> None:
    """IMG-01 (CVE-2014-6407)."""
    outcome = scene.attack(way, tar(entry("a/", DIRECTORY), entry(name, data=b"evil")))
    assert isinstance(outcome.error, ImageError)
    assert "climbs" in outcome.error.message


@pytest.mark.parametrize("name", ["/etc/x", "//x", "./././x", "x//y///z"])
def test_img_01_absolute_name_is_confined(scene: forge.Scene, way: str, name: str) -> None:
    """IMG-01: leading slashes mean the layer's root."""
    outcome = scene.attack(way, tar(entry(name, data=b"good")))
    assert outcome.layer is not None
    relative = "/".join(part for part in name.split("/") if part not in ("", "."))
    assert (outcome.layer / relative).read_bytes() == b"good"


def test_img_02_file_through_a_relative_symlink(scene: forge.Scene, way: str) -> None:
    """IMG-02 (storage TestUntarInvalidSymlink): the link leads to a directory of that name inside."""
    layer = tar(entry("d", SYMLINK, link="../victim"), entry("d/hello", data=b"evil"), entry("d/file", data=b"evil"))
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    assert os.readlink(outcome.layer / "d") == "../victim"
    assert (outcome.layer / "victim/hello").read_bytes() == b"evil"


@pytest.mark.parametrize("up", ["", "../", "../../../../../../../../../..", "./..//../"])
@pytest.mark.parametrize("name", ["d/file", "d/new/dir/file", "d//file", "d/./file"])
def test_img_03_file_through_an_absolute_symlink(scene: forge.Scene, way: str, up: str, name: str) -> None:
    """IMG-03 (containerd TestBreakouts): confined, the symlink itself verbatim."""
    target = up + str(scene.victim)
    outcome = scene.attack(way, tar(entry("d", SYMLINK, link=target), entry(name, data=b"evil")))
    assert outcome.layer is not None
    assert os.readlink(outcome.layer / "d") == target
    assert not (scene.victim / "file").exists()
    assert "file" in tree(outcome.layer).values()


def test_img_03_chain_of_symlinks(scene: forge.Scene, way: str) -> None:
    """IMG-03: MultipleAbsolute, MultipleRelative, a loop."""
    layer = tar(
        entry("one", SYMLINK, link=str(scene.victim)),
        entry("two", SYMLINK, link="one"),
        entry("three", SYMLINK, link="/two/../two"),
        entry("three/file", data=b"evil"),
    )
    assert scene.attack(way, layer).layer is not None


def test_img_03_loop_of_symlinks_is_refused(scene: forge.Scene, way: str) -> None:
    layer = tar(entry("a", SYMLINK, link="b"), entry("b", SYMLINK, link="a"), entry("a/file"))
    assert isinstance(scene.attack(way, layer).error, ImageError)


@pytest.mark.parametrize("target", ["../victim/hello", "../../../../../../../etc/shadow", "x/../../victim/hello"])
def test_img_04_hard_link_that_climbs_is_refused(scene: forge.Scene, way: str, target: str) -> None:
    """IMG-04 (storage TestApplyLayerInvalidHardlink)."""
    outcome = scene.attack(way, tar(entry("x", LINK, link=target)))
    assert isinstance(outcome.error, ImageError)


@pytest.mark.parametrize("target", ["/etc/shadow", "victim/hello", "etc/passwd", "d/hello", "."])
def test_img_04_hard_link_to_what_the_layer_lacks_is_refused(scene: forge.Scene, way: str, target: str) -> None:
    """IMG-04: also through a symlinked directory. No inode is shared with the host."""
    layer = tar(entry("d", SYMLINK, link=str(scene.victim)), entry("x", LINK, link=target))
    outcome = scene.attack(way, layer)
    assert isinstance(outcome.error, ImageError)
    assert (scene.victim / "hello").stat().st_nlink == 1


def test_img_04_write_through_a_hard_link(scene: forge.Scene, way: str) -> None:
    """IMG-04: a link to a symlink, then a file of the same name: the link is replaced, not written through."""
    layer = tar(
        entry("s", SYMLINK, link=str(scene.victim / "hello")),
        entry("h", LINK, link="s"),
        entry("h", data=b"evil"),
        entry("s", data=b"evil"),
    )
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    assert tree(outcome.layer) == {"s": "file", "h": "file"}


def test_img_05_hard_link_to_a_symlink_changes_nothing_behind_it(scene: forge.Scene, way: str) -> None:
    """IMG-05 (CVE-2021-32760): mode, owner, time and xattrs of the entry are not applied through it."""
    link = with_xattrs(
        entry("h", LINK, link="s", mode=0o4777, uid=b"0001747\0", mtime=b"00000000001\0"), user__evil=b"1"
    )
    outcome = scene.attack(way, tar(entry("s", SYMLINK, link=str(scene.victim / "hello")), link))
    assert outcome.layer is not None
    assert (outcome.layer / "h").is_symlink()
    assert (outcome.layer / "h").lstat().st_ino == (outcome.layer / "s").lstat().st_ino


@pytest.mark.parametrize("name", [".", "./", "/", "", "//", "./."])
@pytest.mark.parametrize("kind", [SYMLINK, FILE, CHARACTER, FIFO, LINK])
def test_img_06_root_stays_a_directory(scene: forge.Scene, way: str, name: str, kind: bytes) -> None:
    """IMG-06 (CVE-2021-29136)."""
    layer = tar(entry("x", data=b"x"), entry(name, kind, link=str(scene.victim), major=b"0000001\0"))
    outcome = scene.attack(way, layer)
    assert isinstance(outcome.error, ImageError)
    assert "root" in outcome.error.message


@pytest.mark.parametrize("name", [".wh..", ".wh...", ".wh.", "a/.wh...", "a/.wh..", "a/.wh."])
def test_img_07_whiteout_of_nothing_or_of_a_parent_is_refused(scene: forge.Scene, way: str, name: str) -> None:
    """IMG-07 (containerd WhiteoutRoot, WhiteoutParent, WhiteoutRootParent, WhiteoutCurrentDirectory)."""
    outcome = scene.attack(way, tar(entry("a/", DIRECTORY, mode=0o755), entry(name)))
    assert isinstance(outcome.error, ImageError)
    assert "whiteout" in outcome.error.message


def test_img_07_file_below_a_whiteout_is_refused(scene: forge.Scene, way: str) -> None:
    outcome = scene.attack(way, tar(entry(".wh.a/b", data=b"x")))
    assert isinstance(outcome.error, ImageError)


@pytest.mark.parametrize("name", ["s/.wh.hello", "s/.wh..wh..opq", "s/deep/.wh.hello", "s/.wh.empty"])
def test_img_07_whiteout_through_a_symlink_removes_nothing_outside(scene: forge.Scene, way: str, name: str) -> None:
    """IMG-07 (containerd WhiteoutSymlinkPath, WhiteoutDeadSymlinkParent)."""
    outcome = scene.attack(way, tar(entry("s", SYMLINK, link=str(scene.victim)), entry(name)))
    assert outcome.layer is not None
    assert os.listxattr(scene.victim) == []


def test_img_07_whiteouts_as_overlay_wants_them(scene: forge.Scene, way: str) -> None:
    """The positive control: a device 0:0, and an opaque directory; a whiteout hides nothing of its own layer."""
    layer = tar(
        entry("d/", DIRECTORY, mode=0o755),
        entry("d/.wh.gone"),
        entry("o/.wh..wh..opq"),
        entry("o/kept", data=b"x"),
        entry("mine", data=b"x"),
        entry(".wh.mine"),
        entry("own/", DIRECTORY, mode=0o755),
        entry("own/f"),
        entry(".wh.own"),
        entry(".wh.new"),
        entry("new/f"),
        entry(".wh..wh.plnk"),
    )
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    found = tree(outcome.layer)
    assert found["d/gone"] == "whiteout"
    assert found["mine"] == "file"
    assert found["o/kept"] == "file"
    assert not any(".wh." in name for name in found)
    for name in ("o", "own", "new"):
        assert os.getxattr(outcome.layer / name, OPAQUE) == b"y", name
    assert OPAQUE not in os.listxattr(outcome.layer / "d")


def test_img_08_directory_replaced_by_a_symlink_and_written_below(scene: forge.Scene, way: str) -> None:
    """IMG-08 (containerd DirectoryOverrideSymlink): in one layer, in the middle of it."""
    layer = tar(
        entry("dir/", DIRECTORY, mode=0o755),
        entry("dir/a", data=b"1"),
        entry("dir", SYMLINK, link=str(scene.victim)),
        entry("dir/hello", data=b"evil"),
        entry("dir/", DIRECTORY, mode=0o700),
        entry("dir/b", data=b"2"),
    )
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    assert sorted(os.listdir(outcome.layer / "dir")) == ["b"]
    assert stat.S_IMODE((outcome.layer / "dir").stat().st_mode) == 0o700


def test_img_08_file_over_directory_and_back(scene: forge.Scene, way: str) -> None:
    layer = tar(
        entry("x/", DIRECTORY),
        entry("x/y/z", data=b"1"),
        entry("x", data=b"file"),
        entry("w", data=b"1"),
        entry("w/", DIRECTORY, mode=0o755),
        entry("w/v", data=b"2"),
        entry("twice", data=b"first"),
        entry("twice", data=b"second"),
    )
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    assert tree(outcome.layer) == {"x": "file", "w": "directory", "w/v": "file", "twice": "file"}
    assert (outcome.layer / "twice").read_bytes() == b"second"


def test_img_08_file_below_a_file_is_refused(scene: forge.Scene, way: str) -> None:
    outcome = scene.attack(way, tar(entry("x", data=b"1"), entry("x/y", data=b"2")))
    assert isinstance(outcome.error, ImageError)


def test_img_09_xattrs_of_overlay_are_not_applied(scene: forge.Scene, way: str) -> None:
    """IMG-09: those that a user may set are (the positive control)."""
    names = ("redirect", "opaque", "metacopy", "origin", "whiteout", "overlay.opaque")
    hostile = {f"trusted.overlay.{name}": b"/etc" for name in names}
    hostile |= {f"user.overlay.{name}": b"/etc" for name in names}
    hostile |= {"trusted.other": b"1", "security.selinux": b"x:y:z:s0"}
    records = [(b"SCHILY.xattr." + key.encode(), value) for key, value in hostile.items()]
    records.append((b"SCHILY.xattr.user.kept", b"\0bin\xff"))
    extra = forge.pax_records(records)
    layer = tar(
        extra + entry("d/", DIRECTORY, mode=0o755), extra + entry("d/f", data=b"x"), extra + entry("./", DIRECTORY)
    )
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    for name in ("d", "d/f", "."):
        assert set(os.listxattr(outcome.layer / name)) - {"security.selinux"} == {"user.kept"}, name
        assert os.getxattr(outcome.layer / name, "user.kept") == b"\0bin\xff"


def test_img_10_device_0_0_is_a_whiteout_and_can_not_be_linked(scene: forge.Scene, way: str) -> None:
    """IMG-10: it hides what `.wh.` would hide, and nothing else."""
    outcome = scene.attack(way, tar(entry("gone", CHARACTER), entry("mine/f"), entry("mine", CHARACTER)))
    assert outcome.layer is not None
    assert tree(outcome.layer) == {"gone": "whiteout", "mine": "directory", "mine/f": "file"}
    assert os.getxattr(outcome.layer / "mine", OPAQUE) == b"y"


@pytest.mark.parametrize("first", [entry("gone", CHARACTER), entry(".wh.gone")], ids=["device", "whiteout"])
def test_img_10_hard_link_to_a_whiteout_is_refused(scene: forge.Scene, way: str, first: bytes) -> None:
    outcome = scene.attack(way, tar(first, entry("bin", LINK, link="gone")))
    assert isinstance(outcome.error, ImageError)


@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o755, 12345), (0, 0), (0o1777, 1)])
def test_img_13_attributes_of_the_root(scene: forge.Scene, way: str, mode: int, owner: int) -> None:
    """IMG-13: the container sees them, the store's own directories keep theirs, and it can be used again."""
    layer = tar(entry("./", DIRECTORY, mode=mode, uid=b"%07o\0" % owner), entry("f", data=b"x"))
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    there = outcome.layer.stat()
    assert (stat.S_IMODE(there.st_mode), there.st_uid) == (mode, owner)
    if way != "layer 1":
        for name in ("layers", "images", "records", "staging"):
            assert stat.S_IMODE((scene.root / name).stat().st_mode) == 0o700
        assert kind_of(outcome.layer / "f") == "file"
