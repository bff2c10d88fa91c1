# SPDX-License-Identifier: Apache-2.0
"""`kill`: a signal to a container's first process (docker-kill(1), pidfd_send_signal(2)).

Takes no lock: the process is known by pid and start time, and one signal is one system call.
"""

from __future__ import annotations

from minirt.engine import events, lifecycle, reconcile, restarting, store
from minirt.model import signals
from minirt.runtime import stop as runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def kill(engine: Engine, ref: str, signo: int = signals.SIGKILL) -> None:
    """SIGKILL goes to every process of the container and is waited for; another signal to its first process. SIGKILL
    and its stop signal mean that its policy is not to restart it; while it is restarting, every signal does.

    Raises NotFound, Conflict (not running).
    """
    row = engine.find(ref)
    seen = reconcile.look(engine, row)
    lifecycle.after(seen.status, "kill", row.id, row.name)
    events.of_container(engine, row, "kill", signal=str(signo))
    if seen.status == lifecycle.RESTARTING or signo in (signals.SIGKILL, store.record(row).stop_signal):
        restarting.hold(engine, row)
    if seen.status == lifecycle.RESTARTING:
        reconcile.settle_waiting(engine, row)
    elif signo == signals.SIGKILL:
        runtime.kill_and_wait(engine.roots.run(row.id), engine.cgroup(row.id))
        if restarting.has_policy(row):
            reconcile.settle_waiting(engine, row)
        else:
            reconcile.settle_if_free(engine, row)
    elif seen.state is None or not runtime.signal(seen.state, signo):
        lifecycle.after(lifecycle.EXITED, "kill", row.id, row.name)
