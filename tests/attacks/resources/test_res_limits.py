# SPDX-License-Identifier: Apache-2.0
"""RES-01, RES-02, RES-10 where cgroup v2 has its controllers (`make vm-test`): who takes all that it can get meets its
limit, and the host, the monitor and the neighbours don't notice."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

import invariants
from runner import Minirt, eventually

pytestmark = pytest.mark.vm
BUSYBOX = "localhost/busybox"


def cgroup(identity: str) -> Path:
    home = invariants.cgroup_home()
    assert home is not None
    return home / identity


@pytest.mark.parametrize("options", [("--pids-limit", "60"), ()], ids=["asked", "default"])
def test_res_01_fork_bomb(minirt: Minirt, options: tuple[str, ...]) -> None:
    """RES-01: it stops at the limit, the host still forks, and what is left of it goes at once."""
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000"
    identity = minirt.ok("run", "-d", "--name", "bomb", *options, BUSYBOX, "sh", "-c", bomb)
    most = int(options[1]) if options else 2048
    own = cgroup(identity)
    assert int((own / "pids.max").read_text()) == most
    eventually(lambda: int((own / "pids.events").read_text().split()[1]) > 0 or not options, 60.0)
    assert int((own / "pids.current").read_text()) <= most
    assert subprocess.run(["true"], check=False).returncode == 0
    began = time.monotonic()
    minirt.ok("rm", "-f", "bomb")
    assert time.monotonic() - began < 12, "longer than stop may take"
    assert not own.exists()


def test_res_02_memory_bomb(minirt: Minirt) -> None:
    """RES-02: all of the container goes at once, not one process that the others wait for; its monitor survives and
    says so."""
    script = "sleep 1000 & dd if=/dev/zero of=/dev/null bs=300M count=1; echo survived; wait"
    result = minirt("run", "--name", "bomb", "-m", "48m", "--memory-swap", "48m", BUSYBOX, "sh", "-c", script)
    assert result.code == 137 and "survived" not in result.out, repr(result)
    state = json.loads(minirt.ok("inspect", "bomb"))[0]["State"]
    assert state["ExitCode"] == 137 and state["OOMKilled"] is True and state["Status"] == "exited", state


def test_res_02_the_monitor_lives_outside(minirt: Minirt) -> None:
    identity = minirt.ok("run", "-d", "-m", "48m", BUSYBOX, "sleep", "1000")
    inside = set((cgroup(identity) / "cgroup.procs").read_text().split())
    monitors = invariants.monitors()
    assert monitors and not inside.intersection(map(str, monitors))


def test_res_10_no_way_around_the_share(minirt: Minirt) -> None:
    """RES-10: --cpus holds for all processes together, and no priority can be had."""
    script = "renice -n -20 1; for i in 1 2 3 4; do while :; do :; done & done; wait"
    identity = minirt.ok("run", "-d", "--name", "hog", "--cpus", "0.5", BUSYBOX, "sh", "-c", script)
    stat = cgroup(identity) / "cpu.stat"

    def used() -> int:
        return int(stat.read_text().split()[1])

    eventually(lambda: used() > 200_000)
    began, before = time.monotonic(), used()
    time.sleep(5.0)
    share = (used() - before) / 1e6 / (time.monotonic() - began)
    assert 0.4 <= share <= 0.6, share
    niceness = minirt.ok("exec", "hog", "cat", "/proc/1/stat").rpartition(")")[2].split()[16]
    assert niceness == "0"


def test_res_10_control(minirt: Minirt) -> None:
    """The same without a limit takes more than a whole processor, where there is more than one."""
    script = "for i in 1 2 3 4; do while :; do :; done & done; wait"
    identity = minirt.ok("run", "-d", BUSYBOX, "sh", "-c", script)
    stat = cgroup(identity) / "cpu.stat"
    eventually(lambda: int(stat.read_text().split()[1]) > 1_000_000, 60.0)
