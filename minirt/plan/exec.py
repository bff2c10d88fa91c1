# SPDX-License-Identifier: Apache-2.0
"""One more process in a container that runs (setns(2) with a pidfd; runtime-spec config.md, "Process").

The caller brings "target", a pidfd of the container's first process whose start time it has checked. The monitor
enters the pid namespace, its child everything else and the cgroup; from there on the steps are those of a start,
with the container's capabilities, filter and limits. What lies inside is hostile: no path of the container is
resolved before it is our root. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan import namespaces, stdio
from minirt.plan.build import Build, Context
from minirt.plan.compile import become_workload, inherited, own_ground
from minirt.plan.facts import Host, RootFacts
from minirt.plan.limits import join_keyring, set_oom_score
from minirt.plan.step import CWD, MONITOR, Fd, Flags, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TARGET = Fd("target")
_POINTER = "/linux/namespaces"


def compile(process: dict[str, Any], spec: dict[str, Any], host: Host, context: Context) -> Plan:
    """Every step of an exec. `process` is whole: user, capabilities and limits resolved as for a start; `spec` is
    the container's; context.seccomp None means no filter. Inherited: "target"; leaves the same slots as a start."""
    build = Build(spec, process, host, RootFacts(), context)
    if context.seccomp is None:
        build.linux, build.spec = {**build.linux, "seccomp": None}, {**spec, "annotations": {}}
    namespaces.open_cgroup(build)
    stdio.pipes(build)
    if not build.tty and not context.stdin:
        stdio.own_null(build)
    entered = [namespaces.FLAGS[kind] for kind in namespaces.FLAGS if kind in namespaces.asked(build)]
    if "CLONE_NEWPID" in entered:
        entered.remove("CLONE_NEWPID")
        build.add("setns", _TARGET, Flags("CLONE_NEWPID"), actor=MONITOR, pointer=_POINTER, kind="pid")
    namespaces.clone_step(build, [], "/process")
    own_ground(build)
    set_oom_score(build, entering=True)
    if entered:
        build.add("setns", _TARGET, Flags("|".join(entered)), pointer=_POINTER, kind="mount")
    if build.tty:
        stdio.build_pty(build, CWD, "/dev/pts/ptmx")  # its root and working directory are the container's now
    join_keyring(build)
    become_workload(build)
    return Plan(tuple(build.steps), inherited(context, "target"))
