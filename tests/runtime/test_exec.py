# SPDX-License-Identifier: Apache-2.0
"""runtime/exec.py: a second process gets what pid 1 got, and only in a running container (EXE-01 to 03)."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest

import containers
from minirt.errors import Conflict, ExecFailed, MinirtError
from minirt.runtime import exec as runtime_exec
from minirt.runtime import launch, stop, user
from test_start import box, nothing_left  # noqa: F401  (a fixture)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers: needs root")


@pytest.fixture
def running(box: containers.Box) -> containers.Box:  # noqa: F811
    box.start(containers.spec("sleep", "1000"))
    return box


def run(running: containers.Box, *args: str, **process: Any) -> tuple[int, str, str]:
    config = containers.spec("sleep", "1000")
    target = runtime_exec.open_target(running.id, running.state())
    request = runtime_exec.ExecRequest(
        running.id,
        target,
        config,
        containers.spec(*args, **process)["process"],
        cgroup=running.cgroup,
        cache_dir=running.cache,
    )
    started = runtime_exec.exec_(request)
    running.stdout = running.stderr = b""
    try:
        code = running.listen(started, 20)
    finally:
        os.close(started.control)
        launch.reap(started.monitor_pid)
    return code, running.stdout.decode(), running.stderr.decode()


def test_it_is_inside(running: containers.Box) -> None:
    code, out, err = run(running, "sh", "-c", "readlink /proc/1/exe; cat /proc/self/cgroup; ls /proc/self/fd; exit 9")
    assert (code, err) == (9, "")
    assert out.splitlines()[0] == "/bin/busybox" and "0::/" in out.splitlines()


@pytest.mark.parametrize("kind", ["mnt", "pid", "net", "ipc", "uts", "cgroup", "time"])
def test_it_shares_every_namespace_of_pid_1(running: containers.Box, kind: str) -> None:
    code, out, _ = run(running, "sh", "-c", f"readlink /proc/1/ns/{kind}; readlink /proc/self/ns/{kind}")
    assert code == 0 and len(set(out.splitlines())) == 1


def test_it_has_the_rights_of_pid_1_and_no_more(running: containers.Box) -> None:
    """EXE-02: capabilities, filter, no-new-privileges."""
    wanted = "^(Cap...|Seccomp|NoNewPrivs|Groups)"
    _, own, _ = run(running, "grep", "-E", wanted, "/proc/self/status")
    _, first, _ = run(running, "grep", "-E", wanted, "/proc/1/status")
    assert own == first and "Seccomp:\t2" in own


def test_it_is_in_the_containers_cgroup(running: containers.Box) -> None:
    stopped = run(running, "sh", "-c", "kill -9 $$")
    assert stopped[0] == 137 and running.state().alive()


def test_a_program_that_is_not_there(running: containers.Box) -> None:
    with pytest.raises(ExecFailed, match="executable file not found") as raised:
        run(running, "foo")
    assert raised.value.exit_code == 127 and running.state().alive()


def test_users_are_those_of_the_running_container(running: containers.Box) -> None:
    """EXE-01: its own files, as they are now."""
    target = runtime_exec.open_target(running.id, running.state())
    try:
        assert user.resolve(target.root, "app").uid == 1000
        pathlib.Path(running.bundle.upper, "etc").mkdir(exist_ok=True)
        run(running, "sh", "-c", "echo late:x:77:78::/: >> /etc/passwd")
        assert user.resolve(target.root, "late").uid == 77
        run(running, "sh", "-c", "rm /etc/passwd; ln -s /etc/shadow /etc/passwd")
        assert user.resolve(target.root, "5").uid == 5
    finally:
        target.close()


def test_a_container_that_has_ended(running: containers.Box) -> None:
    """EXE-03: held by pidfd from the check on."""
    held = runtime_exec.open_target(running.id, running.state())
    before = running.state()
    stop.kill_and_wait(running.run_dir, running.cgroup)
    request = runtime_exec.ExecRequest(
        running.id, held, containers.spec("true"), containers.spec("true")["process"], cgroup=running.cgroup,
        cache_dir=running.cache,
    )  # fmt: skip
    with pytest.raises(Conflict, match="is not running"):
        runtime_exec.exec_(request)
    assert held.pidfd == held.root == -1
    for seen in (before, running.state(), None):
        with pytest.raises(Conflict, match="is not running"):
            runtime_exec.open_target(running.id, seen)


def test_another_process_with_the_same_pid(running: containers.Box) -> None:
    seen = running.state()
    seen.start_ticks += 1
    with pytest.raises(MinirtError, match="is not running"):
        runtime_exec.open_target(running.id, seen)
