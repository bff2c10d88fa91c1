# SPDX-License-Identifier: Apache-2.0
"""OOMKilled and the event `oom`: what the kernel killed for memory (memory.events, cgroup-v2.rst), from the monitor's
record to `inspect`. How it is counted, csrc/tests/test_events.c shows with a file that stands in for the kernel's."""

from __future__ import annotations

import json
import os
import signal

import pytest

from runner import Minirt, eventually

IMAGE = "localhost/busybox"
HOG = ("dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
LIMIT = ("--memory", "32m", "--memory-swap", "32m")


def state(minirt: Minirt, name: str) -> tuple[bool, int, str]:
    found = json.loads(minirt.ok("inspect", name))[0]["State"]
    return found["OOMKilled"], found["ExitCode"], found["Status"]


def actions(minirt: Minirt, name: str) -> list[str]:
    options = ("--since", "1h", "--until", "0s", "--filter", f"container={name}", "--format", "{{.Action}}")
    return minirt.ok("events", *options).splitlines()


@pytest.mark.kernel
def test_from_the_record_to_inspect(minirt: Minirt) -> None:
    """The row keeps it when run/ is gone; the next start forgets it."""
    identity = minirt.ok("run", "-d", "--name", "web", IMAGE, "sleep", "1000")
    assert state(minirt, "web") == (False, 0, "running")
    os.kill(int(minirt.ok("inspect", "--format", "{{.State.Pid}}", "web")), signal.SIGKILL)
    record = minirt.state / identity / "exit"
    eventually(record.exists)
    text = record.read_text()
    assert "\noom_killed 0\n" in text
    record.write_text(text.replace("oom_killed 0", "oom_killed 2"))
    assert state(minirt, "web") == (True, 137, "exited")
    minirt.fails("kill", "web", code=1)
    minirt.ok("stop", "web")  # settles it
    assert not record.exists()
    assert state(minirt, "web") == (True, 137, "exited")
    minirt.ok("start", "web")
    assert state(minirt, "web") == (False, 0, "running")


@pytest.mark.vm
def test_a_hog(minirt: Minirt) -> None:
    """RES-02: exit code 137, OOMKilled, and the events in their order. With more memory it is killed no more."""
    result = minirt("run", "--name", "hog", *LIMIT, IMAGE, *HOG)
    assert result.code == 137, repr(result)
    assert state(minirt, "hog") == (True, 137, "exited")
    assert actions(minirt, "hog") == ["create", "start", "oom", "die"]
    minirt.ok("update", "--memory", "512m", "--memory-swap", "512m", "hog")
    assert minirt("start", "-a", "hog").code == 0
    assert state(minirt, "hog") == (False, 0, "exited")
    assert actions(minirt, "hog")[-2:] == ["start", "die"]


@pytest.mark.vm
def test_a_hog_that_came_by_exec(minirt: Minirt) -> None:
    """What is killed for memory is the container, whoever took it."""
    minirt.ok("run", "-d", "--name", "web", *LIMIT, IMAGE, "sleep", "1000")
    assert minirt("exec", "web", *HOG).code == 137
    eventually(lambda: state(minirt, "web") == (True, 137, "exited"), 30.0)
    told = [action.partition(":")[0] for action in actions(minirt, "web")]
    assert told[:5] == ["create", "start", "exec_create", "exec_start", "oom"]
    assert {"exec_die", "die"} <= set(told[5:]) <= {"oom", "exec_die", "die"}


@pytest.mark.vm
def test_killed_by_the_user_is_not_killed_for_memory(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "web", *LIMIT, IMAGE, "sleep", "1000")
    minirt.ok("kill", "web")
    assert state(minirt, "web") == (False, 137, "exited")
    assert "oom" not in actions(minirt, "web")
