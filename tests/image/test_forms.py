# SPDX-License-Identifier: Apache-2.0
"""Every form in which layers come: compressed by whom and how, 127 deep, of owners beyond 2^16, a million entries.

The compressors are skopeo's (gzip, zstd, zstd:chunked); the overlay of 127 layers is a container's.
"""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge
from forge import DIRECTORY, Forged, entry, tar, tree
from minirt.errors import ImageError
from minirt.image import find, load
from minirt.image.expand import Limits
from minirt.image.unpack import unpack
from runner import Minirt
from test_store import BASE, MIDDLE

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("form", ["gzip", "zstd", "zstd:chunked"])
def test_layers_as_skopeo_compresses_them(tmp_path: Path, form: str) -> None:
    """zstd:chunked is read as plain zstd: its frames, one a file, then skippable ones with a table of contents."""
    plain = forge.write_directory(Forged(BASE, MIDDLE, compress=gzip.compress).files(), tmp_path / "plain")
    command = ["skopeo", "copy", "-q", "--dest-compress", "--dest-compress-format", form, f"oci:{plain}:forged:latest"]
    subprocess.run([*command, f"oci:{tmp_path}/packed:forged:latest"], check=True)
    blobs = [path.read_bytes() for path in (tmp_path / "packed/blobs/sha256").iterdir()]
    magic = b"\x1f\x8b" if form == "gzip" else b"\x28\xb5\x2f\xfd"
    assert sum(blob.startswith(magic) for blob in blobs) == 2
    if form == "zstd:chunked":
        assert sum(blob.endswith(b"GnUlInUx") for blob in blobs) == 2
    root = str(tmp_path / "root")
    load.load(root, str(tmp_path / "packed"))
    expected = tmp_path / "expected"
    load.load(str(expected), str(plain))
    found, other = (find.find(store, "forged") for store in (root, str(expected)))
    assert [tree(Path(layer)) for layer in found.layers] == [tree(Path(layer)) for layer in other.layers]


def test_gzip_of_many_members(tmp_path: Path) -> None:
    """As pigz and estargz write it: a member every few bytes, and zeros behind the last."""

    def members(data: bytes) -> bytes:
        return b"".join(gzip.compress(data[at : at + 700]) for at in range(0, len(data), 700)) + bytes(600)

    source = tmp_path / "archive.tar"
    source.write_bytes(forge.archive(Forged(BASE, compress=members).files()))
    load.load(str(tmp_path / "root"), str(source))
    assert (Path(find.find(str(tmp_path / "root"), "forged").layers[0]) / "etc/keep").read_bytes() == b"1"


def test_127_layers_are_loaded_mounted_and_run(minirt: Minirt, tmp_path: Path) -> None:
    """As many as Docker allows. Each hides what the one below has, the last says what it is."""
    probe = Path("/bin/busybox").read_bytes()
    first = tar(
        entry("bin/", DIRECTORY, mode=0o755), entry("bin/sh", data=probe, mode=0o755), entry("count", data=b"0")
    )
    above = [tar(entry("count", data=b"%d" % number), entry(f"of-{number}", data=b"x")) for number in range(1, 127)]
    source = tmp_path / "archive.tar"
    source.write_bytes(forge.archive(Forged(first, *above, name="deep:latest").files()))
    minirt.ok("load", "-i", source)
    said = minirt.ok("run", "--rm", "--network", "none", "deep", "sh", "-c", "echo /of-* | wc -w; cat /count")
    assert said.split() == ["126", "126"]


def base_256(number: int) -> bytes:
    return b"\x80" + number.to_bytes(7, "big")


@pytest.mark.parametrize(("uid", "gid"), [(65536, 65537), (2**31, 2**32 - 2), (2_097_152, 1 << 24)])
def test_owners_beyond_two_bytes(tmp_path: Path, uid: int, gid: int) -> None:
    """In octal as far as that goes, else as PAX or base 256 has them; on files, directories, links and by either."""
    pax = forge.pax(uid=b"%d" % uid, gid=b"%d" % gid)
    layer = tar(
        entry("by-base-256", data=b"x", uid=base_256(uid), gid=base_256(gid)),
        pax + entry("by-pax", data=b"x", mode=0o4755),
        pax + entry("directory/", DIRECTORY, mode=0o2755),
        pax + entry("link", forge.SYMLINK, link="nowhere"),
    )
    (tmp_path / "out").mkdir()
    fd = os.open(tmp_path / "out", os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack(fd, iter((layer,)), forge.digest(layer)[7:], Limits())
    finally:
        os.close(fd)
    for name in ("by-base-256", "by-pax", "directory", "link"):
        there = (tmp_path / "out" / name).lstat()
        assert (there.st_uid, there.st_gid) == (uid, gid), name
    assert stat.S_IMODE((tmp_path / "out/by-pax").stat().st_mode) == 0o4755


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, for what is many and small."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def repeated(block: bytes, times: int) -> Iterator[bytes]:
    for _ in range(times // 500):
        yield block * 500


@pytest.mark.slow
def test_img_16_a_million_entries_and_one_more(memory: Path) -> None:
    """IMG-16: the limit that counts by default is reached, in seconds and in little memory, and named."""
    block = entry("d/", DIRECTORY, mode=0o755)
    (memory / "out").mkdir()
    fd = os.open(memory / "out", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(ImageError, match="limit of 1000000 entries"):
            unpack(fd, repeated(block, 1_000_500), "0" * 64, Limits())
    finally:
        os.close(fd)
    assert os.listdir(memory / "out") == ["d"]


def test_img_16_empty_files_by_the_ten_thousand(memory: Path) -> None:
    """IMG-16: they come in, and what is refused behind them goes again."""
    files = [entry(f"{number % 100:02}/{number}") for number in range(20_000)]
    source = memory / "archive.tar"
    source.write_bytes(forge.archive(Forged(tar(*files)).files()))
    load.load(str(memory / "root"), str(source))
    layer = Path(find.find(str(memory / "root"), "forged").layers[0])
    assert sum(len(names) for _, _, names in os.walk(layer)) == 20_000
    source.write_bytes(forge.archive(Forged(tar(*files[:5000], entry("../x"))).files()))
    with pytest.raises(ImageError, match="climbs"):
        load.load(str(memory / "root"), str(source))
    assert os.listdir(memory / "root/staging") == []
    assert len(os.listdir(memory / "root/layers")) == 1


def test_img_16_deeper_than_a_path_can_be_long(memory: Path) -> None:
    """IMG-16: a depth of 6,000, reached through symlinks that each lead 1,500 levels further; it can be removed."""
    deep = "a/" * 1500
    steps = [entry(deep, DIRECTORY, mode=0o755), entry("s0", forge.SYMLINK, link=deep[:-1])]
    for number in range(1, 4):
        steps += [
            entry(f"s{number - 1}/{deep}", DIRECTORY, mode=0o755),
            entry(f"s{number}", forge.SYMLINK, link=f"s{number - 1}/{deep[:-1]}"),
        ]
    steps.append(entry("s3/file", data=b"deep"))
    (memory / "out").mkdir()
    fd = os.open(memory / "out", os.O_RDONLY | os.O_DIRECTORY)
    layer = tar(*steps)
    try:
        unpack(fd, iter((layer,)), forge.digest(layer)[7:], Limits())
        inner = os.open("s3/file", os.O_RDONLY, dir_fd=fd)
        assert os.read(inner, 10) == b"deep"
        os.close(inner)
    finally:
        os.close(fd)
    subprocess.run(["rm", "-rf", memory / "out"], check=True)


def test_img_16_directories_whose_names_fill_the_memory_are_refused(memory: Path) -> None:
    """IMG-16: what must be remembered of a layer's directories is bounded too."""
    (memory / "out").mkdir()
    fd = os.open(memory / "out", os.O_RDONLY | os.O_DIRECTORY)
    long = "/".join(["n" * 240] * 16)
    block = entry(long, DIRECTORY, mode=0o755)
    try:
        with pytest.raises(ImageError, match="directories take more than the limit of 67108864 bytes"):
            unpack(fd, repeated(block, 20_000), "0" * 64, Limits())
    finally:
        os.close(fd)
