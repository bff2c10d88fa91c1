# SPDX-License-Identifier: Apache-2.0
"""Layers that lie about their size, their numbers or their end (IMG-14 to IMG-17): a clear error within a stated
limit."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge
from forge import CHARACTER, DIRECTORY, FILE, LINK, entry, header, padded, pax, pax_records, tar, tree
from minirt.errors import ImageError, MinirtError
from minirt.image import load
from minirt.image.expand import Limits, expand
from minirt.image.stream import verified

MIB = 1 << 20


@pytest.fixture(params=forge.WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scene(tmp_path: Path) -> forge.Scene:
    return forge.Scene(tmp_path)


def chunks(data: bytes, size: int = 64 << 10) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def zeros(size: int) -> bytes:
    return tar(header(b"zeros", FILE, size=b"%011o\0" % size) + bytes(size))


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_img_14_gzip_bomb_stops_at_the_ratio(tmp_path: Path) -> None:
    """IMG-14 (CVE-2020-1702): 64 kB that would become 64 MiB stop at what 64 kB may become."""
    scene = forge.Scene(tmp_path)
    layer = zeros(64 * MIB)
    source = tmp_path / "archive.tar"
    source.write_bytes(forge.archive(forge.Forged(layer).files()))
    with pytest.raises(ImageError, match="limit of 50 times its compressed size"):
        load.load(str(scene.root), str(source), Limits(ratio=50, allowance_bytes=MIB))
    scene.nothing_came_in()


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, None], ids=["gzip", "bzip2", "xz", "zstd"]
)
def test_img_14_bomb_stops_at_the_layer_limit_in_bounded_memory(compress: object) -> None:
    """IMG-14: 96 MiB behind a few kB; the error names the limit, memory stays small."""
    if compress is None:
        compress = pytest.importorskip("zstandard").compress
    bomb = compress(bytes(96 * MIB))  # type: ignore[operator]
    before = peak_mib()
    sizes: list[int] = []
    with pytest.raises(ImageError, match=f"limit of {50 * MIB} bytes"):
        sizes.extend(map(len, expand(chunks(bomb), Limits(layer_bytes=50 * MIB))))
    assert sum(sizes) <= 50 * MIB
    assert peak_mib() - before < 64


def test_img_14_a_hundred_thousand_empty_gzip_members_take_linear_time() -> None:
    began = time.process_time()
    assert b"".join(expand(chunks(forge.gzip_members(100_000)), Limits())) == b""
    assert time.process_time() - began < 10  # of processor time: linear, whatever else runs


def test_img_14_zstd_window_beyond_the_limit_is_refused() -> None:
    """IMG-14: --long=31 would make the reader set 2 GiB aside."""
    zstandard = pytest.importorskip("zstandard")
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=1 << 29)
    deep = compressor.compress(bytes(MIB)) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    with pytest.raises(ImageError, match="zstd"):
        list(expand(chunks(deep), Limits()))


def test_img_14_garbage_after_the_end_counts_and_is_not_read_as_entries(scene: forge.Scene, way: str) -> None:
    layer = tar(entry("f", data=b"x")) + tar(entry("hidden", data=b"evil")) + os.urandom(5000)
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    assert tree(outcome.layer) == {"f": "file"}


def test_img_14_garbage_after_gzip_is_refused() -> None:
    with pytest.raises(ImageError, match="gzip"):
        list(expand(chunks(gzip.compress(b"x") + b"\x1f\x8bgarbage"), Limits()))
    with pytest.raises(ImageError, match="gzip"):
        list(expand(chunks(gzip.compress(b"x") + b"\0" * 9 + b"garbage"), Limits()))
    assert b"".join(expand(chunks(gzip.compress(b"x") + bytes(600)), Limits())) == b"x"


LIES = {
    "base-256 size of 2^63-1": entry("f", size=b"\x80\0\0\0" + b"\x7f" + b"\xff" * 7),
    "base-256 size beyond 2^63": entry("f", size=b"\x80\0\0\1" + bytes(8)),
    "negative size": entry("f", size=b"\xff" * 12),
    "octal overflow": entry("f", size=b"7" * 12),
    "size that is no number": entry("f", size=b"12345678x00\0"),
    "signed size": entry("f", size=b"-0000000001\0"),
    "negative mode": entry("f", uid=b"\xff" * 8),
    "PAX size of 2^63": pax(size=b"9223372036854775808") + entry("f"),
    "PAX size negative": pax(size=b"-1") + entry("f"),
    "PAX size with a plus": pax(size=b"+1") + entry("f"),
    "PAX size of 10 kB": pax(size=b"9" * 10_000) + entry("f"),
    "PAX uid of 2^32-1": pax(uid=b"4294967295") + entry("f"),
    "PAX uid with a blank": pax(uid=b" 0") + entry("f"),
    "PAX time that is none": pax(mtime=b"nan") + entry("f"),
    "PAX time in hexadecimal": pax(mtime=b"0x10") + entry("f"),
    "NUL in a PAX name": pax(path=b"a\0b") + entry("f"),
    "NUL in a PAX link": pax(linkpath=b"a\0b") + entry("f", LINK),
    "PAX record too long": header(b"p", b"x", size=b"%011o\0" % 11) + padded(b"99 path=aa\n") + entry("f"),
    "PAX record of length 0": header(b"p", b"x", size=b"%011o\0" % 9) + padded(b"0 path=a\n") + entry("f"),
    "PAX record, then rubbish": header(b"p", b"x", size=b"%011o\0" % 15) + padded(b"9 path=a\nrubbis") + entry("f"),
    "PAX record, then a zero": header(b"p", b"x", size=b"%011o\0" % 12) + padded(b"9 path=a\n0 x") + entry("f"),
    "PAX record without a length": header(b"p", b"x", size=b"%011o\0" % 8) + padded(b"path=aa\n") + entry("f"),
    "PAX record of length 10^20": header(b"p", b"x", size=b"%011o\0" % 30)
    + padded(b"1" * 20 + b" path=a\n\n\n")
    + entry("f"),
    "PAX header of 2 MiB": pax_records([(b"k" * MIB, b"v" * MIB)]) + entry("f"),
    "extension headers without end": pax(comment=b"x") * 100 + entry("f"),
    "extension header at the end": pax(path=b"x"),
    "wrong checksum": entry("f")[:100] + b"0000777\0" + entry("f")[108:],
    "unknown type": entry("f", b"Z"),
    "multi-volume": entry("f", b"M"),
    "GNU long name of 2 MiB": header(b"l", b"L", size=b"%011o\0" % (2 * MIB)) + bytes(2 * MIB) + entry("f"),
    "sparse parts that overlap": pax(GNU__sparse__map=b"0,5,3,5", GNU__sparse__size=b"10") + entry("f", data=b"0" * 10),
    "sparse part beyond the end": pax(GNU__sparse__map=b"8,5", GNU__sparse__size=b"10") + entry("f", data=b"0" * 5),
    "sparse parts that do not add up": pax(GNU__sparse__map=b"0,2", GNU__sparse__size=b"10")
    + entry("f", data=b"0" * 5),
    "sparse size of 2^63": pax(GNU__sparse__map=b"", GNU__sparse__size=b"9223372036854775808") + entry("f"),
    "sparse map of a million parts": pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__realsize=b"9")
    + entry("f", data=padded(b"1000000\n0\n1\n")),
    "sparse map that lacks": pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__realsize=b"9")
    + entry("f", data=b""),
    "sparse map without newlines": pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__realsize=b"9")
    + entry("f", data=b"1" * 1024),
    "device number out of range": entry("f", CHARACTER, major=b"7777777\0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_img_15_header_that_lies_is_a_clear_error(scene: forge.Scene, way: str, lie: str) -> None:
    """IMG-15 (CVE-2019-20907, CVE-2024-6232 and their kind): never MemoryError, OverflowError, a hang."""
    outcome = scene.attack(way, tar(entry("before", data=b"x"), LIES[lie]))
    assert isinstance(outcome.error, ImageError)


def test_img_15_hundred_thousand_pax_records_are_read_in_time(scene: forge.Scene, way: str) -> None:
    began = time.process_time()
    many = pax_records([(b"a", b"")] * 100_000)
    assert scene.attack(way, tar(many + entry("f"))).layer is not None
    assert time.process_time() - began < 10  # of processor time: linear, whatever else runs


NAMES = [b"\xff\xfe", b"caf\xe9", "né".encode(), b"a\nb", b"\x1b[31m", b"%s", b"'\"\\", b" ", b"x" * 255, b"-rf"]


@pytest.mark.parametrize("name", NAMES)
def test_img_15_any_name_round_trips_byte_exact(scene: forge.Scene, way: str, name: bytes) -> None:
    layer = tar(entry(name, data=b"x"), entry(b"d/" + name + b"/", DIRECTORY), entry(b"l", LINK, link=name))
    outcome = scene.attack(way, layer)
    assert outcome.layer is not None
    assert set(os.listdir(os.fsencode(outcome.layer))) == {name, b"d", b"l"}
    assert os.listdir(os.fsencode(outcome.layer) + b"/d") == [name]


def test_img_16_too_many_entries_are_refused(scene: forge.Scene, way: str) -> None:
    """IMG-16: the error names the limit."""
    layer = tar(*(entry(f"f{number}") for number in range(120)))
    outcome = scene.attack(way, layer, Limits(entries=100))
    assert isinstance(outcome.error, ImageError)
    assert "limit of 100 entries" in outcome.error.message


@pytest.mark.parametrize("name", ["x" * 256, "a/" * 2500 + "f", "x/" * 5000, "y" * 5000, "a/" * 2048])
def test_img_16_name_beyond_the_kernels_limits_is_refused(scene: forge.Scene, way: str, name: str) -> None:
    """IMG-16: a component of 256 bytes, a path of 4096 and more, a depth of 5,000."""
    assert isinstance(scene.attack(way, tar(entry(name, data=b"x"))).error, ImageError)


def test_img_16_deepest_allowed_path(scene: forge.Scene, way: str) -> None:
    """2,000 levels come in, and what is refused after them can be removed again: no recursion anywhere."""
    deep = "a/" * 2000 + "f"
    outcome = scene.attack(way, tar(entry(deep, data=b"x")))
    assert outcome.layer is not None
    if way == "load":
        other = forge.Scene(scene.folder / "victim" / "empty")
        assert isinstance(other.attack(way, tar(entry(deep), entry("../x"))).error, ImageError)


def test_img_16_many_hard_links(scene: forge.Scene, way: str) -> None:
    links = [entry(f"l{number}", LINK, link="f") for number in range(5000)]
    outcome = scene.attack(way, tar(entry("f", data=b"x"), *links))
    assert outcome.layer is not None
    assert (outcome.layer / "f").stat().st_nlink == 5001


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 700, 1023])
def test_img_17_truncated_layer(scene: forge.Scene, way: str, cut: int) -> None:
    """IMG-17: a layer that ends early has another digest, whatever the headers say."""
    layer = tar(entry("a", data=b"x" * 700), entry("b", data=b"y" * 700))
    outcome = scene.attack(way, layer[: -1024 - cut])
    assert isinstance(outcome.error, ImageError)
    assert "truncated" in outcome.error.message


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("keep", [6, 12, 40, -1, -8])
def test_img_17_truncated_compressed_stream(compress: object, keep: int) -> None:
    """IMG-17 (CVE-2021-20291)."""
    data = compress(os.urandom(5000))[:keep]  # type: ignore[operator]
    with pytest.raises(ImageError, match="truncated"):
        list(expand(iter((data,)), Limits()))


@pytest.mark.parametrize("at", [0, 100, 5000, -1])
def test_flipped_bit_is_a_digest_mismatch(tmp_path: Path, at: int) -> None:
    """Wherever the bit lies, nothing comes in."""
    scene = forge.Scene(tmp_path)
    forged = forge.Forged(tar(entry("f", data=os.urandom(9000))))
    files = forged.files()
    name = "blobs/sha256/" + forge.digest(forged.layers[0])[7:]
    damaged = bytearray(files[name])
    damaged[at] ^= 4
    files[name] = bytes(damaged)
    (tmp_path / "archive.tar").write_bytes(forge.archive(files))
    with pytest.raises(MinirtError):
        load.load(str(scene.root), str(tmp_path / "archive.tar"))
    scene.nothing_came_in()


@pytest.mark.parametrize(("size", "complaint"), [(9, "longer"), (11, "truncated")])
def test_size_of_a_descriptor_is_law(size: int, complaint: str) -> None:
    """umoci TestInvalidSize: also where the digest is right."""
    data = b"0123456789"
    with pytest.raises(ImageError, match=complaint):
        list(verified(iter((data,)), forge.digest(data)[7:], size, "blob"))
    assert b"".join(verified(iter((data,)), forge.digest(data)[7:], 10, "blob")) == data
