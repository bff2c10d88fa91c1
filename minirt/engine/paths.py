# SPDX-License-Identifier: Apache-2.0
"""Where things lie: the root that survives a reboot and the state that a reboot must forget (hier(7)).

    root   /var/lib/minirt   images/ layers/ containers/<id>/ volumes/<name>/_data cache/ minirt.db
    state  /run/minirt       <id>/ with sockets, pids and the exit record; networks/<id>/ for its resolver

`--root` and `--state`, then MINIRT_ROOT and MINIRT_STATE, move them. Must not import anything but errors.
"""

from __future__ import annotations

import os

from minirt.errors import HostError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT, STATE = "/var/lib/minirt", "/run/minirt"
# connect(2) takes 108 bytes and the attach socket is reached through /proc/self/fd, so only PATH_MAX counts:
# 4096 less "/containers/<64>/resolv.conf" and room for what a rooted open appends.
PATH_LIMIT_BYTES = 3500


class Roots:
    """Two absolute paths. Making the value touches nothing; `prepare` makes the directories."""

    __slots__ = ("root", "state")

    def __init__(self, root: str = "", state: str = "", environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.root = _absolute(root or environ.get("MINIRT_ROOT") or ROOT, "--root")
        self.state = _absolute(state or environ.get("MINIRT_STATE") or STATE, "--state")

    @property
    def database(self) -> str:
        return f"{self.root}/minirt.db"

    @property
    def containers(self) -> str:
        return f"{self.root}/containers"

    @property
    def volumes(self) -> str:
        return f"{self.root}/volumes"

    @property
    def cache(self) -> str:
        return f"{self.root}/cache"

    @property
    def networks(self) -> str:
        return f"{self.state}/networks"

    def container(self, identity: str) -> str:
        return f"{self.root}/containers/{identity}"

    def run(self, identity: str) -> str:
        return f"{self.state}/{identity}"

    def prepare(self) -> None:
        """Make what is missing, 0700: everything below belongs to root alone.

        HostError for another user than root, StoreError for a place that cannot be written.
        """
        if os.geteuid() != 0:
            raise HostError("minirt must be run as root", "run it with sudo")
        if os.path.isdir(self.state) and os.path.isdir(self.containers):
            return
        for path in (self.root, self.state, self.containers, self.volumes, self.cache):
            try:
                os.makedirs(path, 0o700, exist_ok=True)
            except OSError as error:
                flag = "--state" if path == self.state else "--root"
                raise StoreError(
                    f'cannot create "{path}": {os.strerror(error.errno or 0)}',
                    f"choose a directory that root can write: minirt {flag} DIR …",
                ) from error
        os.chmod(self.root, 0o700)
        os.chmod(self.state, 0o700)


def _absolute(path: str, flag: str) -> str:
    if "\0" in path or "\\" in path or len(os.fsencode(path)) > PATH_LIMIT_BYTES:
        raise StoreError(f"{flag} is not a usable path", f"at most {PATH_LIMIT_BYTES} bytes, without NUL and backslash")
    return os.path.abspath(path)
