# SPDX-License-Identifier: Apache-2.0
"""A tree becomes an archive and comes out as it was, by our reader and by GNU tar; also while somebody changes it.

The packer is called on directories of this test; containers that are exported and committed are tests/cli's.
"""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

import runner
from minirt.errors import ImageError
from minirt.image.expand import Limits
from minirt.image.pack import pack
from minirt.image.sink import FileSink, Sink, SinkError
from minirt.image.unpack import unpack
from test_unpack import described

ACL = bytes.fromhex("02000000 01000700ffffffff 02000700e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
SECRET = b"the-hosts-own-secret"


def packed(root: Path | str, take: Callable[[Sink], Sink] | None = None) -> tuple[bytes, list[str]]:
    """(archive, warnings)."""
    parts: list[bytes] = []
    warnings: list[str] = []
    sink = Sink(lambda data: parts.append(bytes(data)))
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pack(fd, take(sink) if take else sink, warnings.append)
    finally:
        os.close(fd)
    return b"".join(parts), warnings


def unpacked(data: bytes, target: Path) -> Path:
    target.mkdir()
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack(fd, iter((data,)), hashlib.sha256(data).hexdigest(), Limits())
    finally:
        os.close(fd)
    return target


def extracted(data: bytes, target: Path) -> Path:
    """As GNU tar does it."""
    target.mkdir()
    command = [
        "tar",
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "--warning=no-timestamp",
        "-xpf",
        "-",
        "-C",
        str(target),
    ]
    done = subprocess.run(command, input=data, capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return target


def members(data: bytes) -> list[str]:
    with tarfile.open(fileobj=BytesIO(data)) as found:
        return found.getnames()


def same(mine: Path, theirs: Path) -> None:
    found, wanted = described(mine), described(theirs)
    found.pop(b"."), wanted.pop(b".")  # the root is no member
    assert found == wanted


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One of everything that an archive can hold, and a socket, which it cannot."""
    root = tmp_path / "tree"
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/file").write_bytes(b"content" * 100_000)
    (root / "empty").write_bytes(b"")
    (root / "block").write_bytes(b"x" * 512)
    os.link(root / "dir/file", root / "a-link")
    os.link(root / "dir/file", root / "dir/sub/z-link")
    os.symlink("../nowhere", root / "dir/symlink")
    os.link(root / "dir/symlink", root / "link-to-symlink", follow_symlinks=False)
    os.symlink("t" * 300, root / "long-target")
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 1048575))
    os.mknod(root / "socket", stat.S_IFSOCK | 0o600)
    for odd in (
        b"n" * 99,
        b"n" * 100,
        b"n" * 101,
        b"n" * 255,
        b"caf\xe9",
        "näïve".encode(),
        b"a\nb",
        b" ",
        b"\xff" * 200,
    ):
        Path(os.fsdecode(os.path.join(os.fsencode(root), odd))).write_bytes(odd)
    for width in (49, 50, 51, 90):
        deep = root / "/".join([chr(97 + width % 26) * width] * 5)
        deep.mkdir(parents=True)
        (deep / ("q" * 100)).write_bytes(b"deep")
    for name, uid, gid in (("owned", 1 << 21, 1), ("owned-far", (1 << 32) - 2, (1 << 31) + 7)):
        (root / name).write_bytes(b"x")
        os.chown(root / name, uid, gid)
    (root / "suid").write_bytes(b"#!")
    (root / "suid").chmod(0o6751)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o3777)
    os.setxattr(root / "empty", "user.comment", b"a\0b\nc=d")
    os.setxattr(root / "dir", "user.directory", b"y" * 1000)
    os.setxattr(root / "block", "security.capability", CAPABILITY)
    os.setxattr(root / "block", "system.posix_acl_access", ACL)
    os.setxattr(root / "sticky", "system.posix_acl_default", ACL)
    times = {"empty": 1_234_567_890_123_456_789, "block": 1, "dir/file": -5 * 10**9 - 250_000_000, "suid": 1 << 62}
    for name, time_ns in times.items():
        os.utime(root / name, ns=(time_ns, time_ns))
    os.utime(root / "dir/symlink", ns=(7, 987_654_321_000_000_001), follow_symlinks=False)
    os.utime(root / "dir", ns=(10**18 + 1, 10**18 + 1))
    return root


def test_everything_comes_back(tree: Path, tmp_path: Path) -> None:
    """IMG-15, IMG-16 the other way round: long and odd names, large owners, times, attributes, links."""
    data, warnings = packed(tree)
    (tree / "socket").unlink()
    os.utime(tree / "dir", ns=(10**18 + 1, 10**18 + 1))
    same(unpacked(data, tmp_path / "ours"), tree)
    same(extracted(data, tmp_path / "tars"), tree)
    assert warnings == []


def test_the_same_tree_is_the_same_archive(tree: Path, tmp_path: Path) -> None:
    """Whatever order the directory lists its entries in."""
    data, _ = packed(tree)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in sorted(tree.iterdir(), reverse=True):
        path.rename(copy / path.name)
    again, _ = packed(copy)
    assert data == again
    names = members(data)
    assert names == sorted(names, key=lambda name: os.fsencode(name).split(b"/"))


def test_attributes_of_overlay_and_security_modules_stay(tmp_path: Path) -> None:
    """IMG-09 the other way round. The control is the attribute beside them that does come along."""
    root = tmp_path / "tree"
    (root / "dir").mkdir(parents=True)
    for name in ("trusted.overlay.opaque", "trusted.overlay.origin", "user.overlay.opaque", "trusted.x", "user.kept"):
        os.setxattr(root / "dir", name, b"y")
    data, _ = packed(root)
    assert b"user.kept" in data and b"overlay" not in data and b"trusted" not in data


def test_small_holes_become_zeros(tmp_path: Path) -> None:
    """As Docker writes them: its own layers cannot hold a sparse member. They are not read, though."""
    root = tmp_path / "tree"
    root.mkdir()
    with open(root / "sparse", "wb") as file:
        for offset in (5 << 20, 30 << 20):
            file.seek(offset)
            file.write(b"data" * 1024)
        file.truncate(50 << 20)
    data, warnings = packed(root)
    assert b"GNU.sparse" not in data and warnings == []
    same(unpacked(data, tmp_path / "ours"), root)


def test_large_holes_are_not_written(tmp_path: Path) -> None:
    """/var/log/lastlog of a user with a large uid: a terabyte that is not there. It is told."""
    root = tmp_path / "tree"
    root.mkdir()
    with open(root / "sparse", "wb") as file:
        for offset in (0, 5 << 20, 3 << 30):
            file.seek(offset)
            file.write(b"data" * 1024)
        file.truncate(1 << 33)
    with open(root / "hollow", "wb") as file:
        file.truncate(1 << 40)
    (root / "small").write_bytes(b"x")
    data, warnings = packed(root)
    assert len(data) < 1 << 17 and [warning.split()[0] for warning in warnings] == ["'hollow'", "'sparse'"]
    for out in (unpacked(data, tmp_path / "ours"), extracted(data, tmp_path / "tars")):
        assert (out / "hollow").stat().st_size == 1 << 40 and (out / "small").read_bytes() == b"x"
        assert (out / "sparse").stat().st_size == 1 << 33 and (out / "sparse").stat().st_blocks < 1000
        with open(out / "sparse", "rb") as file:
            for offset in (0, 5 << 20, 3 << 30):
                file.seek(offset)
                assert file.read(5000) == b"data" * 1024 + bytes(904)


def test_size_beyond_eight_gigabytes(tmp_path: Path) -> None:
    """A file that is all data has its size in a PAX record; the data is cut off here, the header tells."""
    root = tmp_path / "tree"
    root.mkdir()
    with open(root / "large", "wb") as file:
        file.truncate((8 << 30) + 5)
        for offset in range(0, 11_000 * 8192, 8192):  # more parts than a map may have
            file.seek(offset)
            file.write(b"x")
    heads: list[bytes] = []

    def take(data: bytes | memoryview) -> None:
        heads.append(bytes(data))
        raise SinkError(28, "full")

    fd = os.open(root, os.O_RDONLY)
    with pytest.raises(SinkError):
        pack(fd, Sink(take), print)
    os.close(fd)
    assert b"size=8589934597\n" in heads[0]


class _Meddling(Sink):
    """Does something to the tree at the first piece of a large file."""

    def __init__(self, inner: Sink, meddle: Callable[[], object]) -> None:
        super().__init__(inner._take)
        self._meddle = meddle

    def copy(self, fd: int, offset: int, size: int) -> int:
        half = super().copy(fd, offset, size // 2)
        self._meddle()
        return half + super().copy(fd, offset + size // 2, size - size // 2)


def test_a_file_that_changes_its_size(tmp_path: Path) -> None:
    """One that shrinks is filled up, one that grows is cut, and the archive stays whole."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "big").write_bytes(b"x" * (1 << 20))
    (root / "z").write_bytes(b"last")
    data, warnings = packed(root, lambda sink: _Meddling(sink, lambda: os.truncate(root / "big", 1000)))
    assert len(warnings) == 1 and "'big' shrank while it was read: 524288 bytes of zeros" in warnings[0]
    out = extracted(data, tmp_path / "shrunk")
    assert (out / "big").read_bytes() == b"x" * (1 << 19) + bytes(1 << 19) and (out / "z").read_bytes() == b"last"

    def grow() -> None:
        with open(root / "big", "ab") as file:
            file.write(b"more")

    (root / "big").write_bytes(b"y" * (1 << 20))
    data, warnings = packed(root, lambda sink: _Meddling(sink, grow))
    assert any("'big' grew while it was read" in warning for warning in warnings)
    assert (extracted(data, tmp_path / "grown") / "big").read_bytes() == b"y" * (1 << 20)


def test_deep_trees_take_few_descriptors_and_end_at_path_max(tmp_path: Path) -> None:
    """IMG-16: 2,000 directories below each other; one more byte than a path may have is refused by name."""
    root = tmp_path / "tree"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=here)
        with open(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w"):
            pass
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 80, hard))
    try:
        data, warnings = packed(root)
        for _ in range(60):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        with pytest.raises(ImageError, match=r"a path of 409[67] bytes does not go into an archive"):
            packed(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(here)
    assert len(members(data)) == 4000 and warnings == []


@pytest.fixture
def swapping(tmp_path: Path, shared_dir: Path) -> Iterator[Path]:
    """A tree in which a file, a directory and their like change places with links to the host's secret for ever."""
    program = runner.static_program(shared_dir / "attacker", Path(__file__).parents[1] / "attacks/attacker.c")
    victim, root = tmp_path / "victim", tmp_path / "tree"
    (victim / "below").mkdir(parents=True)
    for place in (victim, victim / "below"):
        (place / "hello").write_bytes(SECRET)
    (root / "dir/below").mkdir(parents=True)
    for place in (root, root / "dir", root / "dir/below"):
        (place / "hello").write_bytes(b"harmless")
    (root / "link").symlink_to(victim / "hello")
    (root / "dir-link").symlink_to(victim)
    os.mknod(root / "node", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (root / "node-file").write_bytes(b"harmless")
    pairs = [("hello", "link"), ("dir", "dir-link"), ("node", "node-file")]
    words = [str(root / name) for pair in pairs for name in pair]
    child = subprocess.Popen([program, "swap", *words], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"swapping\n"
    yield root
    assert child.poll() is None, "it swapped all the time"
    child.kill()
    child.wait()
    child.stdout.close()


def naive(root: Path) -> bytes:
    """What a packer does that looks first and opens later, by path."""
    found = b""
    for place, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(place, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, "rb") as file:
                        found += file.read()
            except OSError:
                pass
    return found


def test_img_33_no_byte_of_the_host_through_swapped_links(swapping: Path) -> None:
    """IMG-33 (CVE-2023-0778): not one in thousands of tries. The control: who looks and then opens does read it."""
    for _ in range(2000):
        data, _ = packed(swapping)
        assert SECRET not in data
        assert members(data)
    assert any(SECRET in naive(swapping) for _ in range(20_000))


def test_what_the_other_side_does_not_take(tree: Path) -> None:
    """A full disk and a closed pipe are told from what cannot be read."""
    fd = os.open(tree, os.O_RDONLY)
    full = os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    for target, code in ((full, 28), (writer, 32)):
        with pytest.raises(SinkError) as caught:
            pack(fd, FileSink(target), print)
        assert caught.value.errno == code
        os.close(target)
    os.close(fd)
