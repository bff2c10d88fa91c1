# SPDX-License-Identifier: Apache-2.0
"""A container's life as one table: which verb is allowed in which state, and what comes of it.

Read a row as "in this state", a column as "this verb"; the entry is the state afterwards. `=` changes nothing
and is no error (Docker answers 304), `.` changes nothing and does its work, `x` is refused. "exit" is no verb but
the event that the workload ended.

    state      start   stop   kill   pause  unpause restart exec attach top rename update rm       rm-f     exit
    created    running =      x      x      x       running x    x      x   .      .      removing removing x
    running    =       exited .      paused x       running .    .      .   .      .      x        removing exited
    paused     x       exited .      x      running running x    x      .   .      .      x        removing exited
    restarting =       exited exited x      x       running x    x      x   .      .      x        removing exited
    exited     running =      x      x      x       running x    x      x   .      .      removing removing x
    removing   x       x      x      x      x       x       x    x      x   x      x      x        removing x

The table above is the one that the code reads: tests/engine/test_lifecycle.py walks all of it. Messages are
Docker's (moby daemon/*.go). Must not import anything but errors.
"""

from __future__ import annotations

from minirt.errors import Conflict

CREATED, RUNNING, PAUSED = "created", "running", "paused"
RESTARTING, EXITED, REMOVING = "restarting", "exited", "removing"
ALIVE = (RUNNING, PAUSED)


def _read(drawing: str) -> dict[tuple[str, str], str]:
    """{(state, verb): entry} of the grid in this module's docstring."""
    rows = [line.split() for line in drawing.splitlines() if line.startswith("    ")]
    verbs = rows[0][1:]
    return {(row[0], verb): entry for row in rows[1:] for verb, entry in zip(verbs, row[1:], strict=True)}


def _grid() -> str:
    """Without docstrings (python -OO) there would be no table, and no verb is worth that half a kilobyte."""
    if __doc__ is None:
        raise ImportError("minirt reads its lifecycle from a docstring: run it without -OO")
    return __doc__


TABLE = _read(_grid())

_RUNS = 'cannot remove container "/{name}": container is running: stop the container before removing or force remove'

# (verb, state or "") → (message, remedy); {id} and {name} are filled in.
REFUSALS: dict[tuple[str, str], tuple[str, str]] = {
    ("start", PAUSED): ("cannot start a paused container, try unpause instead", "minirt unpause {name}"),
    ("kill", ""): ("cannot kill container: {name}: container {id} is not running", ""),
    ("pause", PAUSED): ("container {id} is already paused", ""),
    ("unpause", ""): ("container {id} is not paused", ""),
    ("exec", PAUSED): ("container {id} is paused, unpause the container before exec", "minirt unpause {name}"),
    ("attach", PAUSED): ("you cannot attach to a paused container, unpause it first", "minirt unpause {name}"),
    ("attach", ""): ("you cannot attach to a stopped container, start it first", "minirt start -a {name}"),
    ("rm", RUNNING): (_RUNS, "minirt rm -f {name}"),
    ("rm", PAUSED): (
        'cannot remove container "/{name}": container is paused and must be unpaused first',
        "minirt rm -f {name}",
    ),
    ("rm", RESTARTING): (_RUNS.replace("running", "restarting"), "minirt rm -f {name}"),
    ("rm", REMOVING): ("removal of container {name} is already in progress", ""),
    ("start", REMOVING): ("container is marked for removal and cannot be started", ""),
    ("update", REMOVING): (
        'Cannot update container {id}: container is marked for removal and cannot be "update"',
        "",
    ),
    ("", RESTARTING): ("container {id} is restarting, wait until the container is running", ""),
    ("", REMOVING): ("container {id} is marked for removal", ""),
    ("", ""): ("container {id} is not running", ""),
}


def after(state: str, verb: str, identity: str, name: str) -> str:
    """The state that `verb` leads to from `state`; the same one where it changes nothing.

    Raises Conflict with Docker's words where the table says x.
    """
    entry = TABLE[state, verb]
    if entry == "x":
        for key in ((verb, state), ("", state), (verb, ""), ("", "")):
            if key in REFUSALS:
                message, remedy = REFUSALS[key]
                raise Conflict(message.format(id=identity, name=name), remedy.format(id=identity, name=name))
    return state if entry in "=." else entry


def idle(state: str, verb: str) -> bool:
    """Whether `verb` has nothing to do in `state` and is no error: start of a running container."""
    return TABLE[state, verb] == "="
