# SPDX-License-Identifier: Apache-2.0
"""CRA-03: whichever step of a container's birth fails, nothing is left and the error names the step.

The steps are those of a real plan. Each in turn is replaced by a call that must fail (a write to a descriptor that
is no file), so the executor fails exactly there: in the caller, in the monitor, in init.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest

import containers
from minirt.errors import HostError, MinirtError, StepFailed, StoreError
from minirt.kernel import host
from minirt.plan import compile as plan_compile
from minirt.plan import rootfs as plan_rootfs
from minirt.plan.step import Plan, Step
from test_start import box, nothing_left  # noqa: F401  (a fixture)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers: needs root")


def spoilt(plan: Plan, index: int) -> Plan:
    """The plan, but for step `index`: the same actor opens a path that cannot exist."""
    old = plan.steps[index]
    new = Step("chdir", "/proc/nonexistent", actor=old.actor, pointer=old.pointer, kind=old.kind)
    return Plan((*plan.steps[:index], new, *plan.steps[index + 1 :]), plan.inherited)


def compiled(box: containers.Box, config: dict[str, Any]) -> Plan:  # noqa: F811
    """The plan of a start that succeeds: the second one, for the first makes the missing mount points."""
    box.run(config)
    box.start(config)
    assert box.started is not None
    plan = box.started.plan
    box.finish()
    for name in os.listdir(box.run_dir):
        os.unlink(f"{box.run_dir}/{name}")
    os.rmdir(box.run_dir)
    return plan


def test_every_step_can_fail_without_a_trace(box: containers.Box, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    config = containers.spec("true")
    plan = compiled(box, config)
    first = len(plan_rootfs.compile(box.rootfs(), host.facts()).steps)
    real_rootfs, real_compile = plan_rootfs.compile, plan_compile.compile
    for index, step in enumerate(plan.steps):
        if step.op == "clone3":
            continue  # without it there is nobody: the next test
        with monkeypatch.context() as patch:
            if index < first:
                patch.setattr(plan_rootfs, "compile", lambda *args, at=index: spoilt(real_rootfs(*args), at))
            else:
                patch.setattr(plan_compile, "compile", lambda *args, at=index - first: spoilt(real_compile(*args), at))
            with pytest.raises(StepFailed) as raised:
                box.start(config)
        assert (raised.value.index, raised.value.errno) == (index, 2), step
        count = first if index < first else len(plan.steps)
        assert raised.value.message.startswith(f"step {index + 1} of {count}: chdir(")
        assert nothing_left(box)


def test_a_plan_without_a_birth(box: containers.Box, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    real = plan_compile.compile

    def barren(*args: Any) -> Plan:
        plan = real(*args)
        return Plan(tuple(step for step in plan.steps if step.op != "clone3"), plan.inherited)

    monkeypatch.setattr(plan_compile, "compile", barren)
    with pytest.raises(MinirtError):
        box.start(containers.spec("true"))
    assert nothing_left(box)


@pytest.mark.parametrize("name", ["seccomp.filter_for", "survey.survey", "state.mark_boot", "launch"])
@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_our_own_calls_fail(
    box: containers.Box,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: BaseException,
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"minirt.runtime.start.{name}", fails)
    with pytest.raises(type(error)):
        box.start(containers.spec("true"))
    assert nothing_left(box)


def test_a_monitor_that_cannot_be_started(box: containers.Box, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def fails(*_: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("minirt.runtime.launch.monitor.spawn", fails)
    with pytest.raises(HostError, match="cannot start the monitor: cannot allocate memory"):
        box.start(containers.spec("true"))
    assert nothing_left(box)


def test_an_interrupted_wait_kills_what_was_born(box: containers.Box, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Ctrl-C while the monitor works: it and its child are taken down and reaped."""

    def interrupted(_: int) -> tuple[int, bytes]:
        raise KeyboardInterrupt

    monkeypatch.setattr("minirt.runtime.launch.channel.read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        box.start(containers.spec("sleep", "1000"))
    assert nothing_left(box)


def test_a_run_directory_that_cannot_be_made(box: containers.Box, tmp_path: pathlib.Path) -> None:  # noqa: F811
    box.run_dir = str(tmp_path / "none/run")
    with pytest.raises(StoreError, match=r'cannot use ".*/none/run": no such file or directory'):
        box.start(containers.spec("true"))
    assert nothing_left(box)


def test_a_cgroup_that_cannot_be_made(box: containers.Box) -> None:  # noqa: F811
    """Where the v2 tree is read-only, or full (cgroup.max.descendants)."""
    with pytest.raises(HostError, match=r'cannot create the cgroup "/proc/none/.*": no such file or directory'):
        box.start(containers.spec("true"), cgroup_parent="/proc/none")
    assert nothing_left(box)
