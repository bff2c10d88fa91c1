# SPDX-License-Identifier: Apache-2.0
"""rmi by Docker's rules and in Docker's words, and what it leaves: the layers of every container, and nothing else."""

from __future__ import annotations

import os

import pytest

import forge
from forge import Forged, entry, tar
from registries import Registry
from runner import Minirt
from sample_images import busybox

pytestmark = pytest.mark.kernel
BUSYBOX = "localhost/busybox:latest"


def stored(minirt: Minirt) -> dict[str, set[str]]:
    """What lies in the store, by kind."""
    places = {"blobs": "images/blobs/sha256", "layers": "layers", "records": "records", "trash": "trash"}
    found = {kind: set(os.listdir(minirt.root / place)) for kind, place in places.items()}
    found["records"].discard("names.json")
    return found


EMPTY: dict[str, set[str]] = {"blobs": set(), "layers": set(), "records": set(), "trash": set()}


@pytest.fixture
def stocked(minirt: Minirt) -> Minirt:
    """A store with the embedded image."""
    minirt.ok("run", "--rm", "localhost/busybox", "true")
    return minirt


def load(minirt: Minirt, *layers: bytes, name: str) -> str:
    """Loads an image; its id."""
    source = minirt.root.parent / "archive.tar"
    source.write_bytes(forge.archive(Forged(*layers, name=name).files()))
    minirt.ok("load", "-i", source)
    return minirt.ok("images", "-q", "--no-trunc", name)


def test_the_only_name(stocked: Minirt) -> None:
    identity = stocked.ok("images", "-q", "--no-trunc")
    layer = os.listdir(stocked.root / "layers")[0]
    assert stocked.ok("rmi", "localhost/busybox").splitlines() == [
        f"Untagged: {BUSYBOX}",
        f"Deleted: {identity}",
        f"Deleted: sha256:{layer}",
    ]
    assert stored(stocked) == EMPTY
    assert stocked.ok("images", "-q") == ""


def test_one_of_two_names(stocked: Minirt) -> None:
    """By name one tag goes; by id only all of one repository."""
    stocked.ok("tag", "localhost/busybox", "other:1")
    identity = stocked.ok("images", "-q", "other")
    refused = f"conflict: unable to delete {identity} (must be forced) - image is referenced in multiple repositories"
    stocked.fails("rmi", identity, code=1, says=refused)
    assert stocked.ok("rmi", "other:1") == "Untagged: other:1"
    before = stored(stocked)
    stocked.ok("tag", "localhost/busybox", "other:1")
    assert stored(stocked) == before
    lines = stocked.ok("rmi", "-f", identity).splitlines()
    assert sorted(lines[:2]) == [f"Untagged: {BUSYBOX}", "Untagged: other:1"] and len(lines) == 4
    assert stored(stocked) == EMPTY


def test_while_a_container_uses_it(stocked: Minirt) -> None:
    """CRA-10: refused for a stopped container, too; by force only names go, and its layers stay until it is gone."""
    short = stocked.ok("images", "-q")
    stopped = stocked.ok("create", "localhost/busybox", "cat", "/etc/passwd")
    using = f"container {stopped[:12]} is using its referenced image {short}"
    says = f'conflict: unable to remove repository reference "localhost/busybox" (must force) - {using}'
    stocked.fails("rmi", "localhost/busybox", code=1, says=says)
    says = f"unable to delete {short} (must be forced) - image is being used by stopped container {stopped[:12]}"
    stocked.fails("rmi", short, code=1, says=says)
    stocked.ok("tag", "localhost/busybox", "localhost/other")
    assert stocked.ok("rmi", "localhost/other") == "Untagged: localhost/other:latest"
    layers = stored(stocked)["layers"]
    deleted = stocked.ok("rmi", "-f", short).splitlines()
    assert [line.split()[0] for line in deleted] == ["Untagged:", "Deleted:"]
    assert stored(stocked)["layers"] == layers and stored(stocked)["blobs"] == set()
    assert "root:x:0:0" in stocked.ok("start", "-a", stopped)
    stocked.ok("rm", stopped)
    stocked.ok("image", "prune", "-f")
    assert stored(stocked) == EMPTY


def test_while_a_container_runs(stocked: Minirt) -> None:
    """By id never, by name and force only the name goes."""
    short = stocked.ok("images", "-q")
    running = stocked.ok("run", "-d", "localhost/busybox", "sleep", "1000")
    says = f"unable to delete {short} (cannot be forced) - image is being used by running container {running[:12]}"
    for force in ((), ("-f",)):
        stocked.fails("rmi", *force, short, code=1, says=says)
    assert stocked.ok("rmi", "-f", "localhost/busybox") == f"Untagged: {BUSYBOX}"
    assert stocked.ok("images", "-a", "-q") == short
    assert stocked.ok("exec", running, "echo", "hi") == "hi"
    stocked.ok("image", "prune", "-f")
    assert stocked.ok("images", "-a", "-q") == short
    stocked.ok("rm", "-f", running)
    assert "deleted: sha256:" in stocked.ok("image", "prune", "-f")
    assert stored(stocked) == EMPTY


def test_shared_layers_stay(minirt: Minirt) -> None:
    base, one, two = (tar(entry(name, data=name.encode() * 100)) for name in ("base", "one", "two"))
    first = load(minirt, base, one, name="first:1")
    load(minirt, base, two, name="second:1")
    deleted = [f"Deleted: {first}", f"Deleted: {forge.digest(one)}"]
    assert minirt.ok("rmi", "first:1").splitlines() == ["Untagged: first:1", *deleted]
    assert stored(minirt)["layers"] == {forge.digest(layer)[7:] for layer in (base, two)}
    assert minirt.ok("system", "check").endswith("all is well")


def test_digests_go_with_the_last_tag_of_their_repository(minirt: Minirt, registry: Registry) -> None:
    """A pulled image has two references: its tag and name@digest."""
    where = f"{registry.host}/rmi/pulled"
    registry.put(busybox(), "rmi/pulled:1")
    minirt.ok("pull", "-q", f"{where}:1")
    minirt.ok("tag", f"{where}:1", f"{where}:2")
    assert minirt.ok("rmi", f"{where}:2") == f"Untagged: {where}:2"
    lines = minirt.ok("rmi", f"{where}:1").splitlines()
    assert lines[0] == f"Untagged: {where}:1" and lines[1].startswith(f"Untagged: {where}@sha256:")
    assert stored(minirt) == EMPTY
    digest = lines[1].rpartition("@")[2]
    minirt.ok("pull", "-q", f"{where}@{digest}")
    assert minirt.ok("rmi", f"{where}@{digest}").splitlines()[0] == f"Untagged: {where}@{digest}"
    assert stored(minirt) == EMPTY


def test_what_is_no_image(stocked: Minirt) -> None:
    """One line each; the others are removed all the same; -f makes it no failure."""
    for text in ("nope", "NOPE", "a" * 64, "sha256:" + "0" * 64, "", "a b", "../etc", "x" * 5000, "\x1b[31m"):
        errors = stocked.fails("rmi", text, code=1)
        assert errors.startswith("minirt: ") and len(errors.splitlines()) <= 2 and "\x1b" not in errors
    stocked.fails("rmi", "nope", code=1, says="No such image: nope:latest")
    result = stocked("rmi", "-f", "nope")
    assert result.code == 0 and "No such image" in result.stderr
    stocked.ok("tag", "localhost/busybox", "x:1")
    result = stocked("rmi", "nope", "x:1")
    assert (result.code, result.stdout) == (1, "Untagged: x:1\n")
    stocked.fails("rmi", code=1)


def test_a_damaged_image_can_be_removed(stocked: Minirt) -> None:
    """CRA-16: its manifest is empty: it has no id any more, but a name."""
    load(stocked, tar(entry("file", data=b"1")), name="broken:1")
    before = stored(stocked)["blobs"]
    (stocked.root / "images/blobs/sha256" / stocked.ok("image", "inspect", "-f", "{{.Id}}", "broken:1")[7:]).unlink()
    assert stocked.ok("rmi", "broken:1").splitlines()[0] == "Untagged: broken:1"
    assert stored(stocked)["blobs"] < before
    assert stocked.ok("system", "check").endswith("all is well")
