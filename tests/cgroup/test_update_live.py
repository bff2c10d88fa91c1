# SPDX-License-Identifier: Apache-2.0
"""`update` on containers that run, and what `stats` counts, where cgroup v2 has its controllers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner import Minirt, eventually

pytestmark = pytest.mark.vm
MIB = 1 << 20
FILES = ("memory.max", "memory.low", "cpu.max", "cpu.weight", "cpuset.cpus", "pids.max")


@pytest.fixture
def box(minirt: Minirt) -> Minirt:
    minirt.ok("run", "-d", "--name", "box", "-m", "64m", "--rootfs", minirt.rootfs, "sleep", "10000")
    return minirt


def limits(minirt: Minirt) -> dict[str, str]:
    """The files of the container's cgroup as the kernel shows them."""
    directory = Path(minirt.ok("inspect", "--format", "{{.Minirt.Cgroup}}", "box"))
    return {name: (directory / name).read_text().strip() for name in FILES}


def host_config(minirt: Minirt) -> dict[str, Any]:
    found = json.loads(minirt.ok("inspect", "--format", "{{json .HostConfig}}", "box"))
    assert isinstance(found, dict)
    return found


def test_bites_at_once_and_after_the_next_start(box: Minirt) -> None:
    before = limits(box)
    assert (before["memory.max"], before["pids.max"]) == (str(64 * MIB), "2048")
    asked = ("-m", "32m", "--memory-reservation", "16m", "--cpus", "0.5", "--cpu-shares", "512")
    box.ok("update", *asked, "--cpuset-cpus", "0", "--pids-limit", "8", "box")
    wanted = {
        "memory.max": str(32 * MIB), "memory.low": str(16 * MIB), "cpu.max": "50000 100000", "cpu.weight": "20",
        "cpuset.cpus": "0", "pids.max": "8",
    }  # fmt: skip
    assert limits(box) == wanted
    shown = host_config(box)
    assert (shown["Memory"], shown["NanoCpus"], shown["PidsLimit"]) == (32 * MIB, 500_000_000, 8)
    assert (shown["CpusetCpus"], shown["CpuShares"], shown["MemoryReservation"]) == ("0", 512, 16 * MIB)
    seen = box.ok("exec", "box", "grep", "Cpus_allowed_list", "/proc/self/status")
    assert seen.split()[1] == "0"
    many = box("exec", "box", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 10 & done")
    assert "can't fork" in many.stderr
    box.ok("restart", "-t", "0", "box")
    assert limits(box) == wanted


def test_a_stopped_one_has_it_at_its_next_start(box: Minirt) -> None:
    box.ok("stop", "-t", "0", "box")
    box.ok("update", "-m", "48m", "--pids-limit", "-1", "box")
    box.ok("start", "box")
    found = limits(box)
    assert (found["memory.max"], found["pids.max"]) == (str(48 * MIB), "max")


def test_a_paused_one(box: Minirt) -> None:
    box.ok("pause", "box")
    box.ok("update", "--cpus", "1", "box")
    assert limits(box)["cpu.max"] == "100000 100000"
    box.ok("unpause", "box")


def test_what_the_kernel_refuses_leaves_nothing_half_changed(box: Minirt) -> None:
    """More tasks than there are numbers: pids.max comes after memory.max and cpu.max, which are put back."""
    before, shown = limits(box), host_config(box)
    says = 'the kernel does not take "4194305" for pids.max'
    box.fails("update", "-m", "32m", "--cpus", "0.5", "--pids-limit", "4194305", "box", code=1, says=says)
    assert limits(box) == before
    assert host_config(box) == shown


def test_less_than_is_in_use_is_refused(box: Minirt) -> None:
    box.ok("exec", "box", "dd", "if=/dev/zero", "of=/dev/shm/full", "bs=1M", "count=20")
    before = limits(box)
    box.fails("update", "-m", "8m", "box", code=1, says=f"unable to set memory limit to {8 * MIB} (current usage:")
    assert limits(box) == before
    assert box.ok("inspect", "--format", "{{.State.Status}}", "box") == "running"


def test_more_memory_than_memory_and_swap_together(box: Minirt) -> None:
    """With -m 64m both are 128m; a kernel that does not count swap has no such sum."""
    if host_config(box)["MemorySwap"]:
        says = "Memory limit should be smaller than already set memoryswap limit"
        box.fails("update", "-m", "256m", "box", code=1, says=says)
    box.ok("update", "-m", "256m", "--memory-swap", "-1", "box")
    assert limits(box)["memory.max"] == str(256 * MIB)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--cpuset-cpus", "0-4000"), "Requested CPUs are not available - requested 0-4000"),
        (("--cpuset-cpus", "x"), "Invalid value x for cpuset cpus"),
        (("--cpuset-mems", "77"), "Requested memory nodes are not available"),
        (("--cpus", "4000"), "range of CPUs is from 0.01 to"),
        (("--cpu-quota", "900000000000"), "range of CPUs is from 0.01 to"),
    ],
)
def test_more_than_there_is(box: Minirt, argv: tuple[str, ...], says: str) -> None:
    before = limits(box)
    box.fails("update", *argv, "box", code=1, says=says)
    assert limits(box) == before


def stats(minirt: Minirt) -> dict[str, str]:
    found = json.loads(minirt.ok("stats", "--no-stream", "--format", "json", "box"))
    assert isinstance(found, dict)
    return found


def test_stats_counts_everything(box: Minirt) -> None:
    found = stats(box)
    assert found["MemUsage"].endswith(" / 64MiB") and found["PIDs"] == "1"
    assert "--" not in found.values()
    small = float(found["MemPerc"].rstrip("%"))
    box.ok("exec", "box", "dd", "if=/dev/zero", "of=/dev/shm/full", "bs=1M", "count=32")
    assert float(stats(box)["MemPerc"].rstrip("%")) > small + 45
    box.ok("update", "-m", "128m", "box")
    assert stats(box)["MemUsage"].endswith(" / 128MiB")


def test_stats_shows_who_waits(box: Minirt) -> None:
    """Two that want a whole processor, and a fifth of one for them: some always wait."""
    box.ok("update", "--cpus", "0.2", "box")
    box.ok("exec", "-d", "box", "sh", "-c", "while :; do :; done")
    box.ok("exec", "-d", "box", "sh", "-c", "while :; do :; done")
    eventually(lambda: float(stats(box)["CPUPressure"].partition("%")[0]) > 5, 60)
    assert float(stats(box)["CPUPerc"].rstrip("%")) < 60
