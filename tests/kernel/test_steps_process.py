# SPDX-License-Identifier: Apache-2.0
"""Each step that changes what a process is and may, against the kernel: it is read back from /proc or by its effect."""

from __future__ import annotations

import os
import re
import resource
import struct
import time
from collections.abc import Callable
from errno import EACCES, ENOENT, ENOTSUP, EPERM
from pathlib import Path

import pytest

import own
from minirt.kernel import call, host
from minirt.kernel._csrc import lib
from minirt.kernel.execute import StepError
from minirt.kernel.flat import number
from minirt.plan.step import CWD, Blob, Caps, Fd, Flags, Gids, Step, Strings
from own import NONE, inside, opened, run, status, step

HERE = Path(__file__).parent


def forked(function: Callable[[], None]) -> int:
    """The exit code of a child that calls `function`, which should execute something."""
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_unshare_and_setns() -> None:
    def body() -> tuple[bool, bool]:
        first = os.readlink("/proc/self/ns/uts")
        made = run(opened("/proc/self/ns/uts", "O_RDONLY|O_CLOEXEC"), step("unshare", Flags("CLONE_NEWUTS")))
        second = os.readlink("/proc/self/ns/uts")
        run(step("setns", Fd("it"), Flags("CLONE_NEWUTS")), inherited=made)
        return second != first, os.readlink("/proc/self/ns/uts") == first

    assert inside(body) == (True, True)


def test_setns_by_pidfd_into_several() -> None:
    def body() -> bool:
        child = os.fork()
        if child == 0:
            call.unshare("CLONE_NEWUTS|CLONE_NEWIPC")
            call.sethostname("there")
            time.sleep(60)
        while os.readlink(f"/proc/{child}/ns/ipc") == os.readlink("/proc/self/ns/ipc"):
            time.sleep(0.01)
        time.sleep(0.05)
        pidfd = os.pidfd_open(child)
        run(step("setns", Fd("target"), Flags("CLONE_NEWUTS|CLONE_NEWIPC")), inherited={"target": pidfd})
        os.kill(child, 9)
        return os.uname().nodename == "there"

    assert inside(body)


def test_setsid_umask_personality() -> None:
    def body() -> tuple[bool, int, str]:
        run(step("setsid"), step("umask", 0o27), step("personality", Flags("PER_LINUX32")))
        return os.getsid(0) == os.getpid(), os.umask(0), os.uname().machine

    leads, mask, machine = inside(body)
    assert (leads, mask) == (True, 0o27)
    assert machine in ("i686", "armv8l")


def test_names() -> None:
    def body() -> tuple[str, str]:
        run(step("sethostname", "box"), step("setdomainname", "example.org"))
        with open("/proc/sys/kernel/domainname") as file:
            return os.uname().nodename, file.read().strip()

    assert inside(body) == ("box", "example.org")


def test_prlimit64() -> None:
    def body() -> tuple[int, int]:
        run(step("prlimit64", Flags("RLIMIT_NOFILE"), 100, 200))
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert inside(body) == (100, 200)


def test_prctl_by_number_and_by_name() -> None:
    def body() -> tuple[str, str, str]:
        run(
            step("prctl", Flags("PR_SET_NAME"), "a:name"),
            step("prctl", Flags("PR_SET_NO_NEW_PRIVS"), 1, 0, 0, 0),
            step("prctl", Flags("PR_CAPBSET_DROP"), Flags("CAP_CHOWN")),
        )
        return status("Name"), status("NoNewPrivs"), status("CapBnd")

    name, privileges, bounding = inside(body)
    assert (name, privileges) == ("a:name", "1")
    assert not int(bounding, 16) & 1


def test_keyctl_joins_a_new_session() -> None:
    def body() -> bool:
        run(step("keyctl", Flags("KEYCTL_JOIN_SESSION_KEYRING"), "minirt-test"))
        with open("/proc/keys") as file:
            return bool(re.search(r"keyring +minirt-test:", file.read()))

    assert inside(body)


def test_identity() -> None:
    def body() -> tuple[str, str, str]:
        run(
            step("setgroups", Gids((1000, 5, 70000))),
            step("setresgid", 1000, 1000, 1000),
            step("setresuid", 1000, 1000, 1000),
        )
        return status("Groups"), status("Gid"), status("Uid")

    groups, gid, uid = inside(body)
    assert groups.split() == ["5", "1000", "70000"]
    assert gid.split() == uid.split() == ["1000"] * 4


def test_no_groups_at_all() -> None:
    assert inside(lambda: run(step("setgroups", Gids(()))) or status("Groups")) == ""


def test_capset_across_a_change_of_user() -> None:
    def body() -> tuple[int, int, int, int]:
        kept = Caps(("CAP_KILL", "CAP_CHECKPOINT_RESTORE"))
        run(
            step("prctl", Flags("PR_SET_KEEPCAPS"), 1),
            step("setresuid", 1000, 1000, 1000),
            step("capset", Caps(("CAP_KILL",)), kept, Caps(("CAP_KILL",))),
            step("prctl", Flags("PR_CAP_AMBIENT"), Flags("PR_CAP_AMBIENT_RAISE"), Flags("CAP_KILL"), 0, 0),
        )
        effective, permitted, inheritable, ambient = (
            int(status("Cap" + name), 16) for name in ("Eff", "Prm", "Inh", "Amb")
        )
        return effective, permitted, inheritable, ambient

    assert inside(body) == (1 << 5, 1 << 5 | 1 << 40, 1 << 5, 1 << 5)


def test_a_capability_that_is_not_there_is_refused() -> None:
    lacking = ~call.capget()[1] & ((1 << number("CAP_LAST_CAP") + 1) - 1)
    if not lacking:
        lacking = 1 << number("CAP_SYS_RESOURCE")
        start: tuple[Step, ...] = (step("capset", call.capget()[1] & ~lacking, call.capget()[1] & ~lacking, 0),)
    else:
        start = ()
    with pytest.raises(StepError) as failed:
        inside(lambda: run(*start, step("capset", lacking, lacking, 0)))
    assert failed.value.errno == EPERM


def test_seccomp() -> None:
    """A filter of two instructions: getppid answers ENOSYS … and everything else is allowed."""
    instruction = struct.Struct("HBBI")
    code = instruction.pack(0x20, 0, 0, 0)  # the system call's number
    code += instruction.pack(0x15, 0, 1, 110 if os.uname().machine == "x86_64" else 173)  # getppid?
    code += instruction.pack(0x06, 0, 0, 0x00050000 | 38) + instruction.pack(0x06, 0, 0, 0x7FFF0000)

    def body() -> tuple[str, int]:
        run(step("seccomp", Flags("SECCOMP_SET_MODE_FILTER"), NONE, Blob(code, "4 instructions")))
        return status("Seccomp"), os.getppid()

    assert inside(body) == ("2", -38)  # glibc takes it for a pid


def test_close_range() -> None:
    def body() -> list[bool]:
        fds = [os.open("/", os.O_RDONLY) for _ in range(3)]
        for fd in fds:
            os.set_inheritable(fd, True)
        run(step("close_range", fds[1], 0xFFFFFFFF, Flags("CLOSE_RANGE_CLOEXEC")))
        return [os.get_inheritable(fd) for fd in fds]

    assert inside(body) == [True, False, False]


def test_execve_and_execveat() -> None:
    shell = Strings(("sh", "-c", 'exit "$CODE"'))
    assert forked(lambda: run_quietly(step("execve", "/bin/sh", shell, Strings(("CODE=7",))))) == 7
    by_fd = step("execveat", Fd("it"), "", shell, Strings(("CODE=8",)), Flags("AT_EMPTY_PATH"))
    assert forked(lambda: run_quietly(opened("/bin/sh"), by_fd)) == 8
    assert forked(lambda: run_quietly(step("execveat", CWD, "/bin/sh", shell, Strings(("CODE=9",)), NONE))) == 9


def run_quietly(*steps: Step) -> None:
    run(*steps)


def test_execve_tries_the_next_candidate() -> None:
    argv, missing = Strings(("true",)), ("ENOENT", "EACCES", "ENOTDIR")
    code = forked(
        lambda: run_quietly(
            step("execve", "/nowhere/true", argv, Strings(), tolerate=missing),
            step("execve", "/etc/passwd/true", argv, Strings(), tolerate=missing),
            step("execve", "/etc/passwd", argv, Strings(), tolerate=missing),
            step("execve", "/bin/true", argv, Strings(), tolerate=missing),
        )
    )
    assert code == 0


@pytest.mark.parametrize(("path", "errno"), [("/nowhere", ENOENT), ("/etc/passwd", EACCES)])
def test_execve_says_why_not(path: str, errno: int) -> None:
    with pytest.raises(StepError) as failed:
        inside(lambda: run(step("execve", path, Strings(("x",)), Strings())))
    assert failed.value.errno == errno


def test_clone3_is_the_monitors() -> None:
    with pytest.raises(StepError) as failed:
        run(step("clone3", Flags("CLONE_NEWPID"), Flags("SIGCHLD"), None, out="pidfd"))
    assert failed.value.errno == ENOTSUP


def test_every_kind_of_step_is_tested_here() -> None:
    tested = "".join(path.read_text() for path in HERE.glob("test_steps_*.py")) + Path(own.__file__).read_text()
    words = set(re.findall(r'step\(\s*"(\w+)"', tested))
    assert words == {name[7:] for name in dir(lib) if name.startswith("mrt_do_")}


def test_the_host_facts_are_what_the_children_have() -> None:
    facts = host.facts()
    assert facts.hard_limits["RLIMIT_NOFILE"] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert call.bounding_set() == int(status("CapBnd"), 16)
    assert call.capget()[1] == int(status("CapPrm"), 16)
