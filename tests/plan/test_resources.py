# SPDX-License-Identifier: Apache-2.0
"""linux.resources as files of cgroup v2, with the published conversions, and as steps of a birth."""

from __future__ import annotations

from typing import Any

import pytest

from minirt.plan import resources, text
from minirt.plan.compile import compile
from minirt.plan.facts import RootFacts
from specimens import HOST, context, spec

CASES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"memory": {"limit": 1 << 26}}, {"memory.max": "67108864"}),
    ({"memory": {"limit": 1 << 26, "swap": 1 << 27}}, {"memory.max": "67108864", "memory.swap.max": "67108864"}),
    ({"memory": {"limit": 1 << 26, "swap": 1 << 26}}, {"memory.max": "67108864", "memory.swap.max": "0"}),
    ({"memory": {"limit": 1 << 26, "swap": -1}}, {"memory.max": "67108864", "memory.swap.max": "max"}),
    ({"memory": {"limit": -1, "swap": -1, "reservation": 5}}, {
        "memory.max": "max", "memory.swap.max": "max", "memory.low": "5"}),
    ({"cpu": {"shares": 2}}, {"cpu.weight": "1"}),
    ({"cpu": {"shares": 1024}}, {"cpu.weight": "39"}),
    ({"cpu": {"shares": 262144}}, {"cpu.weight": "10000"}),
    ({"cpu": {"shares": 0}}, {}),
    ({"cpu": {"quota": 50_000, "period": 100_000}}, {"cpu.max": "50000 100000"}),
    ({"cpu": {"quota": 50_000}}, {"cpu.max": "50000 100000"}),
    ({"cpu": {"period": 20_000}}, {"cpu.max": "max 20000"}),
    ({"cpu": {"quota": -1, "period": 0}}, {"cpu.max": "max 100000"}),
    ({"cpu": {"burst": 7, "idle": 1}}, {"cpu.max.burst": "7", "cpu.idle": "1"}),
    ({"cpu": {"cpus": "0-1", "mems": "0"}}, {"cpuset.cpus": "0-1", "cpuset.mems": "0"}),
    ({"pids": {"limit": 7}}, {"pids.max": "7"}),
    ({"pids": {"limit": -1}}, {"pids.max": "max"}),
    ({"pids": {"limit": 0}}, {"pids.max": "max"}),
    ({"blockIO": {"weight": 10}}, {"io.weight": "1"}),
    ({"blockIO": {"weight": 1000}}, {"io.weight": "10000"}),
    ({"blockIO": {"throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 9}]}}, {"io.max": "8:0 wbps=9"}),
    ({"blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]}}, {"io.max": "8:0 riops=max"}),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 22}]}, {"hugetlb.2MB.max": "4194304"}),
    ({"unified": {"memory.high": "1", "misc.max": "x"}}, {"memory.high": "1", "misc.max": "x"}),
    ({}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "files"), CASES)
def test_files(asked: dict[str, Any], files: dict[str, str]) -> None:
    assert {setting.file: setting.text for setting in resources.settings(asked)} == files


def test_weights_of_bfq_are_v1s_own() -> None:
    block = {"weight": 500, "weightDevice": [{"major": 8, "minor": 16, "weight": 10}]}
    found = resources.settings({"blockIO": block}, "io.bfq.weight")
    assert [(setting.file, setting.text) for setting in found] == [
        ("io.bfq.weight", "500"),
        ("io.bfq.weight", "8:16 10"),
    ]


def test_each_file_has_its_controller_and_who_asked_for_it() -> None:
    for asked, _ in CASES:
        for setting in resources.settings(asked):
            assert setting.file.startswith(setting.controller + ".")
            at: Any = {"linux": {"resources": asked}}
            for part in setting.pointer.split("/")[1:]:
                at = at[int(part)] if isinstance(at, list) else at[part]


def test_limits_are_there_before_the_first_process_is() -> None:
    document = spec()
    rates = [{"major": 8, "minor": minor, "rate": 5} for minor in (0, 16)]
    document["linux"]["resources"] = {"pids": {"limit": 7}, "blockIO": {"throttleReadBpsDevice": rates}}
    plan = compile(document, HOST, RootFacts(), context())
    lines = [text.describe(step) for step in plan.steps]
    at = lines.index(
        'openat2(cgroup, "pids.max", O_WRONLY|O_CLOEXEC, 0, RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS) = pids.max'
    )
    assert lines[at + 1 : at + 3] == ['write(pids.max, "7")', "close(pids.max)"]
    assert 'write(io.max, "8:0 rbps=5")' in lines and 'write(io.max, "8:16 rbps=5")' in lines
    assert all(step.actor == "host" for step in plan.steps if step.kind == "limit" and "cgroup" in step.pointer)
    assert at < next(index for index, step in enumerate(plan.steps) if step.op == "clone3")
