# SPDX-License-Identifier: Apache-2.0
"""A seccomp profile becomes BPF by libseccomp (seccomp_rule_add(3), seccomp_export_bpf(3)).

Takes the OCI form (runtime-spec config-linux.md, "Seccomp") and Docker's, whose rules may carry includes and excludes
(capabilities, architectures, kernel). Not on the path of a run: the result is cached. Must not import runtime.
"""

from __future__ import annotations

import os
import struct

from minirt.errors import HostError, InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EPERM = 1
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
_AUDIT_ARCH_I386, _SOCKETCALL_I386 = 0x4000_0003, 102
_OPERATORS = tuple("SCMP_CMP_" + name for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}  # Docker's profiles name architectures as Go does


def compile(profile: dict[str, Any], capabilities: tuple[str, ...], arch: str) -> bytes:
    """struct sock_filter[] for the profile, given what the workload may ever have. InvalidValue: an action, operator
    or argument that libseccomp refuses. HostError: libseccomp is missing."""
    try:
        from minirt.kernel._seccomp import ffi, lib
    except ImportError as error:
        raise HostError(f"libseccomp cannot be loaded: {error}", "install the package libseccomp2") from None
    filter_ = lib.seccomp_init(_action(lib, profile["defaultAction"], profile.get("defaultErrnoRet")))
    if filter_ == ffi.NULL:
        raise InvalidValue(f"seccomp: {profile['defaultAction']!r} cannot be a default action")
    try:
        lib.seccomp_attr_set(filter_, lib.SCMP_FLTATR_CTL_NNP, 0)
        lib.seccomp_attr_set(filter_, lib.SCMP_FLTATR_CTL_OPTIMIZE, 2)
        for name in _architectures(profile, arch):
            _add_architecture(lib, filter_, name)
        for rule in profile.get("syscalls") or ():
            if _applies(rule, capabilities, arch):
                _add_rule(ffi, lib, filter_, rule, profile)
        return _without_socketcall(lib, profile, capabilities, arch) + _export(lib, filter_)
    finally:
        lib.seccomp_release(filter_)


def _without_socketcall(lib: Any, profile: dict[str, Any], capabilities: tuple[str, ...], arch: str) -> bytes:
    """Instructions to go first. For i386 libseccomp takes a rule for socket(2) as one for socketcall(2) as well, and
    there it cannot see the arguments: AF_ALG would be open through int 0x80. So socketcall gets the default action,
    unless that allows or the profile names it."""
    applying = [rule for rule in profile.get("syscalls") or () if _applies(rule, capabilities, arch)]
    named = any("socketcall" in (rule.get("names") or [rule.get("name")]) for rule in applying)
    action = _action(lib, profile["defaultAction"], profile.get("defaultErrnoRet"))
    allowed = named or action in (lib.SCMP_ACT_ALLOW, lib.SCMP_ACT_LOG)
    if allowed or "SCMP_ARCH_X86" not in _architectures(profile, arch):
        return b""
    code = (
        (_LOAD, 0, 0, 4),  # struct seccomp_data: arch
        (_JUMP_IF_EQUAL, 0, 3, _AUDIT_ARCH_I386),
        (_LOAD, 0, 0, 0),  # its nr
        (_JUMP_IF_EQUAL, 0, 1, _SOCKETCALL_I386),
        (_RETURN, 0, 0, action),
    )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _action(lib: Any, name: str, errno: int | None) -> int:
    value = _EPERM if errno is None else errno
    actions = {
        "SCMP_ACT_ALLOW": lambda: lib.SCMP_ACT_ALLOW,
        "SCMP_ACT_ERRNO": lambda: lib.mrt_act_errno(value),
        "SCMP_ACT_KILL": lambda: lib.SCMP_ACT_KILL_THREAD,
        "SCMP_ACT_KILL_THREAD": lambda: lib.SCMP_ACT_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS": lambda: lib.SCMP_ACT_KILL_PROCESS,
        "SCMP_ACT_TRAP": lambda: lib.SCMP_ACT_TRAP,
        "SCMP_ACT_TRACE": lambda: lib.mrt_act_trace(value),
        "SCMP_ACT_LOG": lambda: lib.SCMP_ACT_LOG,
    }
    if name not in actions:
        raise InvalidValue(f"seccomp: unknown action {name!r}", "one of " + ", ".join(actions))
    return int(actions[name]())


def _architectures(profile: dict[str, Any], arch: str) -> list[str]:
    """Besides the native one, which libseccomp always has."""
    names = list(profile.get("architectures") or ())
    for entry in profile.get("archMap") or ():
        if _native(entry["architecture"]) == arch:
            names += [entry["architecture"], *(entry.get("subArchitectures") or ())]
    return names


def _native(name: str) -> str:
    return name.removeprefix("SCMP_ARCH_").lower()


def _add_architecture(lib: Any, filter_: Any, name: str) -> None:
    token = lib.seccomp_arch_resolve_name(_native(name).encode())
    if not token:
        raise InvalidValue(f"seccomp: unknown architecture {name!r}")
    code = lib.seccomp_arch_add(filter_, token)
    if code < 0 and -code != 17:  # EEXIST: the native one
        raise InvalidValue(f"seccomp: architecture {name!r}: {os.strerror(-code).lower()}")


def _applies(rule: dict[str, Any], capabilities: tuple[str, ...], arch: str) -> bool:
    """Docker's conditions: includes must all hold, excludes must not."""
    include, exclude = rule.get("includes") or {}, rule.get("excludes") or {}
    machine = _GO_ARCH.get(arch, arch)
    if any(cap not in capabilities for cap in include.get("caps") or ()):
        return False
    if any(cap in capabilities for cap in exclude.get("caps") or ()):
        return False
    if include.get("arches") and machine not in include["arches"]:
        return False
    if machine in (exclude.get("arches") or ()):
        return False
    return _kernel() >= _version(include.get("minKernel") or "0.0")


def _kernel() -> tuple[int, ...]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, ...]:
    parts = []
    for part in text.split(".")[:2]:
        digits = part
        while digits and not digits.isdigit():
            digits = digits[:-1]
        parts.append(int(digits or "0"))
    return tuple(parts)


def _add_rule(ffi: Any, lib: Any, filter_: Any, rule: dict[str, Any], profile: dict[str, Any]) -> None:
    action = _action(lib, rule["action"], rule.get("errnoRet"))
    if action == _action(lib, profile["defaultAction"], profile.get("defaultErrnoRet")):
        return  # libseccomp refuses a rule that changes nothing
    groups = _groups(lib, rule.get("args") or ())
    for name in rule.get("names") or [rule["name"]]:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number == lib.__NR_SCMP_ERROR:
            continue  # newer than this libseccomp: the default action answers it
        for group in groups:
            compares = ffi.new("struct scmp_arg_cmp[]", group)
            code = lib.seccomp_rule_add_array(filter_, action, number, len(group), compares)
            if code < 0 and -code not in (17, 33):  # EEXIST: said twice; EDOM: not on every architecture
                raise InvalidValue(f"seccomp: rule for {name!r}: {os.strerror(-code).lower()}")


def _groups(lib: Any, arguments: Any) -> list[list[dict[str, int]]]:
    """Conditions on different arguments hold together; several on one argument are alternatives, as in runc."""
    compares = [_compare(lib, argument) for argument in arguments]
    indexes = [compare["arg"] for compare in compares]
    if len(set(indexes)) == len(indexes):
        return [compares]
    return [[compare] for compare in compares]


def _compare(lib: Any, argument: dict[str, Any]) -> dict[str, int]:
    if argument["op"] not in _OPERATORS:
        raise InvalidValue(f"seccomp: unknown operator {argument['op']!r}", "one of " + ", ".join(_OPERATORS))
    return {
        "arg": argument["index"],
        "op": getattr(lib, argument["op"]),
        "datum_a": argument["value"],
        "datum_b": argument.get("valueTwo", 0),
    }


def _export(lib: Any, filter_: Any) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        code = lib.seccomp_export_bpf(filter_, fd)
        if code < 0:
            raise InvalidValue(f"seccomp: cannot make the filter: {os.strerror(-code).lower()}")
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
