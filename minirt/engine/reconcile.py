# SPDX-License-Identifier: Apache-2.0
"""What is true of a container, from three witnesses: its row, its run directory, and whether somebody is at work.

The monitor writes run/state before the workload's first instruction and run/exit after its last, so the row may
lag behind and never needs to be right. Crashes leave only what `settle` and `sweep` put in order:

    row        run/state  run/exit   lock  what it is              what settle does
    running *     –          –       held  being born              nothing
    running *     –          –       free  died before its birth   removes it: no user ever got its id
    any           ✓          –        –    runs (or lost)          writes started; lost: exited, code unknown
    any           ✓          ✓        –    exited                  writes the code, removes run/ and the cgroup
    running       –          –        –    lost in a reboot        exited, code unknown
    restarting    –          –        –    waits for a restart     sees that somebody waits, or that nobody does
    removing      –          –       free  half removed            removes the rest
    –             –          –       free  directory without row   sweep removes it

Addresses and ports (engine/release.py) are given back on the way to exited or removed, and where a start that was
killed has left them.

* without started_ns: `run` inserts so, just before it starts the container. "held" is the container's lock or the lock
on its run directory, which the monitor inherits. --rm removes it once it has exited, a restart policy makes that
restarting, but after a reboot (engine/restarting.py). Must not import plan or image.
"""

from __future__ import annotations

import os

from minirt.cgroup import tree
from minirt.engine import erase, events, lifecycle, lock, names, pending, release
from minirt.errors import HostError, StoreError
from minirt.kernel import process
from minirt.runtime import state as states
from minirt.runtime import stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.store import Engine


class Seen:
    """One look at a container. status: a lifecycle state. stale: its row says something else. born: False for one
    that died before its birth."""

    __slots__ = ("born", "exit_code", "finished_ns", "oom_killed", "stale", "started_ns", "state", "status")

    def __init__(self, row: Row, state: states.State | None) -> None:
        self.status = row.status
        self.exit_code = row.exit_code
        self.started_ns = row.started_ns
        self.finished_ns = row.finished_ns
        self.oom_killed = bool(row.oom_killed)
        self.state = state
        self.born = True
        self.stale = False

    @property
    def pid(self) -> int:
        return self.state.pid if self.state is not None and self.status in lifecycle.ALIVE else 0


def look(engine: Engine, row: Row) -> Seen:
    """The truth about one container, without changing anything and without its lock."""
    run_dir = engine.roots.run(row.id)
    state = states.read(run_dir)
    seen = Seen(row, state)
    if state is None:
        if row.status == lifecycle.RUNNING and row.started_ns is None:
            busy = lock.held(engine.roots.container(row.id)) or lock.held(run_dir)
            seen.status, seen.born, seen.stale = lifecycle.CREATED, busy, not busy
        elif row.status in lifecycle.ALIVE:
            seen.status, seen.exit_code, seen.stale = lifecycle.EXITED, None, True
        elif row.status == lifecycle.RESTARTING:
            seen.status = lifecycle.RESTARTING if row.boot_id == process.boot_id() else lifecycle.EXITED
            seen.stale = True
        return seen
    if row.status != lifecycle.REMOVING:
        seen.status = _status(engine, row, state)
    seen.started_ns = state.started_ns or row.started_ns
    if state.exit is not None:
        seen.exit_code, seen.finished_ns = state.exit.code, state.exit.finished_ns
        seen.oom_killed = state.exit.oom_killed > 0
    else:
        seen.exit_code = seen.finished_ns = None
        seen.oom_killed = False
    seen.stale = seen.status not in lifecycle.ALIVE or (seen.status, seen.started_ns) != (row.status, row.started_ns)
    return seen


def look_ahead(engine: Engine, row: Row) -> Seen:
    """As `look`, for who shows it: what has ended this moment, and will be restarting once it is settled, is so."""
    from minirt.engine import restarting

    seen = look(engine, row)
    if seen.status == lifecycle.EXITED and seen.stale and restarting.decide(engine, row, seen):
        seen.status = lifecycle.RESTARTING
    return seen


def _status(engine: Engine, row: Row, state: states.State) -> str:
    """run/state is there: running, paused or exited."""
    if state.status() not in (states.RUNNING, states.ENDING):
        return lifecycle.EXITED
    try:
        frozen = tree.read(engine.cgroup(row.id), "cgroup.freeze").strip() == "1"
    except OSError:
        frozen = False
    return lifecycle.PAUSED if frozen else lifecycle.RUNNING


def settle(engine: Engine, row: Row, keep: bool = False, again: bool = True) -> Row | None:
    """Make the row say what is true, and remove what a crash or an end has left. The caller holds the container's
    lock. None: there is no such container any more. keep: neither --rm removes it nor its policy restarts it; again
    False: nor does the policy, unless somebody waits for that already."""
    seen = look_locked(engine, row)
    if not seen.born or row.status == lifecycle.REMOVING:
        discard(engine, row)
        return None
    if not seen.stale:
        if seen.status not in lifecycle.ALIVE and not lock.held(engine.roots.run(row.id)):
            release.give(engine, row.id)
        return row
    if seen.state is not None and seen.state.status() == states.LOST:
        events.of_container(engine, row, "die")  # there was no monitor to say it
    if seen.status in (lifecycle.EXITED, lifecycle.RESTARTING):
        if row.auto_remove and not keep:
            discard(engine, row)
            return None
        _settle_end(engine, row, seen, not keep, again)
    else:
        engine.database.update(row.id, status=seen.status, started_ns=seen.started_ns)
    return engine.database.by_id(row.id)


def _settle_end(engine: Engine, row: Row, seen: Seen, policy: bool, again: bool) -> None:
    """It does not run: what it held is given back, and a restart is waited for where there is to be one. What is
    decided is written first."""
    from minirt.engine import restarting

    release.give(engine, row.id)
    run_dir = engine.roots.run(row.id)
    if seen.status == lifecycle.RESTARTING:
        again = again or pending.waiter(run_dir)[0] > 0
        if policy and again and restarting.is_still_wanted(engine, row):
            restarting.keep_waiting(engine, row)
            return
        engine.database.update(row.id, status=lifecycle.EXITED)
        clear_run(engine, row.id)
        return
    decided = restarting.decide(engine, row, seen) if policy and again else {}
    values: dict[str, object] = {
        "status": lifecycle.EXITED, "started_ns": seen.started_ns, "finished_ns": seen.finished_ns,
        "exit_code": seen.exit_code, "oom_killed": int(seen.oom_killed), **decided,
    }  # fmt: skip
    engine.database.update(row.id, **values)
    clear_run(engine, row.id)
    if decided:
        pending.set_off(engine, row.id, int(str(decided["delay_ms"])))


def look_locked(engine: Engine, row: Row) -> Seen:
    """As `look`, by the holder of the container's lock: only a monitor can be at its birth."""
    seen = look(engine, row)
    if seen.born and seen.state is None and row.status == lifecycle.RUNNING and row.started_ns is None:
        seen.born = seen.stale = lock.held(engine.roots.run(row.id))
    return seen


def clear_run(engine: Engine, identity: str) -> None:
    """Forget a run that is over: kill what is left of it (a container in the host's pid namespace can outlive its
    first process), call off its restart, remove its cgroup and its run directory."""
    cgroup = engine.cgroup(identity)
    pending.call_off(engine.roots.run(identity))
    if os.path.isdir(cgroup):
        if tree.populated(cgroup):
            tree.kill(cgroup)
        tree.remove(cgroup)
    erase.tree(engine.roots.run(identity))


def discard(engine: Engine, row: Row, volumes: bool = True) -> None:
    """Remove a container and whatever still runs of it. The row goes first: a directory without a row is removed
    by the next sweep, a row without a directory would be a container that cannot be started."""
    run_dir = engine.roots.run(row.id)
    state = states.read(run_dir)
    if state is not None and state.exit is None:
        refuse_survivor(row, stop.kill_and_wait(run_dir, engine.cgroup(row.id)))
    release.give(engine, row.id)
    orphaned = engine.database.delete(row.id, volumes)
    clear_run(engine, row.id)
    for name in orphaned:
        erase.tree(f"{engine.roots.volumes}/{name}")
        events.add(engine, events.VOLUME, "destroy", name, {"driver": "local"})
    erase.tree(engine.roots.container(row.id))
    events.of_container(engine, row, "destroy")


def sweep(engine: Engine) -> set[str]:
    """Remove what belongs to no container: directories of a `create` or `rm` that was killed, and rows whose
    directory is gone. Cheap: two listings. The ids of the rows that went.

    Somebody may be at work on such a directory this moment: then its lock is held, and it is left alone. What
    cannot be removed now is left for the next time: `rm` has said why.
    """
    directories = _entries(engine.roots.containers)
    known = engine.database.ids()
    gone: set[str] = set()
    for identity in known.difference(directories):
        row = engine.database.by_id(identity)
        if row is not None and not os.path.isdir(engine.roots.container(identity)):
            discard(engine, row)  # somebody removed the directory by hand
            gone.add(identity)
    for identity in {*directories, *_entries(engine.roots.state)} - known:
        try:
            _remove_orphan(engine, identity)
        except (HostError, StoreError):
            continue
    return gone


def _remove_orphan(engine: Engine, identity: str) -> None:
    path = engine.roots.container(identity)
    held = lock.attempt(path)
    if held is None and os.path.isdir(path):
        return
    try:
        if engine.database.by_id(identity) is None and not lock.held(engine.roots.run(identity)):
            clear_run(engine, identity)
            erase.tree(path)
    finally:
        if held is not None:
            held.release()


def _entries(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if names.is_id(name)]
    except FileNotFoundError:
        return []


def settle_if_free(engine: Engine, row: Row) -> Row | None:
    """`settle` unless somebody else is at work on it. The row as it is now; None: it is gone."""
    held = lock.attempt(engine.roots.container(row.id))
    return _settle_held(engine, row, held) if held is not None else engine.database.by_id(row.id)


def settle_waiting(engine: Engine, row: Row, wait_s: float = lock.WAIT_S) -> Row | None:
    """`settle` once the container's lock is free. The row as it is then; None: it is gone. Conflict: it is not."""
    held = lock.acquire(engine.roots.container(row.id), wait_s)
    return _settle_held(engine, row, held) if held is not None else None


def _settle_held(engine: Engine, row: Row, held: lock.Lock) -> Row | None:
    with held:
        current = engine.database.by_id(row.id)
        return settle(engine, current) if current is not None else None


def refuse_survivor(row: Row, state: states.State | None) -> None:
    """Raises HostError where the kernel did not take a killed container down in time."""
    if state is not None and state.alive():
        raise HostError(
            f"container {row.name} was killed and is still exiting: a process is in uninterruptible sleep",
            f"see what it waits for: cat /proc/{state.pid}/wchan; then try again",
        )
