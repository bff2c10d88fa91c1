# SPDX-License-Identifier: Apache-2.0
"""The grammar of the flags that limit, and linux.resources made of them (docker-run(1); runtime-spec config-linux.md,
"Control groups"): --memory, --cpus, --pids-limit, --device-read-bps, --device … with Docker's words for what is wrong.

Text in, values out. What the host must have for it, limits.py looks at; it is imported with this file, where a limit
is given. Must not import anything but errors, flags and model.
"""

from __future__ import annotations

from minirt.engine.flags import size
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import RunOptions

LEAST_MEMORY_BYTES = 6 << 20  # Docker's floor: a container's own first steps need some
NANO = 1_000_000_000
PERIOD_US = 100_000
CONTROLLERS = {
    "memory": ("memory", "memory_reservation", "memory_swap"),
    "cpu": ("cpus", "cpu_shares", "cpu_period", "cpu_quota"),
    "cpuset": ("cpuset_cpus", "cpuset_mems"),
    "pids": ("pids_limit",),
    "io": ("blkio_weight", "blkio_weight_device", "device_read_bps", "device_write_bps", "device_read_iops",
           "device_write_iops"),
    "hugetlb": ("hugetlb_limit",),
}  # fmt: skip
"""What each controller is asked for by."""


def spelled(field: str) -> str:
    return "--" + field.replace("_", "-")


def controllers(options: RunOptions) -> dict[str, str]:
    """{controller: the first flag that needs it}."""
    found: dict[str, str] = {}
    for controller, fields in CONTROLLERS.items():
        for field in fields:
            if getattr(options, field) not in ("", None, []):
                found.setdefault(controller, spelled(field))
    if not (options.pids_limit or 0) > 0:
        found.pop("pids", None)  # unlimited is what the kernel does anyway
    return found


def resources(options: RunOptions) -> dict[str, Any]:
    """linux.resources without what names a device (limits.py). Only what is asked for is in it. InvalidValue."""
    found: dict[str, Any] = {}
    if memory := _memory(options):
        found["memory"] = memory
        if "limit" in memory:  # the kernel takes all of the container, not one process that the others wait for
            found["unified"] = {"memory.oom.group": "1"}
    if cpu := _cpu(options):
        found["cpu"] = cpu
    if options.pids_limit is not None:
        found["pids"] = {"limit": options.pids_limit if options.pids_limit > 0 else -1}
    if options.hugetlb_limit:
        found["hugepageLimits"] = [_huge_pages(text) for text in options.hugetlb_limit]
    if options.blkio_weight:
        if not 10 <= options.blkio_weight <= 1000:
            raise InvalidValue("range of blkio weight is from 10 to 1000", "leave it out for the usual share")
        found["blockIO"] = {"weight": options.blkio_weight}
    return found


def _memory(options: RunOptions) -> dict[str, int]:
    """Docker's rules (daemon_unix.go, verifyPlatformContainerResources): with a limit and no --memory-swap, as much
    swap again."""
    limit = size(options.memory, "--memory") if options.memory else 0
    low = size(options.memory_reservation, "--memory-reservation") if options.memory_reservation else 0
    both = (
        -1 if options.memory_swap == "-1" else size(options.memory_swap, "--memory-swap") if options.memory_swap else 0
    )
    for value, what in ((limit, "limit"), (low, "reservation")):
        if 0 < value < LEAST_MEMORY_BYTES:
            raise InvalidValue(f"Minimum memory {what} allowed is 6MB", "write 6m or more")
    if both > 0 and not limit:
        raise InvalidValue(
            "You should always set the Memory limit when using Memoryswap limit", "give --memory as well"
        )
    if 0 < both < limit:
        raise InvalidValue(
            "Minimum memoryswap limit should be larger than memory limit", "--memory-swap is memory and swap together"
        )
    if limit and low > limit:
        raise InvalidValue(
            "Minimum memory limit can not be less than memory reservation limit", "give less to --memory-reservation"
        )
    found = {"limit": limit} if limit else {}
    if limit or both:
        found["swap"] = both or 2 * limit
    if low:
        found["reservation"] = low
    return found


def _cpu(options: RunOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    nano = nano_cpus(options.cpus) if options.cpus else 0
    period, quota, shares = options.cpu_period or 0, options.cpu_quota or 0, options.cpu_shares or 0
    if nano and (period or quota):
        both = "Period" if period else "Quota"
        raise InvalidValue(
            f"Conflicting options: Nano CPUs and CPU {both} cannot both be set",
            f"leave out --cpus or --cpu-{both.lower()}",
        )
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidValue("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise InvalidValue("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if shares and not 2 <= shares <= 262144:
        raise InvalidValue(f"invalid CPU shares ({shares}): range is from 2 to 262144", "1024 is the usual share")
    if nano:
        found["quota"], found["period"] = max(1000, nano * PERIOD_US // NANO), PERIOD_US
    elif period or quota:
        found["quota"], found["period"] = quota if quota > 0 else -1, period or PERIOD_US
    if shares:
        found["shares"] = shares
    if options.cpuset_cpus:
        found["cpus"] = options.cpuset_cpus
    if options.cpuset_mems:
        found["mems"] = options.cpuset_mems
    return found


def nano_cpus(text: str) -> int:
    """Billionths of a CPU: "1.5", ".5", as Docker's client reads a rational number."""
    whole, _, fraction = text.partition(".")
    if not text.isascii() or not (whole + fraction).isdecimal():
        raise InvalidValue(
            f'invalid argument "{text}" for "--cpus" flag: failed to parse {text} as a rational number',
            "write 0.5 or 2",
        )
    if len(fraction.rstrip("0")) > 9:
        raise InvalidValue(f'invalid argument "{text}" for "--cpus" flag: value is too precise')
    return int(whole or "0") * NANO + int(fraction[:9].ljust(9, "0"))


def _huge_pages(text: str) -> dict[str, object]:
    """SIZE:LIMIT, "2MB:64m"."""
    page, colon, limit = text.partition(":")
    bytes_ = size(page, "--hugetlb-limit")
    if not colon or bytes_ < 1 << 10:
        raise InvalidValue(f'invalid --hugetlb-limit "{text}"', "write --hugetlb-limit 2MB:64m")
    shift, unit = (30, "GB") if bytes_ >= 1 << 30 else (20, "MB") if bytes_ >= 1 << 20 else (10, "KB")
    return {"pageSize": f"{bytes_ >> shift}{unit}", "limit": size(limit, "--hugetlb-limit")}


def weight_device(text: str) -> tuple[str, int]:
    """--blkio-weight-device PATH:WEIGHT."""
    path, _, weight = text.rpartition(":")
    if not path.startswith("/dev/"):
        raise InvalidValue(f"bad format for device path: {text}", "write /dev/vda:500")
    if not weight.isdecimal() or (int(weight) and not 10 <= int(weight) <= 1000):
        raise InvalidValue(f"invalid weight for device: {text}", "10 to 1000")
    return path, int(weight)


def rate(text: str, flag: str) -> tuple[str, int]:
    """--device-read-bps PATH:RATE with a unit, --device-read-iops PATH:RATE without."""
    path, _, number = text.rpartition(":")
    if not path.startswith("/dev/"):
        raise InvalidValue(f"bad format for device path: {text}", "write /dev/vda:1mb")
    try:
        value = size(number, flag) if flag.endswith("bps") else int(number) if number.isdecimal() else 0
    except InvalidValue:
        value = 0
    if value <= 0:
        form = "<number>[<unit>]" if flag.endswith("bps") else "<number>"
        units = "; unit is optional and can be kb, mb, or gb" if flag.endswith("bps") else ""
        raise InvalidValue(
            f"invalid rate for device: {text}", f"the format is <device-path>:{form}; number must be positive{units}"
        )
    return path, value


def device(text: str) -> tuple[str, str, str]:
    """--device HOST[:INSIDE][:rwm] → (host path, path inside, access)."""
    parts = text.split(":")
    path, inside, access = parts[0], "", "rwm"
    if len(parts) == 2 and _is_access(parts[1]):
        access = parts[1]
    elif len(parts) >= 2:
        inside = parts[1]
        access = parts[2] if len(parts) == 3 else "rwm"
    inside = inside or (path if len(parts) < 3 and not text.endswith(":") else "")
    if len(parts) > 3 or not path.startswith("/") or not inside.startswith("/") or not _is_access(access):
        raise InvalidValue(f"bad format for device: {text}", "write --device /dev/fuse[:/dev/inside][:rwm]")
    if ".." in inside.split("/"):
        raise InvalidValue(f"bad format for device: {text}: the path inside must not contain ..")
    return path, inside, access


def _is_access(text: str) -> bool:
    return bool(text) and len(set(text)) == len(text) and frozenset("rwm").issuperset(text)


def device_rule(text: str) -> dict[str, Any]:
    """--device-cgroup-rule "c 10:* rwm": type, major:minor, access."""
    kind, _, rest = text.partition(" ")
    numbers, _, access = rest.partition(" ")
    major, colon, minor = numbers.partition(":")
    fine = all(number == "*" or (number.isascii() and number.isdecimal()) for number in (major, minor))
    if kind not in ("a", "b", "c") or not colon or not fine or not _is_access(access):
        raise InvalidValue(f"invalid device cgroup format '{text}'", "write --device-cgroup-rule 'c 10:* rwm'")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for key, number, most in (("major", major, 1 << 12), ("minor", minor, 1 << 20)):
        if number != "*":
            if int(number) >= most:
                raise InvalidValue(f"invalid device cgroup format '{text}': {number} is no {key} number")
            rule[key] = int(number)
    return rule
