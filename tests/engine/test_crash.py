# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the caller at its system calls, of the monitor, of everything: the next command tells the truth and
cleans (CRA-01, CRA-02, CRA-04, CRA-08), and what runs at once does not trip over itself (CRA-09, CRA-11)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import runner
from crashes import born_late, crash_points, killed_at, orphans, truth


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", f"{rootfs}:O"]


@pytest.fixture
def warm(minirt: runner.Minirt, options: list[str]) -> runner.Minirt:
    """Database and compiled filter are there, as they are in everyday life."""
    minirt.ok("run", "--rm", *options, "true")
    return minirt


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["run -d", "create", "start", "stop", "rm", "rm -f", "exec", "rename"])
def test_cra_01_kill_9_of_the_caller_at_every_change(
    warm: runner.Minirt, options: list[str], short_dir: Path, verb: str
) -> None:
    """CRA-01: afterwards no running process without a record, no record that says running without a process, no
    directory without a row; and the command repeated succeeds."""
    minirt = warm

    def prepare() -> list[str]:
        minirt("rm", "-f", "one", "two")
        if verb in ("start", "rm"):
            minirt.ok("create", "--name", "one", *options, "sleep", "100")
        elif verb not in ("run -d", "create"):
            minirt.ok("run", "-d", "--name", "one", *options, "sleep", "100")
        words = verb.split()
        if verb in ("run -d", "create"):
            return [*words, "--name", "one", *options, "sleep", "100"]
        return {
            "stop": ["stop", "-t", "0", "one"], "exec": ["exec", "one", "true"], "rename": ["rename", "one", "two"],
        }.get(verb, [*words, "one"])  # fmt: skip

    points = crash_points(minirt, short_dir, *prepare())
    for point in points:
        argv = prepare()
        killed_at(minirt, point, *argv)
        runner.eventually(lambda: not born_late(minirt), 5)
        found = truth(minirt)
        assert orphans(minirt) == [], f"{verb} killed at {point}"
        again = minirt(*argv)
        expected = {
            "run -d": ("already in use", "one" in found), "create": ("already in use", "one" in found),
            "rm": ("No such container", "one" not in found), "rm -f": ("No such container", "one" not in found),
            "rename": ("No such container", "two" in found),
        }.get(verb, ("", False))  # fmt: skip
        if expected[1]:
            assert expected[0] in again.stderr, f"{verb} killed at {point}: {again!r}"
        else:
            assert again.code == 0, f"{verb} killed at {point}: {again!r}"


# Calls that only the monitor or init makes, in the order of a birth; the last two record it and its end.
BIRTH = (
    "pipe2:1", "setsid:1", "listen:1", "move_mount:1", "mknodat:3", "move_mount:12", "pivot_root:1", "umount2:1",
    "sethostname:1", "seccomp:1", "setresuid:1", "renameat:1", "renameat:2",
)  # fmt: skip


@pytest.mark.parametrize("point", BIRTH)
@pytest.mark.parametrize("stay", [(), ("-d",)], ids=["foreground", "detached"])
def test_cra_03_kill_9_of_monitor_or_init_at_each_stage(
    warm: runner.Minirt, options: list[str], point: str, stay: tuple[str, ...]
) -> None:
    """CRA-03: run fails with one line, or had begun and its end is unknown; nothing stays, and it works again."""
    minirt, (name, _, number) = warm, point.partition(":")
    argv = ["run", *stay, "--name", "one", *options, "true"]
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}"]
    done = subprocess.run(
        [*strace, "-e", f"inject={name}:signal=KILL:when={number}", *runner.program(), *argv],
        env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    minirt.look()
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr, done
    found = runner.eventually(lambda: not born_late(minirt) and [truth(minirt)], 5)[0]
    assert found in ({}, {"one": "exited"}), (point, done)
    if point != "renameat:2":
        assert found == {} and (done.returncode == 125 or stay and done.returncode == 0), (point, done)
        assert done.stderr, (point, done)
    elif found:
        assert json.loads(minirt.ok("inspect", "one"))[0]["State"]["ExitCode"] is None
    assert orphans(minirt) == []
    minirt("rm", "-f", "one")
    assert minirt(*argv).code == 0


def monitor_of(minirt: runner.Minirt, name: str) -> int:
    return int(json.loads(minirt.ok("inspect", name))[0]["Minirt"]["MonitorPid"])


@pytest.mark.parametrize(
    "words", [["sleep", "100"], ["sh", "-c", "while :; do echo x; done"]], ids=["idle", "printing"]
)
def test_cra_02_monitor_killed(warm: runner.Minirt, options: list[str], words: list[str]) -> None:
    """CRA-02: by policy the container dies with its monitor; its exit code is unknown, never 0."""
    minirt = warm
    minirt.ok("run", "-d", "--name", "one", *options, *words)
    os.kill(monitor_of(minirt, "one"), signal.SIGKILL)
    runner.eventually(lambda: truth(minirt)["one"] == "exited", 5)
    assert json.loads(minirt.ok("inspect", "one"))[0]["State"]["ExitCode"] is None
    assert "(0)" not in minirt.ok("ps", "-a")
    minirt.fails("exec", "one", "true", code=1, says="is not running")
    minirt.ok("stop", "one")
    minirt.ok("start", "one")
    assert truth(minirt)["one"] == "running"
    minirt.ok("rm", "-f", "one")


def test_cra_02_monitor_killed_while_the_caller_waits(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-02: a foreground run, and a wait, end with an error instead of hanging or saying 0."""
    minirt = warm
    child = minirt.start("run", "--rm", "--name", "one", *options, "sleep", "100")
    runner.eventually(lambda: "one" in truth(minirt), 10)
    waiter = minirt.start("wait", "one")
    time.sleep(0.3)
    os.kill(monitor_of(minirt, "one"), signal.SIGKILL)
    assert child.wait(10) == 125
    assert waiter.wait(10) == 1
    runner.eventually(lambda: truth(minirt) == {}, 5)


def test_cra_02_everything_killed(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-02: caller, monitor and init at once, as by the OOM killer; rm -f cleans, --rm leaves nothing."""
    minirt = warm
    child = minirt.start("run", "--rm", "--name", "one", *options, "sleep", "100")
    runner.eventually(lambda: "one" in truth(minirt), 10)
    pid = json.loads(minirt.ok("inspect", "one"))[0]["State"]["Pid"]
    for victim in (child.pid, monitor_of(minirt, "one"), pid):
        os.kill(victim, signal.SIGKILL)
    child.wait(10)
    runner.eventually(lambda: truth(minirt) == {}, 5)
    assert orphans(minirt) == []
    minirt.ok("run", "--rm", "--name", "one", *options, "true")


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_cra_04_exits_at_once(warm: runner.Minirt, options: list[str], code: int) -> None:
    """CRA-04: the right code and all output, twenty times, however short it lived."""
    for _ in range(5):
        result = warm("run", "--rm", *options, "sh", "-c", f"echo out; echo err >&2; exit {code}")
        assert (result.code, result.stdout, result.stderr) == (code, "out\n", "err\n")


def test_cra_04_wait_and_start_attach(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-04: wait hears the code of a container that ends at once, before or after it asked."""
    for _ in range(5):
        identity = warm.ok("run", "-d", *options, "sh", "-c", "exit 7")
        assert warm.ok("wait", identity) == "7"
        assert warm("start", "-a", identity).code == 7
        warm.ok("rm", identity)


def test_cra_08_pid_that_is_somebody_elses(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-08: the recorded pid is another process by now: it is never signalled, and the container is not running."""
    minirt = warm
    identity = minirt.ok("run", "-d", "--name", "one", *options, "sleep", "100")
    minirt.ok("stop", "-t", "0", "one")
    bystander = subprocess.Popen(["sleep", "100"])
    try:
        run_dir = minirt.state / identity
        run_dir.mkdir(exist_ok=True)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        (run_dir / "boot").write_text(boot)
        (run_dir / "state").write_text(
            f"pid {bystander.pid}\nstart_ticks 12345\nmonitor_pid {bystander.pid}\nmonitor_start_ticks 12345\n"
            f"started_ns 1\n"
        )
        assert truth(minirt)["one"] == "exited"
        for argv in (["stop", "-t", "0", "one"], ["kill", "one"], ["exec", "one", "true"], ["rm", "-f", "one"]):
            minirt(*argv)
        assert bystander.poll() is None, "a process that only had the number was killed"
    finally:
        bystander.kill()
        bystander.wait()


def test_cra_06_reboot(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-06 in small: /run is gone and the boot is another one; what was running is exited, its code unknown."""
    minirt = warm
    identity = minirt.ok("run", "-d", "--name", "one", *options, "sleep", "100")
    pid = json.loads(minirt.ok("inspect", "one"))[0]["State"]["Pid"]
    (minirt.state / identity / "boot").write_text("another boot")
    assert truth(minirt)["one"] == "exited"
    assert json.loads(minirt.ok("inspect", "one"))[0]["State"]["ExitCode"] is None
    runner.eventually(lambda: not os.path.exists(f"/proc/{pid}"), 5)
    minirt.ok("rm", "one")


@pytest.mark.slow
def test_cra_09_fifty_verbs_at_once(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-09: a random mix on one container: each answers, none hangs, and in the end rm leaves nothing."""
    minirt, choose = warm, random.Random(9)
    minirt.ok("create", "--name", "one", *options, "sleep", "100")
    verbs: list[list[str]] = [
        ["rm", "-f", "one"], ["start", "one"], ["stop", "-t", "0", "one"], ["exec", "one", "true"], ["inspect", "one"],
        ["rename", "one", "two"], ["rename", "two", "one"], ["pause", "one"], ["unpause", "one"], ["kill", "one"],
        ["run", "-d", "--name", "one", *options, "sleep", "100"], ["ps", "-a"], ["restart", "-t", "0", "one"],
    ]  # fmt: skip
    results: list[runner.Result] = []

    def work(mine: list[list[str]]) -> None:
        for argv in mine:
            results.append(minirt(*argv, timeout_s=60))

    threads = [threading.Thread(target=work, args=([choose.choice(verbs) for _ in range(10)],)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(results) == 50
    for result in results:
        assert result.code in (0, 1, 125), repr(result)
        assert "internal error" not in result.stderr and "Traceback" not in result.stderr, repr(result)
    truth(minirt)
    minirt("rm", "-f", "one", "two")
    assert truth(minirt) == {} and orphans(minirt) == []


def test_cra_11_one_name_wanted_by_many(warm: runner.Minirt, options: list[str]) -> None:
    """CRA-11: exactly one wins; the others say who has it, exit with 125 and leave nothing."""
    children = [warm.start("create", "--name", "one", *options, "true") for _ in range(8)]
    outcomes = [child.communicate(timeout=60) for child in children]
    codes = sorted(child.returncode for child in children)
    warm.look()
    assert codes == [0] + [125] * 7
    assert all(b'The container name "/one" is already in use' in err for out, err in outcomes if not out)
    assert truth(warm) == {"one": "created"} and orphans(warm) == []


def test_rename_onto_an_existing_name(warm: runner.Minirt, options: list[str]) -> None:
    warm.ok("create", "--name", "one", *options, "true")
    warm.ok("create", "--name", "two", *options, "true")
    warm.fails("rename", "one", "two", code=1, says="already in use")
    assert truth(warm) == {"one": "created", "two": "created"}
