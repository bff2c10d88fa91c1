# SPDX-License-Identifier: Apache-2.0
"""The image that `run` and `create` want and the store has not: --pull, --quiet and --platform (docker-run(1)).

Imported when a pull is due; everything that is told goes to standard error, because standard output is the
workload's. Exit code 125 where it fails.
"""

from __future__ import annotations

from minirt.cli import output, progress
from minirt.cli.session import Session
from minirt.cli.verbs import pull as pull_verb
from minirt.engine import pull as pull_
from minirt.errors import NoSuchImage, StoreError
from minirt.image import find
from minirt.model import platform as platforms
from minirt.model import reference


def fetch(session: Session, text: str, platform: str, quiet: bool, absent: bool) -> None:
    """Pulls what `text` names. absent: it is missing, and Docker says so first."""
    name = pull_.named(text)
    if absent:
        output.hint(f"Unable to find image '{output.safe(name.tagged().short())}' locally\n")
    with progress.shown(2, quiet) as shown:
        pulled = pull_.pull(session.engine, name, platform or None, shown)
        pull_verb.show(shown, name, pulled)


def alias(text: str) -> str:
    """What [aliases] of registries.conf says instead of a short name, "" where it says nothing."""
    found = pull_.meant(text)
    return "" if found == reference.parse(text) else str(found)


def suits(session: Session, text: str, platform: str, machine: str) -> bool:
    """Whether the image that is here, if there is one, is of the platform that was asked for."""
    try:
        image = find.look(session.engine.roots.root, text)
    except (NoSuchImage, StoreError):
        return True
    wanted = platforms.parse(platform, machine)
    return image.architecture in ("", wanted.architecture)


def other_platform(text: str, platform: str) -> NoSuchImage:
    return NoSuchImage(
        f"image with reference {text} was found but does not provide the specified platform ({platform})",
        "leave out --pull never, or --platform",
    )


def is_identity(text: str) -> bool:
    """Whether it is an image's id, which no registry can be asked for."""
    return text.startswith("sha256:") or reference.is_id(text)
