# SPDX-License-Identifier: Apache-2.0
"""`minirt start`: run a created or exited container again; -a and -i stay with it (docker-start(1))."""

from __future__ import annotations

import os

from minirt.cli import interrupt
from minirt.cli.attachment import Wanted, attach, proxy
from minirt.cli.parse import STRING, Command, Option, Parsed, usage_error
from minirt.cli.session import Session, each
from minirt.engine import cleanup as cleanup_
from minirt.engine import start as start_
from minirt.engine.store import record
from minirt.errors import ExecFailed

COMMAND = Command(
    "start",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Start one or more stopped containers",
    (
        Option("attach", "a", help="Attach STDOUT/STDERR and forward signals"),
        Option("detach-keys", "", STRING, "Override the key sequence for detaching a container"),
        Option("interactive", "i", help="Attach container's STDIN"),
    ),
    minimum=1,
    aliases=("container start", "start"),
)


def run(session: Session, parsed: Parsed) -> int:
    if not (parsed.flag("attach") or parsed.flag("interactive")):
        return each(parsed.arguments, lambda reference: start_.start(session.engine, reference))
    if len(parsed.arguments) > 1:
        raise usage_error(COMMAND, "you cannot start and attach multiple containers at once")
    return _attached(session, parsed)


def _attached(session: Session, parsed: Parsed) -> int:
    reference = parsed.arguments[0]
    row = session.engine.find(reference)
    options = record(row).options
    wanted = Wanted(parsed.flag("interactive"), options.tty, parsed.text("detach-keys"))
    interrupt.hold()
    try:
        started = start_.start(session.engine, reference, attach=True)
    except ExecFailed as error:
        error.exit_code = 1  # 126 and 127 are what `run` says (Docker)
        raise
    assert started is not None  # with `attach`, one that runs already is a Conflict
    code = attach(wanted, started.control, proxy(started.pid, started.start_ticks, reference))
    if cleanup_.is_wanted(options):
        cleanup_.cleanup(session.engine, row.id)
    os.close(started.control)
    return code
