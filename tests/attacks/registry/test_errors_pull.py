# SPDX-License-Identifier: Apache-2.0
"""A host that fails: no space, no descriptors, a disk that gives errors (CRA-07), at the system calls of pull, push,
rmi and prune, and as a store on a file system that is full. The error names its cause, nothing half-made stays, and
what removes things works on a full disk."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import injected, kept, points
from pulling import SMALL, UNPRESSED, one, pulled
from store import Store

import forge
from hostile_registry import Hostile
from runner import Minirt

SECOND = forge.tar(*(forge.entry(f"file{index}", data=b"x" * 1000) for index in range(20)))
FAILURES = {
    "ENOSPC": ("mkdir,openat,write,pwrite64,rename,link,ftruncate,mkdirat,symlinkat,openat2", "No space left"),
    "EDQUOT": ("write,pwrite64,mkdir", "quota"),
    "EIO": ("fsync,syncfs,read,pread64,getdents64,rename,unlink,flock", "Input/output"),
    "EMFILE": ("openat,openat2,socket", "Too many open files"),
    "EROFS": ("mkdir,rename,openat2", "Read-only"),
}


def unexplained(said: str) -> bool:
    return "Traceback" in said or "internal error" in said


@pytest.mark.slow
@pytest.mark.parametrize("error", FAILURES)
def test_cra_07_pull_with_a_call_that_fails(pulls: Minirt, store: Store, hostile: Hostile, error: str) -> None:
    """CRA-07: each call on the store fails in turn: exit 1 and the cause by name, or the failure was tolerated and the
    image is whole; then the pull works."""
    name = f"{hostile.host}/mine:1"
    one(hostile, UNPRESSED, SECOND)
    calls, words = FAILURES[error]
    for point in points(pulls, "pull", name, calls=calls, about=str(pulls.root), each=3):
        shutil.rmtree(pulls.root)
        done = injected(pulls, point, f"error={error}", "pull", name)
        said = done.stderr.decode()
        assert done.returncode in (0, 1), (point, done)
        assert not unexplained(said), (point, said)
        assert store.images or done.returncode, point
        silenced = point.startswith("write:") and not said  # the thread that tells was hit as well
        assert re.search(words, said) or silenced or not done.returncode, (point, said)
        if store.blobs or store.images:
            store.true()
        pulled(pulls, name, tidy=False)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["rmi", "image prune", "tag"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_cra_07_upkeep_with_a_call_that_fails(
    pulls: Minirt, store: Store, hostile: Hostile, verb: str, error: str
) -> None:
    """CRA-07: rmi, prune and tag meet the error: named or tolerated; the store stays true, the other image works."""
    name, other = f"{hostile.host}/mine:1", f"{hostile.host}/mine:2"
    one(hostile, SMALL, SECOND)
    one(hostile, SMALL, UNPRESSED, name="mine:2")
    argv = {"rmi": ["rmi", name], "image prune": ["image", "prune", "-a", "-f"], "tag": ["tag", name, "new:1"]}[verb]

    pulls.ok("pull", name)
    pulls.ok("pull", other)
    again_from = kept(pulls)
    calls = (
        "rename,unlink,unlinkat,rmdir,fsync,syncfs,write,flock,getdents64"
        if error == "EIO"
        else "write,rename,mkdir,openat"
    )
    for point in points(pulls, *argv, calls=calls, about=str(pulls.root), each=2):
        again_from()
        done = injected(pulls, point, f"error={error}", *argv)
        said = done.stderr.decode()
        assert done.returncode in (0, 1), (point, done)
        assert not unexplained(said), (point, said)
        assert done.returncode == 0 or re.search(FAILURES[error][1], said), (point, said)
        store.true()
        again = pulls(*argv)
        assert again.code == 0 or "No such image" in again.stderr, (point, again)
        pulled(pulls, other, tidy=False)


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EIO", "EMFILE"])
def test_cra_07_push_with_a_call_that_fails(pulls: Minirt, store: Store, hostile: Hostile, error: str) -> None:
    """CRA-07: reading the store fails during a push: said by name, and no manifest is put for what is not there."""
    name = f"{hostile.host}/mine:1"
    one(hostile, UNPRESSED, SECOND)
    pulled(pulls, name)
    argv = ["push", f"{hostile.host}/other:1"]
    pulls.ok("tag", name, argv[1])
    calls = {"EIO": "read,pread64,openat,sendfile", "EMFILE": "openat,socket"}[error]
    before = store.blobs, store.layers
    layers = json.loads(hostile.manifests["mine", "1"][1])["layers"]
    for point in points(pulls, *argv, calls=calls, about=str(pulls.root), each=3):
        hostile.manifests = {key: found for key, found in hostile.manifests.items() if key[0] == "mine"}
        hostile.held = {key for key in hostile.held if key[0] == "mine"}
        done = injected(pulls, point, f"error={error}", *argv)
        said = done.stderr.decode()
        assert done.returncode in (0, 1), (point, done)
        assert not unexplained(said), (point, said)
        if ("other", "1") in hostile.manifests:
            needed = {("other", layer["digest"]) for layer in layers}
            assert needed <= hostile.held, point
        else:
            assert done.returncode == 1, point
        assert (store.blobs, store.layers) == before
    pulls.ok(*argv)
    assert ("other", "1") in hostile.manifests


@pytest.fixture
def small_disk(pulls: Minirt) -> Iterator[Callable[[int], None]]:
    """small_disk(bytes): the store lies on a tmpfs of that size; again, and it has another size."""
    libc = ctypes.CDLL(None, use_errno=True)
    pulls.root.mkdir()
    remount = 0

    def size(count: int) -> None:
        nonlocal remount
        options = f"size={count},nr_inodes=0".encode()
        assert libc.mount(b"tmpfs", str(pulls.root).encode(), b"tmpfs", ctypes.c_ulong(remount), options) == 0
        remount = 32  # MS_REMOUNT

    yield size
    pulls.close()
    if remount:
        assert libc.umount2(str(pulls.root).encode(), 2) == 0


def fill(folder: Path) -> Path:
    """Takes all space that is left."""
    path = folder / "filler"
    with open(path, "wb", buffering=0) as file:
        for piece in (1 << 16, 1 << 12, 512, 1):
            try:
                while file.write(b"x" * piece) == piece:
                    pass
            except OSError:
                continue
    return path


def test_cra_07_pull_onto_a_full_disk(
    pulls: Minirt, store: Store, hostile: Hostile, small_disk: Callable[[int], None]
) -> None:
    """CRA-07: the image does not fit: the error says so, the space is given back; on a larger disk it works."""
    big = forge.tar(forge.entry("big", data=os.urandom(3 << 20)))
    one(hostile, SMALL, name="small:1")
    one(hostile, SMALL, big, compression="none")
    small_disk(2 << 20)
    pulls.fails("pull", f"{hostile.host}/mine:1", code=1, says="No space left on device")
    store.empty()
    free = os.statvfs(pulls.root)
    assert (free.f_blocks - free.f_bfree) * free.f_bsize < 1 << 20, "what was half fetched still fills the disk"
    pulled(pulls, f"{hostile.host}/small:1")
    small_disk(32 << 20)
    pulled(pulls, f"{hostile.host}/mine:1")


def test_cra_07_removing_works_on_a_full_disk(
    pulls: Minirt, store: Store, hostile: Hostile, small_disk: Callable[[int], None]
) -> None:
    """CRA-07: rmi and prune free space where there is none left, however little they need for it."""
    one(hostile, SMALL, UNPRESSED, compression="none")
    one(hostile, SMALL, SECOND, name="mine:2")
    small_disk(8 << 20)
    pulled(pulls, f"{hostile.host}/mine:1")
    pulled(pulls, f"{hostile.host}/mine:2")
    fill(pulls.root)
    with pytest.raises(OSError, match="No space"):
        (pulls.root / "control").write_bytes(b"x" * 5000)
    (pulls.root / "control").unlink(missing_ok=True)
    fill(pulls.root)
    pulls.ok("rmi", f"{hostile.host}/mine:1")
    store.true()
    fill(pulls.root)
    pulls.ok("image", "prune", "-a", "-f")
    (pulls.root / "filler").unlink()
    store.empty()
    pulled(pulls, f"{hostile.host}/mine:1")


def test_cra_07_a_container_is_removed_on_a_full_disk(
    pulls: Minirt, store: Store, hostile: Hostile, small_disk: Callable[[int], None]
) -> None:
    """CRA-07: rm, then rmi, then the space is there: the way out of a full disk. What was kept for it is kept again
    with the next container."""
    one(hostile, SMALL, UNPRESSED, compression="none")
    small_disk(8 << 20)
    name = f"{hostile.host}/mine:1"
    pulled(pulls, name)
    for box in ("one", "two", "three"):
        pulls.ok("create", "--name", box, name, "/x")
    fill(pulls.root)
    assert pulls("create", "--name", "more", name, "/x").code == 125, "the control: the disk is full"
    fill(pulls.root)
    for words in (["one"], ["-v", "two"], ["-f", "three"]):
        pulls.ok("rm", *words)
    assert pulls.ok("ps", "-aq") == ""
    fill(pulls.root)
    pulls.ok("rmi", name)
    pulls.ok("image", "prune", "-a", "-f")
    store.empty()
    (pulls.root / "filler").unlink()
    pulled(pulls, name)
    pulls.ok("create", "--name", "more", name, "/x")
    assert (pulls.root / "minirt.db-reserve").stat().st_blocks * 512 >= 128 << 10
