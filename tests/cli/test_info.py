# SPDX-License-Identifier: Apache-2.0
"""`info`: which limits containers can have here, in Docker's fields and Docker's warnings."""

from __future__ import annotations

import json
from pathlib import Path

from runner import Minirt

FIELDS = {
    "MemoryLimit": "memory", "CpuCfsQuota": "cpu", "CpuCfsPeriod": "cpu", "CPUShares": "cpu", "CPUSet": "cpuset",
    "PidsLimit": "pids",
}  # fmt: skip


def test_limits_are_those_of_the_controllers(minirt: Minirt) -> None:
    found = json.loads(minirt.ok("info", "--format", "json"))
    there = set(found["CgroupControllers"].replace("none", "").split())
    offered = set((Path(found["CgroupMount"]) / "cgroup.controllers").read_text().split())
    assert there == offered & {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"} - (
        {"hugetlb"} if found["CgroupDriver"] == "systemd" else set()
    )
    assert {field: found[field] for field in FIELDS} == {field: name in there for field, name in FIELDS.items()}
    assert found["CgroupDriver"] == ("systemd" if Path("/run/systemd/system").exists() else "cgroupfs")
    assert ("No memory limit support" in found["Warnings"]) == ("memory" not in there)


def test_warnings_go_to_standard_error(minirt: Minirt) -> None:
    warnings = json.loads(minirt.ok("info", "--format", "{{json .Warnings}}"))
    result = minirt("info")
    assert result.stderr == "".join(f"WARNING: {line}\n" for line in warnings)
    assert "Cgroup Controllers: " in result.stdout and "WARNING" not in result.stdout
