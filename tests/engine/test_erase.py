# SPDX-License-Identifier: Apache-2.0
"""Removing what a container has left in its upper directory, however it is made."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from minirt.engine import erase
from minirt.errors import StoreError


def deep(path: Path, levels: int) -> None:
    """A chain of directories far longer than PATH_MAX, made by descriptors."""
    path.mkdir()
    here = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d" * 100, dir_fd=here)
        with open(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here), "wb"):
            pass
        below = os.open("d" * 100, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_deeper_than_path_max_with_few_descriptors(tmp_path: Path) -> None:
    """2000 levels of 100 bytes: 200 kB of path, and the number of descriptors stays where it was."""
    deep(tmp_path / "tree", 2000)
    before = len(os.listdir("/proc/self/fd"))
    erase.tree(str(tmp_path / "tree"))
    assert not (tmp_path / "tree").exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_kind_of_file_and_name(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b" ", b"a" * 255):
        (tree / os.fsdecode(name)).touch()
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", 0o020666, os.makedev(1, 3))
    os.mknod(tree / "whiteout", 0o020000, os.makedev(0, 0))
    (tree / "closed").mkdir(mode=0)
    erase.tree(str(tree))
    assert not tree.exists()


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """What a link of the container's leads to on the host stays: files, directories, and the link as the tree."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "precious").write_text("stays")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").symlink_to(host / "precious")
    (tree / "directory").symlink_to(host)
    (tree / "loop").symlink_to("loop")
    erase.tree(str(tree))
    (tmp_path / "link").symlink_to(host)
    erase.tree(str(tmp_path / "link"))
    assert (host / "precious").read_text() == "stays"
    assert sorted(os.listdir(tmp_path)) == ["host"]


def test_nothing_there_is_success(tmp_path: Path) -> None:
    erase.tree(str(tmp_path / "absent"))
    erase.tree(str(tmp_path / "absent" / "below"))


def test_immutable_files_are_made_mutable(tmp_path: Path) -> None:
    """chattr +i and +a, on a file and on its directory."""
    tree = tmp_path / "tree"
    (tree / "held").mkdir(parents=True)
    for name, flag in (("held/file", "+i"), ("log", "+a"), ("held", "+i")):
        if not (tree / name).exists():
            (tree / name).touch()
        if subprocess.run(["chattr", flag, str(tree / name)], capture_output=True).returncode:
            pytest.fail("chattr does not work here: this test needs ext4, xfs or btrfs below the temporary directory")
    with pytest.raises(PermissionError):
        (tree / "held" / "file").unlink()
    erase.tree(str(tree))
    assert not tree.exists()


def test_another_file_system_is_not_entered(tmp_path: Path) -> None:
    """Somebody mounted something inside: said by name, and what lies there stays."""
    inside = tmp_path / "tree" / "mounted"
    inside.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "test", str(inside)], check=True)
    try:
        (inside / "precious").touch()
        with pytest.raises(StoreError, match=os.strerror(errno.EXDEV)) as caught:
            erase.tree(str(tmp_path / "tree"))
        assert "mounted" in caught.value.message
        assert (inside / "precious").exists()
    finally:
        subprocess.run(["umount", str(inside)], check=True)
