# SPDX-License-Identifier: Apache-2.0
"""Layers as a fuzzer makes them, and what must hold whatever they say.

Nothing outside the layer's directory changes, no descriptor stays open, no name is a whiteout's. A layer comes out
the same whole or in pieces, where the C part (csrc/unpack.h) takes no entry and Python makes them all, and when it is
packed and unpacked again.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import forge
from minirt.errors import MinirtError
from minirt.image import diff, unpack
from minirt.image.expand import Limits
from minirt.image.sink import Sink
from minirt.kernel.unpack import ODD, Unpacker

LIMITS = Limits(layer_bytes=4 << 20, entries=500, ratio=50, allowance_bytes=1 << 20)
State = dict[str, tuple[object, ...]]


class Arena:
    """A directory for layers, and beside it a victim that no layer may touch."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.layer, self.victim = folder, folder / "layer", folder / "victim"
        (self.victim / "inner").mkdir(parents=True)
        (self.victim / "file").write_text("untouched")
        self.before = self.state()
        self.born_ns = time.time_ns() - 10**9

    def state(self) -> State:
        """All that lies outside the layer: names, modes, owners, times, links, contents."""
        found: State = {}
        for place in (self.folder, self.victim, *self.victim.iterdir()):
            there = place.lstat()
            names = sorted(os.listdir(place)) if place.is_dir() else [place.read_text()]
            changed = there.st_mtime_ns if place != self.folder else 0
            found[str(place)] = (there.st_mode, there.st_uid, there.st_gid, there.st_nlink, changed, *names)
        return found

    def unpack(self, stream: bytes) -> None:
        """One layer whole, in pieces, and by the slow rules alone: the same comes of it each time, or nothing. Made a
        layer again, it is still the same."""
        self.packed = b""
        whole = self.unpacked([stream], Unpacker)
        packed = self.packed
        assert self.unpacked(list(pieces(stream)), Unpacker) == whole, "it depends on the pieces"
        assert self.unpacked([stream], Declining) == whole, "the fast way and the slow one differ"
        if whole is not None:
            again = self.unpacked([packed], Unpacker)
            assert again is not None, "what was packed is refused"
            for key in ("whole", "implicit"):  # everything is described now
                del whole[key], again[key]
            assert again == whole, "packing changes it"

    def unpacked(self, chunks: list[bytes], fast: type[Unpacker]) -> State | None:
        """What a layer becomes, None if it is refused; checks what lies around it."""
        descriptors = len(os.listdir("/proc/self/fd"))
        self.layer.mkdir()
        found = None
        try:
            fd = os.open(self.layer, os.O_RDONLY | os.O_DIRECTORY)
            try:
                setattr(unpack, "Unpacker", fast)  # noqa: B010  (a name that it does not export)
                done = unpack.unpack(fd, iter(chunks), hashlib.sha256(b"".join(chunks)).hexdigest(), LIMITS)
                found = described(self.layer, self.born_ns)
                found["implicit"] = tuple(done.implicit)
                self.packed = repacked(fd)
                found["whole"] = (done.size, done.entries, done.root)
            except MinirtError:
                pass
            finally:
                os.close(fd)
        finally:
            shutil.rmtree(self.layer)
        assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor is still open"
        assert self.state() == self.before, "something outside the layer changed"
        return found


class Everything(diff.Lower):
    """Layers below that have a directory of every name: nothing that hides is left out."""

    def status(self, path: bytes) -> os.stat_result:
        return os.fstat(self.root)


def repacked(layer: int) -> bytes:
    """A layer's directory as a layer."""
    parts: list[bytes] = []
    sink = Sink(lambda data: parts.append(bytes(data)))
    diff.diff(layer, Everything(layer), (-1, -1, -1), frozenset(), sink, warned)
    sink.flush()
    return b"".join(parts)


def warned(text: str) -> None:
    raise AssertionError(text)


class Declining(Unpacker):
    """Takes no entry for a plain one."""

    def feed(self, data: memoryview) -> tuple[int, int]:
        return ODD, 0


def pieces(data: bytes) -> Iterator[bytes]:
    at = 0
    for size in itertools.cycle((1, 511, 513, 7, 1024, 300)):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


def described(layer: Path, born_ns: int) -> State:
    """All that lies in a layer's directory; without times since `born_ns`: the layer did not set them."""
    found: State = {}
    first: dict[int, str] = {}
    for place, folders, names in os.walk(os.fsencode(layer)):
        for path in [place, *(place + b"/" + name for name in (*folders, *names))]:
            there, content = os.lstat(path), b""
            if stat.S_ISREG(there.st_mode):
                content = Path(os.fsdecode(path)).read_bytes() if there.st_blocks < 4096 else b""
            elif stat.S_ISLNK(there.st_mode):
                content = os.readlink(path)
            else:
                assert not os.path.basename(path).startswith(b".wh."), f"a whiteout as a name: {path!r}"
            time_ns = 0 if born_ns <= there.st_mtime_ns <= time.time_ns() else there.st_mtime_ns
            names_of = os.listxattr(path, follow_symlinks=False)
            attributes = {key: os.getxattr(path, key, follow_symlinks=False) for key in names_of}
            if path == os.fsencode(layer):
                attributes.pop("trusted.overlay.opaque", None)  # says nothing to overlayfs, and is not packed
            name = os.fsdecode(path)
            found[name] = (
                there.st_mode, there.st_uid, there.st_gid, there.st_nlink, there.st_rdev,
                0 if stat.S_ISDIR(there.st_mode) else there.st_size, time_ns,
                first.setdefault(there.st_ino, name), attributes, content,
            )  # fmt: skip
    return found


def repaired(stream: bytes) -> bytes:
    """The same with a right checksum in each block that is read as a header: or no mutation would get past it."""
    whole = bytearray(stream)
    at = 0
    while at + 512 <= len(whole):
        block = whole[at : at + 512]
        if any(block):
            block[148:156] = b" " * 8
            whole[at + 148 : at + 156] = b"%06o\0 " % sum(block)
        digits = bytes(block[124:136]).split(b"\0")[0].strip()
        carries = block[156] not in b"123456"
        size = int(digits, 8) if carries and digits.isdigit() and not digits.strip(b"01234567") else 0
        at += 512 + -(-size // 512) * 512
    return bytes(whole)


def tar(arena: Arena, data: bytes) -> None:
    """A tar stream, byte by byte, its checksums repaired."""
    arena.unpack(repaired(data))


class Dice:
    """Choices out of bytes, the same choices for the same bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, limit: int) -> int:
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value % limit

    def left(self) -> bool:
        return self.at < len(self.data)


STEPS = [b"a", b"b", b"c", b"d", b"up", b"out", b"..", b".", b"", b".wh.a", b".wh.b", b".wh..wh..opq", b".wh..wh.x",
         b".wh.", b".wh...", b"\xff", b"x" * 255, b"y" * 256, b"victim", b"file", b"inner"]  # fmt: skip
KINDS = [forge.FILE, forge.DIRECTORY, forge.SYMLINK, forge.LINK, forge.CHARACTER, forge.BLOCK, forge.FIFO, b"\0", b"7"]
XATTRS = [
    b"user.a", b"security.capability", b"trusted.overlay.opaque", b"trusted.overlay.redirect", b"user.overlay.opaque",
         b"system.posix_acl_access", b"user.\0", b"user." + b"k" * 300,
]  # fmt: skip


def some_path(dice: Dice, arena: Arena) -> bytes:
    """A name or the target of a link: one to four steps, or a path that leads out."""
    shape = dice.number(16)
    if shape == 15:
        return bytes(arena.victim / "file")
    if shape == 14:
        return b"../../victim/file"
    path = b"/".join(STEPS[dice.number(len(STEPS))] for _ in range(1 + shape % 4))
    return b"/" + path if shape == 13 else path


def some_entry(dice: Dice, arena: Arena) -> bytes:
    kind = KINDS[dice.number(len(KINDS))]
    name, fields = some_path(dice, arena), {}
    link = some_path(dice, arena) if kind in (forge.SYMLINK, forge.LINK) else b""
    if kind in (forge.CHARACTER, forge.BLOCK):
        fields = {"major": b"%07o\0" % dice.number(3), "minor": b"%07o\0" % dice.number(3)}
    if dice.number(4) == 3:
        fields |= {"uid": b"%07o\0" % (dice.number(256) << 8), "mtime": b"%011o\0" % (dice.number(256) << 24)}
    made = forge.entry(name, kind, b"x" * dice.number(9), link, mode=dice.number(256) << 4, **fields)
    if dice.number(4) == 3:
        value = bytes([dice.number(256)]) * dice.number(64)
        made = forge.pax_records([(b"SCHILY.xattr." + XATTRS[dice.number(len(XATTRS))], value)]) + made
    return made


def entries(arena: Arena, data: bytes) -> None:
    """Well-formed entries of hostile meaning: whiteouts, links, replacements, names that lead out."""
    dice = Dice(data)
    made = [
        forge.entry(b"up", forge.SYMLINK, link=b"../.."),
        forge.entry(b"out", forge.SYMLINK, link=bytes(arena.victim)),
    ]
    while dice.left() and len(made) < 40:
        made.append(some_entry(dice, arena))
    arena.unpack(forge.tar(*made))
