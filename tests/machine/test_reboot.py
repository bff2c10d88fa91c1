# SPDX-License-Identifier: Apache-2.0
"""systemd/minirt.service under a real systemd, and over a real reboot of the machine (CRA-06).

`make vm-test`: a test that writes the script AGAIN has the machine booted once more when all tests are done, and that
script runs this file a second time, where the same test looks at what became of its containers. No test leaves a
container running: LATE, which systemd stops before the unit, starts them when the machine goes down. On another machine
with systemd there is no reboot, and both units are stopped and started instead.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runner

KEPT = Path("/var/lib/minirt-vm")  # vagrant/session.sh: kept over the reboot
AGAIN, STARTED = KEPT / "again", KEPT / "again.started"
HOME = KEPT / "reboot"
UNIT = Path("/etc/systemd/system/minirt-reboot.service")
LATE = UNIT.with_name("minirt-reboot-late.service")
LATE_TEXT = """[Unit]
After={unit}
RequiresMountsFor={tree}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
Environment=PYTHONPATH={tree}
ExecStop={start}
"""
STATE = Path("/run/minirt-reboot")
SLEEP = ("sh", "-c", "trap 'exit 5' TERM; while :; do sleep 1; done")
PATIENCE_S = 240.0  # emulated, an interpreter takes seconds

pytestmark = pytest.mark.vm


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done
    return done.stdout


def install(mine: runner.Minirt) -> None:
    """The unit as `make install` would, for this root and state. But the tree that it runs from is mounted after
    multi-user.target here (vagrant/root.sh), so that must not wait for it."""
    words = [*runner.program(), "--root", str(mine.root), "--state", str(mine.state)]
    text = (runner.SOURCE / "systemd/minirt.service").read_text().replace("@MINIRT@", shlex.join(words))
    wait = f"until test -e {shlex.quote(sys.executable)}; do sleep 0.2; done"
    extra = f"Environment=PYTHONPATH={runner.SOURCE}\nExecStartPre=/bin/sh -c {shlex.quote(wait)}\n"
    text = text.replace("[Service]\n", f"RequiresMountsFor={runner.SOURCE}\n\n[Service]\n{extra}")
    UNIT.write_text(text.replace("multi-user.target", "graphical.target"))
    start = f"{shlex.join(words)} start always unless none"
    LATE.write_text(LATE_TEXT.format(unit=UNIT.name, tree=runner.SOURCE, start=start))
    systemctl("daemon-reload")
    systemctl("enable", UNIT.name)
    systemctl("start", UNIT.name, LATE.name)


def machine() -> runner.Minirt:
    return runner.Minirt(HOME / "root", STATE, HOME / "rootfs")


def states(mine: runner.Minirt) -> dict[str, str]:
    lines = mine.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
    return dict(line.split() for line in lines)


def begin(rootfs: Path) -> runner.Minirt:
    HOME.mkdir(parents=True, exist_ok=True)
    shutil.copytree(rootfs, HOME / "rootfs", symlinks=True)
    mine = machine()
    install(mine)
    policies = {"always": "always", "unless": "unless-stopped", "stopped": "unless-stopped", "none": "no"}
    for name, policy in policies.items():
        mine.ok("run", "-d", "--name", name, "--restart", policy, "--rootfs", f"{HOME}/rootfs:O", *SLEEP)
    mine.ok("stop", "-t", "0", *policies)
    assert set(states(mine).values()) == {"exited"}
    return mine


def look(mine: runner.Minirt) -> None:
    """After the unit has started again: what its policies ask for runs, everything was stopped properly before."""
    runner.eventually(lambda: systemctl("show", "-P", "SubState", UNIT.name).strip() == "exited", PATIENCE_S)
    assert states(mine) == {"always": "running", "unless": "running", "stopped": "exited", "none": "exited"}
    found = json.loads(mine.ok("inspect", "none", "always"))
    assert found[0]["State"]["ExitCode"] == 5  # it was asked to stop, not killed
    assert found[1]["RestartCount"] == 0
    group = Path(f"/proc/{found[1]['State']['Pid']}/cgroup").read_text()
    assert "minirt-containers.service" in group


def end(mine: runner.Minirt) -> None:
    systemctl("disable", UNIT.name)
    assert mine.close() == []
    systemctl("stop", UNIT.name)
    UNIT.unlink()
    LATE.unlink()
    systemctl("daemon-reload")
    shutil.rmtree(HOME)
    shutil.rmtree(STATE)


def test_cra_06_policies_over_a_reboot(rootfs: Path) -> None:
    if STARTED.exists():
        mine = machine()
        look(mine)
        end(mine)
        return
    mine = begin(rootfs)
    if Path("/mnt/settings").exists():  # vagrant/vm_disk.py made this machine
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/machine/test_reboot.py"]
        kept = {name: os.environ[name] for name in ("MINIRT_PROGRAM", "PYTHONPATH") if name in os.environ}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in kept.items()]
        AGAIN.write_text("\n".join([*lines, f"exec {shlex.join(words)}", ""]))
        return
    systemctl("stop", LATE.name)
    systemctl("restart", UNIT.name)
    look(mine)
    end(mine)
