# SPDX-License-Identifier: Apache-2.0
"""Namespaces: made, joined or shared with the host (namespaces(7), clone(2), setns(2), time_namespaces(7)).

    kind        made by                            joined by
    mount       clone3                             not supported
    pid         clone3                             setns in the monitor: only children enter
    network, ipc, uts                              clone3; setns in init
    cgroup      unshare in init, once it is in its cgroup: clone3 would take the parent's as root
    time        clone3; with offsets unshare in the monitor, which writes them before any child exists

Runtime-spec config-linux.md, "Namespaces", "Time offsets". Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.errors import HostError
from minirt.plan.build import NONE, Build
from minirt.plan.step import CWD, HOST, MONITOR, Blob, Fd, Flags

FLAGS: dict[str, str] = {
    "mount": "CLONE_NEWNS",
    "pid": "CLONE_NEWPID",
    "network": "CLONE_NEWNET",
    "ipc": "CLONE_NEWIPC",
    "uts": "CLONE_NEWUTS",
    "cgroup": "CLONE_NEWCGROUP",
    "time": "CLONE_NEWTIME",
}
_BY_CLONE = ("mount", "pid", "network", "ipc", "uts", "time")


def asked(build: Build) -> dict[str, tuple[str, str]]:
    """Kind → (path or "", pointer) for every namespace that is not the host's."""
    return {
        namespace["type"]: (namespace.get("path") or "", f"/linux/namespaces/{index}")
        for index, namespace in enumerate(build.linux.get("namespaces") or ())
    }


def own(build: Build) -> frozenset[str]:
    """The kinds that are made for this container."""
    return frozenset(
        namespace["type"] for namespace in build.linux.get("namespaces") or () if not namespace.get("path")
    )


def open_joined(build: Build) -> None:
    """Host: descriptors of the namespaces that are joined by path, and of the cgroup that the clone enters."""
    for kind, (path, pointer) in asked(build).items():
        if kind not in build.host.namespaces:
            raise HostError(f"this kernel has no {kind} namespaces", f"it was asked for by {pointer}")
        if path:
            build.add(
                "openat2", CWD, path, Flags("O_RDONLY|O_CLOEXEC"), NONE, NONE, out=f"{kind}-namespace", actor=HOST,
                pointer=pointer, kind=kind,
            )  # fmt: skip
    open_cgroup(build)


def open_cgroup(build: Build) -> None:
    """Host: the cgroup that the clone enters, unless the container stays in the caller's."""
    if build.context.cgroup_path:
        build.add(
            "openat2", CWD, build.context.cgroup_path, Flags("O_PATH|O_DIRECTORY|O_CLOEXEC"), NONE, NONE, out="cgroup",
            actor=HOST, pointer="/linux/cgroupsPath", kind="cgroup",
        )  # fmt: skip


def clone(build: Build) -> None:
    """Monitor: the namespaces that only a child can be born into, then the child."""
    kinds = asked(build)
    made = [FLAGS[kind] for kind in _BY_CLONE if kind in kinds and not kinds[kind][0]]
    path, pointer = kinds.get("pid", ("", ""))
    if path:
        join = Flags("CLONE_NEWPID")
        build.add("setns", Fd("pid-namespace"), join, actor=MONITOR, pointer=pointer, kind="pid")
    if build.linux.get("timeOffsets") and "CLONE_NEWTIME" in made:
        made.remove("CLONE_NEWTIME")
        _offsets(build)
    clone_step(build, made, "/linux/namespaces")


def clone_step(build: Build, flags: list[str], pointer: str) -> None:
    """Monitor: the birth itself, straight into the container's cgroup."""
    cgroup = Fd("cgroup") if build.context.cgroup_path else None
    if cgroup is not None:
        flags = [*flags, "CLONE_INTO_CGROUP"]
    words = Flags("|".join([*flags, "CLONE_PIDFD"]))
    build.add("clone3", words, Flags("SIGCHLD"), cgroup, out="pidfd", actor=MONITOR, pointer=pointer, kind="pid")


def _offsets(build: Build) -> None:
    """time_namespaces(7): offsets can be written until the first process enters."""
    pointer, kind = "/linux/timeOffsets", "time"
    build.add("unshare", Flags("CLONE_NEWTIME"), actor=MONITOR, pointer=pointer, kind=kind)
    build.add(
        "openat2", CWD, "/proc/self/timens_offsets", Flags("O_WRONLY|O_CLOEXEC"), NONE, NONE, out="time-offsets",
        actor=MONITOR, pointer=pointer, kind=kind,
    )  # fmt: skip
    lines = [
        f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}"
        for clock, offset in build.linux["timeOffsets"].items()
    ]
    data = Blob(("\n".join(lines) + "\n").encode(), ", ".join(lines))
    build.add("write", Fd("time-offsets"), data, actor=MONITOR, pointer=pointer, kind=kind)


def enter(build: Build) -> None:
    """Init: join what is joined by path. The pid namespace was the monitor's; the cgroup's comes later."""
    for kind, (path, pointer) in asked(build).items():
        if path and kind not in ("pid", "mount", "cgroup"):
            build.add("setns", Fd(f"{kind}-namespace"), Flags(FLAGS[kind]), pointer=pointer, kind=kind)


def enter_cgroup(build: Build) -> None:
    """Init: a cgroup namespace whose root is the cgroup that it was born into."""
    path, pointer = asked(build).get("cgroup", ("", ""))
    if path:
        build.add("setns", Fd("cgroup-namespace"), Flags("CLONE_NEWCGROUP"), pointer=pointer, kind="cgroup")
    elif pointer:
        build.add("unshare", Flags("CLONE_NEWCGROUP"), pointer=pointer, kind="cgroup")


def names(build: Build) -> None:
    """Init: hostname and domainname, which only a uts namespace keeps from the host (sethostname(2))."""
    for key, op in (("hostname", "sethostname"), ("domainname", "setdomainname")):
        if build.spec.get(key):
            build.add(op, build.spec[key], pointer="/" + key, kind="uts")
