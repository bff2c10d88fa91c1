# SPDX-License-Identifier: Apache-2.0
"""From clone3 to the exit record: what is said and written, and when (CRA-02, 03, 04, 13, RUN-17, 22)."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable

import pytest

from minirt.kernel import channel, process
from minirt.kernel import monitor as kernel_monitor
from minirt.plan.step import Fd, Flags, Step
from session import Session, alive, wait_until

Start = Callable[..., Session]
GATE = (Step("read", Fd("report")),)


def test_exit_code_and_streams(monitor: Start) -> None:
    one = monitor("sh", "-c", "echo out; echo err >&2; exit 7").started()
    assert one.exited() == (7, 0)
    assert one.output() == b"out\n"
    assert one.output(channel.STDERR) == b"err\n"
    assert one.wait() == 0


def test_signal(monitor: Start) -> None:
    one = monitor("sh", "-c", "exec sleep 100").started()
    os.kill(one.workload, signal.SIGKILL)
    assert one.exited() == (137, 9)
    assert one.record("exit")["code"] == 137
    assert one.record("exit")["signal"] == 9


def test_records(monitor: Start) -> None:
    """run/state names both processes before the program runs; run/exit is there before EXITED is heard."""
    before = time.time_ns()
    one = monitor("sleep", "0.1").started()
    state = one.record("state")
    assert state["pid"] == one.workload
    assert state["start_ticks"] == one.start_ticks == process.start_ticks(one.workload)
    assert state["monitor_pid"] == one.pid
    assert state["monitor_start_ticks"] == process.start_ticks(one.pid)
    assert before <= state["started_ns"] <= time.time_ns()
    assert not (one.run / "exit").exists()
    assert one.exited() == (0, 0)
    assert before < one.record("exit")["finished_ns"] <= time.time_ns()
    assert sorted(os.listdir(one.run)) == ["exit", "state"]


def test_state_before_program(monitor: Start) -> None:
    one = monitor("true", extra=GATE)
    wait_until((one.run / "state").exists, "run/state")
    assert alive(one.record("state")["pid"])
    one.say(channel.GO)
    assert one.started().exited() == (0, 0)


def test_exec_session_writes_nothing(monitor: Start) -> None:
    one = monitor("true", record=False, log=False).started()
    assert one.exited() == (0, 0)
    assert os.listdir(one.run) == os.listdir(one.container) == []


def test_failed_step(monitor: Start) -> None:
    """The step's own number and errno; the monitor is gone and so is the state, without the caller doing anything."""
    one = monitor("true", extra=(Step("chdir", "/nonexistent"),))
    assert one.failed() == (6, errno.ENOENT)
    assert one.hear() is None
    wait_until(one._ended, "the monitor")
    assert os.listdir(one.run) == []


@pytest.mark.parametrize(
    ("program", "error"),
    [("/nonexistent", errno.ENOENT), ("/etc/passwd", errno.EACCES), ("/etc", errno.EACCES), ("nowhere", errno.ENOENT)],
)
def test_failed_execve(monitor: Start, program: str, error: int) -> None:
    one = monitor(program)
    step, number = one.failed()
    assert (step, number) == (8 if program == "nowhere" else 7, error)


def test_denied_candidate(monitor: Start) -> None:
    """execvp(3): when no candidate ran, EACCES from one of them is the answer."""
    blind = Step("mount", "/etc/passwd", "/bin/true", "", Flags("MS_BIND"), None)
    own = Step("mount", "none", "/", "", Flags("MS_REC|MS_PRIVATE"), None)
    one = monitor("true", namespaces="CLONE_NEWPID|CLONE_NEWNS", extra=(own, blind))
    assert one.failed()[1] == errno.EACCES


def test_killed_before_execve(monitor: Start) -> None:
    """CRA-03: neither "started" nor a workload's exit is invented."""
    one = monitor("true", extra=GATE)
    wait_until((one.run / "state").exists, "run/state")
    os.kill(one.record("state")["pid"], signal.SIGKILL)
    assert one.failed() == (-1, errno.ECHILD)
    assert one.exited() == (137, 9)
    assert os.listdir(one.run) == []


def test_killed_right_after_execve(monitor: Start) -> None:
    """The other side of the same moment: it did run."""
    for _ in range(20):
        one = monitor("sh", "-c", "kill -9 $$", namespaces="0").started()
        assert one.exited() == (137, 9)


def test_monitor_killed(monitor: Start) -> None:
    """CRA-02: init dies with its monitor, before execve and after; nobody writes an exit code."""
    for extra in ((), GATE):
        one = monitor("sleep", "100", extra=extra)
        wait_until((one.run / "state").exists, "run/state")
        if not extra:
            one.started()
        pid = one.record("state")["pid"]
        os.kill(one.pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive(pid), "init's death")
        assert not (one.run / "exit").exists()


def test_signals_to_the_monitor_are_ignored(monitor: Start) -> None:
    one = monitor("sleep", "0.3").started()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP):
        os.kill(one.pid, number)
    assert one.exited() == (0, 0)


def test_caller_dies_before_start(monitor: Start) -> None:
    one = monitor("sh", "-c", "echo still; exit 3", extra=(Step("read", Fd("report")),))
    one.say(channel.GO)
    one.close()
    wait_until((one.run / "exit").exists, "the end")
    assert one.record("exit")["code"] == 3
    assert one.log() == [("stdout", "F", "still")]
    assert one.wait() == 0


def test_clean_slate(monitor: Start) -> None:
    """RUN-17, RUN-22: default dispositions, no blocked signal, descriptors 0 to 2 and no other."""
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        script = "grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status; exec ls /proc/self/fd"
        one = monitor("sh", "-c", script, namespaces="0").started()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    one.exited()
    lines = one.output().decode().split("\n")
    assert [line.split()[1] for line in lines[:2]] == ["0" * 16] * 2
    assert lines[3:] == ["0", "1", "2", "3", ""]  # 3 is what ls itself opened


def test_monitor_keeps_little(monitor: Start) -> None:
    """pidfd, channel, run, container, log, listener, two pipes, and null three times. Nothing grows."""
    one = monitor("sleep", "100").started()
    wait_until(lambda: len(os.listdir(f"/proc/{one.pid}/fd")) == 11, "its descriptors")
    for _ in range(50):
        one.attach().close()
    wait_until(lambda: len(os.listdir(f"/proc/{one.pid}/fd")) == 11, "its descriptors")
    assert [os.readlink(f"/proc/{one.pid}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
    assert os.readlink(f"/proc/{one.pid}/cwd") == "/"
    with open(f"/proc/{one.pid}/comm") as comm:
        assert comm.read() == "minirt:monitor\n"


def test_memory(monitor: Start) -> None:
    one = monitor("sleep", "100", namespaces="CLONE_NEWPID|CLONE_NEWNS").started()
    with open(f"/proc/{one.pid}/smaps_rollup") as rollup:
        pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    assert pss <= 100, f"{pss} kB"


def test_cleanup_after_the_caller(monitor: Start) -> None:
    """--rm: the monitor becomes the clean-up verb once the caller has left, and only then."""
    marker = f"{os.getpid()}-cleaned"
    verb = ("/bin/sh", "-c", f"ls /proc/self/fd > {{}}/{marker}; umask >> {{}}/{marker}")
    one = monitor("true")  # only for its directory's name
    verb = (*verb[:2], verb[2].format(one.container, one.container))
    two = monitor("true", flags=kernel_monitor.CLEAN_UP, cleanup=verb).started()
    assert two.exited() == (0, 0)
    time.sleep(0.1)
    assert not (one.container / marker).exists()
    two.wait()
    assert (one.container / marker).read_text().split() == ["0", "1", "2", "3", "0022"]


def test_no_cleanup_where_nothing_is_left(monitor: Start) -> None:
    one = monitor("true")
    verb = ("/bin/sh", "-c", f"touch {one.container}/cleaned")
    two = monitor("true", flags=kernel_monitor.CLEAN_UP, cleanup=verb).started()
    two.exited()
    shutil.rmtree(two.run)
    two.wait()
    assert not (one.container / "cleaned").exists()


def test_orphans_are_reaped(monitor: Start) -> None:
    """In the host's pid namespace orphans come to the monitor."""
    one = monitor("sh", "-c", "for i in 1 2 3; do (sleep 0.05 &); done; sleep 0.4", namespaces="0").started()
    one.exited()
    with open(f"/proc/{one.pid}/task/{one.pid}/children") as children:
        assert children.read() == ""
