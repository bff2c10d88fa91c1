# SPDX-License-Identifier: Apache-2.0
"""ps, inspect, top, logs as people and scripts use them: columns, filters, formats, and hostile text."""

from __future__ import annotations

import json
import time

import pytest

from runner import Minirt, eventually


@pytest.fixture
def three(minirt: Minirt) -> Minirt:
    """web runs, job has ended with 3, cold was never started."""
    minirt.ok(
        "run",
        "-d",
        "--name",
        "web",
        "--label",
        "tier=front",
        "--rootfs",
        minirt.rootfs,
        "sleep",
        "1000",
    )
    minirt(
        "run",
        "--name",
        "job",
        "--label",
        "tier=back",
        "--rootfs",
        minirt.rootfs,
        "sh",
        "-c",
        "exit 3",
    )
    minirt.ok(
        "create",
        "--name",
        "cold",
        "--rootfs",
        minirt.rootfs,
        "sh",
        "-c",
        "echo 'a long command line'",
    )
    return minirt


def test_columns(three: Minirt) -> None:
    lines = three.ok("ps", "-a").splitlines()
    assert " ".join(lines[0].split()) == "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES"
    places = [lines[0].index(word) for word in ("IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")]
    rows = {line[places[5] :]: line for line in lines[1:]}
    assert list(rows) == ["cold", "job", "web"]
    assert rows["cold"][places[1] : places[2]].rstrip() == '"sh -c echo \'a long …"'
    assert rows["cold"][places[3] : places[4]].rstrip() == "Created"
    assert rows["job"][places[3] : places[4]].startswith("Exited (3) ")
    assert rows["web"][places[3] : places[4]].startswith("Up ")
    assert len(rows["web"].split()[0]) == 12


def test_what_is_listed(three: Minirt) -> None:
    def names(*options: str) -> str:
        return " ".join(three.ok("ps", "--format", "{{.Names}}", *options).split())

    assert names() == "web"
    assert names("-a") == "cold job web"
    assert names("-l") == "cold"
    assert names("-n", "2") == "cold job"
    assert names("-a", "--filter", "name=o") == "cold job"
    assert names("-a", "--filter", "name=^w") == "web"
    assert names("--filter", "status=exited") == "job"
    assert names("--filter", "status=exited", "--filter", "status=created") == "cold job"
    assert names("--filter", "exited=3") == "job"
    assert names("--filter", "exited=0") == ""
    assert names("-a", "--filter", "label=tier") == "job web"
    assert names("-a", "--filter", "label=tier=front") == "web"
    assert names("-a", "--filter", "before=job") == "web"
    assert names("-a", "--filter", "since=web") == "cold job"
    identity = three.ok("ps", "-q")
    assert names("-a", "--filter", f"id={identity[:5]}") == "web"


def test_quiet_is_for_scripts(three: Minirt) -> None:
    """docker rm -f $(docker ps -aq --filter name=…)"""
    found = three.ok("ps", "-aq", "--filter", "name=web").split()
    assert [len(identity) for identity in found] == [12]
    assert three.ok("rm", "-f", *found) == found[0]
    assert three.ok("ps", "-q") == ""
    assert len(three.ok("ps", "-aq", "--no-trunc").splitlines()[0]) == 64


def test_formats(three: Minirt) -> None:
    assert three.ok("ps", "--format", "table {{.Names}}\\t{{.State}}").splitlines() == [
        "NAMES     STATE",
        "web       running",
    ]
    row = json.loads(three.ok("ps", "--format", "json"))
    assert (row["Names"], row["State"], row["Labels"], row["Image"]) == (
        "web",
        "running",
        "tier=front",
        "<rootfs>",
    )
    assert json.loads(three.ok("ps", "--format", "{{json .}}")) == row
    assert three.ok("ps", "--format", '{{.ID}}: {{.Label "tier"}}').endswith(": front")
    assert three.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "job", "web") == "exited 3\nrunning 0"
    assert json.loads(three.ok("inspect", "web"))[0]["Name"] == "/web"
    assert (
        three.ok("container", "inspect", "--format", "{{.Config.Cmd}}", "cold") == "[sh -c echo 'a long command line']"
    )


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (("ps", "--filter", "colour=red"), 1, "invalid filter 'colour'"),
        (("ps", "--filter", "status=up"), 1, "invalid filter 'status=up'"),
        (("ps", "--filter", "name=["), 1, "invalid filter 'name=["),
        (("ps", "--filter", "name"), 125, "bad format of filter (expected name=value)"),
        (("ps", "--format", "{{.Nope}}"), 1, "no entry for key 'Nope'"),
        (("ps", "--format", "{{.Names"), 1, "unclosed action"),
        (("inspect", "nosuch"), 1, "No such object: nosuch"),
        (("inspect", "--type", "volume", "x"), 1, '"volume" is not a valid value for --type'),
        (("container", "inspect", "nosuch"), 1, "No such container: nosuch"),
    ],
)
def test_refused(three: Minirt, argv: tuple[str, ...], code: int, says: str) -> None:
    three.fails(*argv, code=code, says=says)


def test_inspect_prints_what_it_found(three: Minirt) -> None:
    result = three("inspect", "web", "nosuch")
    assert result.code == 1
    assert [one["Name"] for one in json.loads(result.stdout)] == ["/web"]
    assert result.stderr.startswith("minirt: No such object: nosuch\n")


def test_paused_is_said(three: Minirt) -> None:
    assert three.ok("pause", "web") == "web"
    assert three.ok("ps", "--format", "{{.Status}}").endswith("(Paused)")
    assert three.ok("unpause", "web") == "web"


def test_hostile_words_are_shown_harmless(minirt: Minirt) -> None:
    """IMG-29, EXE-14: escape sequences in a command line, a label and a process name."""
    evil = "\x1b]0;owned\x07\n\x9b2J"
    minirt.ok("run", "-d", "--name", "evil", "--label", f"x={evil}", "--rootfs", minirt.rootfs, "sh", "-c",
              f": '{evil}'; sleep 1000")  # fmt: skip
    for argv in (("ps", "--no-trunc"), ("ps",), ("top", "evil")):
        shown = minirt.ok(*argv)
        assert "\x1b" not in shown and "\x07" not in shown and "\x9b" not in shown
        assert len(shown.splitlines()) <= 3
    assert "\\x1b]0;owned" in minirt.ok("ps", "--no-trunc")
    json.loads(minirt.ok("inspect", "evil"))


def test_top(three: Minirt) -> None:
    lines = three.ok("top", "web").splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert lines[1].endswith("sleep 1000")
    assert three.ok("top", "web", "-o", "pid,comm").splitlines()[0].split() == ["PID", "COMMAND"]
    three.fails("top", "job", code=1, says="is not running")


def test_logs(minirt: Minirt) -> None:
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf tail"
    minirt("run", "--name", "talk", "--rootfs", minirt.rootfs, "sh", "-c", script)
    result = minirt("logs", "talk")
    assert result.stdout == "out 1\nout 2\nout 3\ntail"
    assert result.stderr == "err 1\nerr 2\nerr 3\n"
    minirt("run", "--name", "count", "--rootfs", minirt.rootfs, "seq", "10")
    assert minirt("logs", "--tail", "3", "count").stdout == "8\n9\n10\n"
    assert minirt("logs", "-n0", "count").stdout == ""
    stamped = minirt("logs", "-t", "talk").lines[0]
    assert stamped.endswith("Z out 1") and stamped[4] == "-"
    assert minirt("logs", "--since", "1h", "talk").stdout == result.stdout
    assert minirt("logs", "--until", "1h", "talk").stdout == ""
    minirt.fails("logs", "--since", "yesterday", "talk", code=1, says='invalid time "yesterday"')
    minirt.fails("logs", "--tail", "x", "talk", code=1, says='invalid number of lines: "x"')


def test_logs_follow_ends_with_the_container(minirt: Minirt) -> None:
    minirt.ok(
        "run",
        "-d",
        "--name",
        "ff",
        "--rootfs",
        minirt.rootfs,
        "sh",
        "-c",
        "echo a; sleep 0.6; echo b",
    )
    began = time.monotonic()
    assert minirt("logs", "-f", "ff").stdout == "a\nb\n"
    assert time.monotonic() - began < 10


def test_wait_and_codes(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "ww", "--rootfs", minirt.rootfs, "sh", "-c", "sleep 0.4; exit 12")
    assert minirt.ok("wait", "ww") == "12"
    assert minirt.ok("wait", "ww") == "12"
    assert eventually(lambda: minirt.ok("inspect", "-f", "{{.State.ExitCode}}", "ww") == "12")


def test_several_at_once(three: Minirt) -> None:
    """What works is done and named, what fails is said, and the exit code is 1."""
    result = three("rm", "-f", "job", "nosuch", "cold")
    assert (result.code, result.lines) == (0, ["job", "cold"])  # -f: not being there is no failure
    result = three("stop", "-t", "0", "nosuch", "web")
    assert (result.code, result.lines) == (1, ["web"])
    assert result.stderr.startswith("minirt: No such container: nosuch\n")
