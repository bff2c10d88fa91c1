# SPDX-License-Identifier: Apache-2.0
"""The default filter as a table; what the kernel makes of it is tested where containers run."""

from __future__ import annotations

from typing import Any

import pytest

from minirt.plan import defaults, seccomp_calls
from minirt.plan.seccomp_profile import profile

# RUN-06, RUN-18: refused whatever capabilities there are.
NEVER = (
    "_sysctl add_key afs_syscall create_module get_kernel_syms getpmsg io_uring_enter io_uring_register io_uring_setup"
    " kexec_file_load kexec_load keyctl migrate_pages move_pages nfsservctl pivot_root putpmsg query_module request_key"
    " security swapoff swapon sysfs tuxcall uselib userfaultfd ustat vserver"
).split()
EVERYTHING = tuple(seccomp_calls.WITH)


def by_action(made: dict[str, Any], action: str) -> set[str]:
    """Names with an unconditional rule."""
    return {
        name for rule in made["syscalls"] if rule["action"] == action and not rule.get("args") for name in rule["names"]
    }


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("given", [defaults.CAPABILITIES, EVERYTHING, ()])
def test_run_06_never_allowed(given: tuple[str, ...], arch: str) -> None:
    made = profile(given, arch)
    assert by_action(made, "SCMP_ACT_ERRNO") >= set(NEVER)
    assert not by_action(made, "SCMP_ACT_ALLOW") & by_action(made, "SCMP_ACT_ERRNO")


def test_unknown_calls_do_not_exist_and_known_ones_are_denied() -> None:
    made = profile(defaults.CAPABILITIES, "x86_64")
    assert (made["defaultAction"], made["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert {rule["errnoRet"] for rule in made["syscalls"] if rule["action"] == "SCMP_ACT_ERRNO"} == {1}
    named = {name for rule in made["syscalls"] for name in rule["names"]}
    assert not named & {"clone3", "socketcall", "open_tree_attr", "file_setattr"}  # RUN-06, RUN-07: ENOSYS


@pytest.mark.parametrize("capability", seccomp_calls.WITH)
def test_a_capability_opens_its_calls(capability: str) -> None:
    less = by_action(profile((), "x86_64"), "SCMP_ACT_ALLOW")
    more = by_action(profile((capability,), "x86_64"), "SCMP_ACT_ALLOW")
    assert more - less == set(seccomp_calls.WITH[capability])


def test_default_capabilities_open_little() -> None:
    opened = by_action(profile(defaults.CAPABILITIES, "x86_64"), "SCMP_ACT_ALLOW") - set(seccomp_calls.ALWAYS)
    assert opened == {"chroot", "arch_prctl", "modify_ldt"}


def test_run_07_every_door_of_the_architecture_is_filtered() -> None:
    assert profile((), "x86_64")["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert profile((), "aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


def test_run_06_sockets_are_judged_by_what_the_kernel_reads() -> None:
    """RUN-06, CVE-2026-31431: AF_ALG with garbage in the upper half of the register is AF_ALG all the same."""
    rules = [rule for rule in profile((), "x86_64")["syscalls"] if rule["names"] == ["socket"]]
    for garbage in (0, 1 << 32, 0xFFFF_FFFF << 32):
        allowed = {family for family in range(64) if answer(rules, family | garbage) == "SCMP_ACT_ALLOW"}
        assert not allowed & {38, 40}
        assert garbage or allowed == set(range(46)) - {38, 40}


def test_run_06_clone_makes_no_namespace() -> None:
    rules = [rule for rule in profile((), "x86_64")["syscalls"] if rule["names"] == ["clone"]]
    assert answer(rules, 0x1200011) == "SCMP_ACT_ALLOW"  # fork(3)
    assert answer(rules, 0x3D0F00) == "SCMP_ACT_ALLOW"  # pthread_create(3)
    for bit in range(32):
        flag = 1 << bit
        denied = flag & 0x7E020000 or flag == 0x02000000
        assert answer(rules, flag | 17) == ("SCMP_ACT_ERRNO" if denied else "SCMP_ACT_ALLOW")
    assert "clone" in by_action(profile(("CAP_SYS_ADMIN",), "x86_64"), "SCMP_ACT_ALLOW")


def answer(rules: list[dict[str, Any]], value: int) -> str | None:
    """What the first rule that holds for the first argument says."""
    for rule in rules:
        (condition,) = rule["args"]
        wanted, mask = condition["value"], condition["value"]
        holds = {
            "SCMP_CMP_EQ": value == wanted,
            "SCMP_CMP_LT": value < wanted,
            "SCMP_CMP_MASKED_EQ": value & mask == condition.get("valueTwo", 0),
        }[condition["op"]]
        if holds:
            return str(rule["action"])
    return None
