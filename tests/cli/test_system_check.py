# SPDX-License-Identifier: Apache-2.0
"""system check and --repair over a store that was damaged in every way (CRA-16): each fault is named, what is sound
goes on working and is not touched, nothing ends in a traceback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import forge
from forge import DIRECTORY, Forged, entry, tar
from runner import Minirt

pytestmark = pytest.mark.kernel

BASE = tar(entry("tmp/", DIRECTORY, mode=0o1777), entry("etc/", DIRECTORY, mode=0o755), entry("etc/a", data=b"1" * 99))
TOP = tar(entry("tmp/b", data=b"2"), entry("etc/.wh.a"), entry("etc/c", data=b"3"))
NUMBERS = {"base": forge.digest(BASE)[7:], "top": forge.digest(TOP)[7:]}


@pytest.fixture
def stocked(minirt: Minirt) -> Minirt:
    """An image of two layers, and the embedded one as a control that stays sound."""
    minirt.ok("run", "--rm", "localhost/busybox", "true")
    reload(minirt)
    assert minirt.ok("system", "check") == "2 images, 7 blobs, 3 layers: all is well"
    return minirt


def reload(minirt: Minirt) -> None:
    source = minirt.root.parent / "archive.tar"
    source.write_bytes(forge.archive(Forged(BASE, TOP, name="img:1").files()))
    minirt.ok("load", "-i", source)


def record(minirt: Minirt) -> Path:
    identity = minirt.ok("images", "-q", "--no-trunc", "img")[7:]
    return minirt.root / f"records/image-{identity}.json"


def blob(minirt: Minirt, which: int) -> Path:
    """0: the base's, 1: the top's, 2: the config, 3: the manifest."""
    found = json.loads(record(minirt).read_text())
    names = [found["blobs"][0][1], found["blobs"][1][1], found["id"], found["manifest"]]
    return minirt.root / "images/blobs/sha256" / str(names[which])


def flip(path: Path) -> None:
    """One bit, and the time as it was: nothing but reading it again finds that."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def layer(minirt: Minirt, name: str) -> Path:
    return minirt.root / "layers" / NUMBERS[name]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def link(path: Path, target: str) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    path.symlink_to(target)


LAYER = f"layer sha256:{NUMBERS['base']}: "
DAMAGE: dict[str, tuple[Callable[[Minirt], object], str]] = {
    "a file in a layer changed": (lambda m: flip(layer(m, "base") / "etc/a"), LAYER + "'etc/a' has other content"),
    "a file in a layer gone": (lambda m: (layer(m, "base") / "etc/a").unlink(), LAYER + "'etc/a' is missing"),
    "a file too many": (lambda m: (layer(m, "base") / "x").touch(), LAYER + "'x' does not belong to it"),
    "a mode changed": (lambda m: (layer(m, "base") / "tmp").chmod(0o777), LAYER + "'tmp' has another mode or owner"),
    "a whiteout gone": (
        lambda m: (layer(m, "top") / "etc/a").unlink(),
        f"layer sha256:{NUMBERS['top']}: 'etc/a' is missing",
    ),
    "layer missing": (lambda m: shutil.rmtree(layer(m, "base")), LAYER + "is missing"),
    "upper layer missing": (lambda m: shutil.rmtree(layer(m, "top")), f"layer sha256:{NUMBERS['top']}: is missing"),
    "layer a symlink": (lambda m: link(layer(m, "base"), "/etc"), LAYER + "is a symbolic link"),
    "layer's record empty": (
        lambda m: empty(m.root / f"records/layer-{NUMBERS['base']}.json"),
        LAYER + "its record is damaged",
    ),
    "image's record empty": (lambda m: empty(record(m)), "record image-"),
    "names empty": (lambda m: empty(m.root / "records/names.json"), "record names.json: "),
    "names a symlink": (lambda m: link(m.root / "records/names.json", "/dev/null"), "record names.json: "),
    "index empty": (lambda m: empty(m.root / "images/index.json"), "index index.json: "),
    "index missing": (lambda m: (m.root / "images/index.json").unlink(), "index index.json: "),
    "index truncated": (
        lambda m: os.truncate(m.root / "images/index.json", 100),
        "index index.json: ",
    ),
    "index no list": (
        lambda m: (m.root / "images/index.json").write_text('{"manifests": {"a": 1}}'),
        "index index.json: ",
    ),
    "layers open to all": (lambda m: (m.root / "layers").chmod(0o755), "has mode 0755: others can enter it"),
    "layout file missing": (lambda m: (m.root / "images/oci-layout").unlink(), "oci-layout: is missing"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_cra_16_what_can_be_made_right(stocked: Minirt, what: str) -> None:
    """CRA-16: named, exit 1, the other image runs meanwhile; after --repair all is well and the image is as it was."""
    damage, says = DAMAGE[what]
    before = stocked.ok("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}")
    damage(stocked)
    found = stocked("system", "check")
    assert found.code == 1 and says in found.stdout and found.stderr == "", found
    if "index" not in what:
        assert stocked.ok("run", "--rm", "localhost/busybox", "echo", "hi") == "hi"
    repaired = stocked("system", "check", "--repair")
    if "image's record" in what or "names" in what:  # find has made it anew already
        assert repaired.code == 0
    assert repaired.code == 0 and repaired.lines[-1] == "2 images, 7 blobs, 3 layers: all is well", repaired
    after = stocked.ok("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}")
    assert sorted(after.splitlines()) == sorted(before.splitlines())
    assert oct((layer(stocked, "top") / "tmp").stat().st_mode) == "0o41777"
    assert stocked.ok("run", "--rm", "localhost/busybox", "echo", "hi") == "hi"


@pytest.mark.parametrize(
    ("which", "how"),
    [(0, "flipped"), (1, "missing"), (2, "flipped"), (2, "empty"), (3, "flipped"), (3, "missing"), (0, "symlink")],
    ids=["lower layer flipped", "upper layer missing", "config flipped", "config empty", "manifest flipped",
         "manifest missing", "lower layer a symlink"],
)  # fmt: skip
def test_cra_16_lost_blobs(stocked: Minirt, which: int, how: str) -> None:
    """CRA-16: what nothing can be made from is taken out, and a load brings it back. An image whose layers are whole
    stays, and runs."""
    path = blob(stocked, which)
    ways: dict[str, Callable[[Path], object]] = {
        "flipped": flip, "empty": empty, "symlink": lambda it: link(it, "/etc/passwd"), "missing": os.unlink,
    }  # fmt: skip
    ways[how](path)
    found = stocked("system", "check")
    assert found.code == 1 and (how == "missing" or f"blob sha256:{path.name}: " in found.stdout), found
    repaired = stocked("system", "check", "--repair")
    assert "Traceback" not in repaired.stderr
    assert stocked.ok("run", "--rm", "localhost/busybox", "echo", "hi") == "hi"
    if which < 2:
        assert repaired.code == 1 and f"image img:1: its blob sha256:{path.name[:12]} is missing" in repaired.out
        assert stocked.ok("image", "which", "img:1", "/etc/c")
    else:
        assert repaired.code == 0 and repaired.lines[-1] == "1 images, 3 blobs, 1 layers: all is well", repaired
        assert stocked.ok("images", "-q", "img") == ""
    assert Path("/etc/passwd").stat().st_size > 0
    reload(stocked)
    assert stocked.ok("system", "check") == "2 images, 7 blobs, 3 layers: all is well"


def test_cra_16_layer_and_blob_both_lost(stocked: Minirt) -> None:
    """CRA-16: the image cannot be used any more and goes; the container of it is named."""
    made = stocked.ok("create", "--name", "sad", "img:1", "x")
    flip(blob(stocked, 0))
    shutil.rmtree(layer(stocked, "base"))
    found = stocked("system", "check", "--repair")
    assert found.code == 1 and f"container sad ({made[:12]}): stands on the layer" in found.stdout, found
    assert "taken out of the index" in found.stdout
    stocked.ok("rm", "sad")
    stocked.ok("image", "prune", "-f")
    assert stocked.ok("system", "check") == "1 images, 3 blobs, 1 layers: all is well"


def test_cra_16_layers_of_running_containers_stay(stocked: Minirt) -> None:
    """CRA-16: nothing is taken from under a running container; once it has ended, the layer is made anew."""
    running = stocked.ok("run", "-d", "localhost/busybox", "sleep", "1000")
    place = next(path for path in (stocked.root / "layers").iterdir() if path.name not in NUMBERS.values())
    (place / "more").touch()
    found = stocked("system", "check", "--repair")
    assert found.code == 1 and "left as it is: a running container stands on it" in found.stdout
    assert (place / "more").exists() and stocked.ok("exec", running, "echo", "hi") == "hi"
    stocked.ok("stop", "-t", "0", running)
    assert stocked("system", "check", "--repair").code == 0
    assert not (place / "more").exists()
    stocked.ok("start", running)
    assert stocked.ok("exec", running, "echo", "hi") == "hi"


def test_cra_16_nothing_is_garbage_without_an_index(stocked: Minirt) -> None:
    """CRA-16: index.json was lost: no verb makes an empty one, by which all the rest would be garbage."""
    (stocked.root / "images/index.json").unlink()
    for argv in (
        ("image", "prune", "-af"),
        ("system", "prune", "-af"),
        ("load", "-i", str(stocked.root.parent / "archive.tar")),
        ("images",),
    ):
        stocked.fails(*argv, code=1, says="index.json' is missing")
    stocked.fails("run", "--rm", "localhost/busybox", "true", code=125, says="index.json' is missing")
    assert stocked("system", "check", "--repair").lines[-1] == "2 images, 7 blobs, 3 layers: all is well"
    assert stocked.ok("run", "--rm", "localhost/busybox", "echo", "hi") == "hi"


def test_the_root_may_be_reached_by_a_link(stocked: Minirt, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stocked.root)
    assert stocked.ok("--root", str(tmp_path / "link"), "system", "check").endswith("all is well")


def test_cra_16_odd_things_in_the_store(stocked: Minirt) -> None:
    """CRA-16: what is not ours is named and left alone; a container's damaged record too."""
    (stocked.root / "layers/junk").mkdir()
    (stocked.root / "images/blobs/sha256/readme").write_text("hello")
    os.mkfifo(stocked.root / "images/blobs/sha256" / ("f" * 64))
    os.chown(stocked.root / "records", 5, 5)
    made = stocked.ok("create", "localhost/busybox", "true")
    empty(stocked.root / "containers" / made / "config.json")
    found = stocked("system", "check")
    for says in (
        "layer junk: ",
        "blob readme: ",
        f"sha256:{'f' * 64}: is no regular file",
        "belongs to uid 5",
        made[:12],
    ):
        assert says in found.stdout, says
    assert len(json.loads(stocked("system", "check", "--format", "json").stdout)["Faults"]) == 5
    stocked("system", "check", "--repair")
    assert (stocked.root / "layers/junk").exists() and (stocked.root / "images/blobs/sha256/readme").exists()
    assert not (stocked.root / "images/blobs/sha256" / ("f" * 64)).exists()
    os.chown(stocked.root / "records", 0, 0)
    assert stocked.ok("run", "--rm", "localhost/busybox", "echo", "hi") == "hi"
