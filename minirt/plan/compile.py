# SPDX-License-Identifier: Apache-2.0
"""From the specification to the steps of a container's birth (runtime-spec runtime.md, "Lifecycle"): the order.

    caller    descriptors of what lies on the host: namespaces to join, the cgroup with its limits, shared binds
    monitor   pipes, offsets of the clock, clone3
    init      own ground, root attached, mounts, devices, masks, pivot, names, limits, identity, execve

Each topic has a module of its own; this one is the table of contents. The plan starts from the slot "rootfs" (see
rootfs.py) and leaves the monitor "pidfd" and, without a terminal, "stdin_w" (if standard input was asked for),
"stdout_r" and "stderr_r"; with a terminal its master arrives over the slot "report". Those names are fixed.
Pure: no I/O, no clock, no environment. Must not import kernel.
"""

from __future__ import annotations

from minirt.plan import (
    devices,
    devices_program,
    execute,
    identity,
    limits,
    mounts,
    namespaces,
    network,
    paths,
    resources,
    stdio,
    sysctl,
)
from minirt.plan.build import Build, Context
from minirt.plan.facts import Host, RootFacts
from minirt.plan.step import Flags, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Context", "compile"]


def compile(spec: dict[str, Any], host: Host, root: RootFacts, context: Context) -> Plan:
    """Every step after the root filesystem. `spec` has passed model.spec.validate. HostError: this kernel lacks a
    namespace; InvalidValue: the specification asks for a filter and the context brings none."""
    build = Build(spec, spec["process"], host, root, context)
    namespaces.open_joined(build)
    resources.limit(build)
    devices_program.attach(build)
    network.open_host(build)
    mounts.open_shared(build)
    stdio.pipes(build)
    foreign = _has_foreign_dev(build)
    if foreign:
        stdio.own_null(build)
    namespaces.clone(build)
    own_ground(build)
    namespaces.enter(build)
    _fill_root(build, foreign)
    mounts.pivot(build)
    mounts.finish_root(build)
    namespaces.names(build)
    limits.join_keyring(build)
    become_workload(build)
    return Plan(tuple(build.steps), inherited(context, "rootfs"))


def own_ground(build: Build) -> None:
    """Init's first steps: it dies with the monitor, has a name, cannot be traced or read by what shares its
    namespaces (CVE-2016-9962), leads a session of its own, and makes files with the modes that it is told."""
    build.add("prctl", Flags("PR_SET_PDEATHSIG"), Flags("SIGKILL"), kind="pid")
    build.add("prctl", Flags("PR_SET_NAME"), "minirt:init", kind="pid")
    build.add("prctl", Flags("PR_SET_DUMPABLE"), 0, kind="pid")
    build.add("setsid", kind="console")
    build.add("umask", 0, kind="identity")


def _fill_root(build: Build, foreign: bool) -> None:
    """Everything that is mounted or made below the root while the host's is still there."""
    mounts.attach_root(build)
    namespaces.enter_cgroup(build)
    limits.set_oom_score(build)
    sysctl.write_all(build)
    network.connect(build)
    sysctl.write_of_links(build)
    mounts.make_all(build)
    devices.make_all(build)
    dev = devices.directory(build)
    if build.tty:
        stdio.terminal(build)
        if dev is not None:
            stdio.console(build, dev)
    elif not build.context.stdin and not foreign and dev is not None:
        stdio.null(build, dev)
    paths.make_readonly(build)
    paths.mask(build)
    build.steps += build.late


def become_workload(build: Build) -> None:
    """From root inside the container to the program: the same for its first process and for every exec."""
    limits.set_personality(build)
    stdio.connect(build)
    execute.enter_directory(build)
    limits.set_rlimits(build)
    identity.become(build)
    identity.umask(build)
    execute.wait(build)
    identity.last_filter(build)
    execute.execute(build)


def _has_foreign_dev(build: Build) -> bool:
    """Whether a null device of our own making will be missing, and standard input needs one."""
    if build.tty or build.context.stdin:
        return False
    made = [mounts.type_of(mount) for mount in build.spec.get("mounts") or () if mount["destination"] == "/dev"]
    return not made or made[-1] != "tmpfs"


def inherited(context: Context, first: str) -> tuple[str, ...]:
    more = ("program",) if context.init else ()
    return (first, *more, "go") if context.wait else (first, *more)
