# SPDX-License-Identifier: Apache-2.0
"""Specifications, hosts and facts that plans are compiled from in these tests. Values only: nothing is looked up."""

from __future__ import annotations

from typing import Any

from minirt.model.capabilities import NAMES
from minirt.model.network import Endpoint, Port
from minirt.plan import defaults
from minirt.plan.compile import Context
from minirt.plan.facts import Host

HOST = Host(
    kernel=(6, 12),
    arch="x86_64",
    capabilities=NAMES,
    namespaces=("mount", "pid", "network", "uts", "ipc", "cgroup", "time", "user"),
    hard_limits={"RLIMIT_NOFILE": 524288},
    cgroup_mount="/sys/fs/cgroup",
    lowerdir_plus=True,
)
OLD_HOST = Host((5, 15), "x86_64", NAMES, HOST.namespaces, {}, "/sys/fs/cgroup/unified", False)

ENDPOINTS = (
    Endpoint("n", "c", "eth0", 100, "veth1a2b3c4", "02:42:ac:11:00:02", "172.17.0.2", 16, "fd00::2", 64),
    Endpoint("m", "c", "eth1", 101, "veth4c3b2a1", "02:42:ac:12:00:07", "172.18.0.7", 16),
    Endpoint("l", "c", "eth2", 102, "", "02:42:c0:00:02:07", "192.0.2.7", 24),
)
PORTS = (
    Port("tcp", "", 8080, 80, "172.17.0.2", "fd00::2"),
    Port("udp", "192.0.2.1", 53, 53, "172.17.0.2", "fd00::2"),
    Port("tcp", "127.0.0.1", 8081, 80, "172.17.0.2", "fd00::2"),
    Port("tcp", "0.0.0.0", 81, 80, "172.17.0.2", "fd00::2"),
    Port("tcp", "2001:db8::1", 82, 80, "172.17.0.2", "fd00::2"),
)


def context(**wanted: Any) -> Context:
    place = {"id": "abc", "bundle": "/b", "rootfs_path": "/b/rootfs", "cgroup_path": "/sys/fs/cgroup/minirt/abc"}
    return Context(**{**place, **wanted})


def process(**wanted: Any) -> dict[str, Any]:
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0, "umask": 0o22, "additionalGids": [0]},
        "args": ["sh", "-c", "true"],
        "env": ["PATH=/usr/bin:/bin", "HOME=/root"],
        "cwd": "/",
        "capabilities": {name: list(defaults.CAPABILITIES) for name in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": name, "soft": soft, "hard": hard} for name, soft, hard in defaults.RLIMITS],
        "noNewPrivileges": False,
        **wanted,
    }


def spec(**wanted: Any) -> dict[str, Any]:
    """What `run` makes of an image without any flag."""
    return {
        "ociVersion": "1.2.0",
        "process": process(),
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "box",
        "mounts": defaults.mounts(),
        "linux": {
            "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
            "maskedPaths": defaults.masked_paths(),
            "readonlyPaths": list(defaults.READONLY),
            "sysctl": dict(defaults.SYSCTL),
        },
        **wanted,
    }


def bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": list(options)}


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in names}
