# SPDX-License-Identifier: Apache-2.0
"""What the paths of config.json meet in this root filesystem: the facts that a plan is compiled against.

Every path of the container is opened by openat2(2) with RESOLVE_IN_ROOT below the root's descriptor; none is ever
joined to a path of the host. A path that is missing is walked component by component, so that a dangling symbolic
link is followed inside the root and what must be created is known. Reads only: nothing is created here.
"""

from __future__ import annotations

import os
import posixpath
import stat
from errno import ELOOP, ENOENT, ENOTDIR

from minirt.errors import InvalidValue
from minirt.kernel import rooted
from minirt.plan.facts import RootFacts, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_LINKS = 40  # as the kernel has it, path_resolution(7)
_HOST_TREES = {"proc": "/proc", "sysfs": "/sys"}  # the same tree on the host, but for what is per namespace


class _Survey:
    """One root, and the mounts that already lie on it: resolved destination → the mount."""

    __slots__ = ("root", "bundle", "prefix", "mounts")

    def __init__(self, root: int, bundle: str) -> None:
        self.root = root
        self.bundle = bundle
        self.prefix = os.readlink(f"/proc/self/fd/{root}").rstrip("/")
        self.mounts: dict[str, dict[str, Any]] = {}

    def covering(self, path: str) -> str | None:
        """The deepest mount that `path` is on or below."""
        at = path
        while at != "/":
            if at in self.mounts:
                return at
            at = posixpath.dirname(at)
        return None


def survey(root: int, spec: dict[str, Any], bundle: str = "/") -> RootFacts:
    """The facts about `root`, the descriptor of a detached mount, that `spec` needs. `bundle`: what a relative
    source of a bind mount is relative to.

    InvalidValue: a destination leads to "/", through a file or around in a loop, or proc or sysfs is to be mounted
    on a symbolic link (CVE-2019-19921, CVE-2023-27561).
    """
    here = _Survey(root, bundle)
    targets: dict[str, Target] = {}
    for number, mount in enumerate(spec.get("mounts", ())):
        destination = mount["destination"]
        target = _mount_target(here, mount, f"/mounts/{number}")
        targets.setdefault(destination, target)
        here.mounts[target.path] = mount
    for path in ("/dev", spec.get("process", {}).get("cwd", "/")):
        if path not in targets:
            targets[path] = _resolve(here, path, "dir", "/process/cwd")
    linux = spec.get("linux", {})
    for name in ("maskedPaths", "readonlyPaths"):
        for path in linux.get(name, ()):
            if path not in targets:
                targets[path] = _existing(here, path)
    return RootFacts(targets)


def _mount_target(here: _Survey, mount: dict[str, Any], pointer: str) -> Target:
    destination = mount["destination"]
    kind = _kind_of(posixpath.join(here.bundle, mount["source"])) if _is_bind(mount) else "dir"
    target = _resolve(here, destination, kind, pointer)
    if target.path == "/":
        raise InvalidValue(f'cannot mount on "{destination}": it leads to the root directory ({pointer})')
    if mount.get("type") in _HOST_TREES and target.path != _normal(destination):
        raise InvalidValue(
            f'cannot mount {mount["type"]} on "{destination}": the image has a symbolic link there ({pointer})',
            f"{mount['type']} must be mounted on an ordinary directory, which the image must not redirect",
        )
    return target


def _is_bind(mount: dict[str, Any]) -> bool:
    return mount.get("type") == "bind" or not {"bind", "rbind"}.isdisjoint(mount.get("options", ()))


def _kind_of(source: str) -> str:
    """What a bind mount's source is; a missing one is told by the step that opens it."""
    try:
        return "dir" if stat.S_ISDIR(os.stat(source).st_mode) else "file"
    except OSError:
        return "dir"


def _normal(path: str) -> str:
    """Absolute, without ".", ".." and double slashes: the path as it reads where there are no links."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _resolve(here: _Survey, path: str, kind: str, pointer: str) -> Target:
    """Where `path` leads. `kind`: what has to be made if it is missing."""
    normal = _normal(path)
    mount = here.covering(normal)
    if mount is not None:
        return _below(mount, normal, kind)
    try:
        descriptor = rooted.open_in_root(here.root, path)
    except OSError as error:
        if error.errno not in (ENOENT, ENOTDIR, ELOOP):
            raise
        return _walk(here, path, kind, pointer)
    try:
        real = _real(here, descriptor)
        found = "dir" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
    finally:
        os.close(descriptor)
    if real == normal:
        return Target(real, (), found)
    return _walk(here, path, kind, pointer)


def _real(here: _Survey, descriptor: int) -> str:
    """The path of an open file below the root, without links (proc_pid_fd(5))."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    return path[len(here.prefix) :] or "/"


def _below(mount: str, path: str, kind: str) -> Target:
    """A path on or below an earlier mount: what it meets is not in the root and known only when init is there. So
    `kind` is made there if it is missing."""
    return Target(path) if path == mount else Target(path, (path,), kind)


def _walk(here: _Survey, path: str, kind: str, pointer: str) -> Target:
    """One component after the other, links followed below the root, to what is there or to what is missing."""
    current, links = "/", 0
    pending = [part for part in path.split("/") if part not in ("", ".")]
    found = "dir"
    while pending:
        part = pending.pop(0)
        if part == "..":
            current, found = posixpath.dirname(current), "dir"
            continue
        following = posixpath.join(current, part)
        if following in here.mounts:
            return _below(following, _normal("/".join((following, *pending))), kind)
        mode, link = _look(here.root, following)
        if mode == 0:
            return Target(*_missing(current, [part, *pending]), kind)
        if link:
            links += 1
            if links > _MAX_LINKS:
                raise InvalidValue(f'"{path}" leads around in a circle of symbolic links ({pointer})')
            pending[:0] = [step for step in link.split("/") if step not in ("", ".")]
            current = "/" if link.startswith("/") else current
            continue
        if pending and not stat.S_ISDIR(mode):
            raise InvalidValue(f'"{path}" leads through "{following}", which is not a directory ({pointer})')
        current, found = following, "dir" if stat.S_ISDIR(mode) else "file"
    return Target(current, (), found)


def _look(root: int, path: str) -> tuple[int, str]:
    """The mode of what is at `path`, links in its last component not followed, and where it points if it is one.
    Mode 0: nothing is there."""
    try:
        descriptor = rooted.open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0, ""
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.readlink("", dir_fd=descriptor) if stat.S_ISLNK(mode) else ""
    finally:
        os.close(descriptor)


def _missing(current: str, parts: list[str]) -> tuple[str, tuple[str, ...]]:
    """Where `parts` lead below `current`, of which the first is missing, and what must be made on the way."""
    made: list[str] = []
    for part in parts:
        if part == "..":
            current = posixpath.dirname(current)
            continue
        current = posixpath.join(current, part)
        if current not in made:
            made.append(current)
    return current, tuple(made)


def _existing(here: _Survey, path: str) -> Target:
    """A masked or read-only path: kind "" unless it exists. Below proc and sysfs the host's own tree tells, below a
    bind mount its source does, below any other mount there is nothing yet."""
    normal = _normal(path)
    mount = here.covering(normal)
    try:
        if mount is None:
            target = _resolve(here, path, "", "")
            return target if not target.missing else Target(normal, (), "")
    except (OSError, InvalidValue):
        return Target(normal, (), "")
    return Target(normal, (), _kind_below(here, here.mounts[mount], normal[len(mount) :].lstrip("/")))


def _kind_below(here: _Survey, mount: dict[str, Any], rest: str) -> str:
    """What is at `rest` of a mount that is not made yet: "dir", "file" or "". The host's own proc and sysfs are
    nobody's to redirect; the source of a bind may be anybody's."""
    if mount.get("type") in _HOST_TREES:
        try:
            mode = os.stat(f"{_HOST_TREES[mount['type']]}/{rest}").st_mode
        except OSError:
            return ""
        return "dir" if stat.S_ISDIR(mode) else "file"
    if not _is_bind(mount):
        return ""
    try:
        top = os.open(posixpath.join(here.bundle, mount["source"]), os.O_PATH | os.O_CLOEXEC)
        try:
            descriptor = rooted.open_in_root(top, rest or ".")
        finally:
            os.close(top)
    except OSError:
        return ""
    try:
        return "dir" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
    finally:
        os.close(descriptor)
