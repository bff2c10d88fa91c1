# SPDX-License-Identifier: Apache-2.0
"""The power goes while an image comes in: an ext4 of its own is shut down without writing its journal out, and mounted
again (FS_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH). What the store then says must be true."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge
from forge import DIRECTORY, Forged, entry, tar
from minirt.image import find, load
from minirt.image.layout import Layout

pytestmark = pytest.mark.kernel

LAYERS = [
    tar(entry("d/", DIRECTORY, mode=0o755), *(entry(f"d/{number}", data=os.urandom(30_000)) for number in range(40))),
    tar(entry("d/", DIRECTORY, mode=0o755), entry("d/0", data=b"second" * 9000), entry("d/.wh.1")),
]
CODE = """
import fcntl, os, struct, sys
sys.path[:0] = {path!r}
from minirt.image import load
from minirt.kernel import call
left = {number}

def counted(real):
    def instead(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            fcntl.ioctl(os.open({mounted!r}, os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
            os._exit(99)
        return real(*arguments, **options)
    return instead

os.rename, os.fsync, os.mkdir, call.syncfs = map(counted, (os.rename, os.fsync, os.mkdir, call.syncfs))
load.load({root!r}, {archive!r})
"""


class Disk:
    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk"
        self.path = folder / "mounted"
        self.path.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(96 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.unmount()


def check_truth(root: str) -> int:
    """Every image that the store names is there, byte for byte; how many there are."""
    images = find.images(root)
    for image in images:
        for path, layer in zip(find.find(root, image.id).layers, LAYERS, strict=True):
            assert Path(path).name == hashlib.sha256(layer).hexdigest()
        top, base = (Path(path) for path in reversed(find.find(root, image.id).layers))
        assert (top / "d/0").read_bytes() == b"second" * 9000
        for number in range(40):
            at = LAYERS[0].index(b"d/%d\0" % number) + 512
            assert (base / f"d/{number}").read_bytes() == LAYERS[0][at : at + 30_000]
    blobs = Path(Layout(root).images, "blobs/sha256")
    for blob in blobs.iterdir() if blobs.exists() else ():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    return len(images)


def test_cra_05_power_loss_at_each_step_of_a_load(disk: Disk, tmp_path: Path) -> None:
    """CRA-05: before the 1st, 2nd, 3rd … call that makes something last. Then the same load comes through."""
    archive = tmp_path / "archive.tar"
    archive.write_bytes(forge.archive(Forged(*LAYERS, name="forged:latest").files()))
    ended = number = 0
    seen: list[int] = []
    while ended != 1:
        number += 1
        root = f"{disk.path}/root-{number}"
        code = CODE.format(path=sys.path, number=number, mounted=str(disk.path), root=root, archive=str(archive))
        code_of_exit = subprocess.run([sys.executable, "-c", code]).returncode
        assert code_of_exit in (0, 99)
        ended = code_of_exit == 0
        disk.unmount()
        disk.mount()
        seen.append(check_truth(root) if os.path.isdir(root) else 0)
        load.load(root, str(archive))
        assert check_truth(root) == 1
        assert os.listdir(f"{root}/staging") == []
        subprocess.run(["rm", "-r", root], check=True)
    assert number > 15
    assert seen[0] == 0
    assert seen[-1] == 1
