# SPDX-License-Identifier: Apache-2.0
"""Specifications, hosts and facts that plans are compiled from in these tests. Values only: nothing is looked up."""

from __future__ import annotations

from typing import Any

from minirt.model.capabilities import NAMES
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
