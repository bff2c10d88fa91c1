# SPDX-License-Identifier: Apache-2.0
"""Another process in a running container: the same identity, capabilities and filter as pid 1, by setns(2) on a pidfd.

The container is held by a pidfd from the moment that its state was checked: a pid that is used again, or a
container that ends meanwhile, is "not running" and never somebody else (EXE-03). Its files are looked at through
/proc/<pid>/root by openat2 with RESOLVE_IN_ROOT. This process, an interpreter of the host, enters nothing.
"""

from __future__ import annotations

import os
import time
from errno import ECHILD, ENODEV, ENOENT, ENOTDIR, ESRCH

from minirt.errors import Conflict, MinirtError
from minirt.kernel import host, monitor, process
from minirt.plan import exec as plan_exec
from minirt.plan.build import Context
from minirt.runtime import seccomp
from minirt.runtime.launch import Launch, Started, died, launch, measured, page_of_stamps, step_failed
from minirt.runtime.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.plan.step import Plan
    from minirt.runtime.state import State

_LAST_TO_GO_S = 1.0


class Target:
    """A running container, held: pidfd and root (its "/", O_PATH). The holder's to close."""

    __slots__ = ("pidfd", "root", "state")

    def __init__(self, pidfd: int, root: int, state: State) -> None:
        self.pidfd = pidfd
        self.root = root
        self.state = state

    def close(self) -> None:
        for name in ("pidfd", "root"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)


class ExecRequest:
    """id: of the container. target: closed by exec_. spec: the container's config.json; process: what is to run,
    in the form of its "process" (user, args, env, cwd, terminal, capabilities …). stdin: keep it open.
    privileged: without the container's filter. The others as in StartRequest."""

    __slots__ = (
        "id", "target", "spec", "process", "cgroup", "cache_dir", "stdin", "privileged", "stamps", "title",
        "events",
    )  # fmt: skip

    def __init__(
        self,
        id_: str,
        target: Target,
        spec: dict[str, Any],
        process: dict[str, Any],
        *,
        cgroup: str = "",
        cache_dir: str = "",
        stdin: bool = False,
        privileged: bool = False,
        stamps: bool = False,
        title: str = "",
        events: tuple[str, str] = ("", ""),
    ) -> None:
        self.id = id_
        self.target = target
        self.spec = spec
        self.process = process
        self.cgroup = cgroup
        self.cache_dir = cache_dir
        self.stdin = stdin
        self.privileged = privileged
        self.stamps = stamps
        self.title = title
        self.events = events


def open_target(identity: str, state: State | None) -> Target:
    """Hold the running container. Conflict if it does not run (any more)."""
    if state is None or state.exit is not None or state.pid <= 0:
        raise not_running(identity)
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise not_running(identity) from None
    root = -1
    try:
        root = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if process.alive(state.pid, state.start_ticks):  # still the one, now that both are open
            return Target(pidfd, root, state)
    except OSError as error:
        if error.errno not in (ENOENT, ESRCH):
            raise
    for descriptor in (root, pidfd):
        if descriptor >= 0:
            os.close(descriptor)
    raise not_running(identity)


def not_running(identity: str) -> Conflict:
    return Conflict(f"container {identity} is not running", f"start it: minirt start {identity[:12]}")


def exec_(request: ExecRequest) -> Started:
    """Run the process; returns when its program runs. ExecFailed, StepFailed, Conflict (not running any more)."""
    try:
        with Undo() as undo:
            facts = host.facts()
            plan = _compile(request, facts)
            settings = _settings(request)
            settings.stamps = page_of_stamps(plan, request.stamps, undo)
            begun_ns = time.monotonic_ns()
            try:
                launched = launch(plan, {"target": request.target.pidfd}, settings, undo)
            except Launch as failed:
                raise _explain(request, plan, failed) from None
            return Started(launched, plan, measured(settings.stamps, plan, begun_ns))
    finally:
        request.target.close()


def _compile(request: ExecRequest, facts: Any) -> Plan:
    context = Context(
        id=request.id,
        cgroup_path=request.cgroup,
        seccomp=None if request.privileged else seccomp.filter_for(request.spec, facts, request.cache_dir),
        tty=bool(request.process.get("terminal")),
        stdin=request.stdin,
    )
    return plan_exec.compile(request.process, request.spec, facts, context)


def _settings(request: ExecRequest) -> monitor.Settings:
    settings = monitor.Settings()
    flags = monitor.TTY if request.process.get("terminal") else 0
    settings.flags = flags | (monitor.STDIN if request.stdin else 0)
    settings.title = request.title or "minirt:exec"
    settings.events, settings.subject = request.events
    return settings


def _explain(request: ExecRequest, plan: Plan, failed: Launch) -> MinirtError:
    step = plan.steps[failed.index] if failed.index >= 0 else None
    # Killed without a word: most likely with its container, whose pid 1 is the last to go (pid_namespaces(7)).
    patience_s = _LAST_TO_GO_S if step is None else 0.0
    gone = process.wait(request.target.state.pid, request.target.state.start_ticks, patience_s)
    if gone or (step is not None and step.op in ("setns", "clone3", "openat2") and failed.errno in (ESRCH, ENODEV)):
        return not_running(request.id)
    if step is None:
        return died(failed.errno or ECHILD)
    if step.op in ("execve", "execveat"):
        asked = request.process
        from minirt.runtime import failure

        tried = failure.tried(plan, asked.get("cwd", "/"))
        return failure.explain(failure.Place(request.target.root), asked["args"][0], tried, failed.errno)
    error = step_failed(plan, failed.index, failed.errno)
    if step.pointer == "/process/cwd":
        error.exit_code = 127 if failed.errno in (ENOENT, ENOTDIR) else 126  # as for a program that is not there
    return error
