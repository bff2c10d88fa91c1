# SPDX-License-Identifier: Apache-2.0
"""cgroup/tree.py and freezer.py against the kernel's v2 tree, in a cgroup of their own below it (needs root)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirt.cgroup import freezer, tree
from minirt.errors import HostError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes cgroups: needs root")


@pytest.fixture
def parent() -> Iterator[str]:
    path = f"{tree.mount_point()}/minirt-test-{os.getpid()}"
    yield path
    if os.path.isdir(path):
        tree.kill(path)
        tree.wait_event(path, "populated", 0, 5)
        assert tree.remove(path)


def sleeper(cgroup: str) -> subprocess.Popen[bytes]:
    """A process in the cgroup, as soon as this returns."""
    script = f"echo 0 > {cgroup}/cgroup.procs; echo in; exec sleep 1000"
    child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    with child.stdout as pipe:  # type: ignore[union-attr]
        assert pipe.readline() == b"in\n"
    return child


def test_create_makes_missing_parents_and_refuses_a_taken_name(parent: str) -> None:
    path = tree.create(f"{parent}/minirt", "a")
    assert path == f"{parent}/minirt/a" and os.path.isdir(path)
    with pytest.raises(FileExistsError):
        tree.create(f"{parent}/minirt", "a")


def test_remove_takes_an_empty_parent_along_but_only_ours(parent: str) -> None:
    one, two = tree.create(f"{parent}/minirt", "a"), tree.create(f"{parent}/minirt", "b")
    assert tree.remove(one) and os.path.isdir(f"{parent}/minirt")
    assert tree.remove(two) and not os.path.isdir(f"{parent}/minirt")
    assert os.path.isdir(parent)
    assert tree.remove(two), "removing what is gone is no failure"


def test_remove_deletes_nested_cgroups_that_a_container_made(parent: str) -> None:
    path = tree.create(parent, "nest")
    for below in ("x/y/z", "x/w", "v"):
        os.makedirs(f"{path}/{below}")
    assert tree.remove(path) and not os.path.exists(path)


def test_remove_is_not_stopped_by_a_path_longer_than_path_max(parent: str) -> None:
    path = tree.create(parent, "deep")
    here = os.open(path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("n" * 200, dir_fd=here)
        below = os.open("n" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert tree.remove(path) and not os.path.exists(path)


def test_remove_of_a_populated_cgroup_gives_up_in_bounded_time(parent: str) -> None:
    path = tree.create(parent, "busy")
    os.makedirs(f"{path}/idle")
    child = sleeper(path)
    started = time.monotonic()
    assert not tree.remove(path, timeout_s=0.1)
    assert time.monotonic() - started < 20
    assert not os.path.exists(f"{path}/idle")
    assert tree.populated(path) and tree.processes(path) == [child.pid]
    assert tree.kill(path)
    assert child.wait(5) == -9
    assert tree.remove(path)


def test_kill_reaches_nested_cgroups_and_frozen_processes(parent: str) -> None:
    path = tree.create(parent, "frozen")
    os.makedirs(f"{path}/below")
    one, two = sleeper(path), sleeper(f"{path}/below")
    freezer.freeze(path)
    assert freezer.frozen(path)
    assert tree.kill(path)
    assert (one.wait(5), two.wait(5)) == (-9, -9)
    assert tree.wait_event(path, "populated", 0, 5)


def test_kill_one_by_one_where_cgroup_kill_is_refused(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree.create(parent, "each")
    child = sleeper(path)
    real = tree.write

    def refuse(path: str, name: str, text: str) -> None:
        if name == "cgroup.kill":
            raise OSError(95, "Operation not supported")
        real(path, name, text)

    monkeypatch.setattr(tree, "write", refuse)
    assert tree.kill(path)
    assert child.wait(5) == -9


def test_what_is_not_there_is_not_killed_not_populated_not_frozen() -> None:
    path = f"{tree.mount_point()}/minirt-test-nowhere"
    assert not tree.kill(path) and not tree.populated(path) and not freezer.frozen(path)
    assert tree.wait_event(path, "populated", 0, 1) and tree.processes(path) == []


def test_freeze_and_thaw(parent: str) -> None:
    path = tree.create(parent, "pause")
    child = sleeper(path)
    assert not freezer.frozen(path)
    freezer.freeze(path)
    assert freezer.frozen(path)
    freezer.thaw(path)
    assert not freezer.frozen(path) and child.poll() is None
    tree.kill(path)
    child.wait(5)


@pytest.mark.parametrize(
    ("mountinfo", "expected"),
    [
        ("30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", "/sys/fs/cgroup"),
        (
            (
                "30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
                "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                "32 30 0:28 / /sys/fs/cgroup/unified rw shared:3 - cgroup2 cgroup2 rw\n"
            ),
            "/sys/fs/cgroup/unified",
        ),
        (r"30 1 0:26 / /mnt/with\040blank rw - cgroup2 none rw" + "\n", "/mnt/with blank"),
    ],
)
def test_mount_point_on_pure_and_hybrid_hosts(tmp_path: os.PathLike[str], mountinfo: str, expected: str) -> None:
    file = os.path.join(tmp_path, "mountinfo")
    with open(file, "w") as out:
        out.write(mountinfo)
    assert tree.mount_point(file) == expected


def test_no_v2_tree_is_said_with_its_remedy(tmp_path: os.PathLike[str]) -> None:
    file = os.path.join(tmp_path, "mountinfo")
    with open(file, "w") as out:
        out.write("31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    with pytest.raises(HostError, match="no cgroup v2 hierarchy is mounted") as raised:
        tree.mount_point(file)
    assert "unified_cgroup_hierarchy" in raised.value.remedy


def test_processes_are_found_however_deep_they_are(tmp_path: Path) -> None:
    """Deeper than Python recurses, with a longer path than the kernel takes; on plain directories."""
    names = [str(number).zfill(200) for number in range(1200)]
    here = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    for number, name in enumerate(names):
        os.mkdir(name, dir_fd=here)
        there = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = there
        if number % 100 == 0:
            with open(os.open("cgroup.procs", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as file:
                file.write(f"{number + 1}\n0\n")
    os.close(here)
    assert tree.processes(str(tmp_path)) == list(range(1, 1200, 100))
    subprocess.run(["rm", "-rf", str(tmp_path / names[0])], check=True)
    assert tree.processes(str(tmp_path / "gone")) == []
