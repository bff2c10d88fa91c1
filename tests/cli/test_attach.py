# SPDX-License-Identifier: Apache-2.0
"""EXE-11: many who attach, some who never read, some who are killed: the container neither waits nor dies for them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from runner import Minirt, eventually


@pytest.fixture
def noisy(minirt: Minirt) -> Minirt:
    """A container that prints for as long as it runs, and counts what it printed."""
    script = "i=0; while :; do i=$((i+1)); echo line $i of many; echo $i >/tmp/count; done"
    minirt.ok("run", "-d", "--name", "noisy", "--rootfs", minirt.rootfs, "sh", "-c", script)
    return minirt


def count(minirt: Minirt) -> int:
    return int((minirt.rootfs / "tmp/count").read_text().strip() or 0)


def goes_on(minirt: Minirt) -> None:
    """The container makes progress."""
    eventually((minirt.rootfs / "tmp/count").exists)
    before = eventually(lambda: count(minirt))
    eventually(lambda: count(minirt) > before + 50)


def descriptors(minirt: Minirt, name: str) -> int:
    monitor = minirt.ok("inspect", "-f", "{{.Minirt.MonitorPid}}", name)
    return len(list(Path(f"/proc/{monitor}/fd").iterdir()))


def test_one_who_never_reads(noisy: Minirt) -> None:
    child = noisy.start("attach", "noisy")
    time.sleep(0.5)
    goes_on(noisy)
    child.kill()
    goes_on(noisy)


def test_one_who_is_killed(noisy: Minirt) -> None:
    goes_on(noisy)
    before = descriptors(noisy, "noisy")
    child = noisy.start("attach", "noisy")
    assert child.stdout is not None and child.stdout.read(1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    goes_on(noisy)
    assert eventually(lambda: descriptors(noisy, "noisy") == before)


def test_a_crowd(minirt: Minirt) -> None:
    """Twenty attach and all of them hear the same end."""
    script = "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo end; exit 5"
    minirt.ok("run", "-d", "--name", "quiet", "--rootfs", minirt.rootfs, "sh", "-c", script)
    before = descriptors(minirt, "quiet")
    crowd = [minirt.start("attach", "quiet") for _ in range(20)]
    eventually(lambda: descriptors(minirt, "quiet") == before + 20, 30)
    (minirt.rootfs / "tmp/go").touch()
    for child in crowd:
        output, errors = child.communicate(timeout=30)
        assert (child.returncode, output, errors) == (5, b"end\n", b"")


def test_one_who_leaves_takes_nothing_along(noisy: Minirt) -> None:
    child = noisy.start("attach", "--sig-proxy=false", "noisy")
    assert child.stdout is not None and child.stdout.read(1)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert child.returncode == 130
    goes_on(noisy)


def test_closed_reader_of_attach(noisy: Minirt) -> None:
    """Without signal forwarding a broken pipe only ends the command."""
    reader, writer = os.pipe()
    child = noisy.start("attach", "--sig-proxy=false", "noisy", stdout=writer)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    assert child.wait(20) == 128 + signal.SIGPIPE
    goes_on(noisy)


def test_input_by_attach(minirt: Minirt) -> None:
    minirt.ok(
        "run", "-d", "-i", "--name", "reader", "--rootfs", minirt.rootfs, "sh", "-c", "read a; echo got $a; exit 4"
    )
    result = minirt("attach", "reader", input="hello\n")
    assert (result.code, result.stdout) == (4, "got hello\n")


@pytest.mark.parametrize("state", ["created", "exited", "paused"])
def test_only_a_running_container(minirt: Minirt, state: str) -> None:
    minirt.ok(
        "create", "--name", "still", "--rootfs", minirt.rootfs, *(["true"] if state == "exited" else ["sleep", "99"])
    )
    if state != "created":
        minirt.ok("start", "still")
    if state == "exited":
        assert minirt.ok("wait", "still") == "0"
    if state == "paused":
        minirt.ok("pause", "still")
    word = {"paused": "paused"}.get(state, "stopped")
    minirt.fails("attach", "still", code=1, says=f"you cannot attach to a {word} container")
