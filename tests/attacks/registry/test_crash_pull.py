# SPDX-License-Identifier: Apache-2.0
"""kill -9 of what changes the store, at its system calls and in the middle of a download (CRA-01): the store is true,
the same command works afterwards, and a pull goes on where it was."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import bytes_in, injected, kept, points
from misbehaviour import held
from pulling import SMALL, UNPRESSED, blob_of, login, one, pulled, seen_secrets
from store import Store

import forge
import sample_images
from hostile_registry import Hostile
from runner import Minirt, eventually

SECOND = forge.tar(
    *(forge.entry(f"d{index}/", forge.DIRECTORY, mode=0o755) for index in range(20)),
    *(forge.entry(f"d{index}/file", data=b"x" * 1000) for index in range(20)),
    forge.entry("link", forge.SYMLINK, link="d1"),
)


def checked(minirt: Minirt, store: Store) -> None:
    """`system check` finds nothing wrong, and neither do we."""
    store.true()
    said = minirt("system", "check")
    assert said.code == 0, repr(said)


@pytest.mark.slow
def test_cra_01_pull_killed_at_its_changes(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-01: whatever the call, the store is true afterwards, no image is half there, and the next pull works."""
    name = f"{hostile.host}/mine:1"
    files = one(hostile, UNPRESSED, SECOND)
    for point in points(pulls, "pull", name, about=str(pulls.root), each=2):
        shutil.rmtree(pulls.root)
        done = injected(pulls, point, "signal=KILL", "pull", name)
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL, 0), (point, done)
        if (pulls.root / "images/index.json").exists():
            checked(pulls, store)
        assert bool(store.images) <= all(blob_of(files, layer)[7:] in store.blobs for layer in (0, 1))
        pulled(pulls, name, tidy=False)
        pulls.ok("image", "prune", "-f")
        store.tidy()
        assert len(store.images) == 1


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["rmi", "image prune", "tag"])
def test_cra_01_upkeep_killed_at_its_changes(pulls: Minirt, store: Store, hostile: Hostile, verb: str) -> None:
    """CRA-01: rmi, prune and tag: an image is there whole or not at all, and the command repeated finishes."""
    name, other = f"{hostile.host}/mine:1", f"{hostile.host}/mine:2"
    one(hostile, SMALL, SECOND)
    one(hostile, SMALL, UNPRESSED, name="mine:2")
    argv = {"rmi": ["rmi", name], "image prune": ["image", "prune", "-a", "-f"], "tag": ["tag", name, "new:1"]}[verb]

    pulls.ok("pull", name)
    pulls.ok("pull", other)
    again_from = kept(pulls)
    calls = "rename,unlink,unlinkat,rmdir,fsync,write"
    for point in points(pulls, *argv, calls=calls, about=str(pulls.root), each=2):
        again_from()
        done = injected(pulls, point, "signal=KILL", *argv)
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL, 0), (point, done)
        checked(pulls, store)
        if verb != "image prune":
            assert other in pulls.ok("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines(), point
        again = pulls(*argv)
        gone = verb == "rmi" and "No such image" in again.stderr
        assert again.code == 0 or gone, f"{point}: {again!r}"
        pulls.ok("image", "prune", "-a", "-f")
        store.empty()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cra_01_pull_killed_in_the_middle_goes_on(pulls: Minirt, store: Store, hostile: Hostile, share: float) -> None:
    """CRA-01: killed when a part of the blob has come: the next pull asks the registry for the rest only."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    size = len(hostile.blobs[blob])
    hostile.on(f"GET /v2/mine/blobs/{blob}", held(share))
    child = pulls.start("pull", f"{hostile.host}/mine:1", environment={"MINIRT_HTTP_TIMEOUT_S": "60"})
    eventually(lambda: bytes_in(pulls.root / "partial") >= size * share - (1 << 16))
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert store.images == []
    hostile.behave()
    assert pulled(pulls, f"{hostile.host}/mine:1").blob(blob) == hostile.blobs[blob]
    assert 0 < hostile.body_bytes(f".*{blob}") <= size * (1 - share) + (1 << 16)
    assert hostile.asked(f"GET .*{blob}")[0].headers["range"].startswith("bytes=")
    checked(pulls, store)
    assert store.partials == []


def test_cra_01_killed_then_the_blob_is_another(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-01, REG-03: what the killed pull left was bad on disk (a torn write): found by the digest, fetched anew."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    hostile.on(f"GET /v2/mine/blobs/{blob}", held(0.5))
    child = pulls.start("pull", f"{hostile.host}/mine:1", environment={"MINIRT_HTTP_TIMEOUT_S": "60"})
    eventually(lambda: bytes_in(pulls.root / "partial") > 300_000)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    partial = next((pulls.root / "partial").iterdir())
    partial.write_bytes(bytes(partial.stat().st_size))
    hostile.behave()
    result = pulls("pull", f"{hostile.host}/mine:1")
    assert result.code in (0, 1), repr(result)
    assert pulled(pulls, f"{hostile.host}/mine:1").blob(blob) == hostile.blobs[blob]


def test_cra_01_a_partial_blob_planted_by_name(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-01, CRA-16: the partial blob is a symlink to a host file, a fifo, a directory, longer than the blob: the host
    file is untouched, and the pull works or says what is in its way."""
    files = one(hostile)
    blob = blob_of(files)[7:]
    canary = pulls.root.parent / "canary"
    canary.write_text("mine")
    plants: list[Callable[[str], object]] = [
        lambda path: os.symlink(canary, path),
        os.mkfifo,
        os.mkdir,
        lambda path: Path(path).write_bytes(b"x" * 10_000),
    ]
    pulled(pulls, f"{hostile.host}/mine:1")
    for plant in plants:
        shutil.rmtree(pulls.root)
        (pulls.root / "partial").mkdir(parents=True)
        plant(str(pulls.root / "partial" / blob))
        result = pulls("pull", f"{hostile.host}/mine:1")
        assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
        assert "internal error" not in result.stderr, repr(result)
        assert canary.read_text() == "mine"
        store.true()
        assert result.code == 0 or blob[:12] in result.stderr or "partial" in result.stderr, repr(result)


def test_cra_01_login_killed_at_its_changes(pulls: Minirt, make_hostile: Callable[..., Hostile]) -> None:
    """CRA-01, REG-17: the file of credentials is the old or the new one, 0600, whole; what others kept in it stays."""
    server = make_hostile(users={"ann": "s3cret"})
    one(server)
    login(pulls, "other.example", password="kept")
    path = pulls.root.parent / ".docker/config.json"
    before = path.read_bytes()
    argv = ["login", "-u", "ann", "--password-stdin", server.host]
    for point in points(
        pulls, *argv, about=".docker", calls="openat,write,fsync,rename,unlink,fchmod", input=b"s3cret"
    ):
        path.write_bytes(before)
        injected(pulls, point, "signal=KILL", *argv, input=b"s3cret")
        assert path.read_bytes() == before or server.host in path.read_text(), point
        for name in os.listdir(path.parent):
            assert (path.parent / name).stat().st_mode & 0o077 == 0, name
    pulls.ok(*argv, input=b"s3cret")
    pulled(pulls, f"{server.host}/mine:1")
    assert seen_secrets(server)


@pytest.mark.slow
def test_cra_01_run_that_pulls_killed(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-01: `run` of an image that is missing, killed while it pulls: no container, and the next run works."""
    hostile.put(sample_images.busybox(), "mine:1")
    name = f"{hostile.host}/mine:1"
    blob = blob_of(sample_images.busybox())
    for share in (0.2, 0.8):
        hostile.on(f"GET /v2/mine/blobs/{blob}", held(share))
        child = pulls.start("run", "--rm", name, "true", environment={"MINIRT_HTTP_TIMEOUT_S": "60"})
        eventually(lambda: bytes_in(pulls.root / "partial") > 1000)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert pulls.ok("ps", "-aq") == ""
        assert store.images == []
        hostile.behave()
    assert pulls.ok("run", "--rm", "--network", "none", name, "echo", "works") == "works"
    checked(pulls, store)
