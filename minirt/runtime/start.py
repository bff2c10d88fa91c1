# SPDX-License-Identifier: Apache-2.0
"""A bundle becomes a running container: the junction of plan, kernel and cgroup (runtime-spec runtime.md, "start").

    mount the rootfs, detached ── survey it ── filter ── compile ── cgroup ── run directory ── launch

All of it or nothing: what was made before a failure is unmade, and the error says which step it was. The caller
is root, in the host's namespaces; paths of the container are only ever opened below the rootfs descriptor.
"""

from __future__ import annotations

import fcntl
import os
import time

from minirt.cgroup import home, tree
from minirt.errors import Conflict, MinirtError, StoreError
from minirt.kernel import execute, flat, host, monitor
from minirt.plan import compile as plan_compile
from minirt.plan import resources
from minirt.plan import rootfs as plan_rootfs
from minirt.plan.step import HOST, Plan
from minirt.runtime import seccomp, state, survey
from minirt.runtime.bundle import Bundle
from minirt.runtime.launch import Launch, Started, died, launch, measured, page_of_stamps, step_failed
from minirt.runtime.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.plan.facts import Host
    from minirt.plan.network import Link
    from minirt.plan.rootfs import Directory, Overlay

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Mounted:
    """A root filesystem as a detached mount: its descriptor (the holder's to close), the steps that made it, and
    what is known of the host."""

    __slots__ = ("fd", "plan", "host")

    def __init__(self, fd: int, plan: Plan, facts: Host) -> None:
        self.fd = fd
        self.plan = plan
        self.host = facts


class StartRequest:
    """What is to be started, and how its monitor keeps it.

    id; bundle, run_dir: absolute paths; spec: a validated config.json; rootfs: what its "/" is made of, or mounted:
    that already done (start closes it). cgroup_parent: "" for cgroup.home. cache_dir: of compiled filters.
    stdin: keep standard input open, stdin_once: until the first client leaves. log_files 0: no log; log_size in
    bytes, 0: never rotated. auto_remove, watched: run `cleanup` (an argv) after the end, unless the caller is there to
    do it and has removed run_dir: to remove the container, or to give back what it holds on the host. links: its
    interfaces besides lo. stamps: measure each step. events: the path and the subject of its events, as in
    kernel/settings.py.
    """

    __slots__ = (
        "id", "bundle", "run_dir", "spec", "rootfs", "mounted", "cgroup_parent", "cache_dir", "stdin",
        "stdin_once", "init", "log_files", "log_size", "auto_remove", "cleanup", "stamps", "title",
        "links", "watched", "events",
    )  # fmt: skip

    def __init__(
        self,
        id_: str,
        bundle: str,
        run_dir: str,
        spec: dict[str, Any],
        *,
        rootfs: Overlay | Directory | None = None,
        mounted: Mounted | None = None,
        cgroup_parent: str = "",
        cache_dir: str = "",
        stdin: bool = False,
        stdin_once: bool = False,
        init: bool = False,
        log_files: int = 0,
        log_size: int = 0,
        auto_remove: bool = False,
        cleanup: tuple[str, ...] = (),
        stamps: bool = False,
        title: str = "",
        links: tuple[Link, ...] = (),
        watched: bool = False,
        events: tuple[str, str] = ("", ""),
    ) -> None:
        self.id = id_
        self.bundle = bundle
        self.run_dir = run_dir
        self.spec = spec
        self.rootfs = rootfs
        self.mounted = mounted
        self.cgroup_parent = cgroup_parent
        self.cache_dir = cache_dir
        self.stdin = stdin
        self.stdin_once = stdin_once
        self.init = init
        self.log_files = log_files
        self.log_size = log_size
        self.auto_remove = auto_remove
        self.cleanup = cleanup
        self.stamps = stamps
        self.title = title
        self.links = links
        self.watched = watched
        self.events = events


def mount_rootfs(rootfs: Overlay | Directory, facts: Host | None = None) -> Mounted:
    """Make the root filesystem as a detached mount that no mount table shows. StepFailed if it cannot be."""
    facts = host.facts() if facts is None else facts
    _forget_volatile(rootfs)
    plan = plan_rootfs.compile(rootfs, facts)
    try:
        made = execute.run(flat.encode(plan), HOST)
    except execute.StepError as error:
        raise step_failed(plan, error.index, error.errno or 0) from None
    fd = made.pop("rootfs")
    for descriptor in made.values():
        os.close(descriptor)
    return Mounted(fd, plan, facts)


def _forget_volatile(rootfs: Overlay | Directory) -> None:
    """A volatile overlay leaves a mark below its work directory, and the kernel mounts none again where that is:
    its content may not be what was written if the power failed meanwhile (overlayfs.rst, "Volatile mount"). But
    only what --rm would have removed, or what nobody wrote to, was ever mounted so."""
    work = getattr(rootfs, "work", None)
    if not work:
        return
    for remove, name in ((os.unlink, "volatile/dirty"), (os.rmdir, "volatile"), (os.rmdir, "")):
        try:
            remove(os.path.join(work, "work", "incompat", name))
        except OSError:
            continue  # none was left, or a killed start came as far as this


def start(request: StartRequest) -> Started:
    """Start the container; returns when its program runs. StepFailed, ExecFailed, Conflict, InvalidValue, HostError:
    nothing of it is left then. `request.mounted` is closed in any case."""
    with Undo() as undo:
        mounted = request.mounted or mount_rootfs(_wanted(request))
        undo.close(mounted.fd)
        cgroup = _make_cgroup(request, mounted.host, undo)
        plan = _compile(request, mounted, cgroup)
        settings = _settings(request, cgroup, undo)
        begun_ns = time.monotonic_ns()
        settings.stamps = page_of_stamps(plan, request.stamps, undo)
        inherited = {"rootfs": mounted.fd}
        if request.init:
            inherited["program"] = undo.close(monitor.open_program())
        try:
            launched = launch(plan, inherited, settings, undo)
        except Launch as failed:
            raise explain(request, mounted, plan, failed) from None
        took = measured(settings.stamps, plan, begun_ns)
    before = mounted.plan.steps
    return Started(launched, Plan(before + plan.steps), took and [*(None for _ in before), *took])


def _wanted(request: StartRequest) -> Overlay | Directory:
    """The root filesystem to mount: as the caller said, or else root.path of the specification."""
    if request.rootfs is not None:
        return request.rootfs
    return plan_rootfs.Directory(os.path.join(request.bundle, request.spec["root"]["path"]))


def _make_cgroup(request: StartRequest, facts: Host, undo: Undo) -> str:
    """The container's cgroup, empty and new. One that a crash left behind is removed; one where somebody lives is
    another container's."""
    parent = request.cgroup_parent or home.home(facts.cgroup_mount)
    needed = _controllers(request.spec)
    try:
        path = home.create(parent, request.id, needed)
    except FileExistsError:
        path = f"{parent}/{request.id}"
        if tree.populated(path) or not tree.remove(path):
            raise Conflict(
                f'container "{request.id[:12]}" still has processes: cgroup {path} is in use',
                f"end them: echo 1 > {path}/cgroup.kill",
            ) from None
        path = home.create(parent, request.id, needed)
    undo.on_failure(_drop_cgroup, path)
    return path


def _controllers(spec: dict[str, Any]) -> dict[str, str]:
    """{controller: what of the specification needs it}."""
    wanted = resources.settings((spec.get("linux") or {}).get("resources") or {})
    return {setting.controller: setting.pointer for setting in wanted if setting.controller}


def _drop_cgroup(path: str) -> None:
    tree.kill(path)
    tree.remove(path)


def _compile(request: StartRequest, mounted: Mounted, cgroup: str) -> Plan:
    spec, facts = request.spec, mounted.host
    bundle = Bundle(request.bundle)
    context = plan_compile.Context(
        id=request.id,
        bundle=request.bundle,
        rootfs_path=bundle.rootfs,
        cgroup_path=cgroup,
        seccomp=seccomp.filter_for(spec, facts, request.cache_dir or f"{request.bundle}/cache"),
        tty=bool(spec["process"].get("terminal")),
        stdin=request.stdin,
        init=request.init,
        links=request.links,
        io_weight=_io_weight(spec, cgroup),
    )
    return plan_compile.compile(spec, facts, survey.survey(mounted.fd, spec, request.bundle), context)


def _io_weight(spec: dict[str, Any], cgroup: str) -> str:
    """The file for weights of block devices, looked up where the specification has one."""
    block = ((spec.get("linux") or {}).get("resources") or {}).get("blockIO") or {}
    if not (block.get("weight") or block.get("weightDevice")):
        return "io.weight"
    from minirt.cgroup import io

    return io.weight_file("/linux/resources/blockIO/weight", cgroup)


def _settings(request: StartRequest, cgroup: str, undo: Undo) -> monitor.Settings:
    """What the monitor is told, and the directories that it keeps."""
    flags = monitor.RECORD
    for wanted, flag in (
        (request.spec["process"].get("terminal"), monitor.TTY),
        (request.stdin, monitor.STDIN),
        (request.stdin_once, monitor.STDIN_ONCE),
        (request.log_files, monitor.LOG),
        (request.auto_remove or request.watched, monitor.CLEAN_UP),
    ):
        flags |= flag if wanted else 0
    settings = monitor.Settings()
    settings.flags = flags
    settings.run_dir = _make_run_dir(request.run_dir, undo)
    settings.container_dir = undo.close(os.open(request.bundle, _DIRECTORY))
    parent, settings.cgroup_name = os.path.split(cgroup)
    settings.cgroup_parent = undo.close(os.open(parent, _DIRECTORY))
    settings.title = request.title or "minirt:monitor"
    settings.cleanup = request.cleanup
    settings.events, settings.subject = request.events
    settings.log_files = request.log_files
    settings.log_size = request.log_size
    return settings


def _make_run_dir(path: str, undo: Undo) -> int:
    """run/<id>, without what an earlier run left in it. It is locked (flock(2)) as long as this process or the
    monitor, which inherits the descriptor, holds it: so that an unfinished birth can be told from a dead one."""
    try:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            _empty(path)
        undo.on_failure(os.rmdir, path)
        undo.on_failure(_empty, path)
        directory = undo.close(os.open(path, _DIRECTORY))
        fcntl.flock(directory, fcntl.LOCK_EX)
        state.mark_boot(directory)
    except OSError as error:
        raise StoreError(f'cannot use "{path}": {os.strerror(error.errno or 0).lower()}') from error
    return directory


def _empty(path: str) -> None:
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")


def explain(request: StartRequest, mounted: Mounted, plan: Plan, failed: Launch) -> MinirtError:
    """The error for a step that failed: a failed execve is looked into, another is told by its text."""
    if failed.index < 0:
        return died(failed.errno)
    step = plan.steps[failed.index]
    if step.op in ("execve", "execveat"):
        from minirt.runtime import failure

        process = request.spec["process"]
        place = failure.Place(mounted.fd, failure.binds(request.spec, request.bundle))
        return failure.explain(place, process["args"][0], failure.tried(plan, process.get("cwd", "/")), failed.errno)
    return step_failed(Plan(mounted.plan.steps + plan.steps), len(mounted.plan.steps) + failed.index, failed.errno)
