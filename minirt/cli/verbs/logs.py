# SPDX-License-Identifier: Apache-2.0
"""`minirt logs`: what a container has printed, and with -f what it goes on to print (docker-logs(1)).

The bytes are the workload's own and pass as they are, standard error to standard error.
"""

from __future__ import annotations

import time

from minirt.cli import output, phrase
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import logs as logs_
from minirt.errors import InvalidValue

COMMAND = Command(
    "logs",
    "[OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    (
        Option("follow", "f", help="Follow log output"),
        Option(
            "since",
            "",
            STRING,
            'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")',
        ),
        Option("tail", "n", STRING, "Number of lines to show from the end of the logs", default="all"),
        Option("timestamps", "t", help="Show timestamps"),
        Option(
            "until",
            "",
            STRING,
            'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative',
        ),
    ),
    minimum=1,
    maximum=1,
    aliases=("container logs", "logs"),
)
BATCH_BYTES = 65536


def run(session: Session, parsed: Parsed) -> int:
    now_ns = time.time_ns()
    since, until = [
        phrase.moment(parsed.text(name), now_ns) if parsed.text(name) else None for name in ("since", "until")
    ]
    records = logs_.read(
        session.engine,
        parsed.arguments[0],
        follow=parsed.flag("follow"),
        tail=_tail(parsed.text("tail")),
        since_ns=since,
        until_ns=until,
    )
    stamps, follow = parsed.flag("timestamps"), parsed.flag("follow")
    fresh = {
        "stdout": True,
        "stderr": True,
    }  # whether the next record begins a line: parts of one share a stamp
    batch: list[bytes] = []
    size = 0
    for stream, time_ns, data in records:
        if stamps and fresh[stream]:
            data = phrase.stamp(time_ns).encode() + b" " + data
        fresh[stream] = data.endswith(b"\n")
        if stream == "stderr" or follow:
            _give(b"".join(batch), "stdout")
            _give(data, stream)
            batch, size = [], 0
            continue
        batch.append(data)
        size += len(data)
        if size >= BATCH_BYTES:
            _give(b"".join(batch), "stdout")
            batch, size = [], 0
    _give(b"".join(batch), "stdout")
    return 0


def _tail(text: str) -> int | None:
    """ "all" or a number of lines; a negative one is all of them (Docker)."""
    if text in ("all", ""):
        return None
    try:
        count = int(text)
    except ValueError:
        raise InvalidValue(f'invalid number of lines: "{text}"', "write --tail 100 or --tail all") from None
    return None if count < 0 else count


def _give(data: bytes, stream: str) -> None:
    if not data:
        return
    if stream == "stdout":
        output.raw(data)
    else:
        try:
            output.write_all(2, data)
        except OSError:
            pass  # nobody reads our standard error
