# SPDX-License-Identifier: Apache-2.0
"""--pid, --ipc, --uts and --network container:X: sharing another container's namespaces (namespaces(7), setns(2)).

At creation only the other container's id is kept. At each start its namespaces are opened, and only then is it
checked that the process which was opened is still that container: a number that was reused is never joined.
Must not import plan or image.
"""

from __future__ import annotations

import os

from minirt.engine import reconcile, store
from minirt.engine.spec import ns_file
from minirt.errors import Conflict
from minirt.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import RunOptions
    from minirt.engine.store import Engine

FLAGS = ("pid", "ipc", "uts", "network")
SPOKEN = {"pid": "PID", "ipc": "IPC", "uts": "UTS", "network": "network"}


def targets(wanted: RunOptions) -> dict[str, str]:
    """{namespace: the container whose it is to be}, for each flag that says container:X."""
    found = {}
    for flag in FLAGS:
        given = getattr(wanted, flag)
        mode, _, container = (given[0] if isinstance(given, list) and given else given or "").partition(":")
        if mode == "container" and container:
            found[flag] = container
    return found


def normalise(engine: Engine, wanted: RunOptions) -> None:
    """Put ids where the user wrote names, so that a later rename changes nothing. Who shares the network of a container
    that shares another's shares that one's: its links go when it ends (engine/release.py). Raises NotFound."""
    for flag, container in targets(wanted).items():
        row = engine.find(container)
        while flag == "network" and (owner := targets(store.record(row).options).get(flag)):
            row = engine.find(owner)
        word = f"container:{row.id}"
        setattr(wanted, flag, [word] if flag == "network" else word)


def placeholders(wanted: RunOptions) -> dict[str, str]:
    """What config.json says while the container does not run: a path that leads nowhere."""
    return {kind: f"/proc/0/ns/{ns_file(kind)}" for kind in targets(wanted)}


class Joined:
    """The opened namespaces of other containers; a context manager. `apply` names them in a spec."""

    __slots__ = ("descriptors",)

    def __init__(self, engine: Engine, wanted: RunOptions) -> None:
        """Raises NotFound, or Conflict where the other container does not run."""
        self.descriptors: dict[str, int] = {}
        try:
            for kind, container in targets(wanted).items():
                self.descriptors[kind] = _open(engine, kind, container)
        except BaseException:
            self.close()
            raise

    def apply(self, spec: dict[str, Any]) -> None:
        for namespace in spec["linux"]["namespaces"]:
            if namespace["type"] in self.descriptors:
                namespace["path"] = f"/proc/self/fd/{self.descriptors[namespace['type']]}"

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(engine: Engine, kind: str, container: str) -> int:
    row = engine.find(container)
    state = reconcile.look(engine, row).state
    if state is not None and state.alive():
        try:
            fd = os.open(f"/proc/{state.pid}/ns/{ns_file(kind)}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            fd = -1
        if fd >= 0 and process.alive(state.pid, state.start_ticks):
            return fd
        if fd >= 0:
            os.close(fd)
    raise Conflict(
        f"cannot join {SPOKEN[kind]} of a non running container: {row.id}", f"start it: minirt start {row.name}"
    )
