# SPDX-License-Identifier: Apache-2.0
"""The limits of a container as `inspect` shows them under HostConfig: Docker's names, from linux.resources, which is
what `update` changes, and for devices from what was asked for.

Must not import runtime or kernel.
"""

from __future__ import annotations

from minirt.engine import resource_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import RunOptions


def limits(options: RunOptions, resources: dict[str, Any]) -> dict[str, Any]:
    memory, cpu, block = (resources.get(key) or {} for key in ("memory", "cpu", "blockIO"))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    return {
        "CpuShares": cpu.get("shares") or 0,
        "Memory": memory.get("limit") or 0,
        "NanoCpus": quota * resource_flags.NANO // period if options.cpus and quota > 0 and period else 0,
        "CgroupParent": options.cgroup_parent,
        "BlkioWeight": block.get("weight") or 0,
        "BlkioWeightDevice": _pairs(options.blkio_weight_device, "Weight", resource_flags.weight_device),
        "BlkioDeviceReadBps": _rates(options.device_read_bps, "--device-read-bps"),
        "BlkioDeviceWriteBps": _rates(options.device_write_bps, "--device-write-bps"),
        "BlkioDeviceReadIOps": _rates(options.device_read_iops, "--device-read-iops"),
        "BlkioDeviceWriteIOps": _rates(options.device_write_iops, "--device-write-iops"),
        "CpuPeriod": 0 if options.cpus else period,
        "CpuQuota": 0 if options.cpus else quota,
        "CpusetCpus": cpu.get("cpus") or "",
        "CpusetMems": cpu.get("mems") or "",
        "Devices": [_device(text) for text in options.device],
        "DeviceCgroupRules": options.device_cgroup_rule or None,
        "MemoryReservation": memory.get("reservation") or 0,
        "MemorySwap": memory.get("swap") or 0,
        "OomKillDisable": False,
        "PidsLimit": (resources.get("pids") or {}).get("limit"),
    }


def _device(text: str) -> dict[str, str]:
    host, inside, access = resource_flags.device(text)
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access}


def _rates(words: list[str], flag: str) -> list[dict[str, object]] | None:
    return _pairs(words, "Rate", lambda text: resource_flags.rate(text, flag))


def _pairs(words: list[str], key: str, read: Any) -> list[dict[str, object]] | None:
    return [{"Path": path, key: value} for path, value in map(read, words)] or None
