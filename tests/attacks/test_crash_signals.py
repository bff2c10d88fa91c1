# SPDX-License-Identifier: Apache-2.0
"""Signals, races and pids at the wrong moment (signal(7), ptrace(2), pid_namespaces(7)).

CRA-02: the monitor dies while its container ends. CRA-08: a pid that the kernel really gave to another process.
CRA-11: many rename onto one name. CRA-13: the command is interrupted. CRA-14: what does not die at the first word.
The other forms of these rows are in tests/engine and tests/cli.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import runner
from runner import Minirt, eventually


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", str(rootfs)]


def state(minirt: Minirt, name: str, key: str) -> str:
    return minirt.ok("inspect", "-f", f"{{{{.State.{key}}}}}", name)


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.2, 0.3])
def test_cra_02_the_monitor_dies_while_the_container_ends(minirt: Minirt, options: list[str], wait_s: float) -> None:
    """CRA-02: killed about when its container exits with 3: the code is 3 or unknown, never 0, and rm cleans."""
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", "sleep 0.3; exit 3")
    monitor = minirt.ok("inspect", "-f", "{{.Minirt.MonitorPid}}", "box")
    time.sleep(wait_s)
    try:
        os.kill(int(monitor), signal.SIGKILL)
    except (ProcessLookupError, ValueError):
        pass  # it was quicker
    eventually(lambda: state(minirt, "box", "Status") == "exited")
    assert json.loads(minirt.ok("inspect", "box"))[0]["State"]["ExitCode"] in (3, None)
    assert "(0)" not in minirt.ok("ps", "-a")
    minirt.ok("rm", "box")
    assert minirt("run", "--rm", *options, "sh", "-c", "exit 3").code == 3, "the control"


REUSE = """
import json, os, signal, subprocess, sys, time
minirt = sys.argv[1:]
def run(*words):
    return subprocess.run([*minirt, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
def seen():
    return json.loads(run("inspect", "box").stdout)[0]
about = seen()
pid, monitor = about["State"]["Pid"], about["Minirt"]["MonitorPid"]
os.kill(monitor, signal.SIGKILL)
left = {pid, monitor}
while left:
    left.discard(os.waitpid(-1, 0)[0])  # this process is the pid namespace's first: orphans are its own
time.sleep(0.05)  # start times count hundredths of a second
bystanders = []
for wanted in (pid, monitor):
    for _ in range(1000):
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(wanted - 1))
        child = subprocess.Popen(["sleep", "1000"])
        if child.pid == wanted:
            bystanders.append(child)
            break
        child.kill(), child.wait()
assert [child.pid for child in bystanders] == [pid, monitor], "the control: the numbers are used again"
said = {"status": seen()["State"]["Status"]}
for words in ("exec box true", "kill box", "stop -t 0 box", "top box", "rm -f box"):
    said[words.split()[0]] = run(*words.split()).stderr
said["alive"] = [child.poll() is None for child in bystanders]
for child in bystanders:
    child.kill(), child.wait()
print(json.dumps(said))
"""


def test_cra_08_the_kernel_gives_the_pid_to_another(minirt: Minirt, options: list[str]) -> None:
    """CRA-08: container and monitor are gone, and in a pid namespace of this test's own both numbers belong to
    bystanders: it is exited, nothing of it can be entered, and no verb touches a bystander."""
    script = (
        '"$@" run -d --name box --rootfs "$BOX" sleep 1000 >/dev/null </dev/null && exec "$PYTHON" -c "$REUSE" "$@"'
    )
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh", *runner.program()],
        env={**minirt.environment, "REUSE": REUSE, "PYTHON": sys.executable, "BOX": options[1]},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    minirt.look()
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert (said["status"], said["alive"]) == ("exited", [True, True]), said
    assert all("is not running" in said[verb] for verb in ("exec", "kill", "top")), said
    assert said["stop"] == said["rm"] == "", said
    assert minirt.ok("ps", "-aq") == ""


def test_cra_11_many_rename_onto_one_name(minirt: Minirt, options: list[str]) -> None:
    """CRA-11: exactly one wins; the others keep their names and say who has it."""
    names = [f"from{number}" for number in range(6)]
    for name in names:
        minirt.ok("create", "--name", name, *options, "true")
    children = [minirt.start("rename", name, "wanted") for name in names]
    said = [child.communicate(timeout=60)[1] for child in children]
    assert sorted(child.returncode for child in children) == [0] + [1] * 5
    assert all(b"already in use" in text for text in said if text)
    left = set(minirt.ok("ps", "-a", "--format", "{{.Names}}").split())
    assert "wanted" in left and len(left & set(names)) == 5


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
@pytest.mark.parametrize("verb", ["run", "logs", "wait", "stop"])
def test_cra_13_the_command_is_ended_by_a_signal(minirt: Minirt, options: list[str], name: str, verb: str) -> None:
    """CRA-13: without forwarding, a signal ends the command with 128+n and no traceback; the container stays as it
    was and can be used."""
    script = "trap '' TERM; while :; do echo tick; sleep 0.05; done"
    minirt.ok("create", "--name", "box", *options, "sh", "-c", script)
    argv = {"logs": ["logs", "-f", "box"], "wait": ["wait", "box"], "stop": ["stop", "-t", "60", "box"]}.get(verb)
    if argv is None:
        argv = ["run", "--sig-proxy=false", "--name", "other", *options, "sh", "-c", script]
    minirt.ok("start", "box")
    child = minirt.start(*argv)
    if verb in ("run", "logs"):
        assert child.stdout is not None and child.stdout.readline() == b"tick\n"
    else:
        time.sleep(0.7)
    number = getattr(signal, f"SIG{name}")
    child.send_signal(number)
    errors = child.communicate(timeout=20)[1]
    assert child.returncode in (128 + number, -number), (child.returncode, errors)
    assert b"Traceback" not in errors and len(errors.splitlines()) <= 2, errors
    alive = "other" if verb == "run" else "box"
    assert state(minirt, alive, "Status") == "running"
    assert minirt.ok("exec", alive, "echo", "used") == "used"


def test_cra_13_nobody_reads_the_log(minirt: Minirt, options: list[str]) -> None:
    """CRA-13: SIGPIPE: `logs -f` into a pipe that was closed ends without a word, and the container goes on."""
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", "while :; do echo tick; sleep 0.05; done")
    reader, writer = os.pipe()
    child = minirt.start("logs", "-f", "box", stdout=writer)
    os.close(writer)
    assert os.read(reader, 5) == b"tick\n", "the control: it was read before"
    os.close(reader)
    errors = child.communicate(timeout=20)[1]
    assert child.returncode in (128 + signal.SIGPIPE, -signal.SIGPIPE) and errors == b"", (child.returncode, errors)
    assert state(minirt, "box", "Status") == "running"


@pytest.mark.parametrize("verb", ["run", "logs"])
def test_cra_13_stopped_and_continued(minirt: Minirt, options: list[str], verb: str) -> None:
    """CRA-13: SIGTSTP stops the command, not the container; SIGCONT lets it go on, and no output is lost.

    In a process group of its own: the kernel drops SIGTSTP for an orphaned one, as the tests' may be (setpgid(2))."""
    script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.02; done; exit 6"
    argv = ["run", "--sig-proxy=false", "--name", "box", *options, "sh", "-c", script]
    if verb == "logs":
        minirt.ok("run", "-d", *argv[2:])
        argv = ["logs", "-f", "box"]
    child = minirt.start(*argv, process_group=0)
    assert child.stdout is not None
    first = child.stdout.readline()
    child.send_signal(signal.SIGTSTP)
    eventually(lambda: stopped(child.pid))
    eventually(lambda: state(minirt, "box", "Status") == "exited", 20)
    assert stopped(child.pid), "the control: it was stopped all the while"
    child.send_signal(signal.SIGCONT)
    output, errors = child.communicate(timeout=20)
    assert (first + output).decode() == "".join(f"line {number}\n" for number in range(1, 61))
    assert child.returncode == (6 if verb == "run" else 0) and errors == b""


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_cra_14_stop_reaches_what_double_forked(minirt: Minirt, options: list[str]) -> None:
    """CRA-14: orphans in sessions of their own that ignore everything, and pid 1 too: all are gone after the time."""
    stubborn = "trap '' TERM INT HUP QUIT USR1; while :; do sleep 1; done"
    script = f'(setsid sh -c "{stubborn}" & ) ; (setsid setsid sh -c "{stubborn}" & ) ; {stubborn}'
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", script)
    identity = minirt.ok("inspect", "-f", "{{.Id}}", "box")
    eventually(lambda: len(minirt.ok("top", "box").splitlines()) >= 4)
    inside = [int(line.split()[1]) for line in minirt.ok("top", "box").splitlines()[1:]]
    began = time.monotonic()
    minirt.ok("stop", "-t", "1", "box")
    assert 1.0 <= time.monotonic() - began < 40
    assert not [pid for pid in inside if identity in text(Path(f"/proc/{pid}/cgroup"))]
    assert state(minirt, "box", "ExitCode") == "137"


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


HOLD = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
SEIZE, TRACEEXIT = 0x4206, 0x40
if libc.ptrace(SEIZE, int(sys.argv[1]), 0, TRACEEXIT):
    sys.exit(os.strerror(ctypes.get_errno()))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("verb", [["stop", "-t", "0"], ["kill"], ["rm", "-f"], ["restart", "-t", "0"]], ids=" ".join)
def test_cra_14_a_process_that_cannot_die_yet(minirt: Minirt, options: list[str], verb: list[str]) -> None:
    """CRA-14: pid 1 takes SIGKILL but does not get away, as in uninterruptible sleep (a tracer holds it at its exit):
    the verb ends in bounded time and says so, no record claims an end, and later the same verb does its work."""
    minirt.ok("run", "-d", "--name", "box", *options, "sleep", "1000")
    pid = state(minirt, "box", "Pid")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, pid], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        result = minirt(*verb, "box", timeout_s=40)
        assert stopped_at_exit(pid), "the control: it is there and cannot go"
        assert result.seconds < 30 and "Traceback" not in result.stderr, repr(result)
        assert result.code == 0 if verb == ["kill"] else "still exiting" in result.stderr, repr(result)
        assert state(minirt, "box", "Status") in ("running", "removing"), "it is still there"
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.close()
        holder.stdout.close()
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    minirt.ok("rm", "-f", "box")
    assert minirt.ok("ps", "-aq") == ""


def stopped_at_exit(pid: str) -> bool:
    return text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[0] in "tD"
