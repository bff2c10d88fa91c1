# SPDX-License-Identifier: Apache-2.0
"""The default seccomp filter, in the form of linux.seccomp (runtime-spec config-linux.md, "Seccomp"; seccomp(2)).

An allow-list with two ways to say no. A call that is known and denied is EPERM. A call that is in no list (newer
than this table, or unknown to the installed libseccomp) is ENOSYS, as on an older kernel, so that a C library falls
back. What is allowed follows from the capabilities that the workload may ever have. Not on the path of a run: the
compiled filter is cached. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan import seccomp_calls as calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EPERM, _ENOSYS = 1, 38
# The native architecture and those that its kernel runs besides (int 0x80 and x32 numbers are filtered as well).
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
_NEW_NAMESPACE = (
    0x0002_0000,  # CLONE_NEWNS
    0x0200_0000,  # CLONE_NEWCGROUP
    0x0400_0000,  # CLONE_NEWUTS
    0x0800_0000,  # CLONE_NEWIPC
    0x1000_0000,  # CLONE_NEWUSER
    0x2000_0000,  # CLONE_NEWPID
    0x4000_0000,  # CLONE_NEWNET
)
_PERSONALITIES = (0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)  # PER_LINUX, PER_LINUX32, UNAME26, both, "which is it"
_NO_RANDOMIZE = 0x4_0000  # ADDR_NO_RANDOMIZE: what a debugger asks for
_AF_ALG, _AF_VSOCK, _AF_MAX = 38, 40, 46
_INT = 0xFFFF_FFFF  # the kernel takes an int argument's lower half: a comparison of the whole could be deceived


def profile(capabilities: tuple[str, ...], arch: str) -> dict[str, Any]:
    """The filter for a workload that may have `capabilities` on a machine of this architecture."""
    given = set(capabilities)
    granted = [name for cap, names in calls.WITH.items() if cap in given for name in names]
    denied = [name for names in calls.WITH.values() for name in names if name not in granted]
    allowed = [*calls.ALWAYS, *calls.ON.get(arch, ()), *granted]
    rules = [
        _rule(sorted(set(allowed)), "SCMP_ACT_ALLOW"),
        _rule(sorted(set(denied + list(calls.NEVER)) - {"clone", "clone3"}), "SCMP_ACT_ERRNO"),
        *_sockets(),
        *_personality(),
    ]
    if "clone" not in granted:
        rules += _clone()
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "architectures": list(_ARCHITECTURES.get(arch, ())),
        "syscalls": rules,
    }


def _rule(names: list[str], action: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": action}
    if action == "SCMP_ACT_ERRNO":
        rule["errnoRet"] = _EPERM
    if arguments:
        rule["args"] = list(arguments)
    return rule


def _masked(mask: int, value: int) -> dict[str, Any]:
    return {"index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _clone() -> list[dict[str, Any]]:
    """Threads and processes, no namespaces. clone3 hides its flags behind a pointer, so it is not there at all
    (ENOSYS) and the C library uses clone."""
    mask = 0
    for flag in _NEW_NAMESPACE:
        mask |= flag
    denied = [_rule(["clone"], "SCMP_ACT_ERRNO", _masked(flag, flag)) for flag in _NEW_NAMESPACE]
    return [_rule(["clone"], "SCMP_ACT_ALLOW", _masked(mask, 0)), *denied]


def _sockets() -> list[dict[str, Any]]:
    """Every family but AF_ALG (the kernel's crypto, a source of exploits) and AF_VSOCK (the hypervisor, which knows
    no namespaces). Where i386 is filtered too libseccomp drops their EPERM, and the default action answers.
    socketcall, behind which a 32-bit program could hide the family, is not there (ENOSYS)."""
    below = {"index": 0, "value": _AF_ALG, "op": "SCMP_CMP_LT"}
    rules = [_rule(["socket"], "SCMP_ACT_ALLOW", below)]
    for family in range(_AF_ALG, _AF_MAX):
        action = "SCMP_ACT_ERRNO" if family in (_AF_ALG, _AF_VSOCK) else "SCMP_ACT_ALLOW"
        rules.append(_rule(["socket"], action, _masked(_INT, family)))
    return rules


def _personality() -> list[dict[str, Any]]:
    equal = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in _PERSONALITIES]
    rules = [_rule(["personality"], "SCMP_ACT_ALLOW", argument) for argument in equal]
    refused = {"index": 0, "value": _NO_RANDOMIZE, "op": "SCMP_CMP_EQ"}
    return [*rules, _rule(["personality"], "SCMP_ACT_ERRNO", refused)]
