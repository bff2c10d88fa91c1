# SPDX-License-Identifier: Apache-2.0
"""Profiles as BPF: compiled by libseccomp, loaded into a child, and asked what they answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import E2BIG, ENOSYS, EPERM
from typing import Any

import pytest

from minirt.errors import InvalidValue
from minirt.kernel import call, seccomp
from own import inside

ARCH = os.uname().machine
ALLOW: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW"}


def answers(profile: dict[str, Any], probe: Callable[[], Any], capabilities: tuple[str, ...] = ()) -> Any:
    """What `probe` returns under the profile; its errno if it raises."""
    code = seccomp.compile(profile, capabilities, ARCH)
    assert code
    assert len(code) % 8 == 0

    def body() -> Any:
        call.seccomp(code)
        try:
            return probe()
        except OSError as error:
            return error.errno

    return inside(body)


def rule(*names: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def directory() -> int:
    os.mkdir("/mnt/x")
    return 0


def test_one_denied_call() -> None:
    profile = {**ALLOW, "syscalls": [rule("mkdir", "mkdirat")]}
    assert answers(profile, directory) == EPERM
    assert answers(ALLOW, directory) == 0


def test_the_errno_is_the_rules_own() -> None:
    assert answers({**ALLOW, "syscalls": [rule("mkdir", "mkdirat", errnoRet=E2BIG)]}, directory) == E2BIG
    deny = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": ENOSYS}
    allowed = [rule(name, action="SCMP_ACT_ALLOW") for name in ("write", "openat", "exit_group", "fstat", "close")]
    more = ("ioctl", "lseek", "read", "brk", "mmap", "munmap", "mremap", "rt_sigaction", "newfstatat", "futex", "fcntl")
    allowed.append(rule(*more, action="SCMP_ACT_ALLOW"))
    assert answers({**deny, "syscalls": allowed}, directory) == ENOSYS


def test_arguments_all_or_any() -> None:
    """Different arguments must all hold; several conditions on one argument are alternatives."""

    def kills(signals: tuple[int, ...]) -> Callable[[], list[bool]]:
        def probe() -> list[bool]:
            found = []
            for signo in signals:
                try:
                    os.kill(os.getpid(), signo)
                    found.append(True)
                except PermissionError:
                    found.append(False)
            return found

        return probe

    either = [{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 17, "op": "SCMP_CMP_EQ"}]
    assert answers({**ALLOW, "syscalls": [rule("kill", args=either)]}, kills((0, 17, 28))) == [False, False, True]
    both = [{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 1, "op": "SCMP_CMP_LE"}]
    assert answers({**ALLOW, "syscalls": [rule("kill", args=both)]}, kills((0,))) == [True]
    masked = [{"index": 1, "value": 0x10, "valueTwo": 0x10, "op": "SCMP_CMP_MASKED_EQ"}]
    assert answers({**ALLOW, "syscalls": [rule("kill", args=masked)]}, kills((0, 17, 28))) == [True, False, False]


def test_dockers_conditions() -> None:
    needs = {**ALLOW, "syscalls": [rule("mkdir", "mkdirat", excludes={"caps": ["CAP_SYS_ADMIN"]})]}
    assert answers(needs, directory, ("CAP_SYS_ADMIN",)) == 0
    assert answers(needs, directory) == EPERM
    for conditions in ({"minKernel": "99.0"}, {"arches": ["mips"]}, {"caps": ["CAP_SYS_ADMIN"]}):
        profile = {**ALLOW, "syscalls": [rule("mkdir", "mkdirat", includes=conditions)]}
        assert answers(profile, directory) == 0
    this = {"minKernel": "4.8", "arches": [{"x86_64": "amd64", "aarch64": "arm64"}[ARCH]]}
    assert answers({**ALLOW, "syscalls": [rule("mkdir", "mkdirat", includes=this)]}, directory) == EPERM


def test_calls_that_this_libseccomp_does_not_know_are_left_to_the_default() -> None:
    assert answers({**ALLOW, "syscalls": [rule("from_the_future", "mkdir", "mkdirat")]}, directory) == EPERM


def test_more_architectures_make_a_longer_filter() -> None:
    one = {**ALLOW, "syscalls": [rule("mkdirat")]}
    two = {**one, "architectures": [f"SCMP_ARCH_{ARCH.upper()}", "SCMP_ARCH_ARM", "SCMP_ARCH_X86"]}
    by_map = {"architecture": f"SCMP_ARCH_{ARCH.upper()}", "subArchitectures": ["SCMP_ARCH_ARM", "SCMP_ARCH_X86"]}
    longer = seccomp.compile(two, (), ARCH)
    assert len(longer) > len(seccomp.compile(one, (), ARCH))
    assert seccomp.compile({**one, "archMap": [by_map]}, (), ARCH) == longer


@pytest.mark.parametrize(
    "bad",
    [
        {"defaultAction": "SCMP_ACT_MAYBE"},
        {**ALLOW, "syscalls": [rule("mkdir", action="SCMP_ACT_NOTIFY")]},
        {**ALLOW, "syscalls": [rule("mkdir", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_LIKE"}])]},
        {**ALLOW, "syscalls": [rule("mkdir", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])]},
        {**ALLOW, "architectures": ["SCMP_ARCH_Z80"]},
    ],
)
def test_malformed_profiles_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        seccomp.compile(bad, (), ARCH)
