# SPDX-License-Identifier: Apache-2.0
"""`exec`: one more process in a running container, with the rights that its first one has (docker-exec(1)).

The container is held by a pidfd from the moment its state was read; no lock is taken, because nothing of it is
changed.
"""

from __future__ import annotations

import os

from minirt.cgroup import tree
from minirt.engine import environment, events, lifecycle, names, reconcile, spec
from minirt.errors import InvalidValue
from minirt.kernel import host
from minirt.model import capabilities
from minirt.runtime import bundle, user
from minirt.runtime import exec as runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.options import ExecOptions
    from minirt.engine.store import Engine
    from minirt.runtime.launch import Started


def exec_(engine: Engine, ref: str, wanted: ExecOptions) -> Started:
    """The running process. Its control channel is open unless `detach` is asked for; the caller's to close.

    Raises NotFound, Conflict (not running, paused), ExecFailed, StepFailed, InvalidValue.
    """
    if not wanted.command or not wanted.command[0]:
        raise InvalidValue("no command specified", "name a program after the container")
    row = engine.find(ref)
    seen = reconcile.look(engine, row)
    lifecycle.after(seen.status, "exec", row.id, row.name)
    target = runtime.open_target(row.id, seen.state)
    try:
        config = bundle.read_spec(engine.roots.container(row.id))
        process = _process(config, wanted, target.root)
    except BaseException:
        target.close()
        raise
    about = events.attributes(row) | {"execID": names.new_id()}
    shown = events.shown_command(wanted.command)
    for action in ("exec_create", "exec_start"):  # exec_die is the monitor's to say
        events.add(engine, events.CONTAINER, f"{action}: {shown}", row.id, about)
    events.flush(engine)
    request = runtime.ExecRequest(
        row.id, target, config, process, cgroup=_cgroup(engine, row.id, config, target), cache_dir=engine.roots.cache,
        stdin=wanted.interactive, privileged=wanted.privileged,
        events=(events.path(engine), events.subject(row.id, about)),
    )  # fmt: skip
    started = runtime.exec_(request)
    if wanted.detach:
        os.close(started.control)
        started.control = -1
    return started


def _cgroup(engine: Engine, identity: str, config: dict[str, Any], target: runtime.Target) -> str:
    """The container's; where it may divide that itself, the one of its first process: a cgroup whose controllers are
    handed on holds no processes of its own (cgroup-v2.rst, "No Internal Process Constraint")."""
    own = engine.cgroup(identity)
    for mount in config["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup" and "ro" not in mount.get("options", ()):
            found = tree.of(target.state.pid)
            return found if found and found.startswith(own + "/") else own
    return own


def _process(config: dict[str, Any], wanted: ExecOptions, root: int) -> dict[str, Any]:
    """The container's own process with another command line. -u is looked up in the container's files."""
    own = config["process"]
    process: dict[str, Any] = dict(own)
    process["args"] = list(wanted.command)
    process["terminal"] = wanted.tty
    process["capabilities"] = {kind: list(names) for kind, names in own.get("capabilities", {}).items()}
    given = environment.collect(wanted.env_file, wanted.env, os.environ)
    base = [word for word in own.get("env", ()) if wanted.user == "" or not word.startswith("HOME=")]
    if wanted.tty:
        base = environment.merge(["TERM=xterm"], base)
    if wanted.workdir:
        process["cwd"] = spec.working_directory(wanted.workdir, "")
    if wanted.privileged:
        own = list(host.facts().capabilities)
        process["capabilities"] = {"bounding": own, "effective": own, "permitted": own}
        process["noNewPrivileges"] = False
    process["env"] = environment.final(base, given)
    if wanted.user:
        _become(process, wanted, root)
    return process


def _become(process: dict[str, Any], wanted: ExecOptions, root: int) -> None:
    who = user.resolve(root, wanted.user)
    process["user"] = {**process["user"], "uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)}
    bounding = process["capabilities"].get("bounding", [])
    given = list(capabilities.in_order(bounding)) if who.uid == 0 else []
    process["capabilities"]["effective"] = process["capabilities"]["permitted"] = given
    if not any(word.startswith("HOME=") for word in process["env"]):
        process["env"].append(f"HOME={who.home}")
