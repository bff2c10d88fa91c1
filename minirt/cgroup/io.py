# SPDX-License-Identifier: Apache-2.0
"""The io controller (cgroup-v2.rst, "IO Interface Files"): what was read and written by device, and which file weighs.

io.max limits by device and works with every scheduler. A weight works only where somebody shares the disk by it: the
scheduler BFQ (io.bfq.weight) or the cost model (io.weight), which has to be switched on for a disk. Must not import
kernel or plan.
"""

from __future__ import annotations

import os

from minirt.cgroup import tree
from minirt.errors import HostError

NAME = "io"
_DISKS = "/sys/block"


class Io:
    """Bytes and requests, all devices together. devices: {"254:0": {"rbytes": …, "wbytes": …, "rios": …}}."""

    __slots__ = ("devices", "read_bytes", "reads", "written_bytes", "writes")

    def __init__(self, devices: dict[str, dict[str, int]]) -> None:
        self.devices = devices
        self.read_bytes, self.written_bytes, self.reads, self.writes = (
            sum(device.get(key, 0) for device in devices.values()) for key in ("rbytes", "wbytes", "rios", "wios")
        )


def read(path: str) -> Io | None:
    """None where there is no such cgroup or the controller is not in it."""
    text = tree.optional(path, "io.stat")
    if text is None:
        return None
    devices = {}
    for line in text.splitlines():
        device, _, rest = line.partition(" ")
        pairs = (word.partition("=") for word in rest.split())
        devices[device] = {key: int(value) for key, equals, value in pairs if equals and value.isdecimal()}
    return Io(devices)


def weight_file(limit: str, parent: str, disks: str = _DISKS) -> str:
    """The file that a weight is written to: "io.bfq.weight" or "io.weight". HostError, naming `limit`, where none of
    the host's disks is shared by weight: there it would be kept and mean nothing. parent: of the new cgroup."""
    if os.path.exists(f"{parent}/io.bfq.weight") and any(map(_by_bfq, _schedulers(disks))):
        return "io.bfq.weight"
    costs = tree.optional(tree.mount_point(), "io.cost.qos") or ""
    if os.path.exists(f"{parent}/io.weight") and "enable=1" in costs:
        return "io.weight"
    raise HostError(
        f"{limit} needs a disk that is shared by weight, and none of this host is",
        "modprobe bfq && echo bfq > /sys/block/DISK/queue/scheduler; or io.cost.qos of cgroup v2",
    )


def _schedulers(disks: str) -> list[str]:
    found = []
    for disk in os.listdir(disks):
        try:
            with open(f"{disks}/{disk}/queue/scheduler") as file:
                found.append(file.read())
        except OSError:
            continue  # one without a queue
    return found


def _by_bfq(schedulers: str) -> bool:
    """The one in brackets is in use: "mq-deadline kyber [bfq] none"."""
    return "[bfq]" in schedulers
