# SPDX-License-Identifier: Apache-2.0
"""Limits bite: what a container can take of memory, processors, tasks and disks, measured from its own cgroup while it
runs. Only where cgroup v2 has the controllers (`make vm-test`); what is measured is a share, not a speed."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import invariants
import runner
from runner import Minirt, eventually

pytestmark = pytest.mark.vm
BUSYBOX = "localhost/busybox"
SPIN = ("sh", "-c", "while :; do :; done")
MIB = 1 << 20


def home() -> Path:
    found = invariants.cgroup_home()
    assert found is not None
    return found


def number(cgroup: Path, file: str, key: str = "") -> int:
    text = (cgroup / file).read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.split()[0] == key)) if key else int(text)


@pytest.fixture
def group() -> Iterator[Path]:
    """A --cgroup-parent: what it has counted is still there when its containers are gone."""
    path = home() / f"test-{os.getpid()}"
    yield path
    if path.is_dir():
        path.rmdir()


def test_memory_hog_is_killed_at_its_limit_and_its_neighbour_lives(minirt: Minirt, group: Path) -> None:
    minirt.ok("run", "-d", "--name", "neighbour", BUSYBOX, "sleep", "1000")
    result = minirt(
        "run", "--name", "hog", "-m", "64m", "--cgroup-parent", group.name, BUSYBOX, "sh", "-c",
        "dd if=/dev/zero of=/dev/null bs=200M count=1; echo survived",
    )  # fmt: skip
    assert result.code == 137 and "survived" not in result.out, repr(result)
    peak = number(group, "memory.peak")
    assert 0.95 * 64 * MIB <= peak <= 1.05 * 64 * MIB, f"{peak / MIB:.1f} MiB"
    assert minirt.ok("exec", "neighbour", "echo", "alive") == "alive"


def test_what_lies_in_a_tmpfs_is_the_containers(minirt: Minirt) -> None:
    """RES-02: /dev/shm is charged to who fills it, and has a size of its own."""
    filled = minirt("run", "--rm", "-m", "32m", "--memory-swap", "32m", "--shm-size", "256m", BUSYBOX, "dd",
                    "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=128")  # fmt: skip
    assert filled.code == 137, repr(filled)
    full = minirt("run", "--rm", BUSYBOX, "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=128")
    assert full.code == 1 and "No space left" in full.stderr


def usage(cgroup: Path) -> int:
    return number(cgroup, "cpu.stat", "usage_usec")


def shares(cgroups: list[Path], seconds: float) -> list[float]:
    """How many processors each used, on average."""
    began, before = time.monotonic(), [usage(cgroup) for cgroup in cgroups]
    time.sleep(seconds)
    took = time.monotonic() - began
    return [(usage(cgroup) - first) / 1e6 / took for cgroup, first in zip(cgroups, before, strict=True)]


def test_half_a_processor_is_half_a_processor(minirt: Minirt) -> None:
    identity = minirt.ok("run", "-d", "--cpus", "0.5", BUSYBOX, *SPIN)
    eventually(lambda: usage(home() / identity) > 100_000)
    (used,) = shares([home() / identity], 10.0)
    assert 0.45 <= used <= 0.55, f"{used:.3f} processors"


def test_weights_share_a_busy_processor(minirt: Minirt) -> None:
    """1:3 of one processor that both want."""
    one, three = (
        minirt.ok("run", "-d", "--cpuset-cpus", "0", "--cpu-shares", weight, BUSYBOX, *SPIN)
        for weight in ("1024", "3072")
    )
    first, second = shares([home() / one, home() / three], 10.0)
    assert 2.7 <= second / first <= 3.3, (first, second)


def test_only_the_processors_that_were_named(minirt: Minirt) -> None:
    last = (os.cpu_count() or 1) - 1
    status = minirt.ok(
        "run", "--rm", "--cpuset-cpus", str(last), "--cpuset-mems", "0", BUSYBOX, "cat", "/proc/self/status"
    )
    assert f"Cpus_allowed_list:\t{last}\n" in status and "Mems_allowed_list:\t0" in status


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--cpus", "4096"), "range of CPUs is from 0.01"),
        (("--cpu-quota", "100000000000"), "range of CPUs is from 0.01"),
        (("--cpuset-cpus", "4096"), "Requested CPUs are not available"),
        (("--cpuset-cpus", "some"), "Invalid value some for cpuset cpus"),
        (("--cpuset-cpus", "1-0"), "Invalid value 1-0 for cpuset cpus"),
        (("--cpuset-mems", "77"), "Requested memory nodes are not available"),
        (("--device-read-bps", "/dev/nowhere:1mb"), 'no such device: "/dev/nowhere"'),
        (("--device-read-bps", "/dev/null:1mb"), "is no block device"),
        (("--hugetlb-limit", "3MB:6m"), "huge pages of 3MB"),
    ],
)
def test_more_than_there_is(minirt: Minirt, options: tuple[str, ...], says: str) -> None:
    told = minirt.fails("run", *options, BUSYBOX, "true", code=125, says=says)
    assert len(told.splitlines()) <= 2 and minirt.ok("ps", "-aq") == ""


def test_pause_stops_the_clock(minirt: Minirt) -> None:
    identity = minirt.ok("run", "-d", "--name", "busy", BUSYBOX, *SPIN)
    minirt.ok("pause", "busy")
    before = usage(home() / identity)
    time.sleep(1.0)
    assert usage(home() / identity) == before
    minirt.ok("unpause", "busy")
    eventually(lambda: usage(home() / identity) > before)


def disk_of_root() -> str:
    """major:minor of the whole disk below "/"; a skip where it is none."""
    number_ = os.stat("/").st_dev
    place = Path(f"/sys/dev/block/{os.major(number_)}:{os.minor(number_)}")
    if not place.exists():
        pytest.skip("the root file system is not on a disk")
    whole = place.resolve().parent if (place / "partition").exists() else place.resolve()
    return (whole / "dev").read_text().strip()


def written(cgroup: Path, device: str) -> int:
    lines = (cgroup / "io.stat").read_text().splitlines()
    return sum(
        int(word[7:]) for line in lines if line.startswith(device + " ") for word in line.split() if "wbytes" in word
    )


def test_io_max(minirt: Minirt) -> None:
    device = disk_of_root()
    name = (Path("/sys/dev/block") / device).resolve().name
    identity = minirt.ok(
        "run", "-d", "--device-write-bps", f"/dev/{name}:2mb", BUSYBOX, "sh", "-c",
        "while :; do dd if=/dev/zero of=/big bs=1M count=16 conv=fsync; done",
    )  # fmt: skip
    cgroup = home() / identity
    eventually(lambda: written(cgroup, device) > 2 * MIB, 30.0)
    began, before = time.monotonic(), written(cgroup, device)
    time.sleep(10.0)
    rate = (written(cgroup, device) - before) / (time.monotonic() - began)
    assert 1.8 * MIB <= rate <= 2.2 * MIB, f"{rate / MIB:.2f} MiB a second"


def test_weights_of_a_disk(minirt: Minirt) -> None:
    """They are refused where nobody shares a disk by them, and kept where BFQ does."""
    name = (Path("/sys/dev/block") / disk_of_root()).resolve().name
    scheduler = Path(f"/sys/block/{name}/queue/scheduler")
    before = scheduler.read_text().partition("[")[2].partition("]")[0]
    if before != "bfq":
        told = minirt.fails("run", "--blkio-weight", "500", BUSYBOX, "true", code=125, says="shared by weight")
        assert "bfq" in told
    subprocess.run(["modprobe", "bfq"], check=False, capture_output=True)
    try:
        scheduler.write_text("bfq")
    except OSError:
        return  # a kernel without it: refused is all that can be shown
    try:
        shown = minirt.ok("run", "--rm", "--blkio-weight", "500", BUSYBOX, "cat", "/sys/fs/cgroup/io.bfq.weight")
        assert shown.split()[-1] == "500"
    finally:
        scheduler.write_text(before)


def test_huge_pages(minirt: Minirt) -> None:
    """Whoever manages the tree hands the controller on, as the refusal says; then the second page is refused."""
    pages = Path("/proc/sys/vm/nr_hugepages")
    before = pages.read_text()
    pages.write_text("4")
    above = [invariants.cgroup_mount(), home().parent]
    try:
        for directory in above:
            assert directory is not None
            (directory / "cgroup.subtree_control").write_text("+hugetlb")
        identity = minirt.ok("run", "-d", "--hugetlb-limit", "2MB:2m", BUSYBOX, "sleep", "1000")
        assert number(home() / identity, "hugetlb.2MB.max") == 2 * MIB
        assert touches(home() / identity, 1) == 0
        assert touches(home() / identity, 2) == -signal.SIGBUS
    finally:
        minirt("rm", "-f", *minirt.ok("ps", "-aq").split())
        for directory in (home(), *reversed(above)):
            assert directory is not None
            (directory / "cgroup.subtree_control").write_text("-hugetlb")
        pages.write_text(before)


def touches(cgroup: Path, pages: int) -> int:
    """The exit status of a process in the cgroup that uses so many huge pages."""
    child = os.fork()
    if child == 0:
        (cgroup / "cgroup.procs").write_text("0")
        area = mmap.mmap(-1, 2 * 2 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)  # MAP_HUGETLB
        for page in range(pages):
            area[page * 2 * MIB] = 1
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_default_limit_of_tasks(minirt: Minirt) -> None:
    assert minirt.ok("run", "--rm", BUSYBOX, "cat", "/sys/fs/cgroup/pids.max") == "2048"
    assert minirt.ok("run", "--rm", "--pids-limit", "-1", BUSYBOX, "cat", "/sys/fs/cgroup/pids.max") == "max"


def others(top: Path) -> dict[str, str]:
    """Every cgroup that is not ours, with what it hands on and its limits."""
    found = {}
    for folder, below, _ in os.walk(top):
        if Path(folder) == home():
            below.clear()
            continue
        for name in ("cgroup.subtree_control", "memory.max", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus"):
            file = Path(folder, name)
            found[str(file)] = file.read_text() if file.exists() else ""
    return found


def test_two_hundred_containers_leave_the_tree_as_it_was(minirt: Minirt) -> None:
    """And nothing outside of minirt's own part of it is ever written."""
    minirt.ok("run", "--rm", "-m", "64m", "--cpus", "1", BUSYBOX, "true")
    mount = invariants.cgroup_mount()
    assert mount is not None
    ours, theirs = sorted(os.listdir(home())), others(mount)
    failures: list[runner.Result] = []

    def many(count: int) -> None:
        for _ in range(count):
            result = minirt("run", "--rm", "-m", "64m", BUSYBOX, "true")
            if result.code != 0:
                failures.append(result)

    workers = [threading.Thread(target=many, args=(50,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures[0]
    eventually(lambda: sorted(os.listdir(home())) == ours, 30.0)
    now = others(mount)
    assert {path: now[path] for path in theirs if path in now} == {path: theirs[path] for path in theirs if path in now}
    assert not [path for path in now if path not in theirs and "minirt" in path]
