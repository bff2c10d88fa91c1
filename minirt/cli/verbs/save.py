# SPDX-License-Identifier: Apache-2.0
"""`minirt save`: images as an archive that docker, podman, skopeo and umoci read (docker-save(1), podman-save(1))."""

from __future__ import annotations

from minirt.cli import destination
from minirt.cli.parse import STRING, Command, Option, Parsed, usage_error
from minirt.cli.session import Session
from minirt.engine import save as save_
from minirt.image import save as forms
from minirt.image.sink import FileSink

COMMAND = Command(
    "save",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    (
        Option("format", "", STRING, "docker-archive, oci-archive or oci-dir", default=forms.DOCKER_ARCHIVE),
        Option("output", "o", STRING, "Write to a file, instead of STDOUT"),
    ),
    minimum=1,
    aliases=("image save", "save"),
)


def run(session: Session, parsed: Parsed) -> int:
    form, path = parsed.text("format"), parsed.text("output")
    if form not in forms.FORMATS:
        raise usage_error(COMMAND, f'unsupported format "{form}": must be one of {", ".join(forms.FORMATS)}')
    if form == forms.OCI_DIRECTORY:
        if not path:
            raise usage_error(COMMAND, "--format oci-dir needs -o DIRECTORY")
        images = save_.find(session.engine, parsed.arguments)
        with destination.new_directory(path) as folder:
            save_.save(session.engine, images, forms.Directory(folder), form)
        return 0
    with destination.opened(path) as fd:
        images = save_.find(session.engine, parsed.arguments)
        save_.save(session.engine, images, forms.Archive(FileSink(fd)), form)
    return 0
