# SPDX-License-Identifier: Apache-2.0
"""`minirt doctor`: what of this host helps or hinders, each with its remedy. Exit 0 only if a container can run."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.output import safe
from minirt.cli.parse import Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine.paths import Roots
from minirt.model import json

COMMAND = Command(
    "doctor",
    "[OPTIONS]",
    "Say what on this host helps or hinders, and the remedy",
    (
        Option("json", help="Print the findings as JSON"),
        Option("quiet", "q", help="Only what is not well"),
    ),
    maximum=0,
    notes="Exit code 0 when a container can run here, 1 when not.",
)


def run(session: Session, parsed: Parsed) -> int:
    from minirt.engine import doctor

    findings = doctor.examine(Roots(session.root, session.state))
    able = doctor.can_run(findings)
    shown = [one for one in findings if one.status != doctor.OK or not parsed.flag("quiet")]
    if parsed.flag("json"):
        fields = ("name", "status", "what", "remedy")
        document = [{field: getattr(one, field) for field in fields} for one in shown]
        output.raw(output.encode(json.dumps({"can_run": able, "findings": document}) + "\n"))
        return 0 if able else 1
    width = max([len(one.name) for one in shown], default=0)
    text = ""
    for one in shown:
        text += f"{one.status:<4}  {safe(one.name):<{width}}  {safe(one.what)}\n"
        if one.remedy:
            text += f"{'':<{width + 8}}remedy: {safe(one.remedy)}\n"
    text += "containers can run here\n" if able else "no container can run here\n"
    output.raw(output.encode(text))
    return 0 if able else 1
