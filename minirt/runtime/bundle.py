# SPDX-License-Identifier: Apache-2.0
"""A container's two directories: the OCI bundle on disk (runtime-spec bundle.md) and what a reboot must forget.

    containers/<id>/   config.json  plan  log  upper/  work/  rootfs/  hosts  hostname  resolv.conf
    run/<id>/          state  exit  attach (socket)

Files appear by rename, so a reader sees all of one or nothing of it. There is no fsync: a power cut may lose a
container that was made in the seconds before, never one that was there. Must not import plan.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue, NotFound, SpecError, StoreError
from minirt.model import json

CONFIG_LIMIT_BYTES = 16 << 20


class Bundle:
    """The paths of one bundle directory (absolute)."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def file(self, name: str) -> str:
        return f"{self.path}/{name}"

    @property
    def config(self) -> str:
        return f"{self.path}/config.json"

    @property
    def plan(self) -> str:
        return f"{self.path}/plan"

    @property
    def log(self) -> str:
        return f"{self.path}/log"

    @property
    def rootfs(self) -> str:
        """An empty directory: where init attaches the root filesystem, in its own mount namespace only."""
        return f"{self.path}/rootfs"

    @property
    def upper(self) -> str:
        return f"{self.path}/upper"

    @property
    def work(self) -> str:
        return f"{self.path}/work"


def create(path: str, overlay: bool = True) -> Bundle:
    """Make a bundle directory (0700), its rootfs/ and, for an overlay, upper/ and work/. FileExistsError if it is
    there. upper/ is 0755: it becomes the container's "/"."""
    os.mkdir(path, 0o700)
    bundle = Bundle(path)
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.mkdir("rootfs", 0o700, dir_fd=directory)
        if overlay:
            os.mkdir("work", 0o700, dir_fd=directory)
            os.mkdir("upper", 0o755, dir_fd=directory)
            os.chmod(bundle.upper, 0o755)  # whatever the caller's umask says
    finally:
        os.close(directory)
    return bundle


def write(directory: str, name: str, data: bytes, mode: int = 0o600) -> None:
    """Make <directory>/<name> hold exactly `data`, by rename."""
    target = f"{directory}/{name}"
    temporary = f"{target}.{os.getpid()}.new"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(file, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
        finally:
            os.close(file)
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def write_spec(path: str, spec: dict[str, object]) -> None:
    write(path, "config.json", json.dumps(spec).encode())


def read_spec(path: str) -> dict[str, object]:
    """The config.json of a bundle as it stands; what it says is judged by model.spec.validate.

    NotFound: no such bundle, or no config.json in it. SpecError: it is no JSON object. StoreError: unreadable.
    """
    config = f"{path}/config.json"
    try:
        file = os.open(config, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        missing = f'no config.json in bundle "{path}"' if os.path.isdir(path) else f'no such bundle: "{path}"'
        raise NotFound(missing, "a bundle is a directory with config.json, see the OCI runtime specification") from None
    except OSError as error:
        raise StoreError(f'cannot open "{config}": {error.strerror}') from error
    try:
        data = os.read(file, CONFIG_LIMIT_BYTES + 1)
        while data and len(data) <= CONFIG_LIMIT_BYTES and (more := os.read(file, CONFIG_LIMIT_BYTES)):
            data += more
    except OSError as error:
        raise StoreError(f'cannot read "{config}": {error.strerror}') from error
    finally:
        os.close(file)
    if len(data) > CONFIG_LIMIT_BYTES:
        raise SpecError([("", f"longer than {CONFIG_LIMIT_BYTES >> 20} MiB")])
    try:
        spec = json.loads(data)
    except InvalidValue as error:
        raise SpecError([("", error.message)]) from None
    if not isinstance(spec, dict):
        raise SpecError([("", "not a JSON object")])
    return spec
