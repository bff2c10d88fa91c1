# SPDX-License-Identifier: Apache-2.0
"""`minirt run`: create a container, start it, stay with it until it ends (docker-run(1)).

Exit code: the workload's own; 125 when minirt failed, 126 and 127 when the program cannot be executed.
"""

from __future__ import annotations

import os

from minirt.cli import container_flags, interrupt, output
from minirt.cli.attachment import Wanted, attach, proxy
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import cleanup as cleanup_
from minirt.engine import run as run_
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.runtime.launch import Started

FAILURE = 125
NOTES = """Exit code: the workload's own, 128+n if signal n ended it; 125 if minirt failed, 126 if the program cannot be
executed, 127 if there is no such program.

Signals sent to minirt go to the container's first process; with --sig-proxy=false they end minirt, and the
container goes on. When nobody reads the output any more, the container gets SIGPIPE. With -t, ctrl-p ctrl-q
leaves the container running and minirt ends."""
COMMAND = Command(
    "run",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image",
    (
        *container_flags.FLAGS,
        Option("detach", "d", help="Run container in background and print container ID"),
        Option("detach-keys", "", STRING, "Override the key sequence for detaching a container"),
        Option("explain", help="Print every system call that makes the container, with its duration"),
        Option("sig-proxy", help="Proxy received signals to the process", default=True),
        *container_flags.REFUSED,
    ),
    interspersed=False,
    aliases=("container run", "run"),
    notes=NOTES,
)


def run(session: Session, parsed: Parsed) -> int:
    detach, cidfile = parsed.flag("detach"), parsed.text("cidfile")
    options = container_flags.options(COMMAND, parsed)
    options.detach, options.explain = detach, parsed.flag("explain")
    if detach and parsed.list("attach"):
        raise InvalidValue(
            "conflicting options: cannot specify both --attach and --detach",
            "leave one of them out",
        )
    wanted = None
    if not detach:
        wanted = Wanted(options.interactive, options.tty, parsed.text("detach-keys"), parsed.list("attach"))
    container_flags.check_cidfile(cidfile)

    def act() -> tuple[str, Started]:
        interrupt.hold()
        return run_.run(session.engine, options)

    identity, started = container_flags.with_image(session, parsed, options, act)
    if cidfile:
        container_flags.write_cidfile(cidfile, identity)
    if options.explain:
        from minirt.learn import explain

        lines = explain.lines(started.plan, started.durations_ns)
        explain.save(f"{session.engine.roots.container(identity)}/plan", lines)
        output.hint(output.safe(explain.listing(lines), "\n"))
    if wanted is None:
        output.line(identity)
        return 0
    forward = (
        proxy(started.pid, started.start_ticks, options.name or identity[:12]) if parsed.flag("sig-proxy") else None
    )
    code = attach(wanted, started.control, forward)
    if cleanup_.is_wanted(options):
        cleanup_.cleanup(session.engine, identity)  # nothing to do after the detach keys, or where another was first
    os.close(started.control)
    return code
