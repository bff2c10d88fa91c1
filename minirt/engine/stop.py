# SPDX-License-Identifier: Apache-2.0
"""`stop`: the stop signal, a while to obey, then SIGKILL to everything inside (docker-stop(1)).

Takes the container's lock only at the end, to write down how it ended: `kill` and `rm -f` need not wait for a
container that ignores its stop signal. What is signalled is a pidfd that was checked, never a number.
"""

from __future__ import annotations

from minirt.cgroup import freezer
from minirt.engine import events, lifecycle, reconcile, restarting, store
from minirt.errors import HostError
from minirt.runtime import state as states
from minirt.runtime import stop as runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.store import Engine

TIMEOUT_S = 10
LONG_S = 86400.0  # poll(2) takes no more than 24 days at once


def stop(engine: Engine, ref: str, timeout_s: float | None = None, signo: int | None = None) -> None:
    """Stop it. timeout_s None: as the container was made, else 10; negative: never kill. A container that does not
    run is left as it is.

    Raises NotFound; HostError if it could not be killed (a process in uninterruptible sleep).
    """
    row = engine.find(ref)
    seen = reconcile.look(engine, row)
    lifecycle.after(seen.status, "stop", row.id, row.name)
    idle = lifecycle.idle(seen.status, "stop") and lifecycle.idle(row.status, "stop")
    if not idle and seen.status != lifecycle.CREATED:  # else it is being born
        restarting.hold(engine, row)
        seen = reconcile.look(engine, row)  # it may have been restarted just before
    if seen.status in lifecycle.ALIVE:
        end(engine, row, seen, timeout_s, signo)
    reconcile.settle_waiting(engine, row)


def end(engine: Engine, row: Row, seen: reconcile.Seen, timeout_s: float | None, signo: int | None) -> None:
    """Make a running or paused container end, and wait until its end is recorded."""
    record = store.record(row)
    if timeout_s is None:
        timeout_s = TIMEOUT_S if record.options.stop_timeout is None else record.options.stop_timeout
    cgroup, run_dir = engine.cgroup(row.id), engine.roots.run(row.id)
    signo = signo or record.stop_signal
    events.of_container(engine, row, "kill", record, signal=str(signo))
    if seen.state is not None and (timeout_s < 0 or seen.status == lifecycle.PAUSED):
        runtime.signal(seen.state, signo)  # pending in a paused container until it is thawed
    if seen.status == lifecycle.PAUSED:
        thaw(cgroup)
    state = seen.state
    while timeout_s < 0 and state is not None and state.alive():
        state = states.wait(run_dir, LONG_S)
    reconcile.refuse_survivor(row, runtime.stop(run_dir, cgroup, signo, max(0.0, timeout_s)))
    events.of_container(engine, row, "stop", record)


def thaw(cgroup: str) -> None:
    """As far as that goes: it will be killed otherwise."""
    try:
        freezer.thaw(cgroup)
    except (OSError, HostError):
        pass  # gone, or slow: it will be killed as it is
