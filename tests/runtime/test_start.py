# SPDX-License-Identifier: Apache-2.0
"""runtime/start.py end to end: a busybox root, the default specification, the real monitor (needs root)."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

import containers
import invariants
from minirt.cgroup import freezer, tree
from minirt.errors import Conflict, ExecFailed, InvalidValue, StepFailed
from minirt.plan.rootfs import Overlay
from minirt.runtime import start, state, stop

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes containers: needs root")


@pytest.fixture
def box(tmp_path: pathlib.Path) -> Iterator[containers.Box]:
    """One container to be, whose every trace but its two directories must be gone in the end."""
    descriptors, mounts = open_files(), pathlib.Path("/proc/self/mountinfo").read_text()
    box = containers.Box(tmp_path, containers.busybox_root(tmp_path / "root"))
    yield box
    box.destroy()
    assert not os.path.exists(box.cgroups), "a cgroup is left"
    assert open_files() == descriptors, "a descriptor is left"
    assert pathlib.Path("/proc/self/mountinfo").read_text() == mounts, "a mount reached the host"


def open_files() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the directory that was listed
    return {name: to for name, to in found.items() if not to.startswith(("/dev/urandom", "/proc/"))}


def test_true_exits_0(box: containers.Box) -> None:
    assert box.run(containers.spec("/bin/busybox", "true")) == (0, "", "")


def test_output_and_exit_code(box: containers.Box) -> None:
    assert box.run(containers.spec("sh", "-c", "echo out; echo err >&2; exit 7")) == (7, "out\n", "err\n")


def test_a_signal_is_128_and_its_number(box: containers.Box) -> None:
    assert box.run(containers.spec("sh", "-c", "sleep 100 & kill -9 $!; wait $!; exit $?"))[0] == 137


def test_pid_1_in_its_own_world(box: containers.Box) -> None:
    script = "echo $$; hostname; cat /proc/self/cgroup; readlink /proc/self/cwd; ls -A /proc/self/fd; id"
    code, out, err = box.run(containers.spec("sh", "-c", script.replace("hostname", "cat /proc/sys/kernel/hostname")))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["1", "box"] and "0::/" in lines
    assert lines[-1] == "uid=0(root) gid=0(root) groups=0(root)"
    assert lines[-5:-1] == ["0", "1", "2", "3"], "ls itself holds 3; nothing else is open (ROOT-11, RUN-17)"


def test_state_while_running_and_after(box: containers.Box) -> None:
    started = box.start(containers.spec("sleep", "100"))
    seen = box.state()
    assert (seen.pid, seen.start_ticks, seen.status()) == (started.pid, started.start_ticks, state.RUNNING)
    assert seen.monitor_pid == started.monitor_pid and seen.monitored() and seen.alive()
    assert tree.populated(box.cgroup) and tree.processes(box.cgroup) == [started.pid]
    before = time.time_ns()
    assert stop.signal(seen, 9)
    assert box.finish() == 137
    seen = box.state()
    assert seen.status() == state.EXITED and seen.exit is not None
    assert (seen.exit.code, seen.exit.signal) == (137, 9)
    assert before <= seen.exit.finished_ns <= time.time_ns() and seen.started_ns < before
    assert not stop.signal(seen, 9), "what has exited is not signalled"
    assert not os.path.exists(box.cgroup)


def test_an_end_before_anybody_looks(box: containers.Box) -> None:
    """CRA-04: the record is exact even if the workload is gone before the first read."""
    box.start(containers.spec("sh", "-c", "exit 3"))
    ended = state.wait(box.run_dir, 5)
    assert ended is not None and ended.exit is not None and ended.exit.code == 3
    assert box.finish() == 3


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("foo",), 127, 'exec: "foo": executable file not found in $PATH'),
        (("/bin/foo",), 127, 'exec: "/bin/foo": stat /bin/foo: no such file or directory'),
        (("/etc",), 126, 'exec: "/etc": is a directory'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied: no execute permission'),
        (("/crlf",), 127, 'exec: "/crlf": no such file or directory: its first line ends in CR LF'),
        (("/script",), 127, 'its interpreter "/bin/bash" does not exist in the container'),
        (("/dynamic",), 127, "its ELF interpreter "),
        (("/text",), 126, "exec format error: neither ELF nor a script"),
        (("/empty",), 126, "exec format error: an empty file"),
        (("/foreign",), 126, "exec format error: a program for "),
        (("/data/tool",), 126, "its filesystem is mounted noexec"),
        (("/bin/sh/x",), 127, "not a directory"),
    ],
)
def test_a_program_that_cannot_be_executed(
    box: containers.Box, tmp_path: pathlib.Path, args: tuple[str, ...], code: int, message: str
) -> None:
    root = pathlib.Path(box.lower)
    arch = b"\x3e" if os.uname().machine == "aarch64" else b"\xb7"
    files = {
        "crlf": b"#!/bin/sh\r\ntrue\r\n",
        "script": b"#!/bin/bash\n",
        "text": b"echo\n",
        "empty": b"",
        "dynamic": pathlib.Path("/usr/bin/env").read_bytes(),
        "foreign": b"\x7fELF\2\1\1" + bytes(9) + b"\2\0" + arch + b"\0\1\0\0\0" + bytes(40),
    }
    for name, content in files.items():
        (root / name).write_bytes(content)
        (root / name).chmod(0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tool").write_text("#!/bin/sh\n")
    (tmp_path / "data/tool").chmod(0o755)
    config = containers.spec(*args)
    config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": f"{tmp_path}/data", "options": ["rbind", "noexec"]}
    )
    with pytest.raises(ExecFailed) as raised:
        box.start(config)
    assert raised.value.exit_code == code and message in raised.value.message
    assert nothing_left(box)


def nothing_left(box: containers.Box) -> bool:
    """A failed start: no run directory, no cgroup, and nobody of ours that waits to be reaped."""
    assert not os.path.exists(box.run_dir) and not os.path.exists(box.cgroup)
    assert not invariants.children()
    return True


def test_a_failed_step_says_which_and_is_undone(box: containers.Box) -> None:
    config = containers.spec("true")
    config["mounts"].append({"destination": "/x", "type": "bind", "source": "/nonexistent", "options": ["rbind"]})
    with pytest.raises(StepFailed) as raised:
        box.start(config)
    assert "open_tree" in raised.value.message and "/nonexistent" in raised.value.message
    assert f"/mounts/{len(config['mounts']) - 1}" in raised.value.message
    assert nothing_left(box)


def test_a_refused_destination_is_undone(box: containers.Box) -> None:
    pathlib.Path(box.lower, "proc").symlink_to("/etc")
    with pytest.raises(InvalidValue, match="symbolic link"):
        box.start(containers.spec("true"))
    assert nothing_left(box)


def test_a_cgroup_that_a_crash_left_is_taken_over(box: containers.Box) -> None:
    os.makedirs(f"{box.cgroup}/nested")
    assert box.run(containers.spec("true"))[0] == 0


def test_a_cgroup_where_somebody_lives_is_not(box: containers.Box) -> None:
    box.start(containers.spec("sleep", "100"))
    with pytest.raises(Conflict, match="still has processes"):
        start.start(box.request(containers.spec("true")))
    assert box.state().alive()


def test_nested_cgroups_of_a_container_are_removed(box: containers.Box) -> None:
    box.start(containers.spec("sleep", "100"))
    os.makedirs(f"{box.cgroup}/a/b/c")
    stop.kill_all(box.state(), box.cgroup)
    box.finish()
    assert tree.remove(box.cgroup) and not os.path.exists(box.cgroup)


def test_stop_takes_the_signal_and_then_kills(box: containers.Box) -> None:
    """CRA-14: pid 1 that ignores SIGTERM; its children in sessions of their own."""
    box.start(containers.spec("sh", "-c", "trap : TERM; setsid sleep 100 & while :; do sleep 0.1; done"))
    began = time.monotonic()
    ended = stop.stop(box.run_dir, box.cgroup, 15, 0.3)
    assert 0.3 <= time.monotonic() - began < 40
    assert ended is not None and ended.exit is not None and ended.exit.code == 137
    assert not tree.populated(box.cgroup)


def test_stop_of_a_frozen_container(box: containers.Box) -> None:
    """CRA-14: what is frozen is killed without a thaw."""
    box.start(containers.spec("sleep", "100"))
    freezer.freeze(box.cgroup)
    ended = stop.stop(box.run_dir, box.cgroup, 15, 0.1)
    assert ended is not None and ended.exit is not None and ended.exit.code == 137


def test_the_monitors_death_is_the_containers_and_no_exit_code_is_invented(box: containers.Box) -> None:
    """CRA-02."""
    started = box.start(containers.spec("sleep", "100"))
    seen = box.state()
    os.kill(started.monitor_pid, 9)
    os.waitpid(started.monitor_pid, 0)
    ended = state.wait(box.run_dir, 5)
    assert ended is not None and ended.exit is None and ended.status() == state.LOST
    assert not seen.alive()


def test_pid_reuse_is_noticed(box: containers.Box) -> None:
    """CRA-08: the same pid with another start time is nobody we know."""
    box.start(containers.spec("sleep", "100"))
    other = state.State(os.getpid(), 1, os.getpid(), 1, 0, None)
    assert not other.alive() and not other.monitored() and not stop.signal(other, 9)


def test_another_boots_record_matches_nobody(box: containers.Box) -> None:
    box.start(containers.spec("sleep", "100"))
    pathlib.Path(box.run_dir, "boot").write_text("another boot")
    seen = box.state()
    assert (seen.pid, seen.monitor_pid, seen.status()) == (0, 0, state.LOST) and not stop.signal(seen, 9)


def test_durations_are_measured_on_request_only(box: containers.Box) -> None:
    started = box.start(containers.spec("true"), stamps=True)
    box.finish()
    assert started.durations_ns is not None and len(started.durations_ns) == len(started.plan.steps)
    measured = [took for took in started.durations_ns if took is not None]
    assert len(measured) > len(started.plan.steps) // 2 and max(measured) < 10**9


def test_the_default_filter_is_cached(box: containers.Box) -> None:
    assert box.run(containers.spec("grep", "Seccomp:", "/proc/self/status"))[1] == "Seccomp:\t2\n"
    assert len(os.listdir(box.cache)) == 1


def test_bind_mounts_make_their_mount_points_inside(box: containers.Box, tmp_path: pathlib.Path) -> None:
    """ROOT-04, ROOT-06: through a dangling absolute link, below a tmpfs, a file below a bind."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/hello").write_text("hello\n")
    pathlib.Path(box.lower, "data").symlink_to("/made-by-minirt-test/deep")

    def bind(source: str, destination: str) -> dict[str, Any]:
        return {"destination": destination, "type": "bind", "source": source, "options": ["rbind", "ro"]}

    config = containers.spec("cat", "/data/hello", "/dev/some/where/hello", "/one/file", "/data2/in/hello")
    config["mounts"] += [
        bind(f"{tmp_path}/source", "/data"),
        bind(f"{tmp_path}/source", "/dev/some/where"),
        bind(f"{tmp_path}/source/hello", "/one/file"),
        bind(f"{tmp_path}/source", "/data2/in"),
    ]
    assert box.run(config) == (0, "hello\n" * 4, "")
    assert not os.path.exists("/made-by-minirt-test")


@pytest.mark.parametrize("half", ["", "dirty"])
def test_a_volatile_root_is_mounted_again_and_keeps_its_content(box: containers.Box, half: str) -> None:
    """The mark that the kernel leaves is taken away, also where a killed minirt had begun to."""
    volatile = Overlay((box.lower,), box.bundle.upper, box.bundle.work, volatile=True)
    assert box.run(containers.spec("sh", "-c", "echo kept > /file"), rootfs=volatile)[0] == 0
    mark = os.path.join(box.bundle.work, "work", "incompat", "volatile")
    assert os.listdir(mark) == ["dirty"]
    if half:
        os.unlink(f"{mark}/dirty")
    assert box.run(containers.spec("cat", "/file")) == (0, "kept\n", "")


def test_a_second_start_in_the_same_directories(box: containers.Box) -> None:
    assert box.run(containers.spec("sh", "-c", "echo kept > /file; exit 4"))[0] == 4
    assert box.run(containers.spec("cat", "/file")) == (0, "kept\n", "")
    assert box.state().exit is not None and box.state().exit.code == 0  # type: ignore[union-attr]
