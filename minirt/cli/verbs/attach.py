# SPDX-License-Identifier: Apache-2.0
"""`minirt attach`: join the standard streams of a running container (docker-attach(1))."""

from __future__ import annotations

import os

from minirt.cli.attachment import Wanted, proxy
from minirt.cli.attachment import attach as join
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import attach as attach_
from minirt.engine.store import record

COMMAND = Command(
    "attach",
    "[OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    (
        Option("detach-keys", "", STRING, "Override the key sequence for detaching a container"),
        Option("no-stdin", help="Do not attach STDIN"),
        Option("sig-proxy", help="Proxy all received signals to the process", default=True),
    ),
    minimum=1,
    maximum=1,
    aliases=("container attach", "attach"),
)


def run(session: Session, parsed: Parsed) -> int:
    """Signals are forwarded only without a pty: with one, keys make them inside (Docker)."""
    reference = parsed.arguments[0]
    options = record(session.engine.find(reference)).options
    stdin = options.interactive and not parsed.flag("no-stdin")
    wanted = Wanted(stdin, options.tty, parsed.text("detach-keys"))
    attached = attach_.attach(session.engine, reference)
    forward = None
    if parsed.flag("sig-proxy") and not options.tty:
        forward = proxy(attached.pid, attached.start_ticks, reference)
    code = join(wanted, attached.control, forward)
    os.close(attached.control)
    return code
