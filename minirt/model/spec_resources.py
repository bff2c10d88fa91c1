# SPDX-License-Identifier: Apache-2.0
"""linux.resources of a config.json (runtime-spec config-linux.md, "Control groups"): its form, and what has no meaning
in cgroup v2. Whether this host has the controllers is found out at the start. Pure; must import nothing but this room.
"""

from __future__ import annotations

from minirt.model.spec_faults import Faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOT = "/linux/resources"
_UNSUPPORTED = {
    "network": "network classes are not supported: cgroup v2 has none",
    "rdma": "RDMA limits are not supported",
}
_MEMORY = {
    "kernel": "a limit of the kernel's memory alone is not supported: cgroup v2 counts it in memory.max",
    "kernelTCP": "a limit of the memory of TCP alone is not supported: cgroup v2 counts it in memory.max",
    "swappiness": "swappiness is not supported: cgroup v2 has none for a cgroup",
    "disableOOMKiller": "to switch off the OOM killer is not supported: cgroup v2 cannot",
}
_CPU = {
    "realtimeRuntime": "real-time scheduling is not supported: cgroup v2 has no limits for it",
    "realtimePeriod": "real-time scheduling is not supported: cgroup v2 has no limits for it",
}
_BLOCK = {
    "leafWeight": "leaf weights are not supported: cgroup v2 has none",
}
_THROTTLES = (
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
)
_MOST = (1 << 63) - 1
_DEVICE_TYPES = ("a", "b", "c")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def check(resources: dict[str, Any], faults: Faults) -> None:
    faults.unsupported(resources, _ROOT, _UNSUPPORTED)
    _memory(faults.member(resources, _ROOT, "memory", dict), faults)
    _cpu(faults.member(resources, _ROOT, "cpu", dict), faults)
    pids = faults.member(resources, _ROOT, "pids", dict)
    faults.number(pids, _ROOT + "/pids", "limit", -1, _MOST)
    _block(faults.member(resources, _ROOT, "blockIO", dict), faults)
    for index, one in enumerate(faults.objects(resources, _ROOT, "hugepageLimits")):
        here = f"{_ROOT}/hugepageLimits/{index}"
        size = faults.text(one, here, "pageSize", required=True)
        if size and (size[-2:] not in ("KB", "MB", "GB") or not size[:-2].isdecimal()):
            faults.add(here + "/pageSize", f'"{size}" must be like 2MB')
        faults.number(one, here, "limit", 0, (1 << 64) - 1, required=True)
    for index, rule in enumerate(faults.objects(resources, _ROOT, "devices")):
        _device(rule, f"{_ROOT}/devices/{index}", faults)
    for name, value in faults.member(resources, _ROOT, "unified", dict).items():
        _unified(name, value, faults)


def _memory(memory: dict[str, Any], faults: Faults) -> None:
    pointer = _ROOT + "/memory"
    faults.unsupported(memory, pointer, _MEMORY)
    for key in ("useHierarchy", "checkBeforeUpdate"):
        faults.member(memory, pointer, key, bool)
    limit = faults.number(memory, pointer, "limit", -1, _MOST)
    faults.number(memory, pointer, "reservation", -1, _MOST)
    swap = faults.number(memory, pointer, "swap", -1, _MOST)
    if swap > 0 and not 0 < limit <= swap:
        faults.add(pointer + "/swap", "is memory and swap together: it must be at least the limit of memory")


def _cpu(cpu: dict[str, Any], faults: Faults) -> None:
    pointer = _ROOT + "/cpu"
    faults.unsupported(cpu, pointer, _CPU)
    faults.number(cpu, pointer, "shares", 0, 262144)
    faults.number(cpu, pointer, "quota", -1, _MOST)
    if cpu.get("period") != 0:
        faults.number(cpu, pointer, "period", 1000, 1_000_000)
    faults.number(cpu, pointer, "burst", 0, _MOST)
    faults.number(cpu, pointer, "idle", 0, 1)
    for key in ("cpus", "mems"):
        text = faults.text(cpu, pointer, key)
        if text and not frozenset("0123456789,-\n ").issuperset(text):
            faults.add(f"{pointer}/{key}", f'"{text}" must be a list like 0-2,7')


def _block(block: dict[str, Any], faults: Faults) -> None:
    pointer = _ROOT + "/blockIO"
    faults.unsupported(block, pointer, _BLOCK)
    if block.get("weight") != 0:
        faults.number(block, pointer, "weight", 10, 1000)
    for key in ("weightDevice", *_THROTTLES):
        for index, device in enumerate(faults.objects(block, pointer, key)):
            here = f"{pointer}/{key}/{index}"
            faults.number(device, here, "major", 0, (1 << 12) - 1, required=True)
            faults.number(device, here, "minor", 0, (1 << 20) - 1, required=True)
            if key == "weightDevice":
                faults.unsupported(device, here, _BLOCK)
                faults.number(device, here, "weight", 10, 1000)
            else:
                faults.number(device, here, "rate", 0, _MOST, required=True)


def _device(rule: dict[str, Any], here: str, faults: Faults) -> None:
    if not isinstance(rule.get("allow"), bool):
        faults.add(here + "/allow", "must be true or false")
    faults.one_of(rule, here, "type", _DEVICE_TYPES)
    faults.number(rule, here, "major", -1, (1 << 12) - 1)
    faults.number(rule, here, "minor", -1, (1 << 20) - 1)
    access = faults.text(rule, here, "access")
    if access and not frozenset("rwm").issuperset(access):
        faults.add(here + "/access", f'"{access}" must be of the letters r, w and m')


def _unified(name: str, value: object, faults: Faults) -> None:
    """A file of the cgroup itself; what groups, freezes and kills is the runtime's."""
    here = faults.join(_ROOT + "/unified", name)
    if not isinstance(value, str) or not value or "\0" in value:
        faults.add(here, "must be a string")
    if not _WORD.issuperset(name) or "." not in name.strip("."):
        faults.add(here, f'"{name}" is no file of a cgroup')
    elif name.startswith("cgroup."):
        faults.add(here, f"{name} is not supported: it is the runtime's to write")
