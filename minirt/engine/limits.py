# SPDX-License-Identifier: Apache-2.0
"""What of the asked limits this host can keep: controllers, processors, memory nodes, disks, device nodes (cgroups(7),
cpuset(7)). Everything that cannot be kept is refused by the flag's name, with the remedy; nothing is left out quietly.

Imported only by a container with a limit (options.LIMITS). Must not import runtime or kernel.
"""

from __future__ import annotations

import os
import stat

from minirt.cgroup import cpuset, home, hugetlb, io, memory, owners, tree
from minirt.engine import devices, resource_flags
from minirt.errors import HostError, InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import RunOptions

_SIZE_LIMIT = 255
_RATES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}


class Limits:
    """resources: for linux.resources, "devices" being the rules that allow. devices: for linux.devices."""

    __slots__ = ("devices", "resources")

    def __init__(self, resources: dict[str, Any], nodes: list[dict[str, object]]) -> None:
        self.resources = resources
        self.devices = nodes


def settle(options: RunOptions) -> Limits:
    """Raises InvalidValue for what is malformed or more than there is, HostError for what this host cannot keep."""
    found = resource_flags.resources(options)
    parent(options.cgroup_parent)
    sizes = hugetlb.sizes() if "hugepageLimits" in found else ()
    for one in found.get("hugepageLimits", ()):
        if one["pageSize"] not in sizes:
            raise InvalidValue(
                f"this kernel has no huge pages of {one['pageSize']}", f"it has {' '.join(sizes) or 'none'}"
            )
    controllers(options)
    processors(found.get("cpu") or {})
    swap(found.get("memory") or {}, bool(options.memory_swap))
    _disks(options, found)
    nodes, rules = _devices(options)
    if rules:
        found["devices"] = rules
    return Limits(found, nodes)


def controllers(options: RunOptions) -> None:
    """HostError for a flag whose controller v1 has, or nobody, or that is not handed on to minirt's cgroups."""
    wanted = resource_flags.controllers(options)
    if not wanted:
        return
    place = home.home()
    there = home.available(place)
    for controller, flag in wanted.items():
        owners.require(controller, flag)
        if controller not in there:
            raise home.missing(controller, flag, place)
    if options.blkio_weight or options.blkio_weight_device:
        flag = "--blkio-weight" if options.blkio_weight else "--blkio-weight-device"
        io.weight_file(flag, place)


def writable(options: RunOptions) -> None:
    """--security-opt writable-cgroups: what is below the container's cgroup becomes its own. Its own limits must not:
    the kernel keeps them from it where cgroup v2 is mounted with nsdelegate (cgroup-v2.rst, "Delegation")."""
    if options.cgroupns == "host":
        raise InvalidValue(
            "conflicting options: writable-cgroups and the host's cgroup namespace", "leave out --cgroupns host"
        )
    if not tree.delegates_namespaces():
        mount = tree.mount_point()
        raise HostError(
            f"writable-cgroups needs cgroup v2 mounted with nsdelegate, and {mount} is not: the container could lift "
            f"its own limits",
            f"mount -o remount,nsdelegate {mount}",
        )


def parent(text: str) -> None:
    """--cgroup-parent: a path below the cgroup of all containers, since minirt writes nowhere else."""
    names = text.strip("/").split("/") if text else ()
    for name in names:
        known = name.replace("-", "").replace("_", "").replace(".", "").isalnum() and name.isascii()
        if not known or name in (".", "..") or len(name) > _SIZE_LIMIT or _is_file(name):
            raise InvalidValue(
                f'invalid --cgroup-parent "{text}"', "a path of letters, digits, hyphens and underscores"
            )
        if name.endswith((".slice", ".scope", ".service")):
            raise InvalidValue(
                f'invalid --cgroup-parent "{text}": "{name}" is a unit of systemd, which makes those itself',
                f"name a path without one; it lies below {home.home()}",
            )


def _is_file(name: str) -> bool:
    """cgroup-v2.rst, "Avoid Name Collisions": what begins with a controller's name and a dot, or cgroup's."""
    return name.partition(".")[0] in (*home.CONTROLLERS, "cgroup", "hugetlb", "rdma", "misc", "irq") and "." in name


def processors(cpu: dict[str, Any]) -> None:
    """No more than there are, and only those that are there (Docker's words)."""
    if not cpu:
        return
    place = home.home()
    for key, what in (("cpus", "CPUs"), ("mems", "memory nodes")):
        if key not in cpu:
            continue
        there = cpuset.available(key, place)
        try:
            asked = cpuset.members(cpu[key])
        except ValueError:
            asked = set()
        if not asked:
            raise InvalidValue(f"Invalid value {cpu[key]} for cpuset {key}", "write --cpuset-cpus 0-2,7")
        if not asked <= cpuset.members(there):
            raise InvalidValue(
                f"Requested {what} are not available - requested {cpu[key]}, available: {there}",
                f"ask for some of {there}",
            )
    quota, period = cpu.get("quota", -1), cpu.get("period", resource_flags.PERIOD_US)
    count = os.cpu_count() or 1
    if quota > count * period:
        raise InvalidValue(
            f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available", "ask for fewer"
        )


def swap(limits: dict[str, Any], asked: bool) -> None:
    """A kernel that does not count swap cannot limit it: that is left out where nobody asked for it by name."""
    if "swap" not in limits or memory.counts_swap(tree.mount_point()):
        return
    if asked:
        raise HostError(
            "--memory-swap needs a kernel that counts swap in cgroups, and this one does not", "boot with swapaccount=1"
        )
    del limits["swap"]


def _disks(options: RunOptions, found: dict[str, Any]) -> None:
    """Rates and weights by device number."""
    block: dict[str, Any] = found.get("blockIO") or {}
    if options.blkio_weight_device:
        pairs = [resource_flags.weight_device(text) for text in options.blkio_weight_device]
        block["weightDevice"] = [{**_disk(path), "weight": weight} for path, weight in pairs]
    for field, key in _RATES.items():
        flag = resource_flags.spelled(field)
        pairs = [resource_flags.rate(text, flag) for text in getattr(options, field)]
        if pairs:
            block[key] = [{**_disk(path), "rate": value} for path, value in pairs]
    if block:
        found["blockIO"] = block


def _disk(path: str) -> dict[str, int]:
    """The kernel limits whole disks: a partition's number is refused there, by us with its name."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidValue(f'no such device: "{path}"', "lsblk lists them") from error
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidValue(f'"{path}" is no block device', "lsblk lists them")
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    if os.path.exists(f"/sys/dev/block/{major}:{minor}/partition"):
        whole = os.path.basename(os.path.dirname(os.path.realpath(f"/sys/dev/block/{major}:{minor}")))
        raise InvalidValue(f'"{path}" is a partition, and the kernel limits whole disks', f"name /dev/{whole}")
    return {"major": major, "minor": minor}


def _devices(options: RunOptions) -> tuple[list[dict[str, object]], list[dict[str, Any]]]:
    """--device and --device-cgroup-rule: nodes to make, rules that allow."""
    nodes: list[dict[str, object]] = []
    rules = []
    for text in options.device:
        path, inside, access = resource_flags.device(text)
        for node in devices.named(path, inside):
            if node["path"] not in (other["path"] for other in nodes):
                nodes.append(node)
            rules.append({"allow": True, "access": access} | {key: node[key] for key in ("type", "major", "minor")})
    return nodes, rules + [resource_flags.device_rule(text) for text in options.device_cgroup_rule]
