# SPDX-License-Identifier: Apache-2.0
"""Bad input: one line on stderr with what is wrong, its remedy on the next, Docker's exit code, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner import Minirt, program

CASES = [
    (("nosuch",), 1, "unknown command: minirt nosuch"),
    (("--nosuch",), 125, "unknown flag: --nosuch"),
    (("run",), 1, "'minirt run' requires at least 1 argument"),
    (("run", "--nosuch", "x"), 125, "unknown flag: --nosuch"),
    (("run", "-itz", "x"), 125, "unknown shorthand flag: 'z' in -z"),
    (("run", "--name"), 125, "flag needs an argument: --name"),
    (("run", "--rm=perhaps", "x"), 125, 'invalid argument "perhaps" for "--rm" flag'),
    (("run", "--rm", "--pull=never", "nosuch/image", "true"), 125, "nosuch/image"),
    (("run", "--rm", "UPPER", "true"), 125, "UPPER"),
    (("run", "-p", "x:80", "localhost/busybox"), 125, "invalid hostPort: x"),
    (("run", "--oom-kill-disable", "localhost/busybox"), 125, "--oom-kill-disable is not supported yet"),
    (("create", "--pull", "never", "nosuch"), 125, "nosuch"),
    (("start", "nosuch"), 1, "No such container: nosuch"),
    (("stop", "nosuch"), 1, "No such container: nosuch"),
    (("kill", "nosuch"), 1, "No such container: nosuch"),
    (("rm", "nosuch"), 1, "No such container: nosuch"),
    (("logs", "nosuch"), 1, "No such container: nosuch"),
    (("exec", "nosuch", "true"), 1, "No such container: nosuch"),
    (("attach", "nosuch"), 1, "No such container: nosuch"),
    (("wait", "nosuch"), 1, "No such container: nosuch"),
    (("rename", "nosuch", "bb"), 1, "No such container: nosuch"),
    (("pause", "nosuch"), 1, "No such container: nosuch"),
    (("top", "nosuch"), 1, "No such container: nosuch"),
    (("exec", "x"), 1, "'minirt exec' requires at least 2 arguments"),
    (("rename", "x"), 1, "'minirt rename' requires 2 arguments"),
    (("kill", "-s", "FOO", "x"), 1, "FOO"),
    (("stop", "-t", "soon", "x"), 125, 'invalid argument "soon" for "-t, --timeout" flag'),
    (("load", "-i", "/nonexistent"), 1, "/nonexistent"),
    (("load", "-i", "/etc/passwd"), 1, "the archive is empty, or not an archive"),
    (("run", "--rootfs", ":O", "true"), 125, 'no directory in --rootfs ":O"'),
    (("plan", "--bundle", "/nonexistent"), 125, "/nonexistent"),
]


@pytest.mark.parametrize(("argv", "code", "says"), CASES, ids=[" ".join(case[0])[:40] for case in CASES])
def test_bad_input(minirt: Minirt, argv: tuple[str, ...], code: int, says: str) -> None:
    errors = minirt.fails(*argv, code=code, says=says)
    lines = errors.splitlines()
    assert lines[0].startswith("minirt: ")
    assert len(lines) <= 2, errors
    if (minirt.root / "minirt.db").exists():
        assert minirt.ok("ps", "-aq") == ""
    assert not (minirt.root / "containers").exists() or not os.listdir(minirt.root / "containers")


def test_lost_directory(minirt: Minirt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost").mkdir()
    monkeypatch.chdir(tmp_path / "lost")
    (tmp_path / "lost").rmdir()
    minirt.fails("run", "-v", "./x:/x", "localhost/busybox", code=125, says="the current directory does not exist")


ROOTFS_CASES: list[tuple[tuple[str, ...], tuple[str, ...], int, str]] = [
    ((), ("nosuch",), 127, "nosuch"),
    ((), ("/etc/passwd",), 126, "/etc/passwd"),
    ((), ("/etc",), 126, "/etc"),
    (("--name", "-bad"), ("true",), 125, "-bad"),
    (("-v", "rel:ative:x:y"), ("true",), 125, "rel"),
    (("-w", "relative"), ("true",), 125, "relative"),
    (("-u", "nobody-such"), ("true",), 125, "nobody-such"),
    (("--oom-score-adj", "1001"), ("true",), 125, "range for oom score adj"),
    (("--cap-add", "FLY"), ("true",), 125, "FLY"),
    (("--security-opt", "seccomp=/nonexistent"), ("true",), 125, "/nonexistent"),
    (("--env-file", "/nonexistent"), ("true",), 125, "/nonexistent"),
    (("--ulimit", "wings=2"), ("true",), 125, "wings"),
    (("--network", "nosuch"), ("true",), 125, "nosuch"),
    (("--detach-keys", "zzz"), ("true",), 125, "zzz"),
    (("-d", "-a", "stdout"), ("true",), 125, "conflicting options"),
    (("--stop-signal", "NOISE"), ("true",), 125, "NOISE"),
]


@pytest.mark.parametrize(
    ("options", "words", "code", "says"),
    ROOTFS_CASES,
    ids=[" ".join(case[0] + case[1]) for case in ROOTFS_CASES],
)
def test_bad_run(minirt: Minirt, options: tuple[str, ...], words: tuple[str, ...], code: int, says: str) -> None:
    errors = minirt.fails("run", *options, "--rootfs", minirt.rootfs, *words, code=code, says=says)
    assert errors.startswith("minirt: ") and len(errors.splitlines()) <= 2, errors
    assert minirt.ok("ps", "-aq") == ""
    assert not os.listdir(minirt.root / "containers")


@pytest.mark.parametrize(("directory", "code"), [("/nosuch", 127), ("/etc/passwd/x", 127), ("/a" * 2000, 127)])
def test_exec_in_a_directory_that_is_not_there(minirt: Minirt, directory: str, code: int) -> None:
    minirt.ok("run", "-d", "--name", "box", "localhost/busybox", "sleep", "100")
    minirt.fails("exec", "-w", directory, "box", "true", code=code, says="working directory")
    assert minirt.ok("exec", "-w", "/etc", "box", "pwd") == "/etc", "the control"


def test_taken_name(minirt: Minirt) -> None:
    minirt.ok("create", "--name", "one", "--rootfs", minirt.rootfs, "true")
    minirt.fails(
        "run",
        "--name",
        "one",
        "--rootfs",
        minirt.rootfs,
        "true",
        code=125,
        says="is already in use",
    )
    assert len(minirt.ok("ps", "-aq").split()) == 1


def test_cidfile_is_never_overwritten(minirt: Minirt) -> None:
    path = minirt.root.parent / "cid"
    identity = minirt.ok("create", "--cidfile", path, "--rootfs", minirt.rootfs, "true")
    assert path.read_text() == identity
    minirt.fails(
        "create",
        "--cidfile",
        path,
        "--rootfs",
        minirt.rootfs,
        "true",
        code=125,
        says="container ID file found",
    )


def test_places_that_cannot_be_written(minirt: Minirt) -> None:
    minirt.fails("--root", "/proc/nosuch", "ps", code=1, says='cannot create "/proc/nosuch"')
    minirt.fails("--root", "/etc/passwd/x", "run", "localhost/busybox", code=125, says="/etc/passwd/x")


def test_not_root(minirt: Minirt) -> None:
    """Every verb says so in one line; plan, version and help work all the same."""

    # the one capability is for an interpreter that lies below /root
    become = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all,+dac_read_search"
    words = [*become.split(), "--ambient-caps", "+dac_read_search", *program()]

    def nobody(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *argv], env=minirt.environment, capture_output=True, text=True, timeout=60)

    for argv, code in ((["ps"], 1), (["run", "localhost/busybox"], 125), (["load"], 1), (["exec", "x", "true"], 1)):
        result = nobody(*argv)
        assert result.stderr.startswith("minirt: minirt must be run as root\n"), result
        assert (result.returncode, len(result.stderr.splitlines())) == (code, 2)
    planned = nobody("plan", "localhost/busybox")
    assert planned.returncode == 0 and "MOUNT_ATTR_NOSUID" in planned.stdout
    assert nobody("version").returncode == nobody("--help").returncode == 0
    assert nobody("doctor").returncode == 1


def test_traceback_only_on_request(minirt: Minirt) -> None:
    assert "Traceback" in minirt("--debug", "start", "nosuch").stderr


def test_control_bytes_in_what_is_quoted(minirt: Minirt) -> None:
    errors = minirt("start", "\x1b]0;x\x07\nsecond").stderr
    assert "\x1b" not in errors and errors.startswith("minirt: ")
    assert len(errors.splitlines()) <= 2


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_interrupted(minirt: Minirt, name: str) -> None:
    """CRA-13: 128 + the signal, one line, no traceback."""
    minirt.ok("run", "-d", "--name", "long", "--rootfs", minirt.rootfs, "sleep", "1000")
    for argv in (["wait", "long"], ["logs", "-f", "long"]):
        child = minirt.start(*argv)
        time.sleep(0.7)
        child.send_signal(getattr(signal, f"SIG{name}"))
        _, errors = child.communicate(timeout=20)
        assert child.returncode == 128 + getattr(signal, f"SIG{name}")
        assert errors.decode() == f"minirt: interrupted by SIG{name}\n"
    assert minirt.ok("ps", "--format", "{{.Names}}") == "long"


def test_nohup_is_respected(minirt: Minirt) -> None:
    """A signal that the caller ignores is not taken: `nohup minirt wait long`."""
    minirt.ok("run", "-d", "--name", "long", "--rootfs", minirt.rootfs, "sleep", "1")
    script = 'trap "" HUP; exec "$@"'
    child = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", *program(), "wait", "long"],
        env=minirt.environment,
        stdout=subprocess.PIPE,
    )
    time.sleep(0.4)
    child.send_signal(signal.SIGHUP)
    assert child.communicate(timeout=20)[0] == b"0\n"


@pytest.mark.parametrize("argv", [("version",), ("--help",), ("run", "--help"), ("container", "ls", "--help")])
def test_help_into_a_closed_pipe(minirt: Minirt, argv: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = minirt(*argv, stdout=writer)
    os.close(writer)
    assert (result.code, result.stderr) == (128 + signal.SIGPIPE, "")
