# SPDX-License-Identifier: Apache-2.0
"""A container's files as commit and export read them: what it shows together, what it changed, what lies below.

Each is a descriptor of a detached, read-only mount (runtime/view.py), the caller's to close. The paths come from
the container's record; nothing in the container is resolved or executed on the host's side (CVE-2019-14271).
"""

from __future__ import annotations

import contextlib
import os

from minirt.engine import create
from minirt.errors import StoreError
from minirt.image.config import LAYERS_LIMIT
from minirt.plan.rootfs import Directory, Overlay
from minirt.runtime import exec as runtime
from minirt.runtime import view
from minirt.runtime.bundle import Bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirt.engine.db import Row
    from minirt.engine.record import Record
    from minirt.engine.store import Engine
    from minirt.runtime.state import State


@contextlib.contextmanager
def closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def merged(engine: Engine, row: Row, record: Record, state: State | None) -> int:
    """What the container sees as its root, without what is mounted in it. `state`: None where it does not run."""
    made = create.root_filesystem(record, engine.roots.container(row.id), only_look=True)
    if isinstance(made, Directory):
        return view.of_directory(made.path)
    if state is None:
        assert made.upper is not None
        full = len(made.lower) >= LAYERS_LIMIT  # as many as the kernel stacks: then upper as what it is
        return view.of_layers(made if full else _read_only(made, (made.upper, *made.lower)))
    target = runtime.open_target(row.id, state)
    try:
        return view.of_running(target)
    finally:
        target.close()


def upper(engine: Engine, row: Row) -> int:
    """What the container has changed, as overlayfs keeps it."""
    path = Bundle(engine.roots.container(row.id)).upper
    try:
        return view.of_directory(path)
    except FileNotFoundError as error:
        raise StoreError(f'the files of container {row.name} are gone: "{path}"', f"minirt rm {row.name}") from error


def lower(engine: Engine, row: Row, record: Record) -> int:
    """What its image shows."""
    made = create.root_filesystem(record, engine.roots.container(row.id), only_look=True)
    assert isinstance(made, Overlay)
    return view.of_layers(_read_only(made, made.lower))


def _read_only(overlay: Overlay, layers: tuple[str, ...]) -> Overlay:
    return Overlay(layers, None, None, overlay.pointer, overlay.mount_point)
