# SPDX-License-Identifier: Apache-2.0
"""`minirt inspect`: everything about containers, else images, else networks, of a name (docker-inspect(1))."""

from __future__ import annotations

from minirt.cli import formatting, output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import inspect as inspect_
from minirt.errors import InvalidValue, MinirtError, NotFound

COMMAND = Command(
    "inspect",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on containers, images and networks",
    (
        Option("format", "f", STRING, formatting.HELP_ONE),
        Option("type", "", STRING, 'Only inspect objects of the given type ("container", "image", "network")'),
    ),
    minimum=1,
)


def run(session: Session, parsed: Parsed) -> int:
    kind = parsed.text("type")
    if kind not in ("", "container", "image", "network"):
        raise InvalidValue(f'"{kind}" is not a valid value for --type', 'write "container", "image" or "network"')
    return show(session, parsed, kind)


def show(session: Session, parsed: Parsed, kind: str) -> int:
    """What was found is printed even when something else was not (Docker); exit code 1 then."""
    found, failed = [], 0
    for reference in parsed.arguments:
        try:
            found.append(_one(session, reference, kind))
        except MinirtError as error:
            output.complain(error.message, error.remedy)
            failed = 1
    if found or not parsed.text("format"):
        output.formatted(formatting.objects(parsed.text("format"), found))
    return failed


def _one(session: Session, reference: str, kind: str) -> dict[str, object]:
    from minirt.engine import images, network_inspect

    if kind == "network":
        return network_inspect.document(session.engine, reference)
    if kind == "image":
        return images.inspect(session.engine, reference)
    try:
        return inspect_.inspect(session.engine, reference)
    except NotFound:
        if kind == "container":
            raise
    try:
        return images.inspect(session.engine, reference)
    except (NotFound, InvalidValue):
        pass
    try:
        return network_inspect.document(session.engine, reference)
    except NotFound:
        raise NotFound(
            f"No such object: {reference}", "see what there is: minirt ps -a, minirt images, minirt network ls"
        ) from None
