# SPDX-License-Identifier: Apache-2.0
"""The host goes down and comes back (CRA-06, CRA-22): internal-boot and internal-shutdown, as minirt.service runs them.
A reboot here is another boot id, nothing that runs, and no state directory; vagrant/ has a machine that really does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import runner
from restarts import count, inspect, kill_all, rebooted, status, waiters, with_long_wait

SLEEP = ("sleep", "1000")


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", f"{rootfs}:O"]


def several(minirt: runner.Minirt, options: list[str]) -> dict[str, str]:
    """Containers of all kinds, all run: {name: what the boot is to make of it}."""
    for name, policy in (
        ("none", "no"), ("always", "always"), ("unless", "unless-stopped"), ("failure", "on-failure"),
        ("always-stopped", "always"), ("unless-stopped", "unless-stopped"), ("unless-killed", "unless-stopped"),
    ):  # fmt: skip
        minirt.ok("run", "-d", "--name", name, "--restart", policy, *options, *SLEEP)
    minirt.ok("stop", "-t", "0", "always-stopped", "unless-stopped")
    minirt.ok("kill", "unless-killed")
    minirt.ok("create", "--name", "created", "--restart", "always", *options, *SLEEP)
    with_long_wait(minirt, "waiting", *options)
    return {
        "none": "exited", "always": "running", "unless": "running", "failure": "exited", "always-stopped": "running",
        "unless-stopped": "exited", "unless-killed": "exited", "created": "created",
        "waiting": "running",
    }  # fmt: skip


def states(minirt: runner.Minirt) -> dict[str, str]:
    return dict(line.split() for line in minirt.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines())


@pytest.mark.parametrize("look_first", [False, True], ids=["at once", "after ps"])
def test_cra_06_reboot(minirt: runner.Minirt, options: list[str], look_first: bool) -> None:
    """Everything has exited, how is unknown; what policies ask for runs again, counted anew; ps starts nothing."""
    expected = several(minirt, options)
    with rebooted(minirt):
        if look_first:
            assert set(states(minirt).values()) == {"exited", "created"}
            assert not waiters(minirt)
        done = minirt("internal-boot")
        assert (done.code, done.stderr) == (0, ""), repr(done)
        found = states(minirt)
        assert found == expected
        assert inspect(minirt, "none")["State"]["ExitCode"] is None
        assert inspect(minirt, "unless-stopped")["State"]["ExitCode"] == 137
        assert count(minirt, "always") == 0
        assert minirt.ok("exec", "always", "echo", "here") == "here"
        minirt.ok("internal-boot")  # once more: nothing but what was stopped
        assert states(minirt)["always"] == "running"


def test_cra_06_stale_pids_of_another_boot_are_never_signalled(minirt: runner.Minirt, options: list[str]) -> None:
    """A state directory that outlived the reboot, whose numbers are now another process's: it lives on."""
    several(minirt, options)
    identity = inspect(minirt, "always")["Id"]
    kill_all(minirt)
    with subprocess.Popen(["sleep", "1000"]) as other:
        ticks = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        run = minirt.state / identity
        run.mkdir(exist_ok=True)
        (run / "boot").write_text(boot)
        pids = (("pid", other.pid), ("start_ticks", ticks), ("monitor_pid", other.pid), ("monitor_start_ticks", ticks))
        (run / "state").write_text("".join(f"{key} {value}\n" for key, value in (*pids, ("started_ns", 1))))
        (run / "waiter").write_text(f"{boot} {other.pid} {ticks}")
        for stale in minirt.state.glob("*/waiter"):
            stale.write_text(f"{boot} {other.pid} {ticks}")
        with rebooted(minirt, keep_state=True):
            minirt.ok("internal-boot")
            assert states(minirt)["always"] == "running"
            minirt.ok("rm", "-f", "always", "waiting", "none")
            assert other.poll() is None
        other.kill()


def test_boot_goes_on_where_one_cannot_start(minirt: runner.Minirt, options: list[str], rootfs: Path) -> None:
    """One failure is told, tried again, and hinders no other."""
    broken = rootfs.with_name("broken")
    shutil.copytree(rootfs, broken, symlinks=True)
    for number in range(4):
        minirt.ok("run", "-d", "--name", f"good{number}", "--restart", "always", *options, *SLEEP)
    minirt.ok("run", "-d", "--name", "bad", "--restart", "always", "--rootfs", f"{broken}:O", *SLEEP)
    needs = ("--network", "container:good3", "--restart", "always")
    minirt.ok("run", "-d", "--name", "a-needs-good3", *needs, *options, *SLEEP)
    shutil.move(broken, rootfs.with_name("away"))
    with rebooted(minirt):
        done = minirt("internal-boot")
        assert done.code == 0 and "bad: " in done.stderr and str(broken) in done.stderr, repr(done)
        assert all(status(minirt, f"good{number}") == "running" for number in range(4))
        runner.eventually(lambda: status(minirt, "a-needs-good3") == "running")
        assert status(minirt, "bad") == "restarting"
        shutil.move(rootfs.with_name("away"), broken)
        runner.eventually(lambda: status(minirt, "bad") == "running", 30)


def test_cra_19_host_shutdown(minirt: runner.Minirt, options: list[str]) -> None:
    """Nothing is restarted while the host goes down, nor does that count as stopped by hand."""
    expected = several(minirt, options)
    minirt.ok("run", "-d", "--name", "late", *options, *SLEEP)
    minirt.ok("internal-shutdown", timeout_s=60)
    assert set(states(minirt).values()) == {"exited", "created"} and not waiters(minirt)
    minirt.ok("start", "failure")  # the user may still
    minirt.ok("kill", "failure")
    with rebooted(minirt):
        minirt.ok("internal-boot")
        found = states(minirt)
        assert found.pop("late") == "exited"
        assert found == expected
        os.kill(inspect(minirt, "always")["State"]["Pid"], signal.SIGKILL)  # policies are kept again
        runner.eventually(lambda: count(minirt, "always") == 1 and status(minirt, "always") == "running")


@pytest.mark.slow
def test_cra_22_shutdown_of_two_hundred(minirt: runner.Minirt, options: list[str]) -> None:
    """All at once: those that ignore their stop signal take their ten seconds together, and nothing is left."""
    words = ("sh", "-c", "trap '' TERM; sleep 1000")
    for number in range(200):
        minirt.ok("run", "-d", "--name", f"c{number}", "--stop-timeout", "1", *options, *words)
    began = time.monotonic()
    minirt.ok("internal-shutdown", timeout_s=120)
    took = time.monotonic() - began
    assert set(states(minirt).values()) == {"exited"}
    assert not [name for name in os.listdir(minirt.state) if len(name) == 64]
    assert took < 60, f"one after the other they would take 200 s, together they took {took:.0f}"
