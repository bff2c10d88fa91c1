# SPDX-License-Identifier: Apache-2.0
"""The two hands that unpack, C for plain entries and Python for all, make the same of the same archive.

Random archives from a small pool of names, so that entries collide: duplicates, links to links, whiteouts, files
where directories were. Each is unpacked once with C doing what it can, once with every entry declared odd.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from forge import CHARACTER, DIRECTORY, FIFO, FILE, LINK, SYMLINK, entry, pax_records, tar, with_xattrs
from minirt.errors import ImageError
from minirt.kernel.unpack import ODD, Unpacker
from test_unpack import described, unpacked

NAMES = ("a", "a/b", "a/b/c", "./a//c", "b/", "/b/a/", "c", "d", "d/e", "n" * 130, "c/" + "d/" * 60 + "e", "f", "g/h")
WHITEOUTS = (".wh.a", "a/.wh.b", "a/.wh..wh..opq", ".wh..wh..opq", "b/.wh.a")
TARGETS = ("a", "b/a", "../c", "/a/b", "c", ".", "x" * 150)


def member(chance: random.Random) -> bytes:
    kind = chance.choice([FILE] * 6 + [DIRECTORY] * 8 + [SYMLINK, SYMLINK, LINK, FIFO, CHARACTER, b"\0", b"7"])
    name = chance.choice(NAMES + WHITEOUTS[: chance.choice((0, 0, 5))])
    if chance.random() < 0.02:
        name = "a/../b"
    regular = kind in (FILE, b"\0", b"7")
    data = chance.randbytes(chance.choice((0, 1, 511, 512, 513, 3000))) if regular else b""
    fields = {
        "uid": chance.choice((b"0000000\0", b"0001750 ", b" 123\0   ", b"\x80\0\0\0\0\1\x38\x80")),
        "gid": chance.choice((b"0000000\0", b"0000144\0")),
        "mtime": chance.choice((b"00000000007\0", b"14524245000\0", b"\x80" + b"\0" * 9 + b"\7\0", b"77777777777\0")),
    }
    mode = chance.choice((0o644, 0o755, 0o4755, 0o2775, 0o1777, 0))
    made = entry(name, kind, data, chance.choice(TARGETS), mode, **fields)
    records = [
        (b"mtime", chance.choice((b"1.5", b"-7.25", b"123456789.123456789", b"9" * 30))),
        (b"uid", b"70000"),
        (b"gid", b"4294967294"),
        (b"comment", b"x=y\nz"),
        (b"path", b""),
        (b"size", b"%d" % len(data)),
    ]
    if len(name) <= 100 and chance.random() < 0.4:
        return pax_records(chance.sample(records, chance.randint(1, 3))) + made
    return with_xattrs(made, user__x=b"1") if len(name) <= 100 and chance.random() < 0.1 else made


def outcome(data: bytes, target: Path) -> tuple[str, dict[bytes, Any]]:
    try:
        return "", without_new_times(described(unpacked(data, target)))
    except ImageError as error:
        return error.message.partition(":")[0], {}


def without_new_times(found: dict[bytes, Any]) -> dict[bytes, Any]:
    """What no entry describes has the time at which it was made."""
    return {
        name: (*facts[:3], facts[3] if facts[3] < 1_700_000_000 * 10**9 else 0, *facts[4:])
        for name, facts in found.items()
    }


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(150))
def test_c_and_python_unpack_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    root = entry(".", DIRECTORY, mode=0o755)
    data = tar(*chance.sample([root, b""], 1), *(member(chance) for _ in range(chance.randint(1, 14))))
    if chance.random() < 0.2:
        data = data[: chance.randrange(len(data))]
    fast = outcome(data, tmp_path / "fast")
    monkeypatch.setattr(Unpacker, "feed", lambda self, view: (ODD, 0))
    assert fast == outcome(data, tmp_path / "slow")


@pytest.mark.kernel
def test_plain_entries_are_not_python_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast way is taken: no plain entry, with PAX times as umoci and buildkit write them, comes to Python."""
    odd: list[bytes] = []
    monkeypatch.setattr("minirt.image.unpack._Layer.add", lambda self, found, stream: odd.append(found.name))
    times = pax_records([(b"mtime", b"1700000000.123456789"), (b"atime", b"1.5")])
    data = tar(
        times + entry("d/", DIRECTORY, mode=0o755),
        times + entry("d/file", data=b"x" * 300_000),
        entry("d/" + "n" * 150, data=b"x", uid=b"0000041\0"),
        entry("d/link", SYMLINK, link="../" + "t" * 120),
        entry("d/hard", LINK, link="d/file"),
        entry(".wh.odd"),
    )
    out = unpacked(data, tmp_path / "out")
    assert odd == [b".wh.odd"]
    assert (out / "d/file").stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert sorted(os.listdir(out / "d")) == ["file", "hard", "link", "n" * 150]
