# SPDX-License-Identifier: Apache-2.0
"""The lifecycle table, walked exhaustively: every state with every verb."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from minirt import engine
from minirt.engine import lifecycle
from minirt.errors import Conflict

STATES = ("created", "running", "paused", "restarting", "exited", "removing")
VERBS = (
    "start",
    "stop",
    "kill",
    "pause",
    "unpause",
    "restart",
    "exec",
    "attach",
    "top",
    "rename",
    "update",
    "rm",
    "rm-f",
    "exit",
)
IDENTITY, NAME = "f" * 64, "calm_otter"

# What each verb may do, said once more and in other words than the table: from which states, and to which.
ALLOWED = {
    "start": {"created": "running", "exited": "running", "running": "running", "restarting": "restarting"},
    "stop": {"created": "created", "running": "exited", "paused": "exited", "restarting": "exited", "exited": "exited"},
    "kill": {"running": "running", "paused": "paused", "restarting": "exited"},
    "pause": {"running": "paused"},
    "unpause": {"paused": "running"},
    "restart": {
        "created": "running", "running": "running", "paused": "running", "restarting": "running", "exited": "running",
    },
    "exec": {"running": "running"},
    "attach": {"running": "running"},
    "top": {"running": "running", "paused": "paused"},
    "rename": {
        "created": "created", "running": "running", "paused": "paused", "restarting": "restarting", "exited": "exited",
    },
    "update": {state: state for state in STATES if state != "removing"},
    "rm": {"created": "removing", "exited": "removing"},
    "rm-f": dict.fromkeys(STATES, "removing"),
    "exit": {"running": "exited", "paused": "exited", "restarting": "exited"},
}  # fmt: skip


def test_table_is_complete() -> None:
    assert set(lifecycle.TABLE) == {(state, verb) for state in STATES for verb in VERBS}
    assert set(lifecycle.TABLE.values()) <= {*STATES, "=", ".", "x"}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", STATES)
def test_every_transition(state: str, verb: str) -> None:
    if state in ALLOWED[verb]:
        assert lifecycle.after(state, verb, IDENTITY, NAME) == ALLOWED[verb][state]
        return
    with pytest.raises(Conflict) as caught:
        lifecycle.after(state, verb, IDENTITY, NAME)
    message = caught.value.message
    assert IDENTITY in message or NAME in message or verb in ("start", "attach")
    assert "{" not in message + caught.value.remedy


def test_idle_is_only_what_changes_nothing() -> None:
    idle = {(state, verb) for state in STATES for verb in VERBS if lifecycle.idle(state, verb)}
    assert idle == {("running", "start"), ("restarting", "start"), ("created", "stop"), ("exited", "stop")}


def test_docker_words() -> None:
    def refusal(state: str, verb: str) -> str:
        with pytest.raises(Conflict) as caught:
            lifecycle.after(state, verb, IDENTITY, NAME)
        return caught.value.message

    assert refusal("exited", "exec") == f"container {IDENTITY} is not running"
    assert refusal("paused", "exec") == f"container {IDENTITY} is paused, unpause the container before exec"
    assert refusal("running", "rm") == (
        f'cannot remove container "/{NAME}": container is running: stop the container before removing or force remove'
    )
    assert refusal("exited", "kill") == f"cannot kill container: {NAME}: container {IDENTITY} is not running"


def test_schema_knows_the_same_states() -> None:
    """The CHECK of schema.sql and the table name the same six."""
    schema = (Path(engine.__file__).parent / "schema.sql").read_text()
    database = sqlite3.connect(":memory:")
    database.executescript(schema)
    for state in STATES:
        database.execute(
            "INSERT INTO containers (id, name, image, command, created_ns, status, options)"
            " VALUES (?,?,'','[]',0,?,'')",
            (state.ljust(64, "0"), state, state),
        )
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        database.execute("UPDATE containers SET status = 'dead'")
