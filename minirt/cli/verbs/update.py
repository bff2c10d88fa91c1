# SPDX-License-Identifier: Apache-2.0
"""`minirt update`: other limits and another restart policy for containers that are there (docker-update(1))."""

from __future__ import annotations

from minirt.cli.parse import BYTES, INT, STRING, Command, Option, Parsed, usage_error
from minirt.cli.session import Session, each
from minirt.engine import flags, policy, resource_flags
from minirt.engine import update as update_
from minirt.engine.options import UNSUPPORTED
from minirt.errors import CommandError, InvalidValue


def _size(text: str) -> None:
    try:
        flags.size(text, "")
    except InvalidValue:
        raise ValueError(f"invalid size: '{text}'") from None


def _size_or_none(text: str) -> None:
    if text != "-1":
        _size(text)


def _processors(text: str) -> None:
    try:
        resource_flags.nano_cpus(text)
    except InvalidValue as error:
        raise ValueError(error.message.partition("flag: ")[2]) from None


REFUSED = (
    Option("cpu-rt-period", "", INT, hidden=True),
    Option("cpu-rt-runtime", "", INT, hidden=True),
    Option("kernel-memory", "", BYTES, hidden=True),
)
COMMAND = Command(
    "update",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Update configuration of one or more containers",
    (
        Option("blkio-weight", "", INT, "Block IO (relative weight), between 10 and 1000"),
        Option("cpu-period", "", INT, "Limit CPU CFS (Completely Fair Scheduler) period"),
        Option("cpu-quota", "", INT, "Limit CPU CFS (Completely Fair Scheduler) quota"),
        Option("cpu-shares", "c", INT, "CPU shares (relative weight)"),
        Option("cpus", "", STRING, "Number of CPUs", metavar="decimal", check=_processors),
        Option("cpuset-cpus", "", STRING, "CPUs in which to allow execution (0-3, 0,1)"),
        Option("cpuset-mems", "", STRING, "MEMs in which to allow execution (0-3, 0,1)"),
        Option("memory", "m", BYTES, "Memory limit", check=_size),
        Option("memory-reservation", "", BYTES, "Memory soft limit", check=_size),
        Option(
            "memory-swap",
            "",
            BYTES,
            "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
            check=_size_or_none,
        ),
        Option("pids-limit", "", INT, "Tune container pids limit (set -1 for unlimited)"),
        Option("restart", "", STRING, "Restart policy to apply when a container exits", check=policy.parse),
        *REFUSED,
    ),
    minimum=1,
    aliases=("container update", "update"),
)


def run(session: Session, parsed: Parsed) -> int:
    for option in REFUSED:
        if option.name in parsed.given:
            remedy = UNSUPPORTED[option.name].partition("(")[2].rstrip(")")
            raise InvalidValue(f"--{option.name} is not supported", remedy)
    if not parsed.given:
        raise usage_error(COMMAND, "you must provide one or more flags when using this command", CommandError)
    changes = {name.replace("-", "_"): parsed.values[name] for name in sorted(parsed.given) if name != "restart"}
    restart = parsed.text("restart") or "no" if "restart" in parsed.given else None
    return each(parsed.arguments, lambda reference: update_.update(session.engine, reference, changes, restart))
