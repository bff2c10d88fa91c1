# SPDX-License-Identifier: Apache-2.0
"""`minirt pull`: download images from a registry (docker-pull(1))."""

from __future__ import annotations

from minirt.cli import output, progress
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine import pull as pull_
from minirt.errors import MinirtError
from minirt.model.reference import DEFAULT_TAG, Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.cli.progress import Shown
    from minirt.image.pull import Pulled

COMMAND = Command(
    "pull",
    "[OPTIONS] NAME[:TAG|@DIGEST] [NAME[:TAG|@DIGEST]...]",
    "Download an image from a registry",
    (
        Option("all-tags", "a", help="Download all tagged images in the repository"),
        Option("disable-content-trust", help="Skip image verification", default=True, hidden=True),
        Option("platform", "", STRING, "Set platform if the registry has the image for several"),
        Option("quiet", "q", help="Suppress verbose output"),
    ),
    minimum=1,
    aliases=("image pull", "pull"),
)


def run(session: Session, parsed: Parsed) -> int:
    failed = 0
    for text in parsed.arguments:
        try:
            name = pull_.named(text)
            _all(session, parsed, name) if parsed.flag("all-tags") else _one(session, parsed, name)
        except MinirtError as error:
            if len(parsed.arguments) == 1:
                raise
            output.complain(error.message, error.remedy)
            failed = 1
    return failed


def show(shown: Shown, name: Reference, pulled: Pulled) -> None:
    """The two lines that end the pull of one image."""
    shown.say(f"Digest: {pulled.digest}")
    status(shown, name.tagged().short(), pulled.new)


def status(shown: Shown, name: str, new: bool) -> None:
    shown.say(f"Status: {'Downloaded newer image' if new else 'Image is up to date'} for {name}")


def _one(session: Session, parsed: Parsed, name: Reference) -> None:
    with progress.shown(1, parsed.flag("quiet")) as shown:
        if name.tag is None and name.digest is None:
            shown.say(f"Using default tag: {DEFAULT_TAG}")
        pulled = pull_.pull(session.engine, name, parsed.text("platform") or None, shown)
        show(shown, name, pulled)
    output.line(str(name.tagged()))


def _all(session: Session, parsed: Parsed, name: Reference) -> None:
    new = False
    with progress.shown(1, parsed.flag("quiet")) as shown:
        for tag in pull_.tags(name, shown):
            tagged = Reference(name.domain, name.path, tag, None)
            pulled = pull_.pull(session.engine, tagged, parsed.text("platform") or None, shown)
            shown.say(f"Digest: {pulled.digest}")
            new = new or pulled.new
        status(shown, name.familiar, new)
    output.line(str(name))
