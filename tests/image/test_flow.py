# SPDX-License-Identifier: Apache-2.0
"""Layers from far away: in parallel, in bounded memory, resumed where they stopped, and never twice at once.

The far end is a function that yields the blob from an offset on and notes which: what a registry's client gives.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge import digest, entry, tar, tree
from minirt.errors import ImageError, RegistryError
from minirt.image import manifest, partial, staging
from minirt.image import progress as told
from minirt.image.commit import commit
from minirt.image.layout import Layout
from minirt.image.progress import Progress
from minirt.image.staging import Layer, Staging

pytestmark = pytest.mark.kernel


class Far:
    """A blob somewhere else. `fails_at`: the offset behind which the connection breaks, once. `asked`: the offsets
    that were asked for."""

    def __init__(self, content: bytes, fails_at: int | None = None, lies: bytes | None = None) -> None:
        self.layer = tar(entry("dir/file", data=content), entry(digest(content)[7:19], data=b"x"))
        self.blob = gzip.compress(self.layer, 1, mtime=0)
        self.sent = lies if lies is not None else self.blob
        self.fails_at = fails_at
        self.asked: list[int] = []
        self.gate: threading.Event | None = None

    @property
    def hex(self) -> str:
        return hashlib.sha256(self.blob).hexdigest()

    @property
    def diff_id(self) -> str:
        return hashlib.sha256(self.layer).hexdigest()

    def __call__(self, offset: int) -> Iterator[bytes]:
        self.asked.append(offset)
        end = len(self.sent) if self.fails_at is None else self.fails_at
        for at in range(offset, end, 10_000):
            if self.gate is not None:
                assert self.gate.wait(20)
            yield self.sent[at : min(at + 10_000, end)]
        if self.fails_at is not None:
            self.fails_at = None
            raise RegistryError("the connection broke")

    def wanted(self) -> Layer:
        descriptor = manifest.Descriptor({"digest": f"sha256:{self.hex}", "size": len(self.blob)}, "layer")
        return Layer(descriptor, self.diff_id, self)


class Heard(Progress):
    __slots__ = ("states",)

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []

    def tell(self, digest_hex: str, state: str, done: int = 0, total: int = 0) -> None:
        assert 0 <= done <= total
        if (digest_hex, state) not in self.states:
            self.states.append((digest_hex, state))

    def of(self, far: Far) -> list[str]:
        return [state for digest_hex, state in self.states if digest_hex == far.hex]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(str(tmp_path / "root"))
    made.create()
    return made


def pull(layout: Layout, *wanted: Far, heard: Progress | None = None, jobs: int = 3) -> None:
    with Staging(layout, progress=heard) as work:
        work.add_layers([far.wanted() for far in wanted], jobs)
        commit(work, [])


def has(layout: Layout, far: Far) -> bool:
    there = layout.has_blob(far.hex, len(far.blob)) and Path(layout.blob_path(far.hex)).read_bytes() == far.blob
    return there and sorted(tree(Path(layout.layer_path(far.diff_id)))) == sorted(
        ["dir", "dir/file", *[name for name in os.listdir(layout.layer_path(far.diff_id)) if name != "dir"]]
    )


def left(layout: Layout) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in Path(layout.partial).iterdir()}


def noise(size: int, seed: int = 0) -> bytes:
    return b"".join(hashlib.sha512(b"%d %d" % (seed, at)).digest() for at in range(size // 64))


def test_layers_come_in_and_are_told_in_docker_s_words(layout: Layout) -> None:
    far, heard = [Far(noise(100_000, seed)) for seed in range(5)], Heard()
    pull(layout, *far, far[0], heard=heard)
    assert all(has(layout, one) for one in far)
    assert [one.asked for one in far] == [[0]] * 5
    expected = [told.PULLING, told.DOWNLOADING, told.DOWNLOADED, told.EXTRACTING, told.COMPLETE]
    assert all(heard.of(one) == expected for one in far)
    again = Heard()
    pull(layout, *far, heard=again)
    assert {state for _, state in again.states} == {told.EXISTS}
    assert [one.asked for one in far] == [[0]] * 5
    assert left(layout) == {}
    assert os.listdir(f"{layout.root}/staging") == []


def test_crash_01_broken_connection_is_resumed_where_it_stopped(layout: Layout) -> None:
    """CRA-01, REG-03: what had come of it is kept, hashed again, and only the rest is asked for."""
    broken, whole = Far(noise(400_000, 1), fails_at=123_456), Far(noise(50_000, 2))
    with pytest.raises(RegistryError, match="broke"):
        pull(layout, whole, broken)
    assert left(layout)[broken.hex] == 123_456
    assert os.listdir(layout.layers) == os.listdir(f"{layout.images}/blobs/sha256") == []
    pull(layout, whole, broken)
    assert broken.asked == [0, 123_456]
    assert has(layout, broken)
    assert has(layout, whole)
    assert left(layout) == {}


@pytest.mark.parametrize("damage", ["other", "zeros", "too long"])
def test_reg_04_damaged_partial_blob_is_fetched_anew(layout: Layout, damage: str) -> None:
    """REG-04: never a stitched blob. A power cut, or a server that sent something else, left rubbish behind."""
    far = Far(noise(400_000))
    rubbish = {"other": noise(100_000, 9), "zeros": far.blob[:50_000] + bytes(50_000), "too long": far.blob + b"x"}
    Path(layout.partial, far.hex).write_bytes(rubbish[damage])
    pull(layout, far)
    assert far.asked[-1] == 0
    assert has(layout, far)
    assert left(layout) == {}


def test_complete_partial_blob_needs_no_network(layout: Layout) -> None:
    far = Far(noise(100_000))
    Path(layout.partial, far.hex).write_bytes(far.blob)
    pull(layout, far)
    assert far.asked == []
    assert has(layout, far)


@pytest.mark.parametrize("lie", ["longer", "shorter", "other", "endless"])
def test_reg_01_wrong_bytes_leave_nothing(layout: Layout, lie: str) -> None:
    """REG-01, REG-02, REG-11: not even a partial blob. The other layer's is kept or gone, and the next pull works."""
    true = Far(noise(200_000, 3))
    flipped = bytearray(true.blob)
    flipped[len(flipped) // 2] ^= 1
    sent = {
        "longer": true.blob + b"x",
        "shorter": true.blob[:-1],
        "other": bytes(flipped),
        "endless": true.blob + bytes(50_000_000),
    }
    false, other = Far(noise(200_000, 3), lies=sent[lie]), Far(noise(100_000, 4))
    with pytest.raises(ImageError):
        pull(layout, false, other)
    assert false.hex not in left(layout)
    assert os.listdir(layout.layers) == os.listdir(f"{layout.images}/blobs/sha256") == []
    assert os.listdir(f"{layout.root}/staging") == []
    pull(layout, true, other)
    assert has(layout, true)
    assert has(layout, other)


def test_img_21_layer_that_is_not_its_diff_id_leaves_nothing(layout: Layout) -> None:
    """IMG-21: the blob is what its digest says, and holds something else."""
    far, other = Far(noise(100_000, 5)), Far(noise(100_000, 6))
    wanted = far.wanted()
    wanted.diff_id = other.diff_id
    with pytest.raises(ImageError, match="digest mismatch"), Staging(layout) as work:
        work.add_layers([wanted])
    assert left(layout) == {}
    assert os.listdir(layout.layers) == []


def test_first_failure_stops_the_others(layout: Layout) -> None:
    """An endless layer beside a broken one does not hold the pull up."""
    endless, broken = Far(noise(100_000, 7)), Far(noise(100_000, 8), fails_at=10)
    wanted = endless.wanted()

    def drip(offset: int) -> Iterator[bytes]:
        for at in range(offset, len(endless.blob)):
            time.sleep(0.05)
            yield endless.blob[at : at + 1]

    wanted.source = drip
    with pytest.raises(RegistryError), Staging(layout) as work:
        work.add_layers([wanted, broken.wanted()])
    assert 0 < left(layout)[endless.hex] < len(endless.blob)


def test_cra_07_two_pulls_of_one_image_fetch_it_once(layout: Layout) -> None:
    """CRA-07: the second one waits for the first, is told so, and finds the layers there."""
    far, gate = [Far(noise(100_000, seed)) for seed in (11, 12)], threading.Event()
    for one in far:
        one.gate = gate
    heard = Heard()
    first = threading.Thread(target=pull, args=(layout, *far))
    first.start()
    while not all(one.asked for one in far):
        time.sleep(0.01)
    second = threading.Thread(target=pull, args=(layout, *reversed(far)), kwargs={"heard": heard})
    second.start()
    while not any(state == told.WAITING for _, state in heard.states):
        time.sleep(0.01)
    gate.set()
    first.join()
    second.join()
    assert [one.asked for one in far] == [[0], [0]]
    assert all(has(layout, one) for one in far)
    assert {state for _, state in heard.states} >= {told.WAITING, told.EXISTS}
    assert left(layout) == {}


def test_cra_01_killed_pull_is_resumed(layout: Layout) -> None:
    """CRA-01: kill -9 while a blob comes: nothing in the store, what had come is found by the next pull."""
    far = Far(noise(3_000_000, 13))
    code = (
        f"import sys, os, signal; sys.path[:0] = {sys.path!r}\n"
        "from test_flow import Far, noise, pull\n"
        "from minirt.image.layout import Layout\n"
        "far = Far(noise(3_000_000, 13))\n"
        "def source(offset):\n"
        "    for at in range(0, 2_000_000, 10_000): yield far.blob[at:at + 10_000]\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "wanted = far.wanted(); wanted.source = source; far.wanted = lambda: wanted\n"
        f"pull(Layout({layout.root!r}), far)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert os.listdir(layout.layers) == []
    kept = left(layout)[far.hex]
    assert kept > 1_000_000
    pull(layout, far)
    assert far.asked == [kept]
    assert has(layout, far)
    assert os.listdir(f"{layout.root}/staging") == []


def test_memory_is_bounded_whatever_the_layer_s_size(layout: Layout) -> None:
    """Three layers of 200 MB at once: what waits between the stages is bounded by the queues."""
    code = (
        f"import sys, zlib, hashlib, random; sys.path[:0] = {sys.path!r}\n"
        "from forge import header\n"
        "from minirt.image import manifest\n"
        "from minirt.image.layout import Layout\n"
        "from minirt.image.staging import Layer, Staging\n"
        "block = random.Random(1).randbytes(1 << 18) * 4\n"
        "def blob(number, size):\n"
        "    yield header(b'f%d' % number, b'0', size=b'%011o\\0' % size)\n"
        "    for at in range(0, size, len(block)): yield block\n"
        "    yield bytes(1024)\n"
        "def layer(number):\n"
        "    seen, size = hashlib.sha256(), 0\n"
        "    for chunk in blob(number, 200 << 20): seen.update(chunk); size += len(chunk)\n"
        "    digest = seen.hexdigest()\n"
        "    descriptor = manifest.Descriptor({'digest': 'sha256:' + digest, 'size': size}, 'layer')\n"
        "    return Layer(descriptor, digest, lambda offset: blob(number, 200 << 20))\n"
        "wanted = [layer(number) for number in range(3)]\n"
        f"layout = Layout({layout.root!r})\n"
        "with Staging(layout) as staging: staging.add_layers(wanted)\n"
        "print([line for line in open('/proc/self/status') if 'VmHWM' in line][0].split()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120_000


def test_pins_are_seen_as_long_as_the_work_lives(layout: Layout) -> None:
    far = Far(noise(1000, 14))
    pull(layout, far)
    with Staging(layout) as work:
        wanted = {f"blob {far.hex}", f"layer {far.diff_id}"}
        assert work.pin(*wanted, f"blob {'0' * 64}") == wanted
        assert staging.pinned(layout) == wanted
    assert staging.pinned(layout) == set()
    with Staging(layout) as work:
        work.add_layers([far.wanted()])
        assert staging.pinned(layout) == wanted


def test_what_is_no_directory_among_the_stagings_is_removed(layout: Layout, tmp_path: Path) -> None:
    folder = Path(layout.root, "staging")
    (folder / "file").write_text("stray")
    (folder / "link").symlink_to(tmp_path)
    (tmp_path / "kept").touch()
    assert staging.pinned(layout) == set()
    with Staging(layout):
        assert len(os.listdir(folder)) == 1
    assert not os.listdir(folder) and (tmp_path / "kept").exists()


def test_abandoned_partial_blobs_are_removed_after_a_week_unless_held(layout: Layout) -> None:
    old, held, young = (Path(layout.partial, name * 64) for name in "abc")
    for path in (old, held, young):
        path.write_bytes(b"some")
    for path in (old, held):
        os.utime(path, (time.time() - 8 * 86400,) * 2)
    with open(held) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with Staging(layout):
            pass
        assert sorted(left(layout)) == [held.name, young.name]
        assert partial.remove_abandoned(layout, 0) == [(young.name, 4)]
    assert partial.remove_abandoned(layout, 0) == [(held.name, 4)]


def test_lost_layer_is_unpacked_from_the_store_s_blob(layout: Layout) -> None:
    far = Far(noise(100_000, 15))
    pull(layout, far)
    subprocess.run(["rm", "-r", layout.layer_path(far.diff_id)], check=True)
    pull(layout, far)
    assert far.asked == [0]
    assert has(layout, far)


def test_lost_blob_is_fetched_and_the_layer_left_alone(layout: Layout) -> None:
    far = Far(noise(100_000, 16))
    pull(layout, far)
    inode = os.stat(layout.layer_path(far.diff_id)).st_ino
    os.unlink(layout.blob_path(far.hex))
    pull(layout, far)
    assert far.asked == [0, 0]
    assert os.stat(layout.layer_path(far.diff_id)).st_ino == inode


def test_two_blobs_of_one_layer(layout: Layout) -> None:
    """The same layer compressed twice: unpacked once, the second one checked to be the same."""
    one, two = Far(noise(100_000, 17)), Far(noise(100_000, 17))
    two.blob = two.sent = gzip.compress(two.layer, 9, mtime=1)
    pull(layout, one, two)
    assert has(layout, one)
    assert has(layout, two)
    assert len(os.listdir(layout.layers)) == 1
    false = Far(noise(100_000, 18))
    wanted = false.wanted()
    wanted.diff_id = one.diff_id
    with pytest.raises(ImageError, match="digest mismatch"), Staging(layout) as work:
        work.add_layers([wanted])


def test_cra_05_data_is_on_the_disk_before_a_name_leads_to_it(layout: Layout) -> None:
    """CRA-05: everything staged is synced, then renamed, then the directories are synced; only then does index.json
    appear."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from test_flow import Far, noise, pull\n"
        "from minirt.image.layout import Layout\n"
        f"pull(Layout({layout.root!r}), Far(noise(100_000, 19)), Far(noise(100_000, 20)))\n"
    )
    log = Path(layout.root, "log")
    strace = ["strace", "-f", "-y", "-s", "300", "-e", "trace=syncfs,fsync,rename", "-o", str(log)]
    subprocess.run([*strace, sys.executable, "-c", code], check=True)
    calls = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines() if "resumed" not in line]
    place = layout.root + "/"

    def those(call: str, *parts: str) -> list[int]:
        return [at for at, line in enumerate(calls) if line.startswith(call) and all(part in line for part in parts)]

    synced = those("syncfs(")[-1]
    moved = [those("rename(", f'"{place}{kind}') for kind in ("images/blobs/sha256/", "layers/", "records/layer-")]
    directories = [those("fsync(", f"<{place}{kind}>") for kind in ("images/blobs/sha256", "layers", "records")]
    (index,) = those("rename(", f'"{place}images/index.json"')
    named = those("rename(", f'"{place}records/names.json"')
    assert [len(renames) for renames in moved] == [2, 2, 2]
    assert all(synced < at < index for renames in moved for at in renames)
    for renames, fsyncs in zip(moved, directories, strict=True):
        assert any(max(renames) < at < index for at in fsyncs)
    assert min(named) > index
