# SPDX-License-Identifier: Apache-2.0
"""What the system's start and end ask of minirt: minirt.service (systemd.service(5)) runs `internal-boot` and, at the
end, `internal-shutdown`.

    boot       what the last boot has left is settled; what `--restart always|unless-stopped` asks for is started
    shutdown   no policy restarts anything any more (<state>/shutdown); all that runs is stopped at once

A start is a waiter without delay (engine/pending.py), several at a time: one that fails is tried again later like any
restart, and hinders no other. The containers that a shutdown stops are not stopped by hand: the next boot starts them.
"""

from __future__ import annotations

import os
import time

from minirt.engine import lifecycle, lock, pending, policy, reconcile, restarting, stop, store
from minirt.errors import MinirtError
from minirt.kernel import process
from minirt.runtime import state as states
from minirt.runtime import stop as runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.store import Engine

SETTLE_S = 5.0  # for a container that another command holds


def boot(engine: Engine) -> list[tuple[str, str]]:
    """(name, why) of each container that could not be started; it is tried again. Returns when all have been tried."""
    _unlink(restarting.shutdown_mark(engine), engine)
    failed: list[tuple[str, str]] = []
    running: dict[int, str] = {}
    for identity in sorted(engine.database.ids()):
        if len(running) >= 2 * (os.cpu_count() or 1):
            failed += _collect(engine, running)
        try:
            pid = _begin(engine, identity)
        except (MinirtError, OSError) as error:
            failed.append((_name(engine, identity), error.message if isinstance(error, MinirtError) else str(error)))
            continue
        if pid:
            running[pid] = identity
    while running:
        failed += _collect(engine, running)
    _sweep(engine)
    return failed


def _begin(engine: Engine, identity: str) -> int:
    """Settle one container and, if its policy wants it, set off its start. The pid of who does that; 0: nobody."""
    held = lock.acquire(engine.roots.container(identity), SETTLE_S)
    if held is None:
        return 0
    with held:
        row = engine.database.by_id(identity)
        settled = reconcile.settle(engine, row, again=False) if row is not None else None
        if settled is None or settled.status != lifecycle.EXITED or not settled.started_ns:
            return 0
        if not restarting.has_policy(settled) or not policy.is_wanted_at_boot(
            restarting.of(settled), bool(settled.by_hand)
        ):
            return 0
        values = {**restarting.FRESH, "status": lifecycle.RESTARTING, "boot_id": process.boot_id()}
        engine.database.update(identity, **values)
        return pending.set_off(engine, identity, 0)


def _collect(engine: Engine, running: dict[int, str]) -> list[tuple[str, str]]:
    """Wait for one of them; what went wrong with it."""
    pid, _ = os.wait()
    identity = running.pop(pid, "")
    row = engine.database.by_id(identity) if identity else None
    return [(row.name, row.error)] if row is not None and row.error else []


def _name(engine: Engine, identity: str) -> str:
    row = engine.database.by_id(identity)
    return row.name if row is not None else identity[:12]


def _sweep(engine: Engine) -> None:
    try:
        reconcile.sweep(engine)
    except MinirtError:
        pass  # what it cannot remove is left for the next command


def _unlink(path: str, engine: Engine) -> None:
    engine.database  # noqa: B018 - it makes the directories
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def shutdown(engine: Engine) -> list[tuple[str, str]]:
    """Stop everything, each in its own way and time, all at once: (name, why) of what could not be."""
    engine.database  # noqa: B018 - it makes the directories
    os.close(os.open(restarting.shutdown_mark(engine), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    rows = [row for row in (engine.database.by_id(identity) for identity in engine.database.ids()) if row is not None]
    return end_all(engine, rows)


def end_all(engine: Engine, rows: list[Row]) -> list[tuple[str, str]]:
    """Make all of these containers end, and write down how: (name, why) of each that could not be."""
    begun = time.monotonic()
    deadlines = []
    for row in rows:
        seen = reconcile.look(engine, row)
        if seen.status not in lifecycle.ALIVE or seen.state is None:
            continue
        record = store.record(row)
        wait_s = stop.TIMEOUT_S if record.options.stop_timeout is None else record.options.stop_timeout
        runtime.signal(seen.state, record.stop_signal)
        if seen.status == lifecycle.PAUSED:
            stop.thaw(engine.cgroup(row.id))
        deadlines.append((begun + (wait_s if wait_s >= 0 else stop.LONG_S), row, seen.state))
    for deadline, row, state in sorted(deadlines, key=lambda one: one[0]):
        process.wait(state.pid, state.start_ticks, max(0.0, deadline - time.monotonic()))
        if state.alive():
            runtime.kill_all(state, engine.cgroup(row.id))
    return [(row.name, why) for row in rows if (why := _ended(engine, row))]


def _ended(engine: Engine, row: Row) -> str:
    try:
        state: states.State | None = None
        if os.path.isdir(engine.roots.run(row.id)):
            state = runtime.kill_and_wait(engine.roots.run(row.id), engine.cgroup(row.id))
        reconcile.refuse_survivor(row, state)
        reconcile.settle_waiting(engine, row, SETTLE_S)
    except MinirtError as error:
        return error.message
    return ""
