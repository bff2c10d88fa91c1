# SPDX-License-Identifier: Apache-2.0
"""linux.resources.devices as an eBPF program on the container's cgroup (cgroup-v2.rst, "Device controller"; bpf(2);
runtime-spec config-linux.md, "Allowed Device List"; linux/bpf.h, struct bpf_cgroup_dev_ctx).

The kernel runs it for each open(2) and mknod(2) of a device node, and asks every program from the cgroup up to the
root: all must answer 1. The last rule that matches decides; none is "no". What the specification makes anyway (null,
zero …, terminals) is allowed behind the rules. Works without any controller. Pure; must not import kernel.
"""

from __future__ import annotations

from struct import Struct

from minirt.plan import defaults
from minirt.plan.build import Build
from minirt.plan.step import HOST, Blob, Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Rule = dict[str, Any]

_INSTRUCTION = Struct("=BBhi")  # code, destination | source << 4, offset, immediate
# linux/bpf.h and bpf_common.h: the few of the machine's instructions that are needed
_LOAD, _MOVE_NUMBER, _MOVE, _AND, _SHIFT = (
    0x61,
    0xB4,
    0xBC,
    0x54,
    0x74,
)  # BPF_LDX|MEM|W, ALU: MOV K, MOV X, AND K, RSH K
_JUMP_EQUAL, _JUMP_UNEQUAL, _JUMP_UNEQUAL_REGISTER, _EXIT = 0x16, 0x56, 0x5E, 0x95  # BPF_JMP32: JEQ K, JNE K, JNE X
_R0, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5
_TYPES = {"b": 1, "c": 2, "u": 2}  # BPF_DEVCG_DEV_BLOCK, _CHAR
_BITS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_MKNOD, _READ, _WRITE
_EVERYTHING = 7
_POINTER = "/linux/resources/devices"

Instruction = tuple[int, int, int, int]


def attach(build: Build) -> None:
    """Host, before the clone. Where the specification says nothing of devices, nothing is withheld. A container that
    cannot make nodes, and asks for no more than the usual ones, has no other either way: for it a kernel without
    cgroup programs will do."""
    rules = (build.linux.get("resources") or {}).get("devices")
    if not rules or not build.context.cgroup_path:
        return
    may_make = "CAP_MKNOD" in ((build.process.get("capabilities") or {}).get("bounding") or ())
    code = program([*rules, *implied(may_make, build.linux.get("devices") or ())])
    plain = len(rules) == 1 and not rules[0]["allow"] and not may_make
    load, attached = (("EPERM", "ENOSYS"), ("EBADF", "EINVAL")) if plain else ((), ())
    kind = Flags("BPF_CGROUP_DEVICE")
    text = Blob(code, f"{len(rules)} device rule{'' if len(rules) == 1 else 's'}, {len(code) // 8} instructions")
    build.add(
        "bpf_prog_load", Flags("BPF_PROG_TYPE_CGROUP_DEVICE"), kind, text, out="devices", actor=HOST, pointer=_POINTER,
        kind="device", tolerate=load,
    )  # fmt: skip
    build.add(
        "bpf_prog_attach", Fd("cgroup"), Fd("devices"), kind, Flags("BPF_F_ALLOW_MULTI"), actor=HOST, pointer=_POINTER,
        kind="device", tolerate=attached,
    )  # fmt: skip
    build.add("close", Fd("devices"), actor=HOST, pointer=_POINTER, kind="device", tolerate=("EBADF",))


def implied(may_make: bool, devices: Sequence[Rule] = ()) -> list[Rule]:
    """What every container may use. Init, which is in the cgroup already, makes the nodes that the specification lists;
    who has CAP_MKNOD may make any, though not open it."""
    makes = [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")] if may_make else []
    makes += [
        {"allow": True, "access": "m", **{key: device[key] for key in ("type", "major", "minor")}}
        for device in devices
        if device["type"] != "p" and not may_make
    ]
    return makes + [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in defaults.DEVICES_ALLOWED
    ]


def program(rules: Sequence[Rule]) -> bytes:
    """struct bpf_insn[]. Read from the last rule to the first: the first that matches then is the one that decides,
    and what lies before a rule for everything can be left out."""
    code: list[Instruction] = [
        (_LOAD, _TYPE | _CONTEXT << 4, 0, 0),  # access_type: the access << 16 | the type
        (_MOVE, _ACCESS | _TYPE << 4, 0, 0),
        (_AND, _TYPE, 0, 0xFFFF),
        (_SHIFT, _ACCESS, 0, 16),
        (_LOAD, _MAJOR | _CONTEXT << 4, 4, 0),
        (_LOAD, _MINOR | _CONTEXT << 4, 8, 0),
    ]
    for rule in reversed(rules):
        tests = _tests(rule)
        answer = [(_MOVE_NUMBER, _R0, 0, int(rule["allow"])), (_EXIT, 0, 0, 0)]
        end = len(tests) + len(answer)
        code += [(op, registers, end - at - 1 if jumps else 0, number)
                 for at, (op, registers, jumps, number) in enumerate(tests)]  # fmt: skip
        code += answer
        if not tests:
            break
    else:
        code += [(_MOVE_NUMBER, _R0, 0, 0), (_EXIT, 0, 0, 0)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def _tests(rule: Rule) -> list[tuple[int, int, bool, int]]:
    """Code, registers, whether it jumps to the next rule, number. An "allow" must grant all that is asked for in one
    go; a "deny" is there as soon as it denies a part of it."""
    tests: list[tuple[int, int, bool, int]] = []
    kind, bits = _TYPES.get(rule.get("type") or "a"), _access(rule)
    if kind is not None:
        tests.append((_JUMP_UNEQUAL, _TYPE, True, kind))
    if bits != _EVERYTHING:
        tests.append((_MOVE, _R0 | _ACCESS << 4, False, 0))
        tests.append((_AND, _R0, False, bits))
        tests.append((_JUMP_UNEQUAL_REGISTER, _R0 | _ACCESS << 4, True, 0) if rule["allow"] else
                     (_JUMP_EQUAL, _R0, True, 0))  # fmt: skip
    for register, key in ((_MAJOR, "major"), (_MINOR, "minor")):
        number = rule.get(key)
        if number is not None and number >= 0:
            tests.append((_JUMP_UNEQUAL, register, True, number))
    return tests


def _access(rule: Rule) -> int:
    return sum(_BITS[letter] for letter in set(rule.get("access") or "rwm"))
