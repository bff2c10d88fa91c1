# SPDX-License-Identifier: Apache-2.0
"""Collections that are killed, that meet loads and runs, and on a full disk (CRA-01, CRA-07, CRA-10): the store is
whole at every moment, and what was to go is gone in the end."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest

import forge
from forge import Forged, entry, tar
from runner import Minirt, Result

pytestmark = pytest.mark.kernel


def archive(minirt: Minirt, name: str, *layers: bytes) -> Path:
    path = minirt.root.parent / f"{name.replace(':', '-')}.tar"
    path.write_bytes(forge.archive(Forged(*layers, name=name).files()))
    return path


def small(name: str, size: int = 1000) -> bytes:
    return tar(entry(name, data=os.urandom(size)), entry(f"{name}.txt", data=name.encode()))


def left(minirt: Minirt) -> dict[str, list[str]]:
    places = ("images/blobs/sha256", "layers", "trash", "staging")
    return {place: os.listdir(minirt.root / place) for place in places}


@pytest.mark.parametrize("argv", [("rmi", "second:1"), ("image", "prune", "-a", "-f")], ids=["rmi", "prune"])
def test_cra_01_a_collection_is_killed(minirt: Minirt, argv: tuple[str, ...]) -> None:
    """CRA-01: at each kind of call that changes something: afterwards every image that is listed is whole, and the
    next collection leaves nothing of what went."""
    base = small("base")
    for name, top in (("first:1", small("one")), ("second:1", small("two"))):
        minirt.ok("load", "-i", archive(minirt, name, base, top))
    minirt.ok("create", "--name", "user", "first:1", "x")
    back = faults.kept(minirt)
    points = faults.points(minirt, *argv, about=str(minirt.root), each=2)
    back()
    for point in points:
        done = faults.injected(minirt, point, "signal=KILL", *argv)
        assert done.returncode in (-9, 137, 0), (point, done)
        assert minirt.ok("system", "check").endswith("all is well"), point
        listed = minirt.ok("images", "--format", "{{.Repository}}").split()
        assert listed in (["first"], ["second", "first"], ["first", "second"]), point
        again = minirt(*argv)
        assert again.code == 0 or "No such image" in again.stderr, (point, again)
        minirt.ok("image", "prune", "-f")
        assert minirt.ok("system", "check") == "1 images, 4 blobs, 2 layers: all is well", point
        found = left(minirt)
        assert found["trash"] == found["staging"] == [] and len(os.listdir(minirt.root / "records")) == 4, point
        back()


def test_cra_10_collections_beside_loads(minirt: Minirt) -> None:
    """CRA-10: two images on one base are loaded and removed, again and again, beside prune -a: each load succeeds, and
    at the end the store is true."""
    base = small("base", 100_000)
    sources = [archive(minirt, f"n{number}:1", base, small(str(number))) for number in (0, 1)]
    results: list[Result] = []
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            results.append(minirt("image", "prune", "-a", "-f"))
            results.append(minirt("rmi", "n0:1"))

    def load(source: Path) -> None:
        for _ in range(5):
            results.append(minirt("load", "-i", source))

    collector = threading.Thread(target=collect)
    loaders = [threading.Thread(target=load, args=(source,)) for source in sources]
    for thread in (collector, *loaders):
        thread.start()
    for thread in loaders:
        thread.join()
    stop.set()
    collector.join()
    for result in results:
        assert result.code == 0 or "No such image: n0:1" in result.stderr, result
        assert "internal error" not in result.stderr, result
    assert minirt.ok("system", "check").endswith("all is well")
    minirt.ok("image", "prune", "-a", "-f")
    assert left(minirt) == {"images/blobs/sha256": [], "layers": [], "trash": [], "staging": []}


def test_cra_10_collections_beside_runs(minirt: Minirt) -> None:
    """CRA-10: a container that was created has its layers, whatever prunes at that moment; the image is made anew for
    the next one."""
    stop = threading.Event()
    pruned: list[Result] = []

    def prune() -> None:
        while not stop.is_set():
            pruned.append(minirt("image", "prune", "-a", "-f"))

    collector = threading.Thread(target=prune)
    collector.start()
    try:
        for number in range(6):
            if number % 2:
                assert minirt.ok("run", "--rm", "localhost/busybox", "echo", "hi") == "hi"
            else:
                made = minirt.ok("create", "localhost/busybox", "wc", "-l", "/etc/passwd")
                assert minirt.ok("start", "-a", made).endswith("/etc/passwd")
                minirt.ok("rm", made)
    finally:
        stop.set()
        collector.join()
    assert pruned and all(result.code == 0 for result in pruned), pruned
    assert minirt.ok("system", "check").endswith("all is well")


@pytest.fixture
def tight(minirt: Minirt) -> Iterator[Minirt]:
    """A store on a file system of 8 MiB and 400 inodes."""
    minirt.root.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=400,mode=700", "tmpfs", str(minirt.root)]
    subprocess.run(words, check=True)
    try:
        yield minirt
    finally:
        minirt.close()
        subprocess.run(["umount", "-l", str(minirt.root)], check=True)


def fill(minirt: Minirt, how: str) -> None:
    """Until nothing more goes on it."""
    number = 0
    with pytest.raises(OSError, match="No space left"):
        if how == "blocks":
            with open(minirt.root / "fill", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        while True:
            (minirt.root / f"fill-{number}").touch()
            number += 1


@pytest.mark.parametrize("how", ["blocks", "inodes"])
def test_cra_07_a_full_disk(tight: Minirt, how: str) -> None:
    """CRA-07: untagging, rmi, prune and check work where not one byte or name more can be written."""
    minirt = tight
    minirt.ok("load", "-i", archive(minirt, "one:1", small("base"), small("one")))
    minirt.ok("load", "-i", archive(minirt, "two:1", small("two", 300_000)))
    minirt.ok("tag", "one:1", "other:1")
    minirt.ok("ps")
    fill(minirt, how)
    assert minirt.ok("rmi", "other:1") == "Untagged: other:1"
    for path in minirt.root.glob("fill-*"):
        assert how == "inodes" or path.stat().st_size == 0
    fill_again = minirt.root / "fill-again"
    if how == "blocks":
        with pytest.raises(OSError, match="No space left"), open(fill_again, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    assert minirt.ok("rmi", "two:1").splitlines()[0] == "Untagged: two:1"
    assert minirt.ok("images", "--format", "{{.Repository}}") == "one"
    lines = minirt.ok("system", "prune", "-a", "-f").splitlines()
    assert "untagged: one:1" in lines
    assert left(minirt) == {"images/blobs/sha256": [], "layers": [], "trash": [], "staging": []}
    for path in minirt.root.glob("fill*"):
        path.unlink()
    assert minirt.ok("system", "check").endswith("all is well")


def test_cra_07_faults_of_the_disk(minirt: Minirt) -> None:
    """CRA-07: an error of each kind of call is one line, and the store is whole and the image removable afterwards."""
    base = small("base")
    for name, top in (("first:1", small("one")), ("second:1", small("two"))):
        minirt.ok("load", "-i", archive(minirt, name, base, top))
    back = faults.kept(minirt)
    points = faults.points(
        minirt,
        "rmi",
        "second:1",
        calls="rename,unlink,unlinkat,mkdir,fsync,write,openat",
        about=str(minirt.root),
        each=2,
    )
    back()
    for point in points:
        done = faults.injected(minirt, point, "error=EIO", "rmi", "second:1")
        text = done.stderr.decode()
        assert "Traceback" not in text and "internal error" not in text, (point, text)
        assert done.returncode in (0, 1) and len(text.splitlines()) <= 2, (point, done)
        minirt("rmi", "second:1")
        minirt.ok("image", "prune", "-f")
        assert minirt.ok("system", "check") == "1 images, 4 blobs, 2 layers: all is well", point
        back()
