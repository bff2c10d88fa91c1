# SPDX-License-Identifier: Apache-2.0
"""The verbs of a container's life, each against a real one: what they do, and what they refuse in Docker's words."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import runner

IGNORING = 'trap "" TERM INT; while :; do sleep 0.1; done'


@pytest.fixture
def options(rootfs: Path) -> list[str]:
    return ["--rootfs", f"{rootfs}:O"]


def look(minirt: runner.Minirt, name: str) -> dict[str, Any]:
    return dict(json.loads(minirt.ok("inspect", name))[0])


def status(minirt: runner.Minirt, name: str) -> str:
    return str(look(minirt, name)["State"]["Status"])


def test_life_of_a_container(minirt: runner.Minirt, options: list[str]) -> None:
    identity = minirt.ok("create", "--name", "one", *options, "sleep", "100")
    assert status(minirt, "one") == "created"
    minirt.ok("start", "one")
    assert status(minirt, identity[:5]) == "running"
    assert minirt.ok("start", "one") == "one", "starting what runs is no error"
    minirt.ok("pause", "one")
    assert status(minirt, "one") == "paused" and "(Paused)" in minirt.ok("ps")
    minirt.ok("unpause", "one")
    minirt.ok("rename", "one", "two")
    minirt.ok("restart", "-t", "0", "two")
    assert status(minirt, "two") == "running"
    minirt.ok("kill", "two")
    assert look(minirt, "two")["State"]["ExitCode"] == 137
    assert minirt.ok("ps", "-q") == "" and minirt.ok("ps", "-aq") == identity[:12]
    minirt.ok("rm", "two")
    assert minirt.ok("ps", "-aq") == ""


def test_refusals(minirt: runner.Minirt, options: list[str]) -> None:
    minirt.fails("stop", "nobody", code=1, says="No such container: nobody")
    identity = minirt.ok("run", "-d", "--name", "one", *options, "sleep", "100")
    minirt.fails("rm", "one", code=1, says='cannot remove container "/one": container is running')
    minirt.fails("unpause", "one", code=1, says=f"container {identity} is not paused")
    minirt.ok("pause", "one")
    minirt.fails("pause", "one", code=1, says="is already paused")
    minirt.fails("exec", "one", "true", code=1, says="is paused, unpause the container before exec")
    minirt.fails("start", "one", code=1, says="cannot start a paused container")
    minirt.fails("rm", "one", code=1, says="paused")
    minirt.ok("stop", "-t", "0", "one")
    assert status(minirt, "one") == "exited", "a paused container can be stopped"
    for verb in ("pause", "unpause", "kill", "top"):
        minirt.fails(verb, "one", code=1, says="is not ")
    minirt.fails("attach", "one", code=1, says="cannot attach to a stopped container")
    minirt.ok("stop", "one")


def test_unique_prefixes(minirt: runner.Minirt, options: list[str]) -> None:
    ids = [minirt.ok("create", *options, "true") for _ in range(20)]
    first = ids[0]
    shortest = next(size for size in range(1, 65) if sum(other.startswith(first[:size]) for other in ids) == 1)
    assert look(minirt, first[:shortest])["Id"] == first
    if shortest > 1:
        minirt.fails("inspect", "--type", "container", first[: shortest - 1], code=1, says="multiple IDs found")
    minirt.fails("stop", first + "0", code=1, says="No such container")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../tmp/evil", "n" * 300, "-leading", "new\nline", "%s", "a"])
def test_root_13_hostile_names(minirt: runner.Minirt, options: list[str], name: str) -> None:
    """ROOT-13: refused before anything is made, and the message holds nothing raw."""
    said = minirt.fails("create", f"--name={name}", *options, "true", code=125, says="Invalid container name")
    assert "already" not in said and "\n" not in said.splitlines()[0]
    assert not (minirt.root / "containers").exists() or os.listdir(minirt.root / "containers") == []
    minirt.fails("stop", "--", name, code=1, says="No such container")
    minirt.fails("rm", "--", name, code=1, says="No such container")


def test_root_15_etc_files_of_the_image_are_never_touched(minirt: runner.Minirt, rootfs: Path, short_dir: Path) -> None:
    """ROOT-15: hosts, hostname and resolv.conf as symbolic links to the host, a pipe, a directory: the container has
    its own, the host's files stay as they are."""
    secret = short_dir / "secret"
    secret.write_text("secret")
    (rootfs / "etc/hosts").symlink_to(secret)
    os.mkfifo(rootfs / "etc/resolv.conf")
    script = "cat /etc/hosts /etc/hostname; echo written > /etc/hosts; cat /etc/resolv.conf"
    result = minirt("run", "--rm", "--hostname", "box", "--rootfs", f"{rootfs}:O", "sh", "-c", script)
    assert "localhost" in result.stdout and "box" in result.stdout and "secret" not in result.stdout, repr(result)
    assert secret.read_text() == "secret"
    (rootfs / "etc/hostname").mkdir()
    minirt("run", "--rm", "--rootfs", f"{rootfs}:O", "true")
    assert secret.read_text() == "secret"


def test_cra_14_stop_kills_what_ignores_its_signal(minirt: runner.Minirt, options: list[str]) -> None:
    """CRA-14: SIGKILL after the timeout, to everything inside, and not before."""
    minirt.ok("run", "-d", "--name", "one", *options, "sh", "-c", f"(trap '' TERM; sleep 1000)& {IGNORING}")
    began = time.monotonic()
    minirt.ok("stop", "-t", "1", "one")
    assert 1.0 <= time.monotonic() - began < 20
    assert look(minirt, "one")["State"]["ExitCode"] == 137


def test_cra_14_stop_of_a_frozen_container(minirt: runner.Minirt, options: list[str]) -> None:
    """CRA-14: cgroup.kill reaches a frozen one; rm -f of a frozen one too."""
    for verb in (["stop", "-t", "1", "one"], ["rm", "-f", "one"], ["kill", "one"]):
        minirt("rm", "-f", "one")
        minirt.ok("run", "-d", "--name", "one", *options, "sh", "-c", IGNORING)
        minirt.ok("pause", "one")
        began = time.monotonic()
        minirt.ok(*verb)
        assert time.monotonic() - began < 20
        if verb[0] != "rm":
            assert look(minirt, "one")["State"]["ExitCode"] == 137


def test_stop_signal_is_obeyed(minirt: runner.Minirt, options: list[str]) -> None:
    script = 'trap "exit 3" USR1; while :; do sleep 0.05; done'
    minirt.ok("run", "-d", "--name", "one", "--stop-signal", "USR1", *options, "sh", "-c", script)
    time.sleep(0.3)
    began = time.monotonic()
    minirt.ok("stop", "one")
    assert time.monotonic() - began < 20
    assert look(minirt, "one")["State"]["ExitCode"] == 3
    assert look(minirt, "one")["Config"]["StopSignal"] == "SIGUSR1"


def test_kill_is_not_held_up_by_a_stop(minirt: runner.Minirt, options: list[str]) -> None:
    """A long stop holds no lock: kill and rm -f go through at once."""
    minirt.ok("run", "-d", "--name", "one", *options, "sh", "-c", IGNORING)
    stopping = minirt.start("stop", "-t", "30", "one")
    time.sleep(0.3)
    began = time.monotonic()
    minirt.ok("rm", "-f", "one")
    assert time.monotonic() - began < 20
    stopping.wait(10)


def test_exe_14_top_of_hostile_processes(minirt: runner.Minirt, options: list[str]) -> None:
    """EXE-14: a name with ") R 1", ESC and newlines: split at the last parenthesis, nothing raw on the terminal."""
    hostile = "'/tmp/) R 1 ('"  # a script's name becomes its process's
    write = f"printf '#!/bin/sh\\nsleep 100; :\\n' > {hostile}; chmod 755 {hostile}"
    script = f"{write}; exec {hostile} \"$(printf 'a\\033[2Jb\\nc')\""
    identity = minirt.ok("run", "-d", "--name", "one", *options, "sh", "-c", script)
    runner.eventually(lambda: "sleep 100" in minirt.ok("top", "one"), 10)
    shown = minirt.ok("top", "one")
    assert "\x1b" not in shown and "\\x1b" in shown
    assert shown.splitlines()[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    pids = {line.split()[1] for line in shown.splitlines()[1:]}
    assert str(look(minirt, identity)["State"]["Pid"]) in pids
    named = minirt.ok("top", "one", "-o", "pid,comm")
    assert ") R 1 (" in named
    minirt.fails("top", "one", "--evil", code=1, says="not supported")


def test_inspect_has_dockers_shape(minirt: runner.Minirt, options: list[str], short_dir: Path) -> None:
    argv = ["--name", "one", "-e", "A=1", "-v", f"{short_dir}/new:/data:ro", "--label", "l=2", "--cap-drop", "ALL"]
    minirt.ok("run", "-d", *argv, *options, "sleep", "100")
    found = look(minirt, "one")
    assert found["Name"] == "/one" and (found["Path"], found["Args"]) == ("sleep", ["100"])
    state = found["State"]
    assert (state["Status"], state["Running"], state["ExitCode"]) == ("running", True, 0) and state["Pid"] > 0
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert "A=1" in found["Config"]["Env"] and found["Config"]["Labels"] == {"l": "2"}
    mount = found["Mounts"][0]
    assert (mount["Type"], mount["Destination"], mount["RW"]) == ("bind", "/data", False)
    assert (short_dir / "new").is_dir(), "a missing directory of the host is made"
    assert found["HostConfig"]["CapDrop"] == ["ALL"]


def test_sharing_another_containers_namespaces(minirt: runner.Minirt, options: list[str]) -> None:
    minirt.ok("run", "-d", "--name", "one", "--hostname", "first", *options, "sleep", "100")
    flags = ["--pid", "container:one", "--ipc", "container:one", "--network", "container:one", "--uts", "container:one"]
    shared = minirt.ok("run", "--rm", *flags, *options, "sh", "-c", "hostname; ps")
    assert shared.startswith("first\n") and "sleep 100" in shared
    identity = minirt.ok("create", "--name", "two", "--pid", "container:one", *options, "true")
    minirt.ok("rename", "one", "other")
    minirt.ok("start", "two")
    minirt.ok("rm", "-f", "other")
    minirt.fails("start", "two", code=1, says="No such container")
    minirt.fails("create", "--pid", "container:nobody", *options, "true", code=125, says="No such container: nobody")
    minirt.ok("rm", identity)


def test_joining_a_stopped_container_is_refused(minirt: runner.Minirt, options: list[str]) -> None:
    minirt.ok("create", "--name", "one", *options, "true")
    said = minirt.fails("run", "--pid", "container:one", *options, "true", code=125)
    assert "cannot join PID of a non running container" in said
    assert len(minirt.ok("ps", "-aq").split()) == 1, "a run that failed leaves nothing"


def test_volumes(minirt: runner.Minirt, options: list[str]) -> None:
    """Named ones stay and are shared; anonymous ones go with --rm and rm -v."""
    write = ["sh", "-c", "echo kept > /v/file; echo gone > /a/file"]
    minirt.ok("run", "--rm", "-v", "data:/v", "-v", "/a", *options, *write)
    assert minirt.ok("run", "--rm", "-v", "data:/v:ro", *options, "cat", "/v/file") == "kept"
    assert os.listdir(minirt.root / "volumes") == ["data"]
    before = os.umask(0o077)
    try:
        minirt.ok("run", "--rm", "-v", "/b", "--user", "1000", *options, "ls", "/b")
    finally:
        os.umask(before)
    minirt.ok("run", "--name", "one", "-v", "/a", *options, *["true"])
    minirt.ok("rm", "-v", "one")
    assert os.listdir(minirt.root / "volumes") == ["data"]


def test_failed_start_keeps_the_reason(minirt: runner.Minirt, options: list[str]) -> None:
    minirt.ok("create", "--name", "one", *options, "/nosuch")
    minirt.fails("start", "one", code=1, says="nosuch")
    state = look(minirt, "one")["State"]
    assert state["Status"] == "created" and "nosuch" in state["Error"] and state["ExitCode"] == 127


def test_run_that_fails_leaves_nothing(minirt: runner.Minirt, options: list[str]) -> None:
    minirt.fails("run", "--name", "one", *options, "/nosuch", code=127)
    minirt.fails("run", "--name", "one", *options, "/etc/passwd", code=126)
    minirt.fails("run", "--name", "one", "--user", "nobodyhere", *options, "true", code=125)
    assert minirt.ok("ps", "-aq") == ""


def test_privileged_on_a_host_that_lacks_a_capability(minirt: runner.Minirt, options: list[str]) -> None:
    """RUN-21: all that the host has, and a note for the rest; no failure."""
    bounding = next(
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")
    )
    script = "grep CapBnd /proc/self/status"
    assert minirt.ok("run", "--rm", "--privileged", *options, "sh", "-c", script).split()[1] == bounding


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_cra_13_foreground_run_forwards_signals(
    minirt: runner.Minirt, options: list[str], sent: signal.Signals
) -> None:
    """CRA-13: signals to a foreground run reach the workload, whose own exit code comes back."""
    name = sent.name.removeprefix("SIG")
    script = f'trap "echo got; exit 9" {name}; echo ready; while :; do sleep 0.05; done'
    child = minirt.start("run", "--rm", *options, "sh", "-c", script)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    child.send_signal(sent)
    assert child.wait(10) == 9
    assert child.stdout.read() == b"got\n"


def test_five_hundred_containers(minirt: runner.Minirt, options: list[str]) -> None:
    """ps does not look into what does not run: its time hardly grows with stopped containers."""
    import sqlite3

    minirt.ok("create", "--name", "one", *options, "true")
    database = sqlite3.connect(minirt.root / "minirt.db")
    columns = "image, image_id, command, created_ns, status, options, auto_remove, started_ns, finished_ns, exit_code"
    for number in range(500):
        identity = f"{number:064x}"
        (minirt.root / "containers" / identity).mkdir()
        database.execute(
            f"INSERT INTO containers (id, name, {columns}) SELECT ?, ?, {columns} FROM containers WHERE name = 'one'",
            (identity, f"c{number}"),
        )
    database.commit()
    database.close()
    began = time.monotonic()
    assert len(minirt.ok("ps", "-aq").split()) == 501
    assert time.monotonic() - began < 10
    for number in range(500):
        (minirt.root / "containers" / f"{number:064x}").rmdir()
    assert len(minirt.ok("ps", "-aq").split()) == 1, "rows without a directory are removed by the next command"


def test_socket_and_directories_are_private(minirt: runner.Minirt, options: list[str]) -> None:
    identity = minirt.ok("run", "-d", *options, "sleep", "100")
    for path, mode in (
        (minirt.root, 0o700), (minirt.state, 0o700), (minirt.state / identity, 0o700),
        (minirt.root / "containers" / identity, 0o700), (minirt.root / "minirt.db", 0o600),
        (minirt.state / identity / "attach", 0o600),
    ):  # fmt: skip
        assert path.stat().st_mode & 0o777 == mode, path
