# SPDX-License-Identifier: Apache-2.0
"""What the prune verbs have in common: --filter, the question before, and what came of it, in Docker's words."""

from __future__ import annotations

import os
import time

from minirt.cli import output, phrase
from minirt.cli.parse import LIST, Option
from minirt.engine.prune_filter import Filter
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.cli.parse import Parsed

FORCE = Option("force", "f", help="Do not prompt for confirmation")


def check(text: str) -> None:
    """For the command line's table: the form alone."""
    if "=" not in text:
        raise ValueError("invalid argument: bad format of filter (expected name=value)")


def option(keys: str = '"until=<timestamp>", "label=<key>=<value>"') -> Option:
    return Option("filter", "", LIST, f"Provide filter values (e.g. {keys})", metavar="filter", check=check)


def read(parsed: Parsed, keys: tuple[str, ...] = ("until", "label", "label!")) -> tuple[Filter, dict[str, list[str]]]:
    """The filter, and what was given for those of `keys` that it does not know. InvalidValue for another key."""
    wanted = Filter()
    others: dict[str, list[str]] = {}
    until: list[str] = []
    for text in parsed.list("filter"):
        key, _, value = text.partition("=")
        key, value = key.strip().lower(), value.strip()
        if key not in keys:
            raise InvalidValue(f"invalid filter '{key}'", f"there are {', '.join(keys)}")
        if key == "until":
            until.append(value)
        elif key == "label":
            wanted.labels.append(value)
        elif key == "label!":
            wanted.without.append(value)
        else:
            others.setdefault(key, []).append(value)
    if len(until) > 1:
        raise InvalidValue("more than one until filter specified", "give one")
    if until:
        wanted.until_ns = phrase.moment(until[0], time.time_ns())
    return wanted, others


def agreed(parsed: Parsed, warning: str) -> bool:
    """True with --force, or if the user answers y. The question goes to standard output, as Docker's does."""
    if parsed.flag("force"):
        return True
    output.raw(output.encode(f"{warning}\nAre you sure you want to continue? [y/N] "))
    answer = b""
    while len(answer) < 100 and not answer.endswith(b"\n"):
        try:
            byte = os.read(0, 1)
        except OSError:
            break
        if not byte:
            break
        answer += byte
    return answer.strip().lower() == b"y"


def show(title: str, lines: list[str]) -> None:
    if lines:
        output.lines([title, *lines, ""])


def total(size: int) -> None:
    output.line(f"Total reclaimed space: {phrase.size(size)}")


def lower(lines: list[str]) -> list[str]:
    """The lines of rmi as prune shows them: "untagged: …", "deleted: …"."""
    return [line[:1].lower() + line[1:] for line in lines]
