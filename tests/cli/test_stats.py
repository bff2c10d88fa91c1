# SPDX-License-Identifier: Apache-2.0
"""`stats` as Docker's users know it: one table or a live one, which containers, formats, what ends it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Minirt

HEADINGS = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
DOCKERS = {"BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"}
BUSY = "while :; do :; done"


@pytest.fixture
def two(minirt: Minirt) -> Minirt:
    """busy and idle run, off does not."""
    minirt.ok("run", "-d", "--name", "busy", "--rootfs", minirt.rootfs, "sh", "-c", BUSY)
    minirt.ok("run", "-d", "--name", "idle", "--rootfs", minirt.rootfs, "sleep", "1000")
    minirt.ok("create", "--name", "off", "--rootfs", minirt.rootfs, "sleep", "1000")
    return minirt


def test_table(two: Minirt) -> None:
    heading, *rows = two.ok("stats", "--no-stream").splitlines()
    assert [title for title in HEADINGS if title in heading] == HEADINGS
    assert all(f"{what} SOME / FULL" in heading for what in ("CPU", "MEM", "I/O"))
    assert sorted(row.split()[1] for row in rows) == ["busy", "idle"]


def shown(minirt: Minirt, *argv: str) -> dict[str, dict[str, str]]:
    lines = minirt.ok("stats", "--no-stream", "--format", "json", *argv).splitlines()
    return {found["Name"]: found for found in map(json.loads, lines)}


def test_json(two: Minirt) -> None:
    found = shown(two)
    assert set(found) == {"busy", "idle"}
    assert set(found["busy"]) >= DOCKERS | {"CPUPressure", "MemPressure", "IOPressure"}
    assert float(found["busy"]["CPUPerc"].rstrip("%")) > float(found["idle"]["CPUPerc"].rstrip("%"))
    assert found["idle"]["PIDs"] == "1"
    assert found["idle"]["NetIO"] == "0B / 0B"  # it has no network but lo
    assert found["idle"]["CPUPressure"] == "--" or found["idle"]["CPUPressure"].count("%") == 2


def test_all_shows_what_does_not_run_as_unknown(two: Minirt) -> None:
    found = shown(two, "--all")
    assert set(found) == {"busy", "idle", "off"}
    assert found["off"]["MemUsage"] == "-- / --"
    assert {found["off"][name] for name in ("CPUPerc", "MemPerc", "NetIO", "BlockIO", "PIDs")} == {"--"}


def test_named_ones_alone_in_the_order_of_their_names(two: Minirt) -> None:
    text = "{{.Container}} {{.Name}} {{.ID}}"
    lines = two.ok("stats", "--no-stream", "--no-trunc", "--format", text, "idle", "off").splitlines()
    identity = two.ok("inspect", "--format", "{{.Id}}", "idle")
    assert lines[0] == f"idle idle {identity}"
    assert lines[1].startswith("off off ")


def test_table_template(two: Minirt) -> None:
    lines = two.ok("stats", "--no-stream", "--format", "table {{.Name}}\t{{.PIDs}}", "idle").splitlines()
    assert [line.split() for line in lines] == [["NAME", "PIDS"], ["idle", "1"]]


def test_tasks_below_count_too(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "many", "--rootfs", minirt.rootfs, "sh", "-c", "sleep 1000 & sleep 1000 & wait")
    assert shown(minirt)["many"]["PIDs"] == "3"


def test_a_host_network_is_not_the_containers_traffic(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "open", "--network", "host", "--rootfs", minirt.rootfs, "sleep", "1000")
    assert shown(minirt)["open"]["NetIO"] == "--"


def test_traffic(networked: Minirt) -> None:
    """Both ways, also through somebody else's network."""
    networked.ok("run", "-d", "--name", "web", "localhost/busybox", "sleep", "1000")
    networked.ok("run", "-d", "--name", "guest", "--network", "container:web", "localhost/busybox", "sleep", "1000")
    networked("exec", "web", "wget", "-q", "-T", "2", "http://172.17.0.1:1/")  # a segment, and its refusal
    found = shown(networked)
    assert "0B" not in found["web"]["NetIO"].split(" / ")
    assert found["guest"]["NetIO"] == found["web"]["NetIO"]


def test_paused_one_uses_nothing(two: Minirt) -> None:
    two.ok("pause", "busy")
    assert shown(two)["busy"]["CPUPerc"] == "0.00%"
    two.ok("unpause", "busy")


def test_what_this_host_does_not_count_is_said(two: Minirt) -> None:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    counted = controllers.exists() and "memory" in controllers.read_text().split()
    result = two("stats", "--no-stream")
    assert ("not counted on this host: memory" in result.stderr) != counted
    assert (shown(two)["idle"]["MemUsage"] == "-- / --") != counted
    assert two("stats", "--no-stream", "--format", "json").stderr == ""


def test_no_container_at_all(minirt: Minirt) -> None:
    assert len(minirt.ok("stats", "--no-stream").splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (("nosuch",), 1, "No such container: nosuch"),
        (("idle", "nosuch"), 1, "No such container: nosuch"),
        (("../idle",), 1, "No such container"),
        (("--format", "{{.Nosuch}}"), 1, "Nosuch"),
        (("--format", "{{"), 1, "template"),
        (("--interval", "1"), 125, "unknown flag: --interval"),
    ],
)
def test_bad_input(two: Minirt, argv: tuple[str, ...], code: int, says: str) -> None:
    two.fails("stats", "--no-stream", *argv, code=code, says=says)


def read_until(child: subprocess.Popen[bytes], condition: Callable[[str], bool]) -> str:
    """Standard output until what has come of it satisfies."""
    assert child.stdout is not None
    text, deadline = b"", time.monotonic() + 30
    while not condition(text.decode()):
        left = deadline - time.monotonic()
        assert left > 0, f"never came: {text!r}"
        if select.select([child.stdout], [], [], left)[0]:
            part = os.read(child.stdout.fileno(), 65536)
            assert part, f"ended: {text!r}"
            text += part
    return text.decode()


def test_new_and_gone_containers_while_it_runs(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "first", "--rootfs", minirt.rootfs, "sleep", "1000")
    child = minirt.start("stats", "--format", "{{.Name}}")
    read_until(child, lambda text: "first\n" in text)
    minirt.ok("run", "-d", "--name", "second", "--rootfs", minirt.rootfs, "sleep", "1000")
    read_until(child, lambda text: "second\nfirst\n" in text)
    minirt.ok("rm", "-f", "first")
    read_until(child, lambda text: "second\nsecond\n" in text)
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 130


def test_ends_when_all_named_ones_are_gone(minirt: Minirt) -> None:
    minirt.ok("run", "-d", "--name", "only", "--rootfs", minirt.rootfs, "sleep", "1000")
    child = minirt.start("stats", "only")
    read_until(child, lambda text: "only" in text)
    minirt.ok("rm", "-f", "only")
    assert child.wait(30) == 0


def test_ends_when_nobody_reads(minirt: Minirt) -> None:
    child = minirt.start("stats")
    read_until(child, lambda text: "NAME" in text)
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(30) == 141


def test_redrawn_on_a_terminal_and_ended_by_ctrl_c(two: Minirt) -> None:
    """Docker's control sequences: home, each line cleared to its right, all below cleared; no other one."""
    child, fd = two.terminal("stats")
    text, deadline = b"", time.monotonic() + 30
    while text.count(b"\x1b[H") < 3:
        assert time.monotonic() < deadline, text
        if select.select([fd], [], [], 1)[0]:
            text += os.read(fd, 65536)
    first = text.split(b"\x1b[H")[1]
    lines = first.decode().split("\r\n")
    assert "NAME" in lines[0] and all(line.endswith("\x1b[K") for line in lines[:-1]) and lines[-1] == "\x1b[J"
    assert set(re.findall(rb"\x1b\[[0-9;?]*[A-Za-z]", text)) == {b"\x1b[H", b"\x1b[K", b"\x1b[J"}
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(20) == 130
    os.close(fd)
