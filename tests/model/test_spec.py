# SPDX-License-Identifier: Apache-2.0
"""config.json: every fault is found at once, by its JSON pointer; what is not supported is refused by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from minirt.errors import SpecError
from minirt.model import spec as specification

GOOD: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "process": {
        "terminal": True,
        "consoleSize": {"height": 24, "width": 80},
        "user": {"uid": 1000, "gid": 1000, "umask": 18, "additionalGids": [5, 6]},
        "args": ["sh"],
        "env": ["A=b"],
        "cwd": "/tmp",
        "capabilities": {"bounding": ["CAP_CHOWN"], "ambient": ["CAP_OF_TOMORROW"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 18446744073709551615}],
        "noNewPrivileges": True,
        "oomScoreAdj": 100,
        "apparmorProfile": "",
        "selinuxLabel": None,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "box",
    "domainname": "example",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
        {"destination": "/data", "source": "/srv", "options": ["rbind", "ro"]},
    ],
    "hooks": {},
    "annotations": {"org.example": "x"},
    "linux": {
        "namespaces": [
            {"type": "mount"},
            {"type": "uts"},
            {"type": "network"},
            {"type": "ipc"},
            {"type": "time"},
            {"type": "pid", "path": "/proc/7/ns/pid"},
        ],
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": 1 << 26, "swap": 1 << 27, "reservation": 1 << 25, "disableOOMKiller": False},
            "cpu": {
                "shares": 1024,
                "quota": -1,
                "period": 100_000,
                "burst": 0,
                "idle": 0,
                "cpus": "0-1,3",
                "mems": "0",
            },
            "pids": {"limit": 100},
            "blockIO": {
                "weight": 100,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1 << 20}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 22}],
            "unified": {"memory.high": "1000000"},
        },
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "rootfsPropagation": "rslave",
        "sysctl": {"net.ipv4.ping_group_range": "0 1", "kernel.shm_rmid_forced": "1"},
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]},
        "personality": {"domain": "LINUX"},
        "timeOffsets": {"monotonic": {"secs": 86400, "nanosecs": 5}, "boottime": {"secs": -4}},
        "cgroupsPath": "/x",
    },
}


def changed(pointer: str, value: object) -> dict[str, Any]:
    """GOOD with one property set; an index beyond the end of a list appends."""
    document = copy.deepcopy(GOOD)
    at: Any = document
    parts = [part.replace("~1", "/") for part in pointer.split("/")[1:]]
    for part in parts[:-1]:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    if isinstance(at, list):
        at[int(parts[-1]) :] = [value]
    else:
        at[parts[-1]] = value
    return document


def faults(document: object) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        specification.validate(document)
    return dict(caught.value.faults)


def test_good_one_passes() -> None:
    specification.validate(GOOD)


def test_unknown_properties_are_ignored() -> None:
    """runtime-spec config.md, "Extensibility"."""
    specification.validate(changed("/linux/tomorrow", {"a": 1}))


UNSUPPORTED: dict[str, Any] = {
    "/hooks": {"prestart": [{"path": "/bin/true"}]},
    "/windows": {"layerFolders": ["x"]},
    "/solaris": {"milestone": "x"},
    "/vm": {"kernel": {"path": "/x"}},
    "/zos": {"namespaces": [1]},
    "/process/apparmorProfile": "p",
    "/process/selinuxLabel": "system_u:system_r:t:s0",
    "/process/scheduler": {"policy": "SCHED_FIFO"},
    "/process/ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
    "/process/execCPUAffinity": {"initial": "0"},
    "/process/user/username": "ann",
    "/mounts/1/options/2": "idmap",
    "/mounts/1/uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "/mounts/1/gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "/mounts/0/options/0": "tmpcopyup",
    "/linux/uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "/linux/gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "/linux/namespaces/6": {"type": "user"},
    "/linux/namespaces/0/path": "/proc/1/ns/mnt",
    "/linux/intelRdt": {"closID": "x"},
    "/linux/mountLabel": "x",
    "/linux/netDevices": {"eth0": {}},
    "/linux/memoryPolicy": {"mode": "MPOL_BIND"},
    "/linux/personality/flags": ["x"],
    "/linux/resources/memory/kernel": 1,
    "/linux/resources/memory/kernelTCP": 1,
    "/linux/resources/memory/swappiness": 60,
    "/linux/resources/memory/disableOOMKiller": True,
    "/linux/resources/cpu/realtimeRuntime": 950_000,
    "/linux/resources/cpu/realtimePeriod": 1_000_000,
    "/linux/resources/blockIO/leafWeight": 10,
    "/linux/resources/network": {"classID": 1},
    "/linux/resources/rdma": {"mlx5": {}},
    "/linux/resources/unified/cgroup.procs": "1",
    "/linux/seccomp/listenerPath": "/run/x",
    "/linux/seccomp/defaultAction": "SCMP_ACT_NOTIFY",
    "/linux/seccomp/syscalls/0/action": "SCMP_ACT_NOTIFY",
}


@pytest.mark.parametrize("pointer", UNSUPPORTED)
def test_unsupported_is_refused_by_name(pointer: str) -> None:
    found = faults(changed(pointer, UNSUPPORTED[pointer]))
    assert list(found) == [pointer]
    assert "support" in found[pointer] or "Windows" in found[pointer] or "Linux only" in found[pointer]


MALFORMED: dict[str, list[Any]] = {
    "/ociVersion": ["2.0.0", 1],
    "/root/path": ["", 7, "a\0b"],
    "/root/readonly": ["yes"],
    "/hostname": ["x" * 65, 7],
    "/annotations/x": [7],
    "/process/args": [[], [""], "sh", [7]],
    "/process/cwd": ["tmp", "", None, "/" + "x" * 5000],
    "/process/terminal": ["yes", 1],
    "/process/user/uid": [-1, 4294967295, "0", True, 1.5],
    "/process/user/gid": [4294967296],
    "/process/user/umask": [512],
    "/process/user/additionalGids/0": [-1, "x"],
    "/process/env/0": ["A=\0", 7],
    "/process/oomScoreAdj": [1001, -1001],
    "/process/capabilities/bounding/0": ["chown"],
    "/process/rlimits/0/type": ["RLIMIT_TEA", None],
    "/process/rlimits/0/soft": [-1, 1 << 64, None],
    "/process/consoleSize/height": [65536],
    "/mounts/0/destination": ["proc", "", "/", "/.", None],
    "/mounts/0/type": [None],
    "/mounts/1/source": [None],
    "/linux/namespaces/0/type": ["mnt"],
    "/linux/namespaces/5/path": ["ns/pid"],
    "/linux/devices/0/path": ["dev/fuse", "/dev/../../etc/x", "/"],
    "/linux/devices/0/type": ["x"],
    "/linux/devices/0/major": [None, -1],
    "/linux/maskedPaths/0": ["proc/kcore", 7],
    "/linux/readonlyPaths/0": ["proc"],
    "/linux/rootfsPropagation": ["everywhere"],
    "/linux/personality/domain": ["BSD"],
    "/linux/timeOffsets/monotonic/nanosecs": [-1, 1_000_000_000],
    "/linux/timeOffsets/realtime": [{"secs": 1}],
    "/linux/seccomp/defaultAction": ["", 7],
    "/linux/seccomp/syscalls/0/names": [[]],
    "/linux/resources/memory/limit": [-2, 1 << 63, "64m", 1.5],
    "/linux/resources/memory/swap": [5],
    "/linux/resources/cpu/shares": [-1, 262145],
    "/linux/resources/cpu/quota": ["half"],
    "/linux/resources/cpu/period": [999, 1_000_001],
    "/linux/resources/cpu/idle": [2],
    "/linux/resources/cpu/cpus": ["all", 7],
    "/linux/resources/pids/limit": [-2, "many"],
    "/linux/resources/blockIO/weight": [9, 1001],
    "/linux/resources/blockIO/throttleReadBpsDevice/0": [{"major": 8, "rate": 1}, {"major": 8, "minor": 0}, 7],
    "/linux/resources/blockIO/weightDevice/0/weight": [9],
    "/linux/resources/hugepageLimits/0": [{"limit": 1}, {"pageSize": "2M", "limit": 1}, {"pageSize": "2MB"}],
    "/linux/resources/devices/0/type": ["p"],
    "/linux/resources/devices/0/allow": [None, 1],
    "/linux/resources/devices/0/access": ["rx"],
    "/linux/resources/devices/0/major": [4096],
    "/linux/resources/unified/memory.max": [7, "", None],
    "/linux/resources/unified/..~1..~1x.y": ["1"],
    "/linux/resources/unified/max": ["1"],
}


@pytest.mark.parametrize(("pointer", "value"), [(p, v) for p, values in MALFORMED.items() for v in values])
def test_malformed_is_refused_by_pointer(pointer: str, value: object) -> None:
    found = faults(changed(pointer, value))
    assert any(fault.startswith(pointer) for fault in found), found


@pytest.mark.parametrize("document", [None, 7, [], "x", True])
def test_not_an_object(document: object) -> None:
    assert faults(document) == {"": "must be an object"}


@pytest.mark.parametrize("key", ["process", "root", "linux", "mounts", "annotations"])
def test_part_of_another_type(key: str) -> None:
    assert f"/{key}" in faults(changed(f"/{key}", 7))


def test_all_faults_at_once() -> None:
    document = changed("/process/user/uid", -1)
    document["hooks"] = {"poststop": [{"path": "x"}]}
    document["linux"]["resources"]["memory"] = {"swappiness": 5}
    document["mounts"][0]["destination"] = "proc"
    assert set(faults(document)) == {
        "/hooks",
        "/mounts/0/destination",
        "/process/user/uid",
        "/linux/resources/memory/swappiness",
    }


def test_names_without_a_namespace_would_rename_the_host() -> None:
    document = changed("/linux/namespaces", [{"type": "mount"}])
    del document["linux"]["sysctl"], document["linux"]["timeOffsets"]
    assert set(faults(document)) == {"/hostname", "/domainname"}


@pytest.mark.parametrize(
    "name",
    [
        "kernel.core_pattern",
        "kernel.shm_rmid_forced=1+kernel.core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4.x\nkernel.core_pattern",
        "vm.overcommit_memory",
        "fs.mqueue.msg_max2",
        "net",
        "net.",
        "/net/ipv4/ip_forward",
        "kernel/shm_rmid_forced",
        "kernel.hostname",
        "",
    ],
)
def test_run_19_only_namespaced_sysctls(name: str) -> None:
    """RUN-19, CVE-2022-0811: whole names only, no separators that a parser further down could read otherwise."""
    assert list(faults(changed("/linux/sysctl/" + name.replace("/", "~1"), "1"))) == [
        "/linux/sysctl/" + name.replace("/", "~1")
    ]


def test_run_19_values_are_one_line() -> None:
    assert "/linux/sysctl/net.ipv4.ip_forward" in faults(changed("/linux/sysctl/net.ipv4.ip_forward", "1\n2"))


def test_run_19_sysctls_need_a_namespace_of_ones_own() -> None:
    """RUN-19: with --network host or container:X a sysctl would be somebody else's."""
    document = changed("/linux/namespaces/2/path", "/proc/7/ns/net")
    assert list(faults(document)) == ["/linux/sysctl/net.ipv4.ping_group_range"]


def test_joined_time_namespace_has_its_clocks() -> None:
    assert list(faults(changed("/linux/namespaces/4/path", "/proc/7/ns/time"))) == ["/linux/timeOffsets"]


def test_process_of_an_exec() -> None:
    specification.validate_process(GOOD["process"])
    with pytest.raises(SpecError) as caught:
        specification.validate_process({**GOOD["process"], "args": []}, "/process")
    assert [pointer for pointer, _ in caught.value.faults] == ["/process/args"]
