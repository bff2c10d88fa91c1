# SPDX-License-Identifier: Apache-2.0
"""events: what each verb says, what the monitor says where no command is there, and who listens (docker-events(1))."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner import TIMEOUT_S, Minirt, eventually

pytestmark = pytest.mark.kernel
IMAGE = "localhost/busybox"


def told(minirt: Minirt, *options: str) -> list[dict[str, Any]]:
    """Everything that has happened by now."""
    text = minirt.ok("events", "--since", "1h", "--until", "0s", "--format", "json", *options)
    return [json.loads(line) for line in text.splitlines()]


def actions(minirt: Minirt, *options: str) -> list[str]:
    return [f"{event['Type']} {event['Action']}" for event in told(minirt, *options)]


@pytest.fixture
def listener(minirt: Minirt) -> subprocess.Popen[bytes]:
    """`minirt events`, once it listens."""
    minirt.ok("ps")
    child = minirt.start("events", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
    eventually(lambda: any("inotify" in target for target in descriptors(child.pid)))
    return child


def descriptors(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


def heard(child: subprocess.Popen[bytes], count: int) -> list[str]:
    assert child.stdout
    return [child.stdout.readline().decode().strip() for _ in range(count)]


def test_a_life(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "web", "--label", "tier=front", IMAGE, "sleep", "1000")
    minirt("exec", "web", "sh", "-c", "exit 4")
    for words in (
        ("pause",),
        ("unpause",),
        ("restart", "-t", "0"),
        ("kill",),
        ("start",),
        ("stop", "-t", "0"),
        ("rm",),
    ):
        minirt.ok(words[0], *words[1:], "web")
    assert actions(minirt) == [
        "container create", "container start",
        "container exec_create: sh -c exit 4", "container exec_start: sh -c exit 4", "container exec_die",
        "container pause", "container unpause",
        "container kill", "container die", "container stop", "container start", "container restart",
        "container kill", "container die",
        "container start", "container kill", "container die", "container stop",
        "container destroy",
    ]  # fmt: skip
    for event in told(minirt):
        about = event["Actor"]["Attributes"]
        assert (about["name"], about["image"], about["tier"]) == ("web", IMAGE, "front")
        assert re.fullmatch("[0-9a-f]{64}", event["Actor"]["ID"])
        assert (event["from"], event["scope"], event["timeNano"] // 10**9) == (IMAGE, "local", event["time"])


def test_ends_by_code_and_by_signal(minirt: Minirt) -> None:
    minirt("run", "--name", "code", IMAGE, "sh", "-c", "exit 3")
    minirt("run", "--name", "signal", IMAGE, "sh", "-c", "kill -9 $$; kill -TERM -1; exit 1")
    minirt.ok("run", "-d", "--name", "killed", IMAGE, "sleep", "1000")
    minirt.ok("kill", "killed")
    minirt("exec", "killed", "true")
    about = [event["Actor"]["Attributes"] for event in told(minirt, "--filter", "event=die")]
    assert about[0]["exitCode"] == "3" and "signal" not in about[0]
    assert (about[2]["exitCode"], about[2]["signal"], about[2]["execDuration"]) == ("137", "9", "0")
    signals = [event["Actor"]["Attributes"]["signal"] for event in told(minirt, "--filter", "event=kill")]
    assert signals == ["9"]


def test_die_is_written_without_any_command(minirt: Minirt) -> None:
    """By the monitor: the file says it before anybody looks."""
    minirt.ok("run", "-d", "--name", "short", "--rootfs", minirt.rootfs, "sleep", "0.2")
    lines = minirt.state / "events"
    eventually(lambda: '"Action":"die"' in lines.read_text())
    last = json.loads(lines.read_text().splitlines()[-1])
    assert last["Attributes"] == {"image": "", "name": "short", "execDuration": "0", "exitCode": "0"}


def test_rename_is_known_to_the_monitor(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "old", IMAGE, "sleep", "1000")
    minirt.ok("rename", "old", "new")
    minirt.ok("rm", "-f", "new")
    names = [(event["Action"], event["Actor"]["Attributes"]["name"]) for event in told(minirt)]
    assert names == [("create", "old"), ("start", "old"), ("rename", "new"), ("die", "new"), ("destroy", "new")]
    assert [event["Actor"]["Attributes"]["oldName"] for event in told(minirt, "--filter", "event=rename")] == ["/old"]


def test_a_killed_monitor_is_no_exit_code(minirt: Minirt) -> None:
    """What nobody saw has no code, and is said once."""
    minirt.ok("run", "-d", "--name", "lost", IMAGE, "sleep", "1000")
    pid = int(minirt.ok("inspect", "--format", "{{.Minirt.MonitorPid}}", "lost"))
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: minirt.ok("inspect", "--format", "{{.State.Status}}", "lost") == "exited")
    minirt.ok("stop", "lost")
    minirt.ok("rm", "lost")
    [event] = told(minirt, "--filter", "event=die")
    assert "exitCode" not in event["Actor"]["Attributes"]


def test_a_run_that_fails(minirt: Minirt) -> None:
    minirt.fails("run", "--name", "no", IMAGE, "/nonexistent", code=127)
    assert actions(minirt) == ["container create", "container destroy"]


def test_hostile_labels(minirt: Minirt) -> None:
    """Neither a line of the file nor of the output can be forged; what is too long for the monitor it leaves out."""
    forged = 'x"}}\n{"timeNano":1,"Type":"container","Action":"forged","ID":"a","Attributes":{}}\n\x1b[2J'
    minirt.ok("run", "--rm", "--label", f"evil={forged}", "--label", f"long={'y' * 20000}", IMAGE, "true")
    events = told(minirt)
    assert [event["Action"] for event in events] == ["create", "start", "die", "destroy"]
    assert [event["Actor"]["Attributes"].get("evil") for event in events] == [forged, None, None, forged]
    plain = minirt.ok("events", "--since", "1h", "--until", "0s")
    assert len(plain.splitlines()) == 4 and "\x1b" not in plain


def test_images_and_volumes(minirt: Minirt) -> None:
    minirt.ok("create", "--name", "one", "-v", "data:/data", "-v", "/anonymous", IMAGE)
    minirt.ok("commit", "one", "copy:1")
    minirt.ok("tag", "copy:1", "copy:2")
    minirt.ok("save", "-o", minirt.root.parent / "copy.tar", "copy:1")
    minirt.ok("rmi", "copy:1", "copy:2")
    minirt.ok("load", "-i", minirt.root.parent / "copy.tar")
    minirt.ok("rm", "-v", "one")
    minirt.ok("volume", "create", "other")
    minirt.ok("volume", "create", "other")
    minirt.ok("volume", "rm", "other", "data")
    assert actions(minirt, "--filter", "type=image") == [
        f"image {action}" for action in ("tag", "save", "untag", "untag", "delete", "load")
    ]
    [tagged] = told(minirt, "--filter", "event=tag")
    assert tagged["id"].startswith("sha256:") and tagged["Actor"]["Attributes"] == {"name": "copy:2"}
    volumes = [(event["Action"], event["Actor"]["ID"]) for event in told(minirt, "--filter", "type=volume")]
    anonymous = volumes[1][1]
    assert volumes == [
        ("create", "data"), ("create", anonymous), ("destroy", anonymous),
        ("create", "other"), ("destroy", "other"), ("destroy", "data"),
    ]  # fmt: skip
    [made] = told(minirt, "--filter", "event=commit")
    assert made["Actor"]["Attributes"]["imageRef"] == "copy:1"


def test_networks(networked: Minirt) -> None:
    networked.ok("network", "create", "front")
    networked.ok("network", "create", "back")
    identity = networked.ok("run", "-d", "--name", "web", "--network", "front", IMAGE, "sleep", "1000")
    networked.ok("network", "connect", "back", "web")
    networked.ok("network", "disconnect", "back", "web")
    networked.ok("rm", "-f", "web")
    networked.ok("network", "rm", "front", "back")
    events = told(networked, "--filter", "type=network")
    assert [(event["Action"], event["Actor"]["Attributes"]["name"]) for event in events] == [
        ("create", "front"), ("create", "back"), ("connect", "front"), ("connect", "back"), ("disconnect", "back"),
        ("disconnect", "front"), ("destroy", "front"), ("destroy", "back"),
    ]  # fmt: skip
    moves = [event["Actor"]["Attributes"] for event in events if "connect" in event["Action"]]
    assert {about["container"] for about in moves} == {identity}
    assert {about["type"] for about in moves} == {"bridge"}
    order = actions(networked, "--filter", "type=container", "--filter", "type=network")
    assert order.index("network connect") == order.index("container start") - 1


def test_following(minirt: Minirt, listener: subprocess.Popen[bytes]) -> None:
    """Each event comes when it happens; the file may be rotated away meanwhile."""
    minirt.ok("create", "--name", "one", IMAGE, "true")
    assert heard(listener, 1) == ["container create one"]
    minirt.ok("start", "one")
    assert heard(listener, 2) == ["container start one", "container die one"]
    os.rename(minirt.state / "events", minirt.state / "events.1")
    minirt.ok("rm", "one")
    assert heard(listener, 1) == ["container destroy one"]


def test_waiting_costs_nothing(minirt: Minirt, listener: subprocess.Popen[bytes]) -> None:
    """It sleeps in poll(2) without a timeout: no switch of context while nothing happens."""

    def switches() -> str:
        text = Path(f"/proc/{listener.pid}/status").read_text()
        return " ".join(re.findall(r"ctxt_switches:\s+(\d+)", text))

    eventually(lambda: "State:\tS" in Path(f"/proc/{listener.pid}/status").read_text())
    before = switches()
    minirt.ok("version")
    minirt.ok("ps")
    assert switches() == before


@pytest.mark.parametrize(("signo", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(listener: subprocess.Popen[bytes], signo: int, code: int) -> None:
    """Docker's exit code, and not a word."""
    listener.send_signal(signo)
    assert listener.communicate(timeout=TIMEOUT_S) == (b"", b"")
    assert listener.returncode == code


def test_a_reader_that_leaves(minirt: Minirt, listener: subprocess.Popen[bytes]) -> None:
    assert listener.stdout
    listener.stdout.close()
    minirt.ok("create", IMAGE)
    assert listener.wait(TIMEOUT_S) == 128 + signal.SIGPIPE


def test_until(minirt: Minirt) -> None:
    """A moment that is still to come is waited for; one that has been ends it at once."""
    minirt.ok("create", "--name", "one", IMAGE)
    assert "container create" in minirt.ok("events", "--until", "-300ms")
    assert minirt.ok("events", "--since", "0", "--until", "1") == ""
    assert minirt.ok("events", "--until", "0s", "--filter", "event=start") == ""


def test_system_events(minirt: Minirt) -> None:
    assert minirt.ok("system", "events", "--until", "0s") == ""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--filter", "color=red"), 1, "invalid filter 'color'"),
        (("--filter", "die"), 125, "bad format of filter"),
        (("--since", "yesterday"), 1, 'invalid time "yesterday"'),
        (("--since", "5", "--until", "4"), 1, "`since` time (5) cannot be after `until` time (4)"),
        (("--format", "{{.Type"), 1, "unclosed action"),
        (("web",), 125, "accepts no arguments"),
    ],
)
def test_bad_input(minirt: Minirt, words: tuple[str, ...], code: int, says: str) -> None:
    minirt.fails("events", *words, code=code, says=says)


def test_a_full_disk_stops_nothing(minirt: Minirt) -> None:
    """An event that cannot be written is lost, and the container runs."""
    minirt.ok("ps")
    (minirt.state / "events").symlink_to("/nonexistent/events")
    assert minirt.ok("run", "--rm", IMAGE, "echo", "runs") == "runs"
    (minirt.state / "events").unlink()
