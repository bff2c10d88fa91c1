# SPDX-License-Identifier: Apache-2.0
"""Where containers' cgroups live, and the controllers there (cgroup-v2.rst, "Delegation", "Controlling Controllers").

    without systemd    <mount>/minirt/<id>                                     controllers enabled in <mount> and here
    with systemd       <mount>/system.slice/minirt-containers.service/<id>     enabled here alone: Delegate=yes

systemd owns the tree where it is the init (systemd.io, "Control Group APIs and Delegation"): it is asked once, by
systemd-run, for a unit with a part of the tree that it leaves alone, and minirt writes nowhere else. It removes the
cgroup of a unit without processes, so an idle one lives there, in a leaf: controllers are handed on only by a cgroup
that has no processes of its own. Must not import kernel or plan.
"""

from __future__ import annotations

import os
from errno import EBUSY, ENODEV, ENOENT, ESRCH

from minirt.cgroup import tree
from minirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

UNIT = "minirt-containers.service"
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
"""What is enabled wherever it can be: for limits, and so that statistics are there without any. Others when needed."""
_IDLE = "idle"
_SYSTEMD = "/run/systemd/system"  # sd_booted(3)
_NOT_SYSTEMDS = frozenset(("hugetlb",))  # systemd 252 knows no such controller, so it hands none on


def by_systemd() -> bool:
    return os.path.isdir(_SYSTEMD)


def home(mount: str | None = None) -> str:
    """The cgroup that holds those of all containers. HostError: no cgroup v2 is mounted."""
    mount = mount or tree.mount_point()
    return f"{mount}/system.slice/{UNIT}" if by_systemd() else f"{mount}/{tree.PARENT}"


def create(parent: str, name: str, needed: Mapping[str, str]) -> str:
    """Make <parent>/<name>, and what is missing above it, with every controller that can be had. needed: controller →
    what asks for it ("/linux/resources/memory"). FileExistsError if it is there; HostError: it cannot be made, or a
    needed controller cannot be had."""
    path = f"{parent}/{name}"
    last = OSError(ENOENT, "")
    for _ in range(100):
        try:
            prepare(parent, needed)
            os.mkdir(path, 0o755)
            return path
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in (ENOENT, ENODEV):  # those: the last container's end has removed an empty parent
                raise tree.cannot_create(path, error) from error
            last = error
    raise tree.cannot_create(path, last)


def prepare(parent: str, needed: Mapping[str, str]) -> None:
    """See that `parent` is there and hands on its controllers. Two small reads where all is as it should be."""
    enabled = tree.optional(parent, "cgroup.subtree_control")
    if enabled is None:
        _make(parent)
    else:
        have = set(enabled.split())
        offered = tree.read(parent, "cgroup.controllers").split()
        if have.issuperset(needed) and have.issuperset(name for name in offered if name in CONTROLLERS):
            return
    if by_systemd():
        _withdraw(home())
    for level in _levels(parent):
        _enable(level, (*CONTROLLERS, *needed))
    have = set(tree.read(parent, "cgroup.subtree_control").split())
    for controller, pointer in needed.items():
        if controller not in have:
            raise missing(controller, pointer, parent)


def available(parent: str) -> frozenset[str]:
    """The controllers that a cgroup below `parent` can have, also before `parent` was ever made."""
    offered = tree.optional(parent, "cgroup.controllers")
    if offered is None:  # nothing has been started since boot: what is at the root will be handed on
        offered = tree.optional(tree.mount_point(), "cgroup.controllers") or ""
        return frozenset(offered.split()) - (_NOT_SYSTEMDS if by_systemd() else frozenset())
    if not by_systemd():
        offered = tree.optional(tree.mount_point(), "cgroup.controllers") or ""
    return frozenset(offered.split())


def _levels(parent: str) -> list[str]:
    """From the first cgroup that we may write to, down to `parent`."""
    top = home() if by_systemd() else tree.mount_point()
    below = parent.removeprefix(top).strip("/")
    levels = [top]
    for name in below.split("/") if below and parent.startswith(top) else ():
        levels.append(f"{levels[-1]}/{name}")
    return levels


def _enable(level: str, wanted: tuple[str, ...]) -> None:
    """One write for each controller that is not handed on yet: one that cannot be does not stop the others."""
    have = tree.read(level, "cgroup.subtree_control").split()
    for controller in tree.read(level, "cgroup.controllers").split():
        if controller in wanted and controller not in have:
            try:
                tree.write(level, "cgroup.subtree_control", f"+{controller}")
            except OSError as error:
                if error.errno == ENOENT:
                    raise FileNotFoundError(level) from error


def missing(controller: str, pointer: str, parent: str) -> HostError:
    """Why a controller that somebody needs is not there."""
    from minirt.cgroup import owners

    owners.require(controller, pointer)  # v1 has it, or nobody
    mount = tree.mount_point()
    for level in _levels(parent):
        if controller in (tree.optional(level, "cgroup.controllers") or "").split():
            if _busy(level, controller):
                return HostError(
                    f'{pointer} needs the cgroup v2 controller "{controller}", which "{level}" cannot hand on: '
                    f"processes live in it",
                    f"move them to a cgroup below it: {level}/cgroup.procs lists them",
                )
            continue
        above = " ".join(dict.fromkeys((mount, os.path.dirname(level))))
        return HostError(
            f'{pointer} needs the cgroup v2 controller "{controller}", which is not delegated to "{level}"',
            f"for directory in {above}; do echo +{controller} >$directory/cgroup.subtree_control; done",
        )
    return HostError(f'{pointer} needs the cgroup v2 controller "{controller}", which cannot be enabled in "{parent}"')


def _busy(level: str, controller: str) -> bool:
    try:
        tree.write(level, "cgroup.subtree_control", f"+{controller}")
    except OSError as error:
        return error.errno == EBUSY
    return False


def _make(parent: str) -> None:
    if by_systemd() and not os.path.isdir(home()):
        _start_unit()
    try:
        os.makedirs(parent, 0o755, exist_ok=True)
    except FileExistsError:
        pass


def _start_unit() -> None:
    """Once in each boot. KillMode: whoever ends the idle process ends no container with it. TasksMax: systemd's default
    would limit all containers together."""
    import subprocess

    words = ("Type=exec", "Delegate=yes", "KillMode=process", "TasksMax=infinity", "OOMScoreAdjust=-1000")
    command = ["systemd-run", "--quiet", f"--unit={UNIT}", "--description=Containers of minirt", "--collect"]
    command += [f"--property={word}" for word in words]
    said = ""
    for _ in range(3):  # another command may have asked at the same time
        try:
            done = subprocess.run(
                [*command, "sleep", "infinity"], capture_output=True, text=True, timeout=60, check=False
            )
            said = done.stderr.strip().partition("\n")[0]
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        if os.path.isdir(home()):
            return
    raise HostError(f"systemd did not make the unit {UNIT} for containers: {said}", f"systemctl status {UNIT}")


def _withdraw(place: str) -> None:
    """The unit's own process into a leaf, as whoever is given a part of the tree has to."""
    try:
        os.mkdir(f"{place}/{_IDLE}", 0o755)
    except FileExistsError:
        pass
    for pid in tree.read(place, "cgroup.procs").split():
        try:
            tree.write(f"{place}/{_IDLE}", "cgroup.procs", pid)
        except OSError as error:
            if error.errno != ESRCH:
                raise
