# SPDX-License-Identifier: Apache-2.0
"""`minirt create`: everything that `run` does before the first process (docker-create(1))."""

from __future__ import annotations

from minirt.cli import container_flags, output
from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import create as create_

FAILURE = 125
COMMAND = Command(
    "create",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a new container",
    (*container_flags.FLAGS, *container_flags.REFUSED),
    interspersed=False,
    aliases=("container create", "create"),
)


def run(session: Session, parsed: Parsed) -> int:
    cidfile = parsed.text("cidfile")
    options = container_flags.options(COMMAND, parsed)
    container_flags.check_cidfile(cidfile)
    identity = container_flags.with_image(session, parsed, options, lambda: create_.create(session.engine, options))
    if cidfile:
        container_flags.write_cidfile(cidfile, identity)
    output.line(identity)
    return 0
