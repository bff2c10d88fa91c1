# SPDX-License-Identifier: Apache-2.0
"""Killing minirt at a system call of its choosing (strace --inject), and finding out what is true afterwards.

Must not import minirt: what runs is looked up in /proc.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import runner

# System calls that change something, by which a crash point is named: "mkdir:2" is before the second mkdir.
CHANGING = (
    "mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,chmod,fchmod,chown,flock,ftruncate,fallocate,"
    "write,pwrite64,fsync,fdatasync,fsopen,fsconfig,fsmount,open_tree,mount_setattr,socketpair,memfd_create,"
    "clone3,clone,vfork,close_range,pidfd_send_signal,kill"
)
LINE = re.compile(r"^(?:\d+ +)?(\w+)\(")


def crash_points(minirt: runner.Minirt, folder: Path, *argv: str, calls: str = CHANGING) -> list[str]:
    """name:number of each of `calls` that `minirt *argv` makes, in its own process."""
    trace = folder / "trace"
    done = subprocess.run(
        ["strace", "-o", str(trace), "-e", f"trace={calls}", *runner.program(), *argv],
        env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    minirt.look()
    assert done.returncode == 0, done.stderr.decode()
    counts: dict[str, int] = {}
    points = []
    for line in trace.read_text().splitlines():
        if match := LINE.match(line):
            name = match.group(1)
            counts[name] = counts.get(name, 0) + 1
            points.append(f"{name}:{counts[name]}")
    assert len(points) > 5, f"strace saw too little: {points}"
    return points


def killed_at(minirt: runner.Minirt, point: str, *argv: str) -> None:
    """Run `minirt *argv` and SIGKILL it as it enters the call."""
    name, _, number = point.partition(":")
    done = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}",
         *runner.program(), *argv],
        env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    minirt.look()
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL, 0), (point, done)


def truth(minirt: runner.Minirt) -> dict[str, str]:
    """{name: state} as ps says it, after checking it against /proc: what runs has a process, and only that. What a
    killed caller had already signalled may end while we look; then we look again."""
    for _ in range(10):
        found = {}
        wrong = []
        for line in minirt.ok("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}").splitlines():
            identity, name, status = line.split()
            found[name] = status
            pid = json.loads(minirt.ok("inspect", identity))[0]["State"]["Pid"]
            cgroup = Path(f"/proc/{pid}/cgroup")
            lives = pid > 0 and cgroup.exists() and identity in cgroup.read_text()
            if lives != (status == "running"):
                wrong.append(f"{name} is {status}, its pid {pid} is {'alive' if lives else 'nobody'}")
        if not wrong:
            return found
        time.sleep(0.2)
    raise AssertionError(wrong)


def orphans(minirt: runner.Minirt) -> list[str]:
    """Containers' directories that no row knows, after ps has had its chance."""
    known = set(minirt.ok("ps", "-aq", "--no-trunc").split())
    return [
        str(path)
        for folder in (minirt.root / "containers", minirt.state)
        for path in folder.iterdir()
        if len(path.name) == 64 and path.name not in known
    ]


def born_late(minirt: runner.Minirt) -> bool:
    """Whether a monitor whose caller is dead is still giving birth: its run directory is locked and has no state."""
    for path in minirt.state.iterdir() if minirt.state.is_dir() else ():
        if len(path.name) == 64 and not (path / "state").exists():
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(fd)
    return False
