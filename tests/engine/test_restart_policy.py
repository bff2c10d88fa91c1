# SPDX-License-Identifier: Apache-2.0
"""--restart on real containers (CRA-19): the back-off and the counter, what stops it, what a crash of the one who waits
leaves, and starts that fail. Where a test needs a long back-off it writes the last one into the database."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from pathlib import Path

import pytest

import runner
from crashes import crash_points, killed_at
from restarts import count, ended, inspect, set_delay, status, waiters, with_long_wait

CRASH = ("sh", "-c", "echo begun; exit 3")


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", f"{rootfs}:O"]


def test_cra_19_crash_loop_backs_off_and_counts(minirt: runner.Minirt, options: list[str]) -> None:
    """Each wait is at least as long as the policy says, and the counter counts starts; stop ends it for good."""
    minirt.ok("run", "-d", "--name", "one", "--restart", "always", *options, *CRASH)
    runner.eventually(lambda: count(minirt, "one") >= 4, 30)
    minirt.ok("stop", "one")
    found = inspect(minirt, "one")
    assert found["State"]["Status"] == "exited" and found["State"]["ExitCode"] == 3
    assert not waiters(minirt) and not (minirt.state / found["Id"]).exists()
    starts = [line.split()[0] for line in minirt.ok("logs", "-t", "one").splitlines()]
    assert len(starts) in (found["RestartCount"], found["RestartCount"] + 1)
    moments = [
        60 * int(minute) + float(second) for _, minute, second in (re.split("[:Z]", text)[:3] for text in starts)
    ]
    for number, (before, after) in enumerate(itertools.pairwise(moments)):
        assert (after - before) % 3600 >= 0.1 * 2**number
    time.sleep(0.5)
    assert len(minirt.ok("logs", "one").splitlines()) == len(starts)


def test_cra_19_on_failure_counts_to_its_limit(minirt: runner.Minirt, options: list[str]) -> None:
    minirt.ok("run", "-d", "--name", "one", "--restart", "on-failure:2", *options, *CRASH)
    runner.eventually(lambda: ended(minirt, "one", 2), 30)
    assert len(minirt.ok("logs", "one").splitlines()) == 3
    assert inspect(minirt, "one")["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    minirt.ok("run", "-d", "--name", "two", "--restart", "on-failure", *options, "true")
    runner.eventually(lambda: ended(minirt, "two", 0))
    minirt.ok("start", "one")  # counted anew
    runner.eventually(lambda: ended(minirt, "one", 2), 30)
    assert len(minirt.ok("logs", "one").splitlines()) == 6


def test_cra_19_restarting_as_docker_shows_it(minirt: runner.Minirt, options: list[str]) -> None:
    with_long_wait(minirt, "one", *options)
    state = inspect(minirt, "one")["State"]
    assert (state["Running"], state["Restarting"], state["Pid"], state["ExitCode"]) == (True, True, 0, 3)
    assert re.search(r"Restarting \(3\) .* ago", minirt.ok("ps"))
    assert minirt.ok("ps", "-q", "--filter", "status=restarting") and not minirt.ok("ps", "-q", "-f", "status=exited")
    refused = {
        "rm": "container is restarting: stop the container before removing or force remove",
        "exec": "is restarting, wait until the container is running", "attach": "is restarting", "top": "is restarting",
        "pause": "is restarting", "start -a": "is restarting",
    }  # fmt: skip
    for verb, says in refused.items():
        minirt.fails(*verb.split(), "one", *(["true"] if verb == "exec" else []), code=1, says=says)
    minirt.ok("start", "one")  # Docker: it is on its way
    assert status(minirt, "one") == "restarting" and len(waiters(minirt)) == 1
    minirt.ok("rename", "one", "two")
    assert status(minirt, "two") == "restarting"


@pytest.mark.parametrize("verb", ["stop", "kill", "kill -s HUP", "rm -f", "restart"])
@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_cra_19_what_the_user_wants_wins_at_once(
    minirt: runner.Minirt, options: list[str], verb: str, policy: str
) -> None:
    """Whoever waits is gone with the command, and so is what it left; restart begins anew."""
    identity = with_long_wait(minirt, "one", *options, policy=policy)
    assert len(waiters(minirt)) == 1
    minirt.ok(*verb.split(), "one")
    assert not waiters(minirt)
    assert (minirt.state / identity).exists() == (verb == "restart")
    assert (minirt.ok("ps", "-aq") == "") == (verb == "rm -f")
    if verb != "rm -f":
        found = inspect(minirt, "one")
        expected = ("running", 0, 0) if verb == "restart" else ("exited", 1, 3)
        assert (found["State"]["Status"], found["RestartCount"], found["State"]["ExitCode"]) == expected


@pytest.mark.parametrize(
    ("verb", "goes_on"),
    [("stop -t 0", False), ("kill", False), ("kill -s TERM", False), ("kill -s USR1", True), ("restart -t 0", True)],
)
def test_cra_19_stopped_by_hand_while_it_runs(
    minirt: runner.Minirt, options: list[str], verb: str, goes_on: bool
) -> None:
    """A signal that is neither SIGKILL nor its stop signal does not mean: stop."""
    words = ("sh", "-c", "trap 'exit 1' TERM USR1; echo begun; while :; do sleep 0.02; done")
    minirt.ok("run", "-d", "--name", "one", "--restart", "always", *options, *words)
    runner.eventually(lambda: minirt.ok("logs", "one"))
    minirt.ok(*verb.split(), "one")
    if goes_on:
        runner.eventually(lambda: len(minirt.ok("logs", "one").splitlines()) == 2)
        assert count(minirt, "one") == (0 if verb.startswith("restart") else 1)
    else:
        runner.eventually(lambda: status(minirt, "one") == "exited")
        time.sleep(0.4)
        assert status(minirt, "one") == "exited" and len(minirt.ok("logs", "one").splitlines()) == 1


def test_cra_19_waiter_is_small_and_holds_nothing(minirt: runner.Minirt, options: list[str]) -> None:
    """Some kilobytes, no descriptor but /dev/null, no lock, nothing of the caller's: not even its directory."""
    with_long_wait(minirt, "one", *options)
    (pid,) = waiters(minirt)
    process = Path(f"/proc/{pid}")
    assert {os.readlink(link) for link in (process / "fd").iterdir()} == {"/dev/null"}
    assert os.readlink(process / "cwd") == "/"
    rollup = dict(re.findall(r"^(\w+): +(\d+) kB", (process / "smaps_rollup").read_text(), re.M))
    assert int(rollup["Private_Clean"]) + int(rollup["Private_Dirty"]) < 200
    assert (process / "comm").read_text() == "minirt:waiter\n"


def test_cra_19_waiter_killed(minirt: runner.Minirt, options: list[str]) -> None:
    """kill -9 of the one who waits: the next command sees that somebody does, and it is counted once."""
    with_long_wait(minirt, "one", *options)
    (pid,) = waiters(minirt)
    os.kill(pid, signal.SIGKILL)
    runner.eventually(lambda: not waiters(minirt))
    minirt.ok("ps")
    assert len(waiters(minirt)) == 1 and count(minirt, "one") == 1
    (other,) = waiters(minirt)
    os.kill(other, signal.SIGKILL)
    minirt.ok("start", "one")  # the user: at once
    assert (status(minirt, "one"), count(minirt, "one")) == ("running", 0)


@pytest.mark.slow
def test_cra_01_kill_9_of_who_settles_the_end(minirt: runner.Minirt, options: list[str], short_dir: Path) -> None:
    """CRA-01: wherever the command dies that notices the end, the next one sees to it that exactly one waits; the end
    is counted once."""

    def prepare() -> list[str]:
        minirt("rm", "-f", "one")
        identity = minirt.ok("run", "-d", "--name", "one", "--restart", "always", *options, "sleep", "100")
        set_delay(minirt, identity, 40000)
        found = inspect(minirt, "one")
        os.kill(found["Minirt"]["MonitorPid"], signal.SIGKILL)
        runner.eventually(lambda: not Path(f"/proc/{found['State']['Pid']}").exists())
        return ["ps"]

    for point in crash_points(minirt, short_dir, *prepare()):
        killed_at(minirt, point, *prepare())
        minirt.ok("ps")
        runner.eventually(lambda: len(waiters(minirt)) == 1)
        assert (status(minirt, "one"), count(minirt, "one")) == ("restarting", 1), point


def test_cra_02_monitor_killed_and_policy(minirt: runner.Minirt, options: list[str]) -> None:
    """Nobody saw how it ended: the next command notices, and its policy is kept."""
    minirt.ok("run", "-d", "--name", "one", "--restart", "on-failure:3", *options, "sleep", "100")
    os.kill(inspect(minirt, "one")["Minirt"]["MonitorPid"], signal.SIGKILL)
    runner.eventually(lambda: minirt.ok("ps", "-a") and status(minirt, "one") == "running" and count(minirt, "one"))
    assert count(minirt, "one") == 1
    minirt.ok("rm", "-f", "one")


def test_caller_in_the_foreground_ends_with_the_first_run(minirt: runner.Minirt, options: list[str]) -> None:
    """Docker's client leaves with the exit code; the container goes on behind it, and keeps nothing of the caller."""
    done = minirt("run", "--name", "one", "--restart", "on-failure:1", *options, *CRASH)
    assert (done.code, done.stdout) == (3, "begun\n")
    runner.eventually(lambda: minirt.ok("logs", "one") == "begun\nbegun")
    runner.eventually(lambda: status(minirt, "one") == "exited")
    done = minirt("start", "-a", "one")
    assert (done.code, done.stdout) == (3, "begun\n")
    runner.eventually(lambda: ended(minirt, "one", 1))


def test_wait_and_a_container_that_is_restarting(minirt: runner.Minirt, options: list[str]) -> None:
    """Each end is one; of a restarting one the next (Docker)."""
    with_long_wait(minirt, "one", *options)
    waiting = minirt.start("wait", "one")
    time.sleep(0.3)
    assert waiting.poll() is None
    minirt.ok("stop", "one")
    assert waiting.communicate(timeout=20)[0] == b"3\n"


def test_start_that_fails_is_tried_again(minirt: runner.Minirt, options: list[str], rootfs: Path) -> None:
    """Its root is gone for a while: restarting, with the reason; once it is back, it runs."""
    words = ("sh", "-c", "until test -e /tmp/end; do sleep 0.02; done; rm /tmp/end; exit 1")
    minirt.ok("run", "-d", "--name", "one", "--restart", "unless-stopped", *options, *words)
    away = rootfs.with_name("away")
    os.rename(rootfs, away)
    minirt.ok("exec", "one", "touch", "/tmp/end")
    runner.eventually(lambda: count(minirt, "one") >= 3, 20)
    found = inspect(minirt, "one")["State"]
    assert found["Status"] == "restarting" and str(rootfs) in found["Error"]
    os.rename(away, rootfs)
    runner.eventually(lambda: status(minirt, "one") == "running", 20)
    assert inspect(minirt, "one")["State"]["Error"] == ""
    minirt.ok("rm", "-f", "one")


def test_start_that_fails_counts_against_on_failure(minirt: runner.Minirt, options: list[str], rootfs: Path) -> None:
    minirt.ok("run", "-d", "--name", "one", "--restart", "on-failure:2", *options, "sleep", "0.2")
    minirt.ok("run", "-d", "--name", "two", "--restart", "on-failure:2", *options, "sh", "-c", "sleep 0.2; exit 1")
    os.rename(rootfs, rootfs.with_name("away"))
    runner.eventually(lambda: ended(minirt, "two", 2), 20)
    assert not waiters(minirt) and count(minirt, "one") == 0


def test_policy_and_the_first_start(minirt: runner.Minirt, options: list[str]) -> None:
    """Only what has run is restarted: `run` that fails leaves nothing, as ever."""
    minirt.fails("run", "--restart", "always", *options, "/nowhere", code=127)
    assert minirt.ok("ps", "-aq") == ""
    for text, says in (("sometimes", "unknown policy 'sometimes'"), ("always:3", "can only be used with 'on-failure'")):
        minirt.fails("run", "--restart", text, *options, "true", code=125, says=says)
        minirt.fails("create", "--restart", text, *options, "true", code=125, says=says)
    says = "conflicting options: cannot specify both --restart and --rm"
    minirt.fails("run", "--rm", "--restart", "always", *options, "true", code=125, says=says)
    minirt.ok("run", "--rm", "--restart", "no", *options, "true")


def test_published_port_of_one_that_is_restarting(networked: runner.Minirt, options: list[str]) -> None:
    """What it held is free in the meantime, and taken again."""
    minirt = networked
    with_long_wait(minirt, "one", "-p", "127.0.0.1:8091:80", *options)
    minirt.ok("run", "--rm", "-p", "127.0.0.1:8091:80", *options, "true")
    minirt.ok("restart", "-t", "0", "one")
    minirt.ok("rm", "-f", "one")


def test_cra_12_clock_is_set_during_the_back_off(minirt: runner.Minirt, options: list[str]) -> None:
    """clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME): of a clock that nobody sets."""
    with_long_wait(minirt, "one", *options)
    (pid,) = waiters(minirt)
    _, clock, flags = Path(f"/proc/{pid}/syscall").read_text().split()[:3]
    assert (int(clock, 16), int(flags, 16)) == (time.CLOCK_MONOTONIC, 1)
