# SPDX-License-Identifier: Apache-2.0
"""`minirt version`: what runs here, as lines or by --format (docker-version(1))."""

from __future__ import annotations

import os
import sys

from minirt import __version__
from minirt.cli import formatting, output
from minirt.cli.evaluate import Record
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session

COMMAND = Command(
    "version",
    "[OPTIONS]",
    "Show the version",
    (Option("format", "f", STRING, formatting.HELP_ONE),),
    maximum=0,
)
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def facts() -> dict[str, object]:
    """Docker's names where it has them."""
    host = os.uname()
    return {
        "Version": __version__,
        "OciVersion": "1.2.0",
        "PythonVersion": ".".join([str(part) for part in sys.version_info[:3]]),
        "KernelVersion": host.release,
        "Os": "linux",
        "Arch": MACHINES.get(host.machine, host.machine),
    }


def run(session: Session, parsed: Parsed) -> int:
    found = facts()
    if parsed.text("format"):
        both: dict[str, object] = {**found, "Client": found, "Server": found}
        output.formatted(formatting.rows(parsed.text("format"), [Record(both, {})], {}, ()))
        return 0
    text = "minirt\n"
    for title, value in (
        ("Version", found["Version"]),
        ("OCI runtime spec", found["OciVersion"]),
        ("Python", f"CPython {found['PythonVersion']}"),
        ("Kernel", found["KernelVersion"]),
        ("OS/Arch", f"{found['Os']}/{found['Arch']}"),
    ):
        text += f" {title + ':':<18}{value}\n"
    output.raw(output.encode(text))
    return 0
