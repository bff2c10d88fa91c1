# SPDX-License-Identifier: Apache-2.0
"""minirt-init as pid 1 of a pid namespace (attack RES-05), without a monitor."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import minirt.kernel

PROGRAM = Path(minirt.kernel.__file__).parent / "minirt-monitor"


def run(*argv: str) -> subprocess.Popen[str]:
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen(
        [*unshare, "bash", "-c", f'exec -a minirt-init {PROGRAM} "$@"', "bash", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("argv", "code", "error"),
    [
        (("sh", "-c", "exit 5"), 5, ""),
        (("--", "sh", "-c", "kill -9 $$"), 137, ""),
        (("/nonexistent",), 127, "minirt-init: /nonexistent: No such file or directory\n"),
        (("/etc",), 126, "minirt-init: /etc: Permission denied\n"),
        ((), 127, "minirt-init: no program given\n"),
    ],
)
def test_exit_code(argv: tuple[str, ...], code: int, error: str) -> None:
    child = run(*argv)
    assert child.communicate(timeout=20)[1] == error
    assert child.returncode == code


def test_signals_are_forwarded() -> None:
    child = run("sh", "-c", "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    with open(f"/proc/{child.pid}/task/{child.pid}/children") as children:
        init = int(children.read())
    with open(f"/proc/{init}/comm") as comm:
        assert comm.read() == "minirt:init\n"
    with open(f"/proc/{init}/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    assert int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1
    os.kill(init, signal.SIGTERM)
    assert child.communicate(timeout=20)[0] == "got\n"
    assert child.returncode == 3


def test_orphans_are_reaped() -> None:
    script = "i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; sleep 0.3; ps -e -o stat= | grep -c Z"
    child = run("sh", "-c", script)
    assert child.communicate(timeout=20)[0] == "0\n"


def test_idle() -> None:
    """It waits for signals and for nothing else."""
    child = run("sleep", "0.5")
    time.sleep(0.3)
    with open(f"/proc/{child.pid}/task/{child.pid}/children") as children:
        init = int(children.read())
    with open(f"/proc/{init}/stat") as stat:
        assert int(stat.read().split()[13]) < 5
    child.communicate(timeout=20)
    assert child.returncode == 0
