# SPDX-License-Identifier: Apache-2.0
"""`minirt plan`: the system calls that `run` would make, in order, without making them; needs no root.

With --container it shows those that did make a container: with durations, if it was run with --explain.
"""

from __future__ import annotations

from minirt.cli import container_flags, output
from minirt.cli.parse import STRING, Command, Option, Parsed, usage_error
from minirt.cli.session import Session
from minirt.engine.paths import Roots
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.learn.explain import Line

FAILURE = 125
COMMAND = Command(
    "plan",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Show the system calls that make a container, without making it",
    (
        Option("bundle", "", STRING, "Plan an OCI bundle instead of an image", metavar="DIR"),
        Option("container", "", STRING, "Show the plan of a container that exists", metavar="NAME"),
        Option("json", help="Print the steps as a JSON list"),
        Option("why", help="Group the steps by what they isolate, and say what that is for"),
        *container_flags.FLAGS,
        *container_flags.REFUSED,
    ),
    interspersed=False,
    notes="Takes every option of 'minirt run', so that two plans can be compared.",
)


def run(session: Session, parsed: Parsed) -> int:
    lines, assumed = _lines(session, parsed)
    from minirt.learn import explain

    if parsed.flag("json"):
        output.raw(output.encode(json.dumps(explain.document(lines)) + "\n"))
        return 0
    text = explain.by_kind(lines) if parsed.flag("why") else explain.listing(lines)
    text += "".join(f"assumed: {reason}\n" for reason in assumed)
    output.raw(output.encode(output.safe(text, "\n")))
    return 0


def _lines(session: Session, parsed: Parsed) -> tuple[list[Line], list[str]]:
    """(the steps, what had to be assumed)."""
    from minirt.learn import explain, preview

    bundle, container = parsed.text("bundle"), parsed.text("container")
    if bundle and container:
        raise usage_error(COMMAND, "--bundle and --container exclude each other")
    if (bundle or container) and parsed.arguments:
        raise usage_error(COMMAND, "an image is not looked at with --bundle or --container")
    roots = Roots(session.root, session.state)
    if container:
        path = roots.container(session.engine.find(container).id)
        stored = explain.load(f"{path}/plan")
        if stored is not None:
            return stored, []
        bundle = path
    if bundle:
        found = preview.of_bundle(bundle, roots.cache)
    else:
        parsed.given -= {"bundle", "container"}
        found = preview.of_options(roots, container_flags.options(COMMAND, parsed))
    return explain.lines(found.plan, None, found.origins), found.assumed
