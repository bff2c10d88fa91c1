# SPDX-License-Identifier: Apache-2.0
"""The flags that limit: what linux.resources becomes of them, and what is refused, in Docker's words."""

from __future__ import annotations

from typing import Any

import pytest

from minirt.engine import resource_flags
from minirt.engine.options import DEFAULTS, LIMITS, RunOptions
from minirt.errors import InvalidValue

MIB = 1 << 20
GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"memory": "64m"}, {
        "memory": {"limit": 64 * MIB, "swap": 128 * MIB}, "unified": {"memory.oom.group": "1"}}),
    ({"memory": "64m", "memory_swap": "64m"}, {
        "memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "unified": {"memory.oom.group": "1"}}),
    ({"memory": "64m", "memory_swap": "-1", "memory_reservation": "32m"}, {
        "memory": {"limit": 64 * MIB, "swap": -1, "reservation": 32 * MIB}, "unified": {"memory.oom.group": "1"}}),
    ({"memory_reservation": "32m"}, {"memory": {"reservation": 32 * MIB}}),
    ({"memory": "0"}, {}),
    ({"cpus": "0.5"}, {"cpu": {"quota": 50_000, "period": 100_000}}),
    ({"cpus": ".25"}, {"cpu": {"quota": 25_000, "period": 100_000}}),
    ({"cpus": "2"}, {"cpu": {"quota": 200_000, "period": 100_000}}),
    ({"cpus": "0.001"}, {"cpu": {"quota": 1000, "period": 100_000}}),
    ({"cpus": "0"}, {}),
    ({"cpu_quota": 20_000}, {"cpu": {"quota": 20_000, "period": 100_000}}),
    ({"cpu_period": 20_000}, {"cpu": {"quota": -1, "period": 20_000}}),
    ({"cpu_quota": -1}, {"cpu": {"quota": -1, "period": 100_000}}),
    ({"cpu_shares": 512, "cpuset_cpus": "0-1", "cpuset_mems": "0"}, {
        "cpu": {"shares": 512, "cpus": "0-1", "mems": "0"}}),
    ({"pids_limit": 5}, {"pids": {"limit": 5}}),
    ({"pids_limit": 0}, {"pids": {"limit": -1}}),
    ({"pids_limit": -1}, {"pids": {"limit": -1}}),
    ({"hugetlb_limit": ["2MB:64m", "1g:1g"]}, {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 64 * MIB}, {"pageSize": "1GB", "limit": 1 << 30}]}),
    ({"blkio_weight": 500}, {"blockIO": {"weight": 500}}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "made"), GOOD)
def test_resources(asked: dict[str, Any], made: dict[str, Any]) -> None:
    assert resource_flags.resources(RunOptions(**asked)) == made


BAD: list[tuple[dict[str, Any], str]] = [
    ({"memory": "5m"}, "Minimum memory limit allowed is 6MB"),
    ({"memory_reservation": "1"}, "Minimum memory reservation allowed is 6MB"),
    ({"memory": "64q"}, "invalid size"),
    ({"memory": "-5"}, "invalid size"),
    ({"memory": "9999999999g"}, "out of range"),
    ({"memory_swap": "64m"}, "You should always set the Memory limit when using Memoryswap limit"),
    ({"memory": "64m", "memory_swap": "32m"}, "Minimum memoryswap limit should be larger than memory limit"),
    ({"memory": "64m", "memory_reservation": "65m"}, "can not be less than memory reservation limit"),
    ({"cpus": "half"}, "failed to parse half as a rational number"),
    ({"cpus": "-1"}, "failed to parse -1 as a rational number"),
    ({"cpus": "1e3"}, "rational number"),
    ({"cpus": "0.0000000001"}, "value is too precise"),
    ({"cpus": "1", "cpu_quota": 1000}, "Nano CPUs and CPU Quota cannot both be set"),
    ({"cpus": "1", "cpu_period": 1000}, "Nano CPUs and CPU Period cannot both be set"),
    ({"cpu_period": 999}, "CPU cfs period can not be less than 1ms"),
    ({"cpu_period": 1_000_001}, "larger than 1s"),
    ({"cpu_quota": 999}, "CPU cfs quota can not be less than 1ms"),
    ({"cpu_shares": 1}, "range is from 2 to 262144"),
    ({"cpu_shares": 262145}, "range is from 2 to 262144"),
    ({"blkio_weight": 9}, "range of blkio weight is from 10 to 1000"),
    ({"blkio_weight": 1001}, "range of blkio weight is from 10 to 1000"),
    ({"hugetlb_limit": ["2MB"]}, "--hugetlb-limit"),
    ({"hugetlb_limit": ["0:1m"]}, "--hugetlb-limit"),
    ({"hugetlb_limit": ["2MB:much"]}, "--hugetlb-limit"),
]


@pytest.mark.parametrize(("asked", "says"), BAD)
def test_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        resource_flags.resources(RunOptions(**asked))
    assert says in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        ({}, {}),
        ({"pids_limit": -1}, {}),
        ({"pids_limit": 5}, {"pids": "--pids-limit"}),
        ({"memory_swap": "-1", "cpus": "1"}, {"memory": "--memory-swap", "cpu": "--cpus"}),
        ({"device_write_iops": ["/dev/vda:1"]}, {"io": "--device-write-iops"}),
        ({"device": ["/dev/fuse"], "cgroup_parent": "a"}, {}),
    ],
)
def test_controllers_by_the_flag_that_needs_them(asked: dict[str, Any], needed: dict[str, str]) -> None:
    assert resource_flags.controllers(RunOptions(**asked)) == needed


def test_every_limit_is_an_option_and_looked_at() -> None:
    assert set(LIMITS) <= set(DEFAULTS)
    assert {field for fields in resource_flags.CONTROLLERS.values() for field in fields} <= set(LIMITS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/dev/fuse", ("/dev/fuse", "/dev/fuse", "rwm")),
        ("/dev/fuse:r", ("/dev/fuse", "/dev/fuse", "r")),
        ("/dev/fuse:/x", ("/dev/fuse", "/x", "rwm")),
        ("/dev/fuse:/dev/x:wr", ("/dev/fuse", "/dev/x", "wr")),
    ],
)
def test_device(text: str, found: tuple[str, str, str]) -> None:
    assert resource_flags.device(text) == found


@pytest.mark.parametrize(
    "text", ["fuse", "/dev/fuse:x", "/dev/fuse:/x:rr", "/dev/fuse:/x:", "/a:/b:r:w", "", "/a:/../b", "/a:b:r", "/a:"]
)
def test_device_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="bad format for device"):
        resource_flags.device(text)


def test_device_rule() -> None:
    assert resource_flags.device_rule("c 10:* rwm") == {"allow": True, "type": "c", "major": 10, "access": "rwm"}
    assert resource_flags.device_rule("a *:* r") == {"allow": True, "type": "a", "access": "r"}
    assert resource_flags.device_rule("b 8:16 wm")["minor"] == 16


@pytest.mark.parametrize(
    "text",
    ["c 10:229", "x 1:1 r", "c 1 r", "c 1:1 rx", "c 1:1 rr", "c -1:1 r", "c 4096:1 r", "c 1:1  r", "", "c ٣:1 r"],
)
def test_device_rule_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="invalid device cgroup format"):
        resource_flags.device_rule(text)


def test_rates_and_weights_of_a_device() -> None:
    assert resource_flags.rate("/dev/vda:1mb", "--device-read-bps") == ("/dev/vda", MIB)
    assert resource_flags.rate("/dev/vda:100", "--device-read-iops") == ("/dev/vda", 100)
    assert resource_flags.weight_device("/dev/vda:500") == ("/dev/vda", 500)


@pytest.mark.parametrize("text", ["/dev/vda", "/dev/vda:", "/dev/vda:0", "/dev/vda:-1", "vda:1", "/dev/vda:1q"])
def test_rate_refused(text: str) -> None:
    for flag in ("--device-read-bps", "--device-read-iops"):
        with pytest.raises(InvalidValue, match="device"):
            resource_flags.rate(text, flag)


@pytest.mark.parametrize("text", ["/dev/vda:1kb", "/dev/vda:1.5"])
def test_requests_have_no_unit(text: str) -> None:
    with pytest.raises(InvalidValue, match="invalid rate for device"):
        resource_flags.rate(text, "--device-read-iops")


@pytest.mark.parametrize("text", ["/dev/vda:9", "/dev/vda:1001", "vda:500", "/dev/vda:x"])
def test_weight_device_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        resource_flags.weight_device(text)
