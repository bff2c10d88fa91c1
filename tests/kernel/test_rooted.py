# SPDX-License-Identifier: Apache-2.0
"""Rooted opens: whatever a hostile tree offers, nothing outside of it is reached and nothing hangs."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirt.kernel import rooted


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "secret").write_text("the host's")
    inner = tmp_path / "root"
    (inner / "etc").mkdir(parents=True)
    (inner / "etc/passwd").write_text("the container's")
    (inner / "absolute").symlink_to("/etc/passwd")
    (inner / "climbing").symlink_to("../../../../../../etc/passwd")
    (inner / "up").symlink_to("../secret")
    (inner / "loop").symlink_to("loop")
    (inner / "magic").symlink_to("/proc/self/root/etc/passwd")
    os.mkfifo(inner / "fifo")
    os.mknod(inner / "zero", 0o20666, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{os.open(inner, os.O_PATH)}/socket")
    fd = os.open(inner, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    "path", ["etc/passwd", "/etc/passwd", "absolute", "climbing", "../../etc/passwd", b"etc/passwd"]
)
def test_everything_stays_inside(root: int, path: str | bytes) -> None:
    assert rooted.read_file(root, path) == b"the container's"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("up", errno.ENOENT), ("magic", errno.ENOENT), ("loop", errno.ELOOP), ("nothing", errno.ENOENT),
        ("etc", errno.EISDIR), ("fifo", errno.EINVAL), ("zero", errno.EINVAL), ("socket", errno.EINVAL),
        ("etc/passwd/x", errno.ENOTDIR), ("a" * 300, errno.ENAMETOOLONG), ("", errno.EISDIR),
    ],
)  # fmt: skip
def test_what_is_no_file_is_refused_at_once(root: int, path: str, code: int) -> None:
    with pytest.raises(OSError) as failed:
        rooted.read_file(root, path)
    assert failed.value.errno == code


def test_magic_links_lead_nowhere() -> None:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OSError) as failed:
        rooted.open_in_root(proc, "self/root/etc/passwd")
    os.close(proc)
    assert failed.value.errno == errno.ELOOP


def test_no_symlinks(root: int) -> None:
    os.close(rooted.open_in_root(root, "etc/passwd", os.O_RDONLY, no_symlinks=True))
    with pytest.raises(OSError) as failed:
        rooted.open_in_root(root, "absolute", os.O_RDONLY, no_symlinks=True)
    assert failed.value.errno == errno.ELOOP


def test_descriptors_are_close_on_exec_and_files_are_made_inside(root: int, tmp_path: Path) -> None:
    fd = rooted.open_in_root(root, "/../made", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert (tmp_path / "root/made").stat().st_mode & 0o777 == 0o600


def test_the_limit(root: int) -> None:
    assert rooted.read_file(root, "etc/passwd", 15) == b"the container's"
    with pytest.raises(OSError) as failed:
        rooted.read_file(root, "etc/passwd", 14)
    assert failed.value.errno == errno.EFBIG


def test_a_tree_that_moves_meanwhile(root: int, tmp_path: Path) -> None:
    """A directory is swapped for a link to the outside all the time: what is read is the container's, or nothing."""
    inner, stop = tmp_path / "root", threading.Event()
    (inner / "a").mkdir()
    (inner / "a/secret").write_text("the container's")
    (inner / "b").symlink_to("/../../..")
    reading = os.open(inner, os.O_PATH)

    def swap() -> None:
        while not stop.is_set():
            for old, new in (("a", "c"), ("b", "a"), ("a", "b"), ("c", "a")):
                os.rename(inner / old, inner / new)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(3000):
            try:
                assert rooted.read_file(reading, "a/secret") == b"the container's"
            except (FileNotFoundError, BlockingIOError):
                pass
    finally:
        stop.set()
        thread.join()
        os.close(reading)
