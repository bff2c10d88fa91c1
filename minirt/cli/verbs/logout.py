# SPDX-License-Identifier: Apache-2.0
"""`minirt logout`: forget what `login` kept for a registry (docker-logout(1))."""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine.login import Login

COMMAND = Command(
    "logout",
    "[OPTIONS] [SERVER]",
    "Log out from a registry",
    (Option("authfile", "", STRING, "Remove the credentials from this file"),),
    maximum=1,
    notes="Defaults to Docker Hub if no server is specified.",
)


def run(session: Session, parsed: Parsed) -> int:
    del session
    login = Login(parsed.arguments[0] if parsed.arguments else "", parsed.text("authfile"))
    if not login.forget():
        output.line(f"Not logged in to {login.shown}")
        return 0
    output.line(f"Removing login credentials for {login.shown}")
    if other := login.elsewhere():
        output.hint(f"WARNING! {output.safe(other)} still has credentials for {login.shown}\n")
    return 0
