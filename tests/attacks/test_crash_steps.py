# SPDX-License-Identifier: Apache-2.0
"""CRA-03: every system call of a container's birth fails in turn, with an error that the kernel could give
(strace(1) --inject), from the command line. The error names the step, the call and the errno; nothing is left.

The plan says which calls there are. strace counts calls per process, so the first process that makes its Nth call
of a name is the one that fails: what init does after the caller did as much is reached, the rest, and every step
by a replaced call, is in tests/runtime/test_rollback.py.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import runner
from runner import Minirt

# For each call of the default plan an errno that the call's own tolerance does not cover.
ERRNO = {
    "fsopen": "ENODEV", "fsconfig": "ENOMEM", "fsmount": "EPERM", "openat2": "ELOOP", "pipe2": "EMFILE",
    "clone3": "EAGAIN", "prctl": "EPERM", "setsid": "EPERM", "mount_setattr": "EINVAL", "move_mount": "EINVAL",
    "unshare": "ENOSPC", "mkdirat": "ENOSPC", "open_tree": "ENOENT", "mknodat": "EPERM", "symlinkat": "ENOSPC",
    "fchdir": "EACCES", "pivot_root": "EINVAL", "umount2": "EBUSY", "chdir": "EACCES", "sethostname": "EPERM",
    "prlimit64": "EPERM", "seccomp": "EFAULT", "setgroups": "EPERM", "setresgid": "EAGAIN", "setresuid": "EAGAIN",
    "capset": "EPERM", "close_range": "EMFILE", "execve": "ENOMEM", "dup3": "EBUSY", "fchmodat": "EPERM",
    "keyctl": "EPERM", "socket": "EMFILE", "ioctl": "ENODEV",
}  # fmt: skip
STEP = re.compile(r"step (\d+) of (\d+): (\w+)\(")
CALLS_LIMIT = 40


def injected(minirt: Minirt, name: str, number: int, argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}",
         "-e", f"inject={name}:error={ERRNO[name]}:when={number}", *runner.program(), *argv],
        env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    minirt.look()
    return done


def planned(minirt: Minirt, options: list[str]) -> dict[int, str]:
    """{step: call} as `minirt plan` lists them."""
    lines = minirt.ok("plan", "--rm", *options, "true").splitlines()
    found = [re.match(r" +(\d+)  (\w+)\(", line) for line in lines]
    return {int(match[1]): match[2] for match in found if match}


@pytest.fixture
def options(minirt: Minirt, rootfs: Path) -> list[str]:
    """Of a run whose filter is compiled and whose mount points are there: only the birth itself is left."""
    words = ["--hostname", "box", "--rootfs", f"{rootfs}:O"]
    for path in ("etc/hosts", "etc/hostname", "etc/resolv.conf"):
        (rootfs / path).touch()
    minirt.ok("run", "--rm", *words, "true")
    return words


def nothing_is_left(minirt: Minirt) -> None:
    assert minirt.ok("ps", "-aq") == ""
    for folder in (minirt.root / "containers", minirt.state):
        assert not [path for path in folder.iterdir() if len(path.name) == 64]


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRNO)
def test_cra_03_every_call_of_a_birth_fails(minirt: Minirt, options: list[str], name: str) -> None:
    """CRA-03: `run` with the Nth call of this name failing, N = 1, 2, … until none is left: exit 125 (or 126 from
    execve), one error that names step, call and errno, no container and nothing else; or a tolerated failure."""
    steps = planned(minirt, options)
    inside = sum(1 for call in steps.values() if call == name)
    named: set[int] = set()
    for number in range(1, CALLS_LIMIT):
        argv = ["run", "--rm", "--name", "box", *options, "true"]
        done = injected(minirt, name, number, argv)
        said = done.stderr.decode()
        assert "Traceback" not in said and "internal error" not in said, (name, number, said)
        nothing_is_left(minirt)
        if done.returncode == 0:
            if number > inside + 3:
                break
            continue
        if name == "execve" and not said.startswith("minirt: "):
            continue  # of minirt's own interpreter
        assert done.returncode in (125, 126, 127), (name, number, done)
        assert said.startswith("minirt: ") and len(said.splitlines()) <= 3, (name, number, said)
        if match := STEP.search(said):
            assert ERRNO[name] in said, (name, number, said)
            named.add(int(match[1]))
            assert steps[int(match[1])] == match[3] and match[3].startswith(name), said
    assert minirt("run", "--rm", "--name", "box", *options, "true").code == 0, "the control: the same, undisturbed"
    if inside > 3 and name != "execve":
        assert named, f"{name} is {inside} times in the plan and never failed by name"
