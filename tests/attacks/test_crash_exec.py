# SPDX-License-Identifier: Apache-2.0
"""kill -9, and system calls that fail, in the processes of an exec; kill -9 of what makes a volume (strace(1)).

CRA-01 and CRA-03 for `exec`: the container goes on, the half-born process is gone, the next exec works. CRA-01 for
`run -d --rm -v` of an image: no volume without a container that has it. Every other verb is in
tests/engine/test_crash.py.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import runner
from runner import Minirt, eventually

# The calls of an exec, by its caller, its monitor and its child; strace counts them for each process.
POINTS = (
    "pipe2:1", "pipe2:2", "openat2:1", "setns:1", "clone3:1", "clone3:2", "prctl:1", "prctl:5", "setsid:1", "keyctl:1",
    "dup3:1", "fchdir:1", "chdir:1", "prlimit64:1", "seccomp:1", "setgroups:1", "setresgid:1", "setresuid:1",
    "capset:1", "close_range:1", "execveat:1", "memfd_create:1", "sendto:1", "sendmsg:1", "exit_group:1",
)  # fmt: skip
CHANGING = (
    "mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,fchmod,write,pwrite64,fsync,fdatasync,ftruncate,"
    "fsmount,open_tree,clone3,flock"
)


def strace(minirt: Minirt, inject: str, argv: list[str], *more: str) -> subprocess.CompletedProcess[bytes]:
    name = inject.partition(":")[0]
    done = subprocess.run(
        ["strace", *more, "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={inject}",
         *runner.program(), *argv],
        env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    minirt.look()
    return done


def alone(minirt: Minirt) -> bool:
    """Whether nothing but its pid 1 is left in the container."""
    return len(minirt.ok("top", "box").splitlines()) == 2


@pytest.fixture
def box(minirt: Minirt, rootfs: Path) -> Minirt:
    minirt.ok("run", "-d", "--name", "box", "--rootfs", rootfs, "sleep", "1000")
    minirt.ok("exec", "box", "true")
    return minirt


@pytest.mark.parametrize("what", ["signal=KILL", "error=EIO"])
@pytest.mark.parametrize("point", POINTS)
def test_cra_01_exec_breaks_off(box: Minirt, point: str, what: str) -> None:
    """CRA-01, CRA-03: whichever of the three processes dies or fails there: an exit code that is not 0 or a program
    that ran, no traceback, nobody left in the container, which goes on."""
    name, _, number = point.partition(":")
    pid = box.ok("inspect", "-f", "{{.State.Pid}}", "box")
    done = strace(box, f"{name}:{what}:when={number}", ["exec", "box", "sh", "-c", "echo ran; exit 7"], "-f")
    said = done.stderr.decode()
    assert "Traceback" not in said and "internal error" not in said, (point, said)
    assert done.returncode != 0, (point, done)
    assert done.returncode in (7, -9, 137) or said, (point, done)
    eventually(lambda: alone(box))
    assert box.ok("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "box") == f"running {pid}"
    assert box("exec", "box", "sh", "-c", "exit 7").code == 7, "the control"


def volumes(minirt: Minirt) -> list[str]:
    folder = minirt.root / "volumes"
    return os.listdir(folder) if folder.is_dir() else []


@pytest.mark.slow
def test_cra_01_run_with_a_volume_breaks_off(minirt: Minirt, short_dir: Path) -> None:
    """CRA-01: `run -d --rm -v /data` of an image, killed at every other change: rm leaves no volume, and none is left
    where no container was."""
    image = "localhost/busybox"
    minirt.ok("run", "--rm", image, "true")
    argv = ["run", "-d", "--rm", "--name", "box", "-v", "/data", image, "sleep", "1000"]
    trace = short_dir / "trace"
    subprocess.run(
        ["strace", "-qq", "-o", str(trace), "-e", f"trace={CHANGING}", *runner.program(), *argv],
        env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert len(volumes(minirt)) == 1, "the control: it has a volume"
    minirt.ok("rm", "-f", "-v", "box")
    assert volumes(minirt) == []
    names = [match[1] for line in trace.read_text().splitlines() if (match := re.match(r"(\w+)\(", line))]
    for index in range(0, len(names), 2):
        point = f"{names[index]}:signal=KILL:when={names[: index + 1].count(names[index])}"
        strace(minirt, point, argv)
        eventually(lambda: minirt("rm", "-f", "-v", "box").code == 0 or not minirt.ok("ps", "-aq"))
        eventually(lambda: not minirt.ok("ps", "-aq"))
        assert volumes(minirt) == [], f"killed at {point}"
    minirt.ok(*argv)
