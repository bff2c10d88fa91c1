# SPDX-License-Identifier: Apache-2.0
"""Makes layers, images and archives byte by byte, also such as no honest program would make, and the scene around
them.

A `Scene` is a store with a canary tree beside it: after an attack `check` finds the canary byte- and
stat-identical, and nothing half-made in the store. Each attack is made in three WAYS.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

from minirt.errors import MinirtError
from minirt.image import find, load
from minirt.image.expand import Limits
from minirt.image.unpack import unpack

WAYS = ("layer 1", "layer 2", "load")
"""As the only layer, straight into a directory; above a layer that planted symlinks; as an archive, by `load`."""

PLANTED = ("d", "escape", "up", "deep/d")
FILE, LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


def header(name: bytes, kind: bytes, **fields: bytes) -> bytes:
    """A ustar header. fields: mode, uid, gid, size, mtime, link, magic, major, minor, prefix as they shall
    stand."""
    octal = b"0000000\0"
    places = {
        "mode": (100, fields.get("mode", b"0000644\0")),
        "uid": (108, fields.get("uid", octal)),
        "gid": (116, fields.get("gid", octal)),
        "size": (124, fields.get("size", b"0" * 11 + b"\0")),
        "mtime": (136, fields.get("mtime", b"0" * 11 + b"\0")),
        "link": (157, fields.get("link", b"")[:100]),
        "magic": (257, fields.get("magic", b"ustar\00000")),
        "major": (329, fields.get("major", octal)),
        "minor": (337, fields.get("minor", octal)),
        "prefix": (345, fields.get("prefix", b"")),
    }
    block = bytearray(512)
    block[: min(len(name), 100)] = name[:100]
    block[156:157] = kind
    for at, value in places.values():
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(**records: bytes) -> bytes:
    """A PAX extension header; "__" in a key stands for "."."""
    return pax_records([(key.replace("__", ".").encode(), value) for key, value in records.items()])


def pax_records(records: list[tuple[bytes, bytes]]) -> bytes:
    body = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        size = len(rest)
        while len(b"%d" % size) + len(rest) != size:
            size = len(b"%d" % size) + len(rest)
        body += b"%d" % size + rest
    return header(b"PaxHeaders/x", b"x", size=b"%011o\0" % len(body)) + padded(body)


def entry(
    name: str | bytes,
    kind: bytes = FILE,
    data: bytes = b"",
    link: str | bytes = b"",
    mode: int = 0o644,
    **fields: bytes,
) -> bytes:
    """One honest or dishonest member; long names get a PAX header."""
    raw = name.encode() if isinstance(name, str) else name
    target = link.encode() if isinstance(link, str) else link
    extra: list[tuple[bytes, bytes]] = []
    if len(raw) > 100:
        extra.append((b"path", raw))
    if len(target) > 100:
        extra.append((b"linkpath", target))
    fields.setdefault("mode", b"%07o\0" % mode)
    fields.setdefault("size", b"%011o\0" % len(data))
    head = header(raw, kind, link=target, **fields)
    return (pax_records(extra) if extra else b"") + head + padded(data)


def with_xattrs(member: bytes, **xattrs: bytes) -> bytes:
    """ "user__x" for user.x; before it stands the PAX header."""
    return (
        pax_records([(b"SCHILY.xattr." + key.replace("__", ".").encode(), value) for key, value in xattrs.items()])
        + member
    )


def tar(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compressed(data: bytes) -> bytes:
    """The same bytes at any time of day."""
    return gzip.compress(data, mtime=0)


class Forged:
    """The files of an OCI layout with one image; the documents may be changed before `files` is called."""

    def __init__(self, *layers: bytes, name: str = "forged:latest", compress: Any = compressed) -> None:
        self.name = name
        self.layers = [compress(layer) for layer in layers]
        self.config: dict[str, Any] = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["A=b"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
        self.manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": digest(layer),
                    "size": len(layer),
                }
                for layer in self.layers
            ],
        }
        self.descriptor: dict[str, Any] = {"mediaType": "application/vnd.oci.image.manifest.v1+json"}

    def files(self) -> dict[str, bytes]:
        """What the layout holds, by name."""
        blobs = list(self.layers)
        config = json.dumps(self.config).encode()
        self.manifest.setdefault(
            "config",
            {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
        )
        whole = json.dumps(self.manifest).encode()
        described = {"digest": digest(whole), "size": len(whole), **self.descriptor}
        if self.name:
            described["annotations"] = {"org.opencontainers.image.ref.name": self.name}
        index = {"schemaVersion": 2, "manifests": [described]}
        found = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
        for blob in [*blobs, config, whole]:
            found["blobs/sha256/" + digest(blob)[7:]] = blob
        return found


def archive(files: dict[str, bytes]) -> bytes:
    return tar(*(entry(name, data=data) for name, data in files.items()))


def write_directory(files: dict[str, bytes], path: Path) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def planting_layer(victim: Path) -> bytes:
    """A layer whose symlinks lead to the canary: from outside they would, absolute and relative."""
    return tar(
        entry("d", SYMLINK, link="../../victim"),
        entry("escape", SYMLINK, link=str(victim)),
        entry("up", SYMLINK, link="../../../../../../../../../../../.."),
        entry("deep/", DIRECTORY, mode=0o755),
        entry("deep/d", SYMLINK, link=str(victim)),
    )


class Outcome:
    """`error`: what refused it; else `layer`: the directory that it became, and `below`: those under it."""

    def __init__(self, error: MinirtError | None, layer: Path | None, below: tuple[Path, ...] = ()) -> None:
        self.error = error
        self.layer = layer
        self.below = below


class Scene:
    """`root`: the store. `victim`: the canary tree beside it, and beside each layer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        self.victim = folder / "victim"
        self.victim.mkdir()
        (self.victim / "hello").write_text("hello")
        (self.victim / "hello").chmod(0o640)
        os.chown(self.victim / "hello", 12, 34)
        os.utime(self.victim / "hello", ns=(10**18, 10**18))
        (self.victim / "empty").mkdir()
        os.utime(self.victim, ns=(10**18, 10**18))
        self.before = self._state()

    def _state(self) -> dict[str, tuple[Any, ...]]:
        """Everything outside the store: mode, owner, time, links, content."""
        found: dict[str, tuple[Any, ...]] = {}
        for place, folders, names in os.walk(self.folder):
            if Path(place) == self.folder:
                folders[:] = [name for name in folders if name in ("victim",)]
                names = [name for name in names if not name.startswith("archive")]
            for path in [Path(place), *(Path(place) / name for name in names)]:
                there = path.lstat()
                data = path.read_bytes() if stat.S_ISREG(there.st_mode) else b""
                time_ns = there.st_mtime_ns if path != self.folder else 0
                xattrs = tuple(os.listxattr(path, follow_symlinks=False))
                found[str(path)] = (
                    there.st_mode,
                    there.st_uid,
                    there.st_gid,
                    there.st_nlink if data else 0,
                    time_ns,
                    data,
                    xattrs,
                )
        return found

    def check(self) -> None:
        """The canary is as it was, and nothing is half-made."""
        assert self._state() == self.before
        staged = self.root / "staging"
        assert not staged.exists() or list(staged.iterdir()) == []

    def attack(self, way: str, layer: bytes, limits: Limits | None = None) -> Outcome:
        """Unpacks a hostile layer and checks what every attack must leave alone."""
        limits = limits or Limits()
        outcome = self._unpack(layer, limits) if way == "layer 1" else self._load(way, layer, limits)
        self.check()
        return outcome

    def _unpack(self, layer: bytes, limits: Limits) -> Outcome:
        path = self.root / "alone"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            unpack(fd, iter((layer,)), digest(layer)[7:], limits)
        except MinirtError as error:
            return Outcome(error, None)
        finally:
            os.close(fd)
        assert stat.S_ISDIR(path.lstat().st_mode)
        return Outcome(None, path)

    def _load(self, way: str, layer: bytes, limits: Limits) -> Outcome:
        layers = [planting_layer(self.victim), layer] if way == "layer 2" else [layer]
        source = self.folder / "archive.tar"
        source.write_bytes(archive(Forged(*layers).files()))
        try:
            loaded = load.load(str(self.root), str(source), limits)
        except MinirtError as error:
            self.nothing_came_in()
            return Outcome(error, None)
        image = find.find(str(self.root), loaded[0].names[0])
        assert [Path(path).name for path in image.layers] == [digest(one)[7:] for one in layers]
        paths = [Path(path) for path in image.layers]
        assert all(stat.S_ISDIR(path.lstat().st_mode) for path in paths)
        return Outcome(None, paths[-1], tuple(paths[:-1]))

    def nothing_came_in(self) -> None:
        """No layer, blob or image of what was refused."""
        self.check()
        for name in ("layers", "images/blobs/sha256", "staging"):
            assert not (self.root / name).exists() or list((self.root / name).iterdir()) == [], name
        assert find.images(str(self.root)) == []


def tree(path: Path) -> dict[str, str]:
    """What lies below a directory: {"d/x": "file"}. Kinds: file, directory, symlink, whiteout, device, fifo."""
    found = {}
    for place, folders, names in os.walk(path):
        for name in [*folders, *names]:
            full = Path(place) / name
            found[str(full.relative_to(path))] = kind_of(full)
    return found


def kind_of(path: Path) -> str:
    there = path.lstat()
    if stat.S_ISCHR(there.st_mode) and there.st_rdev == 0:
        return "whiteout"
    for test, word in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "symlink")):
        if test(there.st_mode):
            return word
    return "fifo" if stat.S_ISFIFO(there.st_mode) else "device"


def gzip_members(count: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb"):
        pass
    return buffer.getvalue() * count
