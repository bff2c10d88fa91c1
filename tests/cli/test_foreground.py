# SPDX-License-Identifier: Apache-2.0
"""A foreground `run`: every byte of its streams, its exit code, and what signals and broken pipes do to it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from runner import Minirt, Result, eventually


def shell(minirt: Minirt, script: str, *options: str, **more: object) -> Result:
    return minirt("run", "--rm", *options, "--rootfs", minirt.rootfs, "sh", "-c", script, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 125", 125),
        ("exit 255", 255),
        ("kill -9 $$; kill -15 $$; exit 3", 3),  # pid 1 is deaf to signals that it does not handle
        ("nosuch", 127),
        ("sh -c 'kill -11 $$'; exit $?", 139),
    ],
)
def test_exit_code_is_the_workloads(minirt: Minirt, script: str, code: int) -> None:
    assert shell(minirt, script).code == code


def test_streams_are_kept_apart(minirt: Minirt) -> None:
    result = shell(minirt, "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_every_byte_arrives(minirt: Minirt) -> None:
    """5 MB of both streams, ended in the middle of a line."""
    result = shell(minirt, "dd if=/dev/zero bs=65536 count=80 2>/dev/null | tr '\\0' 'x'; printf end")
    assert len(result.raw_stdout) == 80 * 65536 + 3
    assert result.raw_stdout.endswith(b"xend")


def test_input_reaches_it_only_with_i(minirt: Minirt) -> None:
    data = os.urandom(1 << 20)
    assert shell(minirt, "cat", "-i", input=data).raw_stdout == data
    assert shell(minirt, "cat; echo end", input=b"never read").stdout == "end\n"


def test_end_of_input_is_passed_on(minirt: Minirt) -> None:
    assert shell(minirt, "wc -c", "-i", input=b"").stdout.split() == ["0"]


def test_input_that_nobody_reads_stops_nothing(minirt: Minirt) -> None:
    """4 MB wait for a reader that never comes; what the container prints arrives all the same."""
    result = shell(minirt, "seq 1000; exit 4", "-i", input=b"x" * (4 << 20))
    assert (result.code, len(result.lines)) == (4, 1000)


def test_attach_chooses_streams(minirt: Minirt) -> None:
    result = shell(minirt, "echo out; echo err >&2", "-a", "stderr")
    assert (result.stdout, result.stderr) == ("", "err\n")


def started(minirt: Minirt, script: str, *options: str) -> subprocess.Popen[bytes]:
    child = minirt.start("run", "--rm", *options, "--rootfs", minirt.rootfs, "sh", "-c", script)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM"])
def test_signals_go_to_the_workload(minirt: Minirt, name: str) -> None:
    """CRA-13: a foreground run forwards; the exit code is what the workload makes of it."""
    child = started(minirt, f"trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done")
    child.send_signal(getattr(signal, f"SIG{name}"))
    output, errors = child.communicate(timeout=20)
    assert (child.returncode, output.decode(), errors) == (7, f"got {name}\n", b"")


def test_signals_without_proxy_end_the_command(minirt: Minirt) -> None:
    child = started(minirt, "echo ready; sleep 1000", "--sig-proxy=false", "--name", "stays")
    child.send_signal(signal.SIGTERM)
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 143
    assert errors.decode().count("\n") == 1
    assert minirt.ok("ps", "-q", "--filter", "name=stays")


def test_a_reader_that_leaves_ends_a_yes(minirt: Minirt) -> None:
    """`minirt run … yes | head -1`: the workload dies of SIGPIPE, as it would without a container."""
    child = minirt.start("run", "--rm", "--rootfs", minirt.rootfs, "yes")
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline() == b"y\n"
    child.stdout.close()
    assert child.wait(20) == 128 + signal.SIGPIPE
    assert child.stderr.read() == b""
    assert eventually(lambda: minirt.ok("ps", "-aq") == "")


def test_full_disk_is_said_once(minirt: Minirt) -> None:
    """RUN-23: standard output on /dev/full; the container ends by itself."""
    with open("/dev/full", "wb") as full:
        result = shell(minirt, "seq 100000; exit 0", stdout=full)
    assert result.code == 125
    assert result.stderr == "minirt: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(minirt: Minirt, closed: str) -> None:
    """RUN-23: no descriptor of ours lands on 0 to 2, and the container has its own."""
    from runner import program

    script = "for fd in 0 1 2; do readlink /proc/1/fd/$fd; done >/tmp/fds; exit 5"
    words = [*program(), "run", "--rootfs", str(minirt.rootfs), "sh", "-c", script]
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words],
        env=minirt.environment,
        capture_output=True,
        timeout=60,
    )
    minirt.look()
    assert done.returncode == 5, done.stderr
    inside = (minirt.rootfs / "tmp/fds").read_text().split()
    assert inside[0] == "/dev/null"
    assert inside[2].startswith("pipe:")


def test_standard_input_is_a_directory(minirt: Minirt) -> None:
    folder = os.open("/", os.O_RDONLY)
    try:
        result = shell(minirt, "cat; exit 6", "-i", stdin=folder)
        assert result.code == 6
        assert result.stderr.startswith("minirt: cannot read standard input: ")
    finally:
        os.close(folder)


def test_the_command_ends_with_the_container(minirt: Minirt) -> None:
    began = time.monotonic()
    assert shell(minirt, "true").code == 0
    assert time.monotonic() - began < 20


def test_detached_run_prints_the_id(minirt: Minirt) -> None:
    identity = minirt.ok("run", "-d", "--name", "web", "--rootfs", minirt.rootfs, "sleep", "1000")
    assert len(identity) == 64
    assert minirt.ok("ps", "-q", "--no-trunc") == identity
    assert minirt.ok("stop", "-t", "0", "web") == "web"
    assert minirt.ok("rm", "web") == "web"


def test_start_attached(minirt: Minirt) -> None:
    minirt.ok("create", "--name", "again", "-i", "--rootfs", minirt.rootfs, "sh", "-c", "cat; exit 9")
    for _ in range(2):
        result = minirt("start", "-ai", "again", input=b"hello")
        assert (result.code, result.stdout) == (9, "hello")


def test_attach_follows_to_the_end(minirt: Minirt) -> None:
    minirt.ok(
        "run",
        "-d",
        "--name",
        "att",
        "--rootfs",
        minirt.rootfs,
        "sh",
        "-c",
        "sleep 0.7; echo late; exit 8",
    )
    result = minirt("attach", "att")
    assert (result.code, result.stdout) == (8, "late\n")


def test_exec(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "box", "--rootfs", minirt.rootfs, "sleep", "1000")
    result = minirt(
        "exec",
        "-i",
        "-e",
        "A=b",
        "-w",
        "/tmp",
        "box",
        "sh",
        "-c",
        "cat; echo $A; pwd; exit 3",
        input="x\n",
    )
    assert (result.code, result.stdout) == (3, "x\nb\n/tmp\n")
    minirt.fails("exec", "box", "/nosuch", code=127)
    minirt.fails("exec", "box", "/etc/passwd", code=126)
    assert minirt.ok("exec", "-d", "box", "sh", "-c", "echo > /tmp/done") == ""
    assert eventually((minirt.rootfs / "tmp/done").exists)
