# SPDX-License-Identifier: Apache-2.0
"""`attach`: the channel to a running container's monitor (docker-attach(1); csrc/monitor.h draws what it speaks)."""

from __future__ import annotations

import os

from minirt.engine import lifecycle, reconcile
from minirt.errors import Conflict
from minirt.kernel import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


class Attached:
    """control: the channel, the receiver's to close. pid, start_ticks: the container's first process."""

    __slots__ = ("control", "pid", "start_ticks")

    def __init__(self, control: int, pid: int, start_ticks: int) -> None:
        self.control = control
        self.pid = pid
        self.start_ticks = start_ticks


def attach(engine: Engine, ref: str) -> Attached:
    """Raises NotFound, or Conflict where it does not run, is paused, or nobody serves its streams."""
    row = engine.find(ref)
    seen = reconcile.look(engine, row)
    lifecycle.after(seen.status, "attach", row.id, row.name)
    control = connect(engine, row.id)
    if control < 0 or seen.state is None:
        if control >= 0:
            os.close(control)
        raise Conflict(
            f"cannot attach to {row.name}: its monitor is gone or the container has just ended",
            f"minirt logs {row.name}",
        )
    return Attached(control, seen.state.pid, seen.state.start_ticks)


def connect(engine: Engine, identity: str) -> int:
    """A connection to run/<id>/attach, or -1 where nobody listens. Below the directory's descriptor, because the
    path may be longer than the 108 bytes that connect(2) takes."""
    try:
        directory = os.open(engine.roots.run(identity), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        return call.connect_seqpacket(directory, "attach")
    except (FileNotFoundError, ConnectionRefusedError):
        return -1
    finally:
        os.close(directory)
