# SPDX-License-Identifier: Apache-2.0
"""What becomes of a container with a restart policy (engine/policy.py) when it has ended, and when its turn comes.

    monitor ──execve──▶ clean-up verb: settles, row restarting ──spawns──▶ waiter ··back-off··▶ clean-up verb: starts it
                        (or whoever settles first)                          │
                            stop, kill, rm -f, restart ─────SIGKILL─────────┘

Everything is decided under the container's lock, and what was decided stands in its row before it is done:
restart_count, delay_ms (the last back-off), by_hand (stopped by the user). A start that fails is tried again, as an end
with a failure; Docker gives up there. Must not import reconcile: that calls this.
"""

from __future__ import annotations

import os
import time

from minirt.engine import lifecycle, pending, policy, store
from minirt.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.reconcile import Seen
    from minirt.engine.record import Record
    from minirt.engine.store import Engine

FRESH: dict[str, object] = {"restart_count": None, "delay_ms": None, "by_hand": None}


def has_policy(row: Row) -> bool:
    """Without reading the record: nearly no container has one. Not of a row that lacks its options (db.all)."""
    return '"restart"' in row.options


def of(row: Row) -> policy.Policy:
    return policy.parse(store.record(row).options.restart)


def shutdown_mark(engine: Engine) -> str:
    """Nothing is restarted while this file is there: engine/boot.py."""
    return f"{engine.roots.state}/shutdown"


def decide(engine: Engine, row: Row, seen: Seen) -> dict[str, object]:
    """The columns of a container that has ended and is to be started again; {}: it is not.

    Asked again about the same end, because whoever asked before was killed, the answer is the same: that end is counted
    once. What ended with the last boot is for engine/boot.py to start.
    """
    if not has_policy(row) or not _in_this_boot(row, seen) or os.path.exists(shutdown_mark(engine)):
        return {}
    if row.status == lifecycle.RESTARTING and (row.started_ns, row.finished_ns) == (seen.started_ns, seen.finished_ns):
        return _columns(row, row.restart_count or 0, row.delay_ms or 0) if is_still_wanted(engine, row) else {}
    count = row.restart_count or 0
    if not policy.is_wanted(of(row), seen.exit_code, count, bool(row.by_hand)):
        return {}
    return _columns(row, count + 1, policy.delay_ms(row.delay_ms or 0, _lived_s(seen)))


def after_failure(row: Row, exit_code: int | None) -> dict[str, object]:
    """As `decide`, for a restart that failed."""
    count = row.restart_count or 0
    if not has_policy(row) or not policy.is_wanted(of(row), exit_code, count, bool(row.by_hand)):
        return {}
    return _columns(row, count + 1, policy.delay_ms(row.delay_ms or 0, 0))


def _columns(row: Row, count: int, delay_ms: int) -> dict[str, object]:
    return {
        "status": lifecycle.RESTARTING, "restart_count": count, "delay_ms": delay_ms, "boot_id": process.boot_id(),
    }  # fmt: skip


def _in_this_boot(row: Row, seen: Seen) -> bool:
    return bool(seen.state is not None and seen.state.pid) or row.boot_id == process.boot_id()


def _lived_s(seen: Seen) -> float:
    """Since its start by the clock of the boot, which nobody sets (CLOCK_BOOTTIME in clock_gettime(2))."""
    if seen.state is None or not seen.state.start_ticks:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - seen.state.start_ticks / os.sysconf("SC_CLK_TCK")


def is_still_wanted(engine: Engine, row: Row) -> bool:
    """Whether a restart that was decided is still to be done: nobody has stopped it since, or changed its policy."""
    if not has_policy(row) or row.by_hand or os.path.exists(shutdown_mark(engine)):
        return False
    return of(row).name != policy.NO


def keep_waiting(engine: Engine, row: Row) -> None:
    """Somebody is to wait for this row's restart. The caller holds the container's lock."""
    if not pending.waiter(engine.roots.run(row.id))[0]:
        pending.set_off(engine, row.id, row.delay_ms or 0)


def forget(engine: Engine, row: Row) -> None:
    """The user starts it himself: counted anew, and not stopped by hand any more. The caller holds its lock."""
    if row.restart_count or row.delay_ms or row.by_hand:
        engine.database.update(row.id, **FRESH)
        row.restart_count = row.delay_ms = row.by_hand = None


def hold(engine: Engine, row: Row) -> None:
    """The user stops it: whatever ends from now on stays so, also if it gets a policy later. Needs no lock; settling
    it afterwards calls off what was decided before."""
    engine.database.update(row.id, by_hand=1)


def change(engine: Engine, row: Row, record: Record, text: str) -> None:
    """`update --restart`: checked and put into `record`, which the caller stores; a monitor that would not have run the
    clean-up verb is told to. The caller holds the container's lock. InvalidValue, Conflict."""
    policy.check_change(record.options, text)
    record.options.restart = "" if policy.parse(text).name == policy.NO else text
    run_dir = engine.roots.run(row.id)
    if record.options.restart and os.path.isdir(run_dir):
        os.close(os.open(f"{run_dir}/watched", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
