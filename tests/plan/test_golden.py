# SPDX-License-Identifier: Apache-2.0
"""Whole plans, as text, compared with the files of golden/. A change of a plan is a change of a file that can be
read and reviewed. MINIRT_GOLDEN=write writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minirt.model.capabilities import NAMES
from minirt.model.spec_process import SETS
from minirt.plan import compile as compiler
from minirt.plan import defaults, publish, rootfs, text
from minirt.plan import exec as exec_
from minirt.plan.facts import RootFacts, Target
from minirt.plan.network import Link
from minirt.plan.step import Blob, Plan
from specimens import ENDPOINTS, HOST, OLD_HOST, PORTS, bind, context, process, spec, without

GOLDEN = Path(__file__).with_name("golden")
FILTER = Blob(b"", "default profile, 213 instructions")


def bare() -> Plan:
    """The least that a bundle can ask for."""
    document = {
        "process": {"args": ["/bin/true"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}]},
    }
    return compiler.compile(document, HOST, RootFacts(), context(cgroup_path=""))


def default() -> Plan:
    document = {**spec(), "annotations": {"org.minirt.seccomp": "default"}}
    return compiler.compile(document, HOST, RootFacts(), context(seccomp=FILTER))


def limited() -> Plan:
    """-m 64m --cpus 0.5 --pids-limit 50 --device-write-bps /dev/vda:1mb --device /dev/fuse, with CAP_MKNOD."""
    linux = {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "cgroup")],
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600}],
        "resources": {
            "memory": {"limit": 64 << 20, "swap": 128 << 20},
            "unified": {"memory.oom.group": "1"},
            "cpu": {"quota": 50_000, "period": 100_000},
            "pids": {"limit": 50},
            "blockIO": {"throttleWriteBpsDevice": [{"major": 254, "minor": 0, "rate": 1 << 20}]},
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "access": "rwm", "type": "c", "major": 10, "minor": 229},
            ],
        },
    }
    return compiler.compile(without(spec(linux=linux), "hostname"), HOST, RootFacts(), context())


def terminal_of_a_user() -> Plan:
    """-it -u 1000:1000 --security-opt no-new-privileges --read-only -w /home/ann, which is missing."""
    wanted = process(
        terminal=True,
        consoleSize={"height": 40, "width": 120},
        user={"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [29]},
        noNewPrivileges=True,
        cwd="/home/ann",
    )
    facts = RootFacts({"/home/ann": Target("/home/ann", ("/home", "/home/ann"))})
    document = spec(process=wanted, root={"path": "rootfs", "readonly": True})
    return compiler.compile(document, HOST, facts, context(seccomp=FILTER, stdin=True))


def volumes() -> Plan:
    """Binds onto what exists, what is missing, what an image redirected, and what lies in another volume."""
    mounts = [
        *defaults.mounts()[:2],
        bind("/srv/data", "/data", "rbind", "rprivate", "ro"),
        bind("/srv/file", "/etc/conf", "bind", "nosuid", "nodev", "noexec", "rprivate"),
        bind("/srv/deep", "/new/deep", "rbind", "rslave"),
        bind("/srv/inner", "/data/a/b", "rbind"),
        bind("/srv/shm", "/dev/shm/x", "rbind", "rw", "noatime"),
        bind("/srv/both", "/both", "rbind", "rshared"),
        bind("relative", "/relative", "bind", "rro"),
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "size=64k", "mode=1777"]},
    ]
    facts = RootFacts(
        {
            "/data": Target("/real/data"),
            "/etc/conf": Target("/etc/conf", ("/etc/conf",), "file"),
            "/new/deep": Target("/new/deep", ("/new", "/new/deep")),
            "/data/a/b": Target("/real/data/a/b", ("/real/data/a/b",)),
            "/dev/shm/x": Target("/dev/shm/x", ("/dev/shm/x",)),
            "/relative": Target("/relative", (), "file"),
        }
    )
    document = {**without(spec(), "hostname"), "mounts": mounts, "linux": {"namespaces": [{"type": "mount"}]}}
    return compiler.compile(document, HOST, facts, context())


def privileged() -> Plan:
    linux = {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts")],
        "devices": [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
            {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o660, "gid": 4},
            {"path": "/dev/vda", "type": "b", "major": 254, "minor": 0},
        ],
    }
    everything = {name: list(NAMES) for name in ("bounding", "effective", "permitted")}
    return compiler.compile(
        spec(process=process(capabilities=everything), linux=linux), HOST, RootFacts(), context(init=True, stdin=True)
    )


def joined() -> Plan:
    """--pid, --network and --ipc container:X, clocks of its own, ambient capabilities, created but not started."""
    linux = {
        "namespaces": [
            {"type": "mount"},
            {"type": "pid", "path": "/proc/7/ns/pid"},
            {"type": "network", "path": "/proc/7/ns/net"},
            {"type": "ipc", "path": "/proc/7/ns/ipc"},
            {"type": "cgroup", "path": "/proc/7/ns/cgroup"},
            {"type": "time"},
        ],
        "timeOffsets": {"monotonic": {"secs": 86400}, "boottime": {"secs": -5, "nanosecs": 7}},
        "rootfsPropagation": "rshared",
        "personality": {"domain": "LINUX32"},
    }
    few = {name: ["CAP_NET_BIND_SERVICE"] for name in SETS}
    wanted = process(capabilities=few, oomScoreAdj=200, user={"uid": 5, "gid": 6})
    document = without(spec(process=wanted, linux=linux), "hostname")
    return compiler.compile(document, HOST, RootFacts(), context(wait=True))


def own_dev() -> Plan:
    """An image's own /dev instead of a tmpfs, missing, and masks all the same."""
    mounts = [mount for mount in defaults.mounts() if not str(mount["destination"]).startswith("/dev")]
    linux = {"namespaces": [{"type": "mount"}], "maskedPaths": ["/proc/keys", "/proc/acpi", "/etc/shadow", "/gone"]}
    facts = RootFacts({"/dev": Target("/dev", ("/dev",)), "/etc/shadow": Target("/etc/shadow", (), "file")})
    facts.targets["/gone"] = Target("/gone", (), "")
    document = {**without(spec(), "hostname"), "mounts": mounts, "linux": linux}
    return compiler.compile(document, HOST, facts, context())


def on_networks() -> Plan:
    """--network bridge --network lan --sysctl net.ipv4.conf.eth0.forwarding=1: a veth on a bridge, a macvlan."""
    links = (
        Link(
            "bridge", "eth0", 100, "02:42:ac:11:00:02", 1400, "veth1a2b3c4", 7,
            (("172.17.0.2", 16), ("fd00::2", 64)), ("172.17.0.1", "fd00::1"), "--network bridge", "minirt0",
        ),
        Link("macvlan", "eth1", 101, "", 0, "", 3, (("192.0.2.7", 31),), (), "--network lan"),
    )  # fmt: skip
    linux = {
        "namespaces": [{"type": "mount"}, {"type": "network"}],
        "sysctl": {"net.ipv4.conf.eth0.forwarding": "1", "net.ipv6.conf.default.disable_ipv6": "1"},
    }
    document = {**without(spec(linux=linux), "hostname"), "mounts": []}
    return compiler.compile(document, HOST, RootFacts(), context(links=links))


def published() -> Plan:
    """-p 8080:80 -p 192.0.2.1:53:53/udp -p 127.0.0.1:8081:80 -p 0.0.0.0:81:80 -p [2001:db8::1]:82:80 for two networks,
    the second by IPv4 alone."""
    return publish.take("minirt", ENDPOINTS, PORTS)


def withdrawn() -> Plan:
    return publish.give("minirt", ENDPOINTS[:1], PORTS[:2])


def withdrawn_at_once() -> Plan:
    return publish.give("minirt-0123abcd", ENDPOINTS, PORTS, at_once=True)


def exec_of_a_user() -> Plan:
    wanted = process(user={"uid": 1000, "gid": 1000}, args=["/bin/id"], cwd="/tmp")
    return exec_.compile(wanted, spec(), HOST, context(seccomp=FILTER, stdin=True))


def exec_terminal() -> Plan:
    document = spec(linux={"namespaces": [{"type": "mount"}, {"type": "pid", "path": "/proc/7/ns/pid"}]})
    return exec_.compile(process(terminal=True), document, HOST, context())


def overlay() -> Plan:
    return rootfs.compile(rootfs.Overlay(("/l/top", "/l/base"), "/b/upper", "/b/work"), HOST)


def overlay_before_6_5() -> Plan:
    return rootfs.compile(rootfs.Overlay(("/l/a:b", "/l/back\\slash"), "/b/upper", "/b/work"), OLD_HOST)


def overlay_of_many_layers_before_6_5() -> Plan:
    layers = tuple(f"/var/lib/minirt/layers/{index:064}" for index in range(4))
    return rootfs.compile(rootfs.Overlay(layers, "/b/up,per", "/b/work", "/root", "/b/rootfs"), OLD_HOST)


def directory() -> Plan:
    return rootfs.compile(rootfs.Directory("/srv/root"), HOST)


CASES = (
    bare, default, limited, terminal_of_a_user, volumes, privileged, joined, own_dev, exec_of_a_user, exec_terminal,
    overlay, overlay_before_6_5, overlay_of_many_layers_before_6_5, directory, on_networks, published, withdrawn,
    withdrawn_at_once,
)  # fmt: skip


def listing(plan: Plan) -> str:
    lines = [f"inherits {', '.join(plan.inherited) or 'nothing'}"]
    for step in plan.steps:
        tolerated = f"  [{' '.join(step.tolerate)} is fine]" if step.tolerate else ""
        lines.append(f"{step.actor:<7} {step.kind:<10} {step.pointer or '-':<28} {text.describe(step)}{tolerated}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_plan_is_as_reviewed(case: Callable[[], Plan]) -> None:
    file = GOLDEN / f"{case.__name__}.txt"
    found = listing(case())
    if os.environ.get("MINIRT_GOLDEN") == "write":
        file.write_text(found)
    assert found == file.read_text(), f"{file.name}: MINIRT_GOLDEN=write, then read the difference"


def test_no_golden_file_is_orphaned() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == {case.__name__ for case in CASES}
