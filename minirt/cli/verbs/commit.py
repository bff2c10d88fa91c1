# SPDX-License-Identifier: Apache-2.0
"""`minirt commit`: a new image from what a container has changed (docker-commit(1))."""

from __future__ import annotations

from minirt.cli import destination, output
from minirt.cli.parse import LIST, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import commit as commit_

COMMAND = Command(
    "commit",
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
    (
        Option("author", "a", STRING, 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        Option("change", "c", LIST, "Apply Dockerfile instruction to the created image"),
        Option("message", "m", STRING, "Commit message"),
        Option("pause", "p", help="Pause container during commit", default=True),
    ),
    minimum=1,
    maximum=2,
    aliases=("container commit", "commit"),
)


def run(session: Session, parsed: Parsed) -> int:
    container, *name = parsed.arguments
    wanted = commit_.Wanted(
        name[0] if name else "", parsed.text("author"), parsed.text("message"), parsed.list("change"),
        parsed.flag("pause"),
    )  # fmt: skip
    output.line(commit_.commit(session.engine, container, wanted, destination.warner()))
    return 0
