# SPDX-License-Identifier: Apache-2.0
"""`wait`: until a container stops, then its exit code (docker-wait(1)).

The monitor tells everybody who is attached how it ended, before anything is cleaned up: so the code of a container
that asked for --rm is not lost.
"""

from __future__ import annotations

import os
import time

from minirt.engine import attach, lifecycle, reconcile, store
from minirt.kernel import channel
from minirt.runtime import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine

PAUSE_S = 0.02
LONG_S = 86400.0  # poll(2) takes no more than 24 days at once


def wait(engine: Engine, ref: str) -> int | None:
    """The exit code; of a container that does not run the last one, 0 for one that never ran (Docker). None:
    nobody saw how it ended."""
    row = engine.find(ref)
    seen = reconcile.look(engine, row)
    while seen.status == lifecycle.RESTARTING:  # until it has run once more (Docker)
        time.sleep(PAUSE_S)
        current = reconcile.settle_if_free(engine, row)
        if current is None:
            raise store.missing(ref)
        row, seen = current, reconcile.look(engine, current)
    if seen.status not in lifecycle.ALIVE:
        return 0 if seen.status == lifecycle.CREATED else seen.exit_code
    code = _told(engine, row.id)
    if code is None:
        state = seen.state
        while state is not None and state.alive():
            state = states.wait(engine.roots.run(row.id), LONG_S)
        code = state.exit.code if state is not None and state.exit is not None else None
    if code is None:
        settled = reconcile.settle_if_free(engine, row)
        code = settled.exit_code if settled is not None else None
    return code


def _told(engine: Engine, identity: str) -> int | None:
    """Attach, pass over what it prints, and hear how it ends. None: there is no monitor to hear it from."""
    control = attach.connect(engine, identity)
    if control < 0:
        return None
    try:
        while True:
            kind, body = channel.read(control)
            if kind == channel.EXITED:
                return channel.exited(body)[0]
            if not kind:
                return None
    except OSError:
        return None
    finally:
        os.close(control)
