# SPDX-License-Identifier: Apache-2.0
"""`minirt info`: how many containers and images, where they lie, what this host is (docker-info(1))."""

from __future__ import annotations

import os

from minirt.cgroup import home, memory, tree
from minirt.cli import formatting, output
from minirt.cli.evaluate import Record
from minirt.cli.output import safe
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.cli.verbs import version
from minirt.engine import networks, resource_flags
from minirt.engine import ps as ps_
from minirt.errors import HostError
from minirt.image import find

DRIVERS = ("bridge", "host", "macvlan", "null")
COMMAND = Command(
    "info",
    "[OPTIONS]",
    "Display system-wide information",
    (Option("format", "f", STRING, formatting.HELP_ONE),),
    maximum=0,
    aliases=("system info", "info"),
)


def run(session: Session, parsed: Parsed) -> int:
    found = _facts(session)
    warnings = found["Warnings"] = _warnings(found)
    if parsed.text("format"):
        output.formatted(formatting.rows(parsed.text("format"), [Record(found, {})], {}, ()))
        return 0
    text = ""
    for title, field, indent in (
        ("Containers", "Containers", 0),
        ("Running", "ContainersRunning", 1),
        ("Paused", "ContainersPaused", 1),
        ("Stopped", "ContainersStopped", 1),
        ("Images", "Images", 0),
        ("minirt Version", "ServerVersion", 0),
        ("Storage Driver", "Driver", 0),
        ("Networks", "Networks", 0),
        ("Network Drivers", "NetworkDrivers", 0),
        ("Cgroup Driver", "CgroupDriver", 0),
        ("Cgroup Version", "CgroupVersion", 0),
        ("Cgroup Mount", "CgroupMount", 0),
        ("Cgroup Controllers", "CgroupControllers", 0),
        ("Kernel Version", "KernelVersion", 0),
        ("Operating System", "OperatingSystem", 0),
        ("Architecture", "Architecture", 0),
        ("CPUs", "NCPU", 0),
        ("Total Memory", "MemoryText", 0),
        ("Name", "Name", 0),
        ("Root Dir", "RootDir", 0),
        ("State Dir", "StateDir", 0),
    ):
        text += f"{' ' * indent}{title}: {safe(str(found[field]))}\n"
    output.raw(output.encode(text))
    output.hint("".join([f"WARNING: {line}\n" for line in warnings]))
    return 0


def _facts(session: Session) -> dict[str, object]:
    """Docker's field names where it has them."""
    engine = session.engine
    states = [row.status for row in ps_.ps(engine, True)]
    host, about = os.uname(), version.facts()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        mount = tree.mount_point()
    except HostError:
        mount = ""
    running, paused = states.count("running"), states.count("paused")
    return {
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
        "Images": len({one.id for one in find.images(engine.roots.root)}),
        "ServerVersion": about["Version"],
        "Driver": "overlay",
        "Networks": len(networks.listed(engine)) + len(networks.SPECIAL),
        "NetworkDrivers": " ".join(DRIVERS),
        "Plugins": {"Network": list(DRIVERS)},
        "CgroupVersion": "2",
        "CgroupMount": mount or "none",
        **_limits(mount),
        "KernelVersion": host.release,
        "OperatingSystem": _system(),
        "Architecture": host.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": memory,
        "MemoryText": f"{memory / 2**30:.4g}GiB",
        "Name": host.nodename,
        "RootDir": engine.roots.root,
        "StateDir": engine.roots.state,
    }


def _limits(mount: str) -> dict[str, object]:
    """Which limits containers can have here. Only the controllers of cgroup v2 count."""
    there = home.available(home.home(mount)) if mount else frozenset()
    cpu, swap = "cpu" in there, "memory" in there and memory.counts_swap(mount)
    return {
        "CgroupDriver": "systemd" if home.by_systemd() else "cgroupfs",
        "CgroupControllers": " ".join(sorted(there.intersection(resource_flags.CONTROLLERS))) or "none",
        "MemoryLimit": "memory" in there,
        "SwapLimit": swap,
        "CpuCfsPeriod": cpu,
        "CpuCfsQuota": cpu,
        "CPUShares": cpu,
        "CPUSet": "cpuset" in there,
        "PidsLimit": "pids" in there,
        "OomKillDisable": False,
    }


def _warnings(found: dict[str, object]) -> list[str]:
    """In Docker's words, for what Docker says it of; doctor says why, and what helps."""
    named = (
        ("MemoryLimit", "memory limit"), ("SwapLimit", "swap limit"), ("CpuCfsQuota", "cpu cfs quota"),
        ("CpuCfsPeriod", "cpu cfs period"), ("CPUShares", "cpu shares"), ("CPUSet", "cpuset"),
        ("PidsLimit", "pids limit"),
    )  # fmt: skip
    return [f"No {what} support" for field, what in named if not found[field]]


def _system() -> str:
    """PRETTY_NAME of os-release(5), "linux" where there is none."""
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.strip().partition("=")
                if key == "PRETTY_NAME":
                    return value.strip("\"'")
    except OSError:
        pass
    return "linux"
