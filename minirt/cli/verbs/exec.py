# SPDX-License-Identifier: Apache-2.0
"""`minirt exec`: one more process in a running container (docker-exec(1)).

Exit code: the process's own; 126 and 127 when it cannot be executed; 1 when the container is not there or does
not run.
"""

from __future__ import annotations

import os

from minirt.cli import interrupt
from minirt.cli.attachment import Wanted, attach, proxy
from minirt.cli.parse import LIST, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import exec as exec_
from minirt.engine.options import ExecOptions

COMMAND = Command(
    "exec",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
    (
        Option("detach", "d", help="Detached mode: run command in the background"),
        Option("detach-keys", "", STRING, "Override the key sequence for detaching a container"),
        Option("env", "e", LIST, "Set environment variables"),
        Option("env-file", "", LIST, "Read in a file of environment variables"),
        Option("interactive", "i", help="Keep STDIN open even if not attached"),
        Option("privileged", help="Give extended privileges to the command"),
        Option("tty", "t", help="Allocate a pseudo-TTY"),
        Option("user", "u", STRING, 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
        Option("workdir", "w", STRING, "Working directory inside the container"),
    ),
    minimum=2,
    interspersed=False,
    aliases=("container exec", "exec"),
)


def run(session: Session, parsed: Parsed) -> int:
    detach, stdin, tty = parsed.flag("detach"), parsed.flag("interactive"), parsed.flag("tty")
    wanted = None if detach else Wanted(stdin, tty, parsed.text("detach-keys"))
    options = ExecOptions(
        parsed.arguments[1:],
        detach=detach,
        interactive=stdin,
        tty=tty,
        privileged=parsed.flag("privileged"),
        user=parsed.text("user"),
        workdir=parsed.text("workdir"),
        env=parsed.list("env"),
        env_file=parsed.list("env-file"),
    )
    interrupt.hold()
    started = exec_.exec_(session.engine, parsed.arguments[0], options)
    if wanted is None:
        return 0
    code = attach(wanted, started.control, proxy(started.pid, started.start_ticks))
    os.close(started.control)
    return code
