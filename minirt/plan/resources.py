# SPDX-License-Identifier: Apache-2.0
"""linux.resources as files of cgroup v2: one file, one value (runtime-spec config-linux.md, "Control groups";
cgroup-v2.rst; the conversions from v1's figures are those that crun publishes, "cgroup v2 table").

    cpu.shares 2…262144 → cpu.weight 1…10000       blockIO.weight 10…1000 → io.weight 1…10000 (io.bfq.weight as it is)
    memory.swap, of both together → memory.swap.max, of swap alone; -1 → "max"

`settings` is what `update` writes to a container that runs; `limit` makes the same the host's steps of a birth: the
first process is born into a cgroup that limits it already. Pure; must not import kernel or cgroup.
"""

from __future__ import annotations

from minirt.plan.build import BENEATH, NONE, Build
from minirt.plan.step import HOST, Blob, Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_ROOT = "/linux/resources"
_PERIOD_US = 100_000
_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


class Setting:
    """One write. controller: what must be enabled above the cgroup, "" for a core file. pointer: what asked for it."""

    __slots__ = ("controller", "file", "pointer", "text")

    def __init__(self, controller: str, file: str, text: str, pointer: str) -> None:
        self.controller = controller
        self.file = file
        self.text = text
        self.pointer = pointer


def settings(resources: dict[str, Any], io_weight: str = "io.weight") -> list[Setting]:
    """Every file that is to be written, in an order that the kernel takes. Devices are no file: devices_program.py.
    io_weight: the file that a weight goes to (cgroup/io.py knows which one works here)."""
    return [
        *_memory(resources.get("memory") or {}),
        *_cpu(resources.get("cpu") or {}),
        *_pids(resources.get("pids") or {}),
        *_block_io(resources.get("blockIO") or {}, io_weight),
        *_hugetlb(resources.get("hugepageLimits") or []),
        *_unified(resources.get("unified") or {}),
    ]


def limit(build: Build) -> None:
    """Host, before the clone: each file below the descriptor of the container's new cgroup."""
    resources = build.linux.get("resources")
    if not resources or not build.context.cgroup_path:
        return
    for setting in settings(resources, build.context.io_weight):
        slot = setting.file
        build.add(
            "openat2", Fd("cgroup"), setting.file, Flags("O_WRONLY|O_CLOEXEC"), NONE, BENEATH, out=slot, actor=HOST,
            pointer=setting.pointer, kind="limit",
        )  # fmt: skip
        data = Blob(setting.text.encode(), setting.text)
        build.add("write", Fd(slot), data, actor=HOST, pointer=setting.pointer, kind="limit")
        build.add("close", Fd(slot), actor=HOST, pointer=setting.pointer, kind="limit")


def weight_of_shares(shares: int) -> int:
    """cpu.weight for v1's cpu.shares."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def _number(value: int) -> str:
    """A limit: what is negative is none."""
    return "max" if value < 0 else str(value)


def _memory(memory: dict[str, Any]) -> Iterator[Setting]:
    pointer = f"{_ROOT}/memory"
    most, both = memory.get("limit"), memory.get("swap")
    if most is not None:
        yield Setting("memory", "memory.max", _number(most), pointer + "/limit")
    if both is not None:
        alone = both if both < 0 else both - max(0, most or 0)
        yield Setting("memory", "memory.swap.max", _number(alone), pointer + "/swap")
    if memory.get("reservation") is not None:
        yield Setting("memory", "memory.low", _number(memory["reservation"]), pointer + "/reservation")


def _cpu(cpu: dict[str, Any]) -> Iterator[Setting]:
    pointer = f"{_ROOT}/cpu"
    quota, period = cpu.get("quota"), cpu.get("period")
    if cpu.get("shares"):
        yield Setting("cpu", "cpu.weight", str(weight_of_shares(cpu["shares"])), pointer + "/shares")
    if quota is not None or period:
        most = str(quota) if quota is not None and quota > 0 else "max"
        named = "/quota" if quota is not None else "/period"
        yield Setting("cpu", "cpu.max", f"{most} {period or _PERIOD_US}", pointer + named)
    if cpu.get("burst") is not None:
        yield Setting("cpu", "cpu.max.burst", str(cpu["burst"]), pointer + "/burst")
    if cpu.get("idle") is not None:
        yield Setting("cpu", "cpu.idle", str(cpu["idle"]), pointer + "/idle")
    for key in ("cpus", "mems"):
        if cpu.get(key):
            yield Setting("cpuset", f"cpuset.{key}", cpu[key], f"{pointer}/{key}")


def _pids(pids: dict[str, Any]) -> Iterator[Setting]:
    if pids.get("limit") is not None:
        most = pids["limit"] or -1
        yield Setting("pids", "pids.max", _number(most), f"{_ROOT}/pids/limit")


def _block_io(block: dict[str, Any], weight_file: str) -> Iterator[Setting]:
    pointer = f"{_ROOT}/blockIO"
    if block.get("weight"):
        yield Setting("io", weight_file, _weight(block["weight"], weight_file), pointer + "/weight")
    for index, device in enumerate(block.get("weightDevice") or ()):
        if device.get("weight"):
            text = f"{device['major']}:{device['minor']} {_weight(device['weight'], weight_file)}"
            yield Setting("io", weight_file, text, f"{pointer}/weightDevice/{index}")
    for key, word in _THROTTLES:
        for index, device in enumerate(block.get(key) or ()):
            text = f"{device['major']}:{device['minor']} {word}={device['rate'] or 'max'}"
            yield Setting("io", "io.max", text, f"{pointer}/{key}/{index}")


def _weight(weight: int, file: str) -> str:
    """BFQ has v1's range; the cost model a hundred as its default, of up to ten thousand."""
    return str(weight if file == "io.bfq.weight" else 1 + (weight - 10) * 9999 // 990)


def _hugetlb(limits: list[dict[str, Any]]) -> Iterator[Setting]:
    for index, one in enumerate(limits):
        pointer = f"{_ROOT}/hugepageLimits/{index}"
        yield Setting("hugetlb", f"hugetlb.{one['pageSize']}.max", _number(one["limit"]), pointer)


def _unified(files: dict[str, str]) -> Iterator[Setting]:
    """Files by their name: what the specification has no member for."""
    for name, text in files.items():
        controller = name.partition(".")[0]
        pointer = f"{_ROOT}/unified/" + name.replace("~", "~0").replace("/", "~1")
        yield Setting("" if controller == "cgroup" else controller, name, text, pointer)
