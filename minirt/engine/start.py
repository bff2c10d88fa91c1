# SPDX-License-Identifier: Apache-2.0
"""`start`: a created or exited container runs (docker-start(1)). The second half of `run` as well.

The monitor writes run/state before the workload's first instruction; the row is brought up to date after that, so
a `kill -9` in between leaves a container that runs and that the next command finds running.
"""

from __future__ import annotations

import os

from minirt.engine import create, events, flags, join, lifecycle, lock, network_flags, pending, reconcile, store
from minirt.errors import Conflict, ExecFailed, MinirtError
from minirt.kernel import process
from minirt.plan.step import Plan
from minirt.runtime import bundle
from minirt.runtime import start as runtime
from minirt.runtime import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.db import Row
    from minirt.engine.endpoints import Taken
    from minirt.engine.record import Record
    from minirt.engine.store import Engine
    from minirt.runtime.launch import Started

BIRTH_WAIT_S = 10.0  # for a monitor whose caller was killed in the middle of a start
FAILED_EXIT = 128  # Docker's exit code for a start that failed otherwise than by execve


def start(engine: Engine, ref: str, attach: bool = False) -> Started | None:
    """Start it; `attach`: the caller will stay with it and needs the control channel. None: it runs already.

    Raises NotFound, Conflict (paused, being removed, already running with `attach`), ExecFailed, StepFailed; the
    reason is kept for `inspect`.
    """
    row, held = engine.locked(ref)
    with held:
        settled = reconcile.settle(engine, row, again=False)
        if settled is None:
            raise store.missing(ref)
        if lifecycle.idle(settled.status, "start"):
            if attach:
                lifecycle.after(settled.status, "attach", settled.id, settled.name)
                raise Conflict(f"container {settled.name} is already running", f"minirt attach {settled.name}")
            return None
        lifecycle.after(settled.status, "start", settled.id, settled.name)
        from minirt.engine import restarting

        restarting.forget(engine, settled)
        started = again(engine, settled)
        if not attach:
            os.close(started.control)
            started.control = -1
        return started


def again(engine: Engine, row: Row) -> Started:
    """Start a container that does not run, from what is on disk. The caller holds its lock. If its policy starts it
    (its row is restarting) and that fails, the row says so and when to try again."""
    record = store.record(row)
    path = engine.roots.container(row.id)
    create.make_volumes(engine, record)
    try:
        spec = bundle.read_spec(path)
        return launch(engine, row, record, spec, None)
    except MinirtError as error:
        code = error.exit_code if isinstance(error, ExecFailed) else FAILED_EXIT
        values: dict[str, object] = {"status": lifecycle.EXITED if row.started_ns else lifecycle.CREATED}
        if row.status == lifecycle.RESTARTING:
            from minirt.engine import restarting

            values.update(restarting.after_failure(row, code))
        engine.database.update(row.id, error=error.message, exit_code=code, **values)
        raise


def launch(engine: Engine, row: Row, record: Record, spec: dict[str, Any], mounted: runtime.Mounted | None) -> Started:
    """Make it run. `mounted`: its root filesystem where that is mounted already; it is closed in any case."""
    try:
        _await_birth(engine.roots.run(row.id), row.id)
        if network_flags.mode(record.options)[0] != network_flags.BRIDGE:
            given, mounted = mounted, None
            return _launch(engine, row, record, spec, given, None)
        from minirt.engine import endpoints

        with endpoints.take(engine, row, record) as taken:
            taken.apply(spec)
            given, mounted = mounted, None
            started = _launch(engine, row, record, spec, given, taken)
            taken.serve(started)
            _put_first(taken.plan, started)
            return started
    finally:
        if mounted is not None:
            os.close(mounted.fd)


def _launch(
    engine: Engine, row: Row, record: Record, spec: dict[str, Any], mounted: runtime.Mounted | None, taken: Taken | None
) -> Started:
    wanted = record.options
    path, run_dir = engine.roots.container(row.id), engine.roots.run(row.id)
    log_size, log_files = flags.log_options(wanted.log_opt)
    with join.Joined(engine, wanted) as joined:
        joined.apply(spec)
        request = runtime.StartRequest(
            row.id, path, run_dir, spec, mounted=mounted,
            rootfs=None if mounted else create.root_filesystem(record, path),
            cache_dir=engine.roots.cache, stdin=wanted.interactive,
            stdin_once=wanted.interactive and not wanted.detach, init=wanted.init, log_files=log_files,
            log_size=log_size, auto_remove=wanted.auto_remove, cleanup=pending.cleanup_command(engine, row.id),
            stamps=wanted.explain, links=taken.links if taken else (),
            watched=taken is not None or bool(wanted.restart),
            cgroup_parent=engine.cgroup_parent(wanted) if wanted.cgroup_parent else "",
        )  # fmt: skip
        request.events = events.path(engine), events.subject(row.id, events.attributes(row, record))
        events.flush(engine)
        started = runtime.start(request)
    state = states.read(run_dir)
    engine.database.update(
        row.id, status=lifecycle.RUNNING, boot_id=process.boot_id(), finished_ns=None, exit_code=None, error=None,
        started_ns=state.started_ns if state else None, oom_killed=None,
    )  # fmt: skip
    return started


def _put_first(before: Plan, started: Started) -> None:
    """What was done on the host for the network belongs to the plan; it was not measured."""
    started.plan = Plan(before.steps + started.plan.steps)
    if started.durations_ns is not None:
        started.durations_ns = [*(None for _ in before.steps), *started.durations_ns]


def _await_birth(run_dir: str, identity: str) -> None:
    """A start whose caller was killed may still be under way in its monitor: wait for its end, one way or other."""
    unfinished = lock.acquire(run_dir, BIRTH_WAIT_S) if os.path.isdir(run_dir) else None
    if unfinished is None:
        return
    unfinished.release()
    state = states.read(run_dir)
    if state is not None and state.alive():
        raise Conflict(f"container {identity} is already running", f"minirt attach {identity[:12]}")
