# SPDX-License-Identifier: Apache-2.0
"""`run`: create and start in one go, with the root filesystem mounted once (docker-run(1)).

One insert before the birth, one update after it. If the start fails nothing is left: a container that never ran
is of no use to anybody.
"""

from __future__ import annotations

import os

from minirt.engine import create, lifecycle, reconcile
from minirt.engine import start as start_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.options import RunOptions
    from minirt.engine.store import Engine
    from minirt.runtime.launch import Started


def run(engine: Engine, wanted: RunOptions) -> tuple[str, Started]:
    """(id, the running container). Its control channel is open unless `detach` is asked for; the caller's to close.

    Raises what create and start raise.
    """
    made = create.make(engine, wanted, lifecycle.RUNNING)
    try:
        mounted, made.mounted = made.mounted, None  # runtime.start closes it, whatever happens
        started = start_.launch(engine, made.row, made.record, made.spec, mounted)
    except BaseException:
        reconcile.discard(engine, made.row)
        raise
    finally:
        made.close()
    if wanted.detach:
        os.close(started.control)
        started.control = -1
    return made.row.id, started
