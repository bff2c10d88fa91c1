# SPDX-License-Identifier: Apache-2.0
"""Standard streams and the caller's terminal (ioctl_tty(2) TIOCSTI, chown(2), pipe(2)): what the caller hands over is
neither the container's to change nor missing without a word.
"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

import runner

FACTS = ["/bin/probe", "facts"]


def drain(terminal: int, seconds: float = 0.5) -> str:
    """What has been written to the other side of this terminal and is not read yet."""
    found = b""
    while select.select([terminal], [], [], seconds)[0]:
        try:
            block = os.read(terminal, 65536)
        except OSError:  # nobody has the other side any more
            break
        if not block:
            break
        found += block
    return found.decode(errors="replace")


def test_run_12_nothing_is_typed_into_the_callers_terminal(minirt: runner.Minirt, attacker: Path) -> None:
    """RUN-12 (CVE-2017-5226): started from a terminal, without -t and with -i: no descriptor is that terminal, and
    TIOCSTI and TIOCLINUX fail on all of them; the same for exec and with -d."""
    ours, theirs = pty.openpty()
    try:
        line = ["setsid", "--ctty", "--wait", str(attacker), "inject"]
        control = subprocess.run(line, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True)
        assert "TIOCSTI 0 0" in control.stdout and "!" in drain(ours), "the control: on the terminal itself it works"
    finally:
        os.close(ours)
        os.close(theirs)
    name = minirt.ok("run", "-d", "--rootfs", minirt.rootfs, "sleep", "1000")
    for words in (
        ["run", "--rm", "--rootfs", minirt.rootfs],
        ["run", "--rm", "-i", "--rootfs", minirt.rootfs],
        ["run", "--rm", "--privileged", "-i", "--rootfs", minirt.rootfs],
        ["exec", name],
        ["exec", "-i", name],
    ):
        child, terminal = minirt.terminal(*words, "/bin/attacker", "inject")
        output = drain(terminal, 2.0)
        child.wait(20)
        os.close(terminal)
        answers = [line.split() for line in output.splitlines() if line.startswith("TIOC")]
        assert len(answers) == 8 and not [row for row in answers if row[2] == "0"], (words, output)
        assert "!" not in output, (words, output)


def closed(minirt: runner.Minirt, redirections: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """minirt *words by a shell that has closed some of its streams."""
    line = ["sh", "-c", f'exec "$@" {redirections}', "sh", *runner.program(), *words]
    done = subprocess.run(line, env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    minirt.look()
    return done


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("flag", ["-i", "--init"])
def test_run_23_closed_streams(minirt: runner.Minirt, short_dir: Path, redirections: str, flag: str) -> None:
    """RUN-23: a caller without some of 0, 1 and 2: none of the runtime's own descriptors lands there, and the container
    has three streams all the same."""
    (short_dir / "out").mkdir()
    script = "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done > /out/links; ls /proc/$$/fd > /out/fds; exit 7"
    words = ["run", "--rm", flag, "-v", f"{short_dir}/out:/out", "--rootfs", str(minirt.rootfs), "sh", "-c", script]
    done = closed(minirt, redirections, *words)
    assert b"Traceback" not in done.stderr and done.returncode in (7, 125), done
    if done.returncode == 125:
        assert done.stderr or "2>&-" in redirections
        return
    assert (short_dir / "out/fds").read_text().split() in (["0", "1", "10", "2"], ["0", "1", "2"]), (
        "10 is the shell's own"
    )
    links = (short_dir / "out/links").read_text().split()
    assert links[0] == "/dev/null" or links[0].startswith("pipe:"), links
    assert links[2].startswith("pipe:"), links


def test_run_23_odd_streams(minirt: runner.Minirt, short_dir: Path) -> None:
    """RUN-23: standard output is full, standard input is a directory, output nobody reads: an end with a word."""
    words = ["run", "--rm", "--rootfs", str(minirt.rootfs)]
    with open("/dev/full", "wb") as full:
        child = minirt.start(*words, "/bin/probe", "print", "100000", stdout=full)
        _, said = child.communicate(timeout=30)
    assert b"Traceback" not in said and (said or child.returncode), (child.returncode, said)
    directory = os.open(short_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for flags in ([], ["-i"]):
            child = minirt.start(*words[:2], *flags, *words[2:], *FACTS, stdin=directory)
            out, said = child.communicate(timeout=30)
            assert b"Traceback" not in said and (child.returncode == 0 or b"directory" in said), said
            assert child.returncode or str(short_dir) not in json.loads(out)["fds"]["0"]["link"]
    finally:
        os.close(directory)
    reading, writing = os.pipe()
    os.close(reading)
    child = minirt.start(*words, "/bin/probe", "print", "1000000", stdout=writing)
    os.close(writing)
    _, said = child.communicate(timeout=30)
    assert b"Traceback" not in said


@pytest.mark.parametrize("flags", [[], ["-i"], ["-t"], ["-i", "--init"], ["--privileged"]], ids=" ".join)
def test_run_24_files_of_the_host_keep_their_owner(minirt: runner.Minirt, short_dir: Path, flags: list[str]) -> None:
    """RUN-24: as a user, with the host's /dev/null and files of the host as streams: those belong to whom they belonged
    (the host's /dev/null is looked at after every test); the container's own streams belong to its user."""
    file = short_dir / "output"
    file.write_text("")
    null = os.stat("/dev/null")
    name = minirt.ok("run", "-d", "-u", "1000:1000", "--rootfs", minirt.rootfs, "sleep", "1000")
    before = os.stat(file)
    script = "chmod 777 /proc/self/fd/0 /proc/self/fd/1; chown 1000 /proc/self/fd/0; exec probe facts"
    for user in ("1000:1000", "0:0"):
        for words in (["run", "--rm", "-u", user, *flags, "--rootfs", str(minirt.rootfs)], ["exec", "-u", user, name]):
            with open(file, "w+b") as stream:
                child = minirt.start(*words, "sh", "-c", f"({script}) 2>&1", stdout=stream, stderr=stream)
                assert child.wait(30) == 0, (words, file.read_text())
            after = os.stat(file)
            assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode), words
            now = os.stat("/dev/null")
            assert (now.st_uid, now.st_gid, now.st_mode) == (null.st_uid, null.st_gid, null.st_mode), words
            text = file.read_text()
            facts = json.loads(text[text.index("{") :])
            assert facts["fds"]["1"]["uid"] in (int(user.split(":")[0]), 1000), "the control: its own it may change"
            assert all(str(file) not in about["link"] for about in facts["fds"].values())
