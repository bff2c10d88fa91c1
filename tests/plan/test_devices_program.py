# SPDX-License-Identifier: Apache-2.0
"""The device program, run by a machine of a few lines, against the rules read as the specification has them: the last
one that matches decides (runtime-spec config-linux.md, "Allowed Device List")."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Any

from minirt.plan import devices_program
from minirt.plan.compile import Context, compile
from minirt.plan.facts import RootFacts
from specimens import HOST, context, process, spec

BLOCK, CHARACTER = 1, 2
MAKE, READ, WRITE = 1, 2, 4
MASK = 0xFFFFFFFF
DENY: dict[str, Any] = {"allow": False, "access": "rwm"}


def run(code: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """What the kernel's machine would answer (linux/bpf.h; only what the program may use is known here)."""
    registers: list[Any] = [None] * 11
    words = {0: access << 16 | kind, 4: major, 8: minor}
    at = 0
    while True:
        operation, both, offset, number = struct.unpack_from("=BBhi", code, at * 8)
        at, left, right = at + 1, both & 15, both >> 4
        if operation == 0x61:
            assert right == 1, "only the context can be read"
            registers[left] = words[offset]
        elif operation in (0xB4, 0xBC):
            registers[left] = (number if operation == 0xB4 else registers[right]) & MASK
        elif operation == 0x54:
            registers[left] &= number
        elif operation == 0x74:
            registers[left] >>= number
        elif operation == 0x16:
            at += offset if registers[left] == number & MASK else 0
        elif operation == 0x56:
            at += offset if registers[left] != number & MASK else 0
        elif operation == 0x5E:
            at += offset if registers[left] != registers[right] else 0
        elif operation == 0x95:
            return int(registers[0])
        else:
            raise AssertionError(f"unknown instruction {operation:#x}")


def meant(rules: list[dict[str, Any]], kind: int, access: int, major: int, minor: int) -> int:
    for rule in reversed(rules):
        bits = sum({"m": MAKE, "r": READ, "w": WRITE}[letter] for letter in rule.get("access") or "rwm")
        if rule.get("type", "a") not in ("a", {BLOCK: "b", CHARACTER: "c"}[kind]):
            continue
        if rule.get("major") not in (None, -1, major) or rule.get("minor") not in (None, -1, minor):
            continue
        if (access & ~bits == 0) if rule["allow"] else access & bits:
            return int(rule["allow"])
    return 0


def test_random_rules_are_what_they_say() -> None:
    chance = random.Random(4)
    for _ in range(300):
        rules = []
        for _ in range(chance.randrange(5)):
            letters = chance.sample("rwm", chance.randint(1, 3))
            rule: dict[str, Any] = {"allow": chance.random() < 0.5, "access": "".join(letters)}
            for key, values in (("type", "abc"), ("major", (-1, 1, 7)), ("minor", (0, 3))):
                if chance.random() < 0.6:
                    rule[key] = chance.choice(values)
            rules.append(rule)
        code = devices_program.program(rules)
        for asked in itertools.product((BLOCK, CHARACTER), range(1, 8), (1, 7, 9), (0, 3, 5)):
            assert run(code, *asked) == meant(rules, *asked), (rules, asked)


def test_without_a_rule_nothing_is_allowed() -> None:
    assert run(devices_program.program([]), CHARACTER, READ, 1, 3) == 0


def test_default_devices_and_no_others() -> None:
    code = devices_program.program([DENY, *devices_program.implied(False)])
    allowed = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}
    for major, minor in itertools.product((1, 5, 8, 10, 136, 254), (0, 1, 2, 3, 5, 7, 8, 9, 11, 77, 200, 229)):
        assert run(code, CHARACTER, READ | WRITE, major, minor) == (major == 136 or (major, minor) in allowed)
        assert run(code, BLOCK, READ, major, minor) == 0
    assert run(code, CHARACTER, MAKE, 10, 229) == 0


def test_who_may_make_nodes_may_make_all_and_open_none_of_them() -> None:
    code = devices_program.program([DENY, *devices_program.implied(True)])
    assert run(code, BLOCK, MAKE, 8, 0) == run(code, CHARACTER, MAKE, 10, 229) == 1
    assert run(code, BLOCK, READ, 8, 0) == run(code, CHARACTER, MAKE | READ, 10, 229) == 0


def steps(rules: list[dict[str, Any]], *capabilities: str, **wanted: Any) -> list[Any]:
    document = spec(process=process(capabilities={"bounding": list(capabilities)}))
    document["linux"]["resources"] = {"devices": rules}
    plan = compile(document, HOST, RootFacts(), context(**wanted))
    return [step for step in plan.steps if step.op.startswith("bpf")]


def test_a_kernel_without_such_programs_will_do_for_who_can_make_no_node() -> None:
    load, attach = steps([DENY])
    assert load.tolerate == ("EPERM", "ENOSYS") and attach.tolerate == ("EBADF", "EINVAL")
    for rules, capabilities in (([DENY], ("CAP_MKNOD",)), ([DENY, {"allow": True, "major": 10}], ())):
        assert [step.tolerate for step in steps(rules, *capabilities)] == [(), ()]


def test_no_rules_and_no_cgroup_no_program() -> None:
    assert steps([]) == [] == steps([DENY], cgroup_path="")
    assert Context().io_weight == "io.weight"


def test_nodes_of_the_specification_can_be_made() -> None:
    code = devices_program.program([DENY, *devices_program.implied(False, [{"type": "c", "major": 10, "minor": 229}])])
    assert run(code, CHARACTER, MAKE, 10, 229) == 1 and run(code, CHARACTER, MAKE, 10, 200) == 0
    assert run(code, CHARACTER, READ, 10, 229) == 0
