# SPDX-License-Identifier: Apache-2.0
"""Honest layers come out as tar itself would put them: every kind of entry, attribute and header form.

What GNU tar makes from a real tree, in each of its formats, is unpacked and compared with the tree (or with what tar
extracts), down to the nanosecond, the xattr and the shared inode.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

import forge
from forge import BLOCK, CHARACTER, DIRECTORY, FIFO, entry, pax, tar
from minirt.errors import ImageError
from minirt.image.expand import Limits
from minirt.image.unpack import unpack


def unpacked(data: bytes, target: Path) -> Path:
    target.mkdir()
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pieces = (data[at : at + 1000] for at in range(0, len(data), 1000))
        unpack(fd, pieces, hashlib.sha256(data).hexdigest(), Limits())
    finally:
        os.close(fd)
    return target


def described(root: Path, times: bool = True) -> dict[bytes, Any]:
    """Everything that a tar can say of what lies below `root`."""
    found: dict[bytes, Any] = {}
    inodes: dict[int, bytes] = {}
    for place, folders, names in os.walk(os.fsencode(root)):
        for path in [place, *(os.path.join(place, name) for name in folders + names)]:
            there, name = os.lstat(path), os.path.relpath(path, os.fsencode(root))
            content: Any = None
            if stat.S_ISREG(there.st_mode):
                content = (hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest(), there.st_nlink)
                content = (*content, inodes.setdefault(there.st_ino, name) if there.st_nlink > 1 else b"")
            elif stat.S_ISLNK(there.st_mode):
                content = os.readlink(path)
            elif not stat.S_ISDIR(there.st_mode):
                content = there.st_rdev
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            }
            mtime = there.st_mtime_ns if times else there.st_mtime_ns // 10**9
            found[name] = (there.st_mode, there.st_uid, there.st_gid, mtime, content, xattrs)
    return found


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """One of everything."""
    root = tmp_path / "original"
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/file").write_bytes(b"content" * 1000)
    (root / "empty").write_bytes(b"")
    (root / "exact").write_bytes(b"x" * 1024)
    (root / "suid").write_bytes(b"#!/bin/sh\n")
    os.chown(root / "suid", 1000, 1001)
    (root / "suid").chmod(0o6755)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o3777)
    (root / "unreadable").write_bytes(b"x")
    (root / "unreadable").chmod(0)
    os.chown(root / "unreadable", 70000, 2**31 - 2)
    os.link(root / "dir/file", root / "hard1")
    os.link(root / "dir/file", root / "dir/sub/hard2")
    os.symlink("../../nowhere/at/all", root / "dir/link")
    os.symlink("/etc/passwd", root / "absolute")
    os.symlink("t" * 300, root / "long-target")
    os.link(root / "absolute", root / "hard-to-symlink", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 1048575))
    (root / ("n" * 120)).write_bytes(b"long name")
    deep = root / "/".join(["p" * 90] * 4)
    deep.mkdir(parents=True)
    (deep / ("q" * 200)).write_bytes(b"longer name")
    for name in (b"caf\xe9", "näïve".encode(), b"a\nb", b"back\\slash", b" blank "):
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(name)
    os.setxattr(root / "empty", "user.comment", b"a\0b\nc=d")
    os.setxattr(root / "dir", "user.directory", b"yes")
    os.setxattr(root / "exact", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    for path, time_ns in (
        (root / "empty", 1_234_567_890_123_456_789),
        (root / "dir/file", 1),
        (root / "exact", -5 * 10**9),
    ):
        os.utime(path, ns=(time_ns, time_ns))
    os.utime(root / "dir/link", ns=(7, 987_654_321_000_000_001), follow_symlinks=False)
    for path in (root / "dir/sub", root / "dir", root):
        os.utime(path, ns=(10**18 + 1, 10**18 + 1))
    return root


def made(root: Path, *options: str) -> bytes:
    command = ["tar", "--numeric-owner", *options, "-C", str(root), "-cf", "-", "."]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_pax_archive_comes_out_as_it_was(original: Path, tmp_path: Path) -> None:
    data = made(original, "--format=pax", "--xattrs", "--xattrs-include=*")
    assert described(unpacked(data, tmp_path / "out")) == described(original)


def test_gnu_archive_comes_out_as_it_was(original: Path, tmp_path: Path) -> None:
    """GNU's long names and links, base-256 owners and times; whole seconds, no xattrs."""
    for path in ("empty", "dir", "exact"):
        for name in os.listxattr(original / path):
            os.removexattr(original / path, name)
    data = made(original, "--format=gnu")
    assert described(unpacked(data, tmp_path / "out"), times=False) == described(original, times=False)


@pytest.mark.parametrize("kind", ["ustar", "v7"])
def test_old_formats(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "original"
    (root / "d").mkdir(parents=True)
    (root / "d/file").write_bytes(b"x" * 700)
    os.symlink("file", root / "d/link")
    os.utime(root / "d", (10**9, 10**9))
    if kind == "ustar":
        deep = root / "/".join(["p" * 60] * 3)
        deep.mkdir(parents=True)
        (deep / "f").write_bytes(b"prefix")
    assert described(unpacked(made(root, f"--format={kind}"), tmp_path / "out"), False) == described(root, False)


@pytest.mark.parametrize("version", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files(tmp_path: Path, version: str) -> None:
    """All four ways of GNU tar; what was a hole is a hole again."""
    root = tmp_path / "original"
    root.mkdir()
    with open(root / "holes", "wb") as file:
        for number in range(60):  # more parts than one header of the old format holds
            file.seek(number * (1 << 20))
            file.write(b"%d" % number * 100)
        file.truncate(100 << 20)
    with open(root / "only-hole", "wb") as file:
        file.truncate(5 << 20)
    (root / "after").write_bytes(b"still aligned")
    options = ["--format=gnu"] if version == "gnu" else ["--format=pax", f"--sparse-version={version}"]
    data = made(root, "--sparse", *options)
    assert len(data) < 2 << 20
    out = unpacked(data, tmp_path / "out")
    assert described(out, False) == described(root, False)
    assert (out / "holes").stat().st_blocks * 512 < 3 << 20
    assert (out / "only-hole").stat().st_blocks == 0


def test_same_as_tar_itself(tmp_path: Path) -> None:
    """Duplicates, files replaced by directories and the reverse, owners that nobody has: tar -x is the reference."""
    layer = tar(
        entry("a", data=b"1"),
        entry("a", data=b"22"),
        entry("b/", DIRECTORY, mode=0o700, mtime=b"00000000007\0"),
        entry("b/x", data=b"3"),
        entry("b/", DIRECTORY, mode=0o1755, mtime=b"00000000011\0"),
        entry("c", data=b"x", uid=b"0303240\0", gid=b"\x80\0\0\0\x7f\xff\xff\xfe", mtime=b"00000000001\0"),
        entry("d/e/", DIRECTORY, mode=0o2750),
    )
    reference = tmp_path / "reference"
    reference.mkdir()
    command = ["tar", "--numeric-owner", "-p", "-C", str(reference), "-xf", "-"]
    subprocess.run(command, input=layer, check=True)
    mine, theirs = described(unpacked(layer, tmp_path / "out"), False), described(reference, False)
    for name in (b".", b"d", b"a", b"b/x"):  # the time of these is the time of unpacking, or 0
        assert mine[name][:3] + mine[name][4:] == theirs[name][:3] + theirs[name][4:]
        del mine[name], theirs[name]
    assert mine == theirs


def test_img_11_device_fifo_and_setuid_are_kept(tmp_path: Path) -> None:
    """IMG-11, IMG-12: they are the image's; the store's 0700 keeps them from the host's users."""
    layer = tar(
        entry("sda", BLOCK, mode=0o660, major=b"0000010\0", minor=b"0000000\0"),
        entry("mem", CHARACTER, mode=0o640, major=b"0000001\0", minor=b"0000001\0"),
        entry("pipe", FIFO, mode=0o622),
        entry("su", data=b"x", mode=0o4755),
    )
    out = unpacked(layer, tmp_path / "out")
    assert (out / "sda").lstat().st_rdev == os.makedev(8, 0)
    assert stat.S_ISBLK((out / "sda").lstat().st_mode)
    assert stat.S_IMODE((out / "pipe").lstat().st_mode) == 0o622
    assert stat.S_IMODE((out / "su").lstat().st_mode) == 0o4755


def test_umask_and_setgid_parents_change_nothing(tmp_path: Path) -> None:
    """A set-gid directory would hand its group down, a umask would take bits away."""
    layer = tar(
        entry("g/", DIRECTORY, mode=0o2777, gid=b"0001747\0"),
        entry("g/f", data=b"x", mode=0o666),
        entry("g/d/", DIRECTORY, mode=0o777),
        entry("g/p", FIFO, mode=0o666),
        entry("g/implicit/f", data=b"x"),
    )
    before = os.umask(0o077)
    try:
        out = unpacked(layer, tmp_path / "out")
    finally:
        os.umask(before)
    for name, mode in (("f", 0o666), ("d", 0o777), ("p", 0o666)):
        there = (out / "g" / name).stat()
        assert (stat.S_IMODE(there.st_mode), there.st_gid) == (mode, 0), name
    assert stat.S_IMODE((out / "g/implicit").stat().st_mode) & 0o777 == 0o755


@pytest.mark.parametrize(
    ("text", "time_ns"), [(b"1.5", 1_500_000_000), (b"-1.25", -1_250_000_000), (b"0.0000000019", 1)]
)
def test_pax_times(tmp_path: Path, text: bytes, time_ns: int) -> None:
    out = unpacked(tar(pax(mtime=text) + entry("f")), tmp_path / "out")
    assert (out / "f").stat().st_mtime_ns == time_ns


def test_times_beyond_reason_are_clamped(tmp_path: Path) -> None:
    layer = tar(
        pax(mtime=b"9" * 40) + entry("f"),
        entry("g", mtime=b"\x80" + b"\x7f" * 11),
        entry("h", mtime=b"\xff\x80" + bytes(10)),
    )
    out = unpacked(layer, tmp_path / "out")
    assert sorted(os.listdir(out)) == ["f", "g", "h"]


def test_empty_layers(tmp_path: Path) -> None:
    """What builders write for "nothing changed": two zero blocks, or nothing at all."""
    for number, data in enumerate((bytes(1024), bytes(10240), b"")):
        assert os.listdir(unpacked(data, tmp_path / f"out{number}")) == []


def test_global_pax_header_is_passed_over(tmp_path: Path) -> None:
    """git archive writes one; as in Docker it changes nothing, not even a name."""
    body = b"17 path=../../x\n\n"[:16]
    data = forge.header(b"g", b"g", size=b"%011o\0" % len(body)) + forge.padded(body) + tar(entry("f", data=b"x"))
    assert os.listdir(unpacked(data, tmp_path / "out")) == ["f"]


def test_digest_of_the_stream_is_checked_even_where_the_tar_is_good(tmp_path: Path) -> None:
    layer = tar(entry("f", data=b"x"))
    (tmp_path / "out").mkdir()
    fd = os.open(tmp_path / "out", os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(ImageError, match="digest mismatch"):
        unpack(fd, iter((gzip.compress(layer),)), hashlib.sha256(layer + b"\0").hexdigest(), Limits())
    os.close(fd)
