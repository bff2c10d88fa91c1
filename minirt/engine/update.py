# SPDX-License-Identifier: Apache-2.0
"""`update`: other limits, or another restart policy, for containers that are there (docker-update(1)).

    settle the new options ── write the files of the cgroup, if it runs ── config.json ── the row

The files get what a birth would give them (plan/resources.py). Before each is written its text is kept: whatever fails
further on, the kernel's refusal included, puts all of them back, so a container is changed as a whole or not at all.
What is 0 or empty stays as it is; --pids-limit alone knows 0 and less, which is none. Must not import image.
"""

from __future__ import annotations

import os
from errno import ENODEV, ENOENT

from minirt.cgroup import home, io, memory, tree
from minirt.engine import events, flags, lifecycle, limits, reconcile, resource_flags, restarting, store
from minirt.engine.options import RunOptions
from minirt.errors import Conflict, HostError
from minirt.plan import resources
from minirt.runtime import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.db import Row
    from minirt.engine.record import Record
    from minirt.engine.store import Engine

CHANGEABLE = (
    "memory", "memory_reservation", "memory_swap", "cpus", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus",
    "cpuset_mems", "pids_limit", "blkio_weight",
)  # fmt: skip
_CLASHES = (
    ("cpus", "cpu_period", "Nano CPUs cannot be updated as CPU Period has already been set"),
    ("cpus", "cpu_quota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
    ("cpu_period", "cpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
    ("cpu_quota", "cpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
)


def update(engine: Engine, ref: str, changes: dict[str, object], restart: str | None = None) -> None:
    """changes: names of CHANGEABLE with what the user wrote. restart: a policy, None for the one it has.

    Raises NotFound, InvalidValue, Conflict, HostError; nothing is changed then.
    """
    row, held = engine.locked(ref)
    with held:
        settled = reconcile.settle(engine, row)
        if settled is None:
            raise store.missing(ref)
        lifecycle.after(settled.status, "update", settled.id, settled.name)
        record = store.record(settled)
        _change(engine, settled, record, changes, restart)
        events.of_container(engine, settled, "update", record)
        if restart is not None:
            current = engine.database.by_id(row.id)
            if current is not None:
                reconcile.settle(engine, current)


def _change(engine: Engine, row: Row, record: Record, changes: dict[str, object], restart: str | None) -> None:
    path = engine.roots.container(row.id)
    spec: dict[str, Any] = bundle.read_spec(path)
    before: dict[str, Any] = (spec.get("linux") or {}).get("resources") or {}
    asked = {name: value for name, value in changes.items() if not _is_nothing(name, value)}
    written: list[tuple[str, str]] = []
    cgroup = engine.cgroup(row.id)
    touched = _settle(row, record.options, asked, before) if asked else {}
    stored = False
    try:
        if touched and row.status in lifecycle.ALIVE:
            _write(cgroup, row.id, touched, written)
        if restart is not None:
            restarting.change(engine, row, record, restart)
        if touched:
            linux = {**(spec.get("linux") or {}), "resources": _merged(before, touched)}
            bundle.write_spec(path, {**spec, "linux": linux})
            stored = True
        engine.database.update(row.id, options=record.to_json())
    except BaseException:
        _put_back(cgroup, written)
        if stored:
            bundle.write_spec(path, spec)
        raise


def _is_nothing(name: str, value: object) -> bool:
    if name in ("memory", "memory_reservation") or (name == "memory_swap" and value != "-1"):
        return flags.size(str(value), resource_flags.spelled(name)) == 0 if value else True
    if name == "cpus":
        return resource_flags.nano_cpus(str(value)) == 0 if value else True
    return not value and name != "pids_limit"


def _settle(row: Row, options: RunOptions, asked: dict[str, object], before: dict[str, Any]) -> dict[str, Any]:
    """Put what is asked for into `options`; the members of linux.resources that change by it, each one whole."""
    for name, other, text in _CLASHES:
        if name in asked and getattr(options, other):
            raise Conflict(f"Cannot update container {row.id}: Conflicting options: {text}")
    both = (before.get("memory") or {}).get("swap") or 0
    if "memory" in asked and "memory_swap" not in asked and both > 0:
        if flags.size(str(asked["memory"]), "--memory") > both:
            raise Conflict(
                f"Cannot update container {row.id}: Memory limit should be smaller than already set memoryswap limit, "
                "update the memoryswap at the same time",
                f"give --memory-swap as well: it is {both} now",
            )
        options.memory_swap = str(both)
    for name, value in asked.items():
        setattr(options, name, value)
    found = resource_flags.resources(options)
    limits.controllers(RunOptions(**asked))
    by_field = {name: key for key, names in resource_flags.CONTROLLERS.items() for name in names}
    changed = {by_field[name] for name in asked}
    touched: dict[str, Any] = {}
    if "memory" in changed:
        touched["memory"] = found["memory"]
        limits.swap(touched["memory"], "memory_swap" in asked)
        if "unified" in found:
            touched["unified"] = found["unified"]
    if changed & {"cpu", "cpuset"}:
        limits.processors(found.get("cpu") or {})
        touched["cpu"] = found["cpu"]
    if "pids" in changed and (found["pids"]["limit"] > 0 or "pids" in home.available(home.home())):
        touched["pids"] = found["pids"]
    if "io" in changed:
        touched["blockIO"] = {"weight": found["blockIO"]["weight"]}
    return touched


def _merged(before: dict[str, Any], touched: dict[str, Any]) -> dict[str, Any]:
    after = {**before, **touched}
    for key in ("blockIO", "unified"):  # of these only some members are touched
        if key in touched:
            after[key] = {**(before.get(key) or {}), **touched[key]}
    return after


def _write(cgroup: str, identity: str, touched: dict[str, Any], written: list[tuple[str, str]]) -> None:
    """Each file with its new text. written: (file, its text before) of those that are."""
    weight = io.weight_file("--blkio-weight", cgroup) if "blockIO" in touched else "io.weight"
    wanted = resources.settings(touched, weight)
    needed = {one.controller: one.pointer for one in wanted if one.controller}
    home.prepare(os.path.dirname(cgroup), needed)
    _refuse_less_than_used(cgroup, identity, touched.get("memory") or {})
    for setting in wanted:
        try:
            old = tree.read(cgroup, setting.file)
            tree.write(cgroup, setting.file, setting.text)
        except OSError as error:
            if error.errno in (ENOENT, ENODEV) and not os.path.isdir(cgroup):
                return  # it has ended: its next start has the new limits
            raise HostError(
                f'Cannot update container {identity}: the kernel does not take "{setting.text}" for {setting.file}: '
                f"{os.strerror(error.errno or 0).lower()}",
                f"see what it has: cat {cgroup}/{setting.file}",
            ) from error
        written.append((setting.file, old))


def _put_back(cgroup: str, written: list[tuple[str, str]]) -> None:
    while written:
        file, text = written.pop()
        try:
            tree.write(cgroup, file, text)
        except OSError:
            pass  # it has ended


def _refuse_less_than_used(cgroup: str, identity: str, wanted: dict[str, int]) -> None:
    """Below what it cannot give up the kernel would kill it at once (cgroup-v2.rst, "memory.max"). Files' pages can be
    dropped; with swap to go to, the kernel is to try."""
    limit, used = wanted.get("limit", -1), memory.read(cgroup)
    if limit < 0 or used is None or _may_swap(wanted):
        return
    held = used.current_bytes - used.stat.get("inactive_file", 0) - used.stat.get("active_file", 0)
    if held > limit:
        raise Conflict(
            f"Cannot update container {identity}: unable to set memory limit to {limit} "
            f"(current usage: {used.current_bytes}): the kernel would kill it",
            "give more to --memory, or stop the container first",
        )


def _may_swap(wanted: dict[str, int]) -> bool:
    with open("/proc/swaps") as file:
        lines = file.read().splitlines()
    return len(lines) > 1 and wanted.get("swap", -1) != wanted["limit"]
