# SPDX-License-Identifier: Apache-2.0
"""doctor: what it says of this host, of hosts that lack something, and that it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import invariants
import runner
from minirt.cgroup import home, owners, tree
from minirt.engine import doctor
from minirt.engine.paths import Roots
from minirt.errors import HostError


def by_name(findings: list[doctor.Finding]) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture
def roots(short_dir: Path) -> Roots:
    return Roots(str(short_dir / "root"), str(short_dir / "state"))


@pytest.mark.parametrize(
    ("text", "release"),
    [("6.1.0-13-amd64", (6, 1)), ("5.14.0", (5, 14)), ("6.18.44-fc-v657", (6, 18)), ("6.8+", (0, 0)), ("", (0, 0))],
)
def test_release(text: str, release: tuple[int, int]) -> None:
    assert doctor.release(text) == release


def test_this_host_can_run_containers(roots: Roots) -> None:
    found = doctor.examine(roots)
    assert [(one.name, one.what) for one in found if one.status == doctor.FAIL] == []
    assert doctor.can_run(found)
    names = by_name(found)
    for name in ("openat2", "mount API", "mount_setattr", "overlay", "pid namespace", "seccomp", "cgroup v2"):
        assert names[name].status == doctor.OK, names[name].what


def test_every_complaint_has_a_remedy(roots: Roots) -> None:
    assert [one.name for one in doctor.examine(roots) if one.status != doctor.OK and not one.remedy] == []


def test_leaves_nothing(roots: Roots, short_dir: Path) -> None:
    table = Path("/proc/self/mountinfo").read_text()
    doctor.examine(roots)
    assert Path("/proc/self/mountinfo").read_text() == table
    assert list(short_dir.iterdir()) == []
    home = invariants.cgroup_home()
    assert home is not None
    assert not list(home.glob(f"doctor-{os.getpid()}"))


def test_a_controller_that_v1_owns(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owners.Owner(owners.V1, "/sys/fs/cgroup/memory")
    monkeypatch.setattr(owners, "owners", lambda: {"memory": owner})
    finding = by_name(doctor.examine(roots))["cgroup memory"]
    assert finding.status == doctor.WARN
    assert "/sys/fs/cgroup/memory" in finding.what
    assert "cgroup_no_v1=memory" in finding.remedy
    assert "systemd.unified_cgroup_hierarchy=1" in finding.remedy


def test_a_controller_that_is_not_handed_on(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "owners", lambda: {"memory": owners.Owner(owners.V2)})
    monkeypatch.setattr(home, "available", lambda _: frozenset())
    told = HostError("", "echo +memory >cgroup.subtree_control")
    monkeypatch.setattr(home, "missing", lambda *_: told)
    finding = by_name(doctor.examine(roots))["cgroup memory"]
    assert finding.status == doctor.WARN and "not handed on to" in finding.what
    assert finding.remedy == told.remedy


def test_device_rules_are_tried(roots: Roots) -> None:
    assert by_name(doctor.examine(roots))["device rules"].status == doctor.OK


def test_a_host_without_cgroup_v2(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise HostError("no cgroup v2 hierarchy is mounted", "mount it")

    monkeypatch.setattr(tree, "mount_point", nowhere)
    found = doctor.examine(roots)
    assert by_name(found)["cgroup v2"].status == doctor.FAIL
    assert not doctor.can_run(found)


def test_root_that_cannot_hold_an_overlay(roots: Roots) -> None:
    """procfs takes no directory at all."""
    found = by_name(doctor.examine(Roots("/proc/minirt", roots.state)))
    assert found["overlay"].status == doctor.FAIL


def run_without(minirt: runner.Minirt, *setpriv: str) -> subprocess.CompletedProcess[str]:
    argv = ["setpriv", *setpriv, *runner.program(), "doctor"]
    return subprocess.run(argv, env=minirt.environment, capture_output=True, text=True, timeout=60)


def test_command(minirt: runner.Minirt) -> None:
    shown = minirt.ok("doctor")
    assert "cgroup v2" in shown
    assert "overlay" in shown


def test_command_without_a_needed_capability(minirt: runner.Minirt) -> None:
    done = run_without(minirt, "--bounding-set", "-sys_admin", "--inh-caps", "-all")
    assert done.returncode == 1, done
    assert "CAP_SYS_ADMIN" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_command_without_root(minirt: runner.Minirt) -> None:
    """Positive control: test_command, the same as root."""
    done = run_without(minirt, "--reuid", "65534", "--clear-groups")
    assert done.returncode == 1, done
    assert "not root" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
