# SPDX-License-Identifier: Apache-2.0
"""`minirt tag`: another name for an image (docker-tag(1))."""

from __future__ import annotations

from minirt.cli.parse import Command, Parsed
from minirt.cli.session import Session
from minirt.engine import tag as tag_

COMMAND = Command(
    "tag",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    minimum=2,
    maximum=2,
    aliases=("image tag", "tag"),
)


def run(session: Session, parsed: Parsed) -> int:
    tag_.tag(session.engine, parsed.arguments[0], parsed.arguments[1])
    return 0
