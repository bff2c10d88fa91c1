# SPDX-License-Identifier: Apache-2.0
"""The store: loaded, found, listed, named; read by skopeo and umoci; repaired; two at once; killed in between."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge
from forge import DIRECTORY, SYMLINK, Forged, entry, tar
from minirt.errors import ImageError, InvalidValue, NotFound, StoreError
from minirt.image import find, load
from minirt.image.layout import Layout
from minirt.image.staging import Staging
from test_unpack import described

BASE = tar(
    entry("./", DIRECTORY, mode=0o711, uid=b"0000005\0"),
    entry("tmp/", DIRECTORY, mode=0o1777, mtime=b"00000000077\0"),
    entry("etc/", DIRECTORY, mode=0o755),
    entry("etc/keep", data=b"1"),
    entry("etc/gone", data=b"2"),
    entry("dir/", DIRECTORY, mode=0o755),
    entry("dir/old", data=b"3"),
    entry("lib", SYMLINK, link="usr/lib"),
    entry("swap/", DIRECTORY, mode=0o755),
    entry("swap/below", data=b"4"),
)
MIDDLE = tar(
    entry("etc/.wh.gone"),
    entry("dir/.wh..wh..opq"),
    entry("dir/new", data=b"5"),
    entry("swap", SYMLINK, link="/"),
    entry("tmp/x", data=b"6"),
)
TOP = tar(entry("swap/", DIRECTORY, mode=0o750), entry("swap/file", data=b"7"), entry("tmp/y", data=b"8"))


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "root")


def loaded(root: str, folder: Path, *layers: bytes, name: str = "a/b:1") -> str:
    """Loads an image of these layers; returns its id."""
    source = folder / "archive.tar"
    source.write_bytes(forge.archive(Forged(*layers, name=name).files()))
    return load.load(root, str(source))[0].id


@contextlib.contextmanager
def mounted(layers: tuple[str, ...], where: Path) -> Iterator[Path]:
    """The layers as the kernel shows them, read-only; bottom first."""
    where.mkdir()
    empty = where.parent / "empty"
    empty.mkdir(exist_ok=True)
    lower = ":".join([*reversed(layers), str(empty)])
    subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={lower}", "overlay", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_layers_stacked_look_as_umoci_unpacks_them(root: str, tmp_path: Path) -> None:
    """Whiteouts, an opaque directory, a directory replaced by a symlink and back (IMG-08), undescribed directories.

    Three layers deep; the reference unpacker applies them one after another onto one tree."""
    forge.write_directory(Forged(BASE, MIDDLE, TOP, name="x").files(), tmp_path / "oci")
    load.load(root, str(tmp_path / "oci"))
    command = ["umoci", "raw", "unpack", "--image", f"{tmp_path}/oci:x", str(tmp_path / "reference")]
    subprocess.run(command, check=True, capture_output=True)
    image = find.find(root, "x")
    with mounted(image.layers, tmp_path / "mounted") as merged:
        mine, theirs = described(merged, times=False), described(tmp_path / "reference", times=False)
    for found in (mine, theirs):  # times: umoci touches the parents of what it removes
        for name in found:
            found[name] = found[name][:3] + found[name][4:5]
    assert mine == theirs
    assert not (tmp_path / "mounted/etc/gone").exists()
    assert image.root == (0o711, 5, 0)


def test_root_and_undescribed_directories_look_as_below(root: str, tmp_path: Path) -> None:
    """A layer that holds tmp/x and no tmp/ does not take /tmp its mode; nor "/" its own."""
    loaded(root, tmp_path, BASE, MIDDLE, TOP)
    for layer in find.find(root, "a/b:1").layers[1:]:
        there = (Path(layer) / "tmp").stat()
        assert (stat.S_IMODE(there.st_mode), there.st_mtime) == (0o1777, 0o77)
        assert (stat.S_IMODE(Path(layer).stat().st_mode), Path(layer).stat().st_uid) == (0o711, 5)


def test_skopeo_and_umoci_read_the_store(root: str, tmp_path: Path) -> None:
    identity = loaded(root, tmp_path, BASE, TOP, name="localhost:5000/deep/name:tag-1")
    place = f"{root}/images:localhost:5000/deep/name:tag-1"
    shown = json.loads(subprocess.run(["skopeo", "inspect", f"oci:{place}"], check=True, capture_output=True).stdout)
    assert len(shown["Layers"]) == 2
    raw = subprocess.run(["skopeo", "inspect", "--raw", f"oci:{place}"], check=True, capture_output=True).stdout
    assert json.loads(raw)["config"]["digest"] == identity
    listed = subprocess.run(["umoci", "ls", "--layout", f"{root}/images"], check=True, capture_output=True).stdout
    assert listed.decode().split() == ["localhost:5000/deep/name:tag-1"]
    subprocess.run(["umoci", "raw", "unpack", "--image", place, str(tmp_path / "out")], check=True, capture_output=True)
    assert (tmp_path / "out/swap/file").read_bytes() == b"7"


def test_what_skopeo_copies_into_the_store_is_found(root: str, tmp_path: Path) -> None:
    """The index is the truth: records and layers follow it, whoever wrote it."""
    loaded(root, tmp_path, BASE)
    forge.write_directory(Forged(BASE, TOP, name="x").files(), tmp_path / "oci")
    subprocess.run(["skopeo", "copy", "-q", f"oci:{tmp_path}/oci:x", f"oci:{root}/images:quay.io/new:2"], check=True)
    image = find.find(root, "quay.io/new:2")
    assert (Path(image.layers[1]) / "swap/file").read_bytes() == b"7"
    assert {one.name for one in find.images(root)} == {"docker.io/a/b:1", "quay.io/new:2"}


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive", "oci", "compressed", "zstd"])
def test_archives_of_other_hands(root: str, tmp_path: Path, kind: str) -> None:
    """skopeo writes each; the image is the same."""
    forge.write_directory(Forged(BASE, MIDDLE, name="x").files(), tmp_path / "oci")
    target = tmp_path / "saved"
    if kind == "oci-archive" or kind in ("compressed", "zstd"):
        subprocess.run(["skopeo", "copy", "-q", f"oci:{tmp_path}/oci:x", f"oci-archive:{target}:a/b:1"], check=True)
    elif kind == "docker-archive":
        subprocess.run(["skopeo", "copy", "-q", f"oci:{tmp_path}/oci:x", f"docker-archive:{target}:a/b:1"], check=True)
    else:
        subprocess.run(["umoci", "tag", "--image", f"{tmp_path}/oci:x", "a/b:1"], check=True)
        target = tmp_path / "oci"
    if kind in ("compressed", "zstd"):
        program = ["xz"] if kind == "compressed" else ["zstd", "-q", "--rm"]
        subprocess.run([*program, str(target)], check=True)
        target = next(tmp_path.glob("saved.*"))
    load.load(root, str(target))
    image = find.find(root, "a/b:1")
    assert image.config["Cmd"] == ["sh"]
    assert image.config["Env"] == ["A=b"]
    assert [Path(layer).name for layer in image.layers] == [forge.digest(layer)[7:] for layer in (BASE, MIDDLE)]
    assert (Path(image.layers[1]) / "dir/new").read_bytes() == b"5"


def test_zstd_layers(root: str, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    forged = Forged(BASE, compress=zstandard.compress)
    forged.manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
    (tmp_path / "archive.tar").write_bytes(forge.archive(forged.files()))
    load.load(root, str(tmp_path / "archive.tar"))
    assert (Path(find.find(root, "forged").layers[0]) / "etc/keep").read_bytes() == b"1"


def test_load_from_a_pipe(root: str, tmp_path: Path) -> None:
    data = forge.archive(Forged(BASE).files())
    code = f"import sys; sys.path[:0] = {sys.path!r}; from minirt.image import load; load.load({root!r}, '-')"
    subprocess.run([sys.executable, "-c", code], input=data, check=True)
    assert find.find(root, "forged").name == "docker.io/library/forged:latest"


def test_find_by_every_word_for_it(root: str, tmp_path: Path) -> None:
    first = loaded(root, tmp_path, BASE, name="docker.io/library/web:1")
    second = loaded(root, tmp_path, BASE, TOP, name="web")
    digests = {one.id: one.digest for one in find.images(root)}
    for text, identity in (
        ("web:1", first),
        ("library/web:1", first),
        ("docker.io/web:1", first),
        ("web", second),
        ("web:latest", second),
        (first, first),
        (first[7:], first),
        (first[7:19], first),
        (second[7:11], second),
        (digests[second], second),
        (f"web@{digests[first]}", first),
        (f"web:1@{digests[first]}", first),
    ):
        assert find.find(root, text).id == identity, text
    for text in ("web:2", "other", f"other@{digests[first]}", "quay.io/web:1", "f" * 64, "sha256:" + "f" * 64):
        with pytest.raises(NotFound, match="no such image"):
            find.find(root, text)


def test_ambiguous_id_is_refused(root: str, tmp_path: Path) -> None:
    number, seen = 0, {""}
    while len({one[7] for one in seen if one}) == len(seen) - 1:
        seen.add(loaded(root, tmp_path, tar(entry(f"f{number}")), name=f"n{number}"))
        number += 1
    shared = next(one[7] for one in seen if one and sum(other[7:8] == one[7] for other in seen) > 1)
    with pytest.raises(InvalidValue, match="ambiguous"):
        find.find(root, shared)


def test_name_wins_over_id(root: str, tmp_path: Path) -> None:
    first = loaded(root, tmp_path, BASE)
    second = loaded(root, tmp_path, TOP, name=first[7:13])
    assert find.find(root, first[7:13]).id == second
    assert find.find(root, first[7:20]).id == first


def test_name_moves_and_the_old_image_stays(root: str, tmp_path: Path) -> None:
    """As in Docker: the first one goes without a name."""
    first, second = loaded(root, tmp_path, BASE), loaded(root, tmp_path, TOP)
    listed = {one.id: one.name for one in find.images(root)}
    assert listed == {first: "", second: "docker.io/a/b:1"}
    assert find.find(root, first).name == ""
    assert loaded(root, tmp_path, BASE) == first
    assert {one.id: one.name for one in find.images(root)} == {first: "docker.io/a/b:1", second: ""}


def test_loading_again_reads_no_layer(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(root, tmp_path, BASE, TOP)
    before = described(Path(root, "layers"))
    monkeypatch.setattr("minirt.image.intake.unpack", None)
    monkeypatch.setattr("minirt.image.intake.expand", None)
    loaded(root, tmp_path, BASE, TOP, name="second")
    assert described(Path(root, "layers")) == before
    assert len(find.images(root)) == 2


def test_directories_are_closed_to_others(root: str, tmp_path: Path) -> None:
    """IMG-12 (CVE-2021-41091): a host user cannot reach a set-id program in a layer."""
    loaded(root, tmp_path, tar(entry("./", DIRECTORY, mode=0o777), entry("su", data=b"x", mode=0o4755)))
    layer = find.find(root, "a/b:1").layers[0]
    os.chmod(tmp_path, 0o755)
    done = subprocess.run(
        ["setpriv", "--reuid=1000", "--clear-groups", "--regid=1000", "ls", layer], capture_output=True
    )
    assert done.returncode != 0
    assert b"Permission denied" in done.stderr
    assert subprocess.run(["ls", layer], capture_output=True).returncode == 0


def test_lost_layer_is_made_again_from_its_blob(root: str, tmp_path: Path) -> None:
    loaded(root, tmp_path, BASE, TOP)
    image = find.find(root, "a/b:1")
    before = described(Path(image.layers[1]))
    subprocess.run(["rm", "-rf", image.layers[1]], check=True)
    assert find.find(root, "a/b:1").layers == image.layers
    assert described(Path(image.layers[1])) == before


def test_lost_layer_and_blob_is_one_clear_error(root: str, tmp_path: Path) -> None:
    loaded(root, tmp_path, BASE, TOP)
    subprocess.run(["rm", "-rf", find.find(root, "a/b:1").layers[1], f"{root}/images/blobs"], check=True)
    with pytest.raises(StoreError, match="is gone"):
        find.find(root, "a/b:1")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\0" * 100, None])
def test_damaged_records_are_made_again(root: str, tmp_path: Path, damage: bytes | None) -> None:
    """CRA-16: they only repeat what the layout says."""
    identity = loaded(root, tmp_path, BASE)
    for path in Path(root, "records").iterdir():
        path.unlink() if damage is None else path.write_bytes(damage)
    assert find.find(root, "a/b:1").id == identity
    assert [one.name for one in find.images(root)] == ["docker.io/a/b:1"]


def test_damaged_index_is_one_clear_error(root: str, tmp_path: Path) -> None:
    loaded(root, tmp_path, BASE)
    Path(root, "images/index.json").write_bytes(b'{"manifests": 7}')
    with pytest.raises(StoreError, match=r"index\.json"):
        find.find(root, "a/b:1")


def test_unwritable_root_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "archive.tar").write_bytes(forge.archive(Forged(BASE).files()))
    for root in ("/proc/nowhere", str(tmp_path / "archive.tar")):
        with pytest.raises(StoreError, match="create the store"):
            load.load(root, str(tmp_path / "archive.tar"))


def test_no_store_yet(root: str) -> None:
    assert find.images(root) == []
    with pytest.raises(NotFound):
        find.find(root, "nothing")
    assert not os.path.exists(root)


def load_one(root: str, source: str) -> None:
    load.load(root, source)


def test_eight_loads_at_once(root: str, tmp_path: Path) -> None:
    """Two loaders of one image, and of images that share a layer: each is there, whole, and nothing half-made."""
    for number in range(4):
        forged = Forged(BASE, tar(entry(f"f{number}", data=b"x" * 100_000)), name=f"n{number}")
        (tmp_path / f"archive{number}.tar").write_bytes(forge.archive(forged.files()))
    context = multiprocessing.get_context("fork")
    sources = [str(tmp_path / f"archive{number % 4}.tar") for number in range(8)]
    processes = [context.Process(target=load_one, args=(root, source)) for source in sources]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(find.images(root)) == 4
    for number in range(4):
        layers = find.find(root, f"n{number}").layers
        assert (Path(layers[1]) / f"f{number}").stat().st_size == 100_000
    assert os.listdir(f"{root}/staging") == []
    assert len(os.listdir(f"{root}/layers")) == 5


@pytest.mark.parametrize(
    "call", ["mkdirat", "openat2", "fchown", "syncfs", "flock", "rename", "fsync", "utimensat", "mknodat"]
)
def test_killed_at_any_moment_leaves_nothing_half_made(root: str, tmp_path: Path, call: str) -> None:
    """CRA-01: kill -9 at the 1st, 4th, 9th … call of that name, until one load lives; then the store is sound."""
    source = tmp_path / "archive.tar"
    source.write_bytes(forge.archive(Forged(BASE, MIDDLE, name="a/b:1").files()))
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from minirt.image import load; load.load({root!r}, {str(source)!r})"
    )
    number, ended = 0, False
    while not ended and number < 8:
        number += 1
        inject = f"inject={call}:signal=SIGKILL:when={number * number}"
        command = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            inject,
            sys.executable,
            "-c",
            code,
        ]
        ended = subprocess.run(command, capture_output=True).returncode == 0
        for one in find.images(root):
            assert all(map(os.path.isdir, find.find(root, one.id).layers))
    load.load(root, str(source))
    assert (Path(find.find(root, "a/b:1").layers[1]) / "dir/new").read_bytes() == b"5"
    assert os.listdir(f"{root}/staging") == []


def test_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    """CRA-07: a store of one MiB, a layer of four."""
    place = tmp_path / "small"
    place.mkdir()
    (tmp_path / "archive.tar").write_bytes(forge.archive(Forged(tar(entry("f", data=os.urandom(4 << 20)))).files()))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        with pytest.raises(StoreError, match="No space left"):
            load.load(str(place / "root"), str(tmp_path / "archive.tar"))
        assert os.listdir(place / "root/staging") == []
        assert find.images(str(place / "root")) == []
    finally:
        subprocess.run(["umount", place], check=True)


def test_staging_of_the_living_is_left_alone(root: str) -> None:
    layout = Layout(root)
    layout.create()
    with Staging(layout) as first, Staging(layout) as second:
        assert os.path.isdir(first.path)
        assert first.path != second.path
    os.mkdir(f"{root}/staging/abandoned")
    with Staging(layout):
        assert len(os.listdir(f"{root}/staging")) == 1


def test_rival_that_removes_a_layer_meanwhile_is_noticed(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not staged because the store had it must still be there at commit."""
    loaded(root, tmp_path, BASE)
    from minirt.image import commit

    honest = commit._sync

    def rival(staging: Staging) -> None:
        honest(staging)
        subprocess.run(["rm", "-rf", f"{root}/layers/{forge.digest(BASE)[7:]}"], check=True)

    monkeypatch.setattr("minirt.image.commit._sync", rival)
    with pytest.raises(StoreError, match="meanwhile"):
        loaded(root, tmp_path, BASE, TOP, name="second")


def test_index_of_another_layout_version_is_refused(root: str, tmp_path: Path) -> None:
    files = Forged(BASE).files()
    files["oci-layout"] = b'{"imageLayoutVersion":"2.0.0"}'
    (tmp_path / "archive.tar").write_bytes(forge.archive(files))
    with pytest.raises(ImageError, match=r"not 1\.0\.0"):
        load.load(root, str(tmp_path / "archive.tar"))
