# SPDX-License-Identifier: Apache-2.0
"""A pull or push that is interrupted (CRA-13): 128 + the signal, at once, the terminal as it was, nothing left but
partial blobs that the next pull goes on with."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import subprocess
import termios
import time
from typing import Any

import pytest
from faults import bytes_in
from misbehaviour import held, paced, silence
from pulling import SMALL, UNPRESSED, blob_of, one, pulled
from store import Store

from hostile_registry import Act, Hostile
from runner import Minirt, eventually, program

PATIENT = {"MINIRT_HTTP_TIMEOUT_S": "300", "MINIRT_HTTP_RETRY_S": "100"}
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


def drained(terminal: int, child: subprocess.Popen[bytes]) -> bytes:
    """Everything that appears on the terminal until its process has ended."""
    seen = b""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.05)
        try:
            if ready:
                seen += os.read(terminal, 65536)
            elif child.poll() is not None:
                break
        except OSError:
            break
    return seen


def modes(terminal: int) -> list[Any]:
    return termios.tcgetattr(terminal)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize("act", [held(0.5), silence, paced(1 << 18, 4096)], ids=["in a blob", "waiting", "receiving"])
def test_cra_13_pull_is_interrupted(pulls: Minirt, store: Store, hostile: Hostile, act: Act, number: int) -> None:
    """CRA-13: what came stays as a partial blob, nothing else; the next pull goes on with it."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    path = f"GET /v2/mine/blobs/{blob}"
    hostile.on(path, act)
    child = pulls.start("pull", f"{hostile.host}/mine:1", environment=PATIENT)
    eventually(lambda: hostile.asked(path))
    if act is not silence:
        eventually(lambda: bytes_in(pulls.root / "partial") > 100_000)
    child.send_signal(number)
    _, said = child.communicate(timeout=10)
    assert child.returncode == SIGNALS[signal.Signals(number)], said
    assert b"Traceback" not in said and b"internal error" not in said, said
    store.empty()
    kept = bytes_in(pulls.root / "partial")
    hostile.behave()
    assert pulled(pulls, f"{hostile.host}/mine:1").blob(blob) == hostile.blobs[blob]
    sent = hostile.body_bytes(f".*{blob}") - (len(hostile.blobs[blob]) - kept)
    assert 0 <= sent <= 3 * 4096, "the rest, and what the old connection had in hand"
    assert act is silence or kept > 100_000


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)
def test_cra_13_the_terminal_is_as_it_was(pulls: Minirt, store: Store, hostile: Hostile, number: int) -> None:
    """CRA-13: on a terminal, with bars: modes are restored, a hidden cursor is shown, the line is ended."""
    files = one(hostile, UNPRESSED, compression="none")
    hostile.on(f"GET /v2/mine/blobs/{blob_of(files)}", held(0.5))
    child, terminal = pulls.terminal("pull", f"{hostile.host}/mine:1", environment=PATIENT)
    try:
        before = modes(terminal)
        eventually(lambda: bytes_in(pulls.root / "partial") > 100_000)
        time.sleep(0.3)  # a frame or two of the bars
        child.send_signal(number)
        shown = drained(terminal, child)
        assert child.wait(10) == SIGNALS[signal.Signals(number)], shown
        assert modes(terminal) == before
        assert b"Pulling from" in shown, "the control: there was something to see"
        assert shown.rfind(HIDE) <= shown.rfind(SHOW), "the cursor stays hidden"
        assert b"Traceback" not in shown
        assert not re.search(rb"\x1b\[[0-9;]*$", shown), "an escape sequence is cut in the middle"
    finally:
        os.close(terminal)
    store.empty()


def test_cra_13_control_c_on_the_terminal(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-13: typed, not sent: the terminal's own interrupt."""
    files = one(hostile, UNPRESSED, compression="none")
    hostile.on(f"GET /v2/mine/blobs/{blob_of(files)}", held(0.5))
    words = ["setsid", "--ctty", "--wait"]
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [*words, *program(), "pull", f"{hostile.host}/mine:1"],
        env={**pulls.environment, **PATIENT},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        eventually(lambda: bytes_in(pulls.root / "partial") > 100_000)
        os.write(ours, b"\x03")
        shown = drained(ours, child)
        assert child.wait(10) == 130, shown
        assert b"Traceback" not in shown
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(ours)
    store.empty()


def test_cra_13_the_terminal_goes_away(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-13: the window is closed during a pull (SIGHUP, then EIO on every write): it ends, and leaves nothing."""
    files = one(hostile, UNPRESSED, compression="none")
    hostile.on(f"GET /v2/mine/blobs/{blob_of(files)}", held(0.5))
    child, terminal = pulls.terminal("pull", f"{hostile.host}/mine:1", environment=PATIENT)
    eventually(lambda: bytes_in(pulls.root / "partial") > 100_000)
    os.close(terminal)
    child.send_signal(signal.SIGHUP)
    assert child.wait(10) in (1, 129, 141)
    store.empty()


def test_cra_13_nobody_reads_the_output(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-13: `pull | head -1`: SIGPIPE's EPIPE is no traceback, and nothing half-made stays."""
    one(hostile, UNPRESSED)
    child = pulls.start("pull", f"{hostile.host}/mine:1")
    assert child.stdout and child.stderr
    child.stdout.close()
    said = child.stderr.read()
    child.wait(60)
    assert b"Traceback" not in said and b"internal error" not in said, said
    store.tidy()
    store.true()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize("path", ["PATCH|PUT /v2/other/blobs", "PUT /v2/other/manifests", "HEAD|POST /v2/other/blobs"])
def test_cra_13_push_is_interrupted(pulls: Minirt, store: Store, hostile: Hostile, path: str, number: int) -> None:
    """CRA-13: a push that waits for the registry ends at once; no tag there, the store as it was."""
    one(hostile, UNPRESSED)
    pulled(pulls, f"{hostile.host}/mine:1")
    pulls.ok("tag", f"{hostile.host}/mine:1", f"{hostile.host}/other:1")
    before = store.snapshot()
    methods, _, rest = path.partition(" ")
    pattern = f"({methods}) {rest}"
    hostile.on(pattern, silence)
    child = pulls.start("push", f"{hostile.host}/other:1", environment=PATIENT)
    eventually(lambda: hostile.asked(pattern))
    child.send_signal(number)
    _, said = child.communicate(timeout=10)
    assert child.returncode == SIGNALS[signal.Signals(number)], said
    assert b"Traceback" not in said and b"internal error" not in said, said
    assert ("other", "1") not in hostile.manifests
    assert store.snapshot() == before
    store.tidy()


def test_cra_13_run_that_pulls_is_interrupted(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-13: `run` of a missing image, interrupted while it pulls: 130, no container."""
    files = one(hostile, UNPRESSED, compression="none")
    hostile.on(f"GET /v2/mine/blobs/{blob_of(files)}", held(0.5))
    child = pulls.start("run", "--rm", f"{hostile.host}/mine:1", "true", environment=PATIENT)
    eventually(lambda: bytes_in(pulls.root / "partial") > 100_000)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=10)
    assert child.returncode == 130, said
    assert b"Traceback" not in said
    assert pulls.ok("ps", "-aq") == ""
    store.empty()


@pytest.mark.parametrize("place", ["partial", "images", "staging", "layers"])
def test_cra_13_interrupted_while_it_waits_for_another(
    pulls: Minirt, store: Store, hostile: Hostile, place: str
) -> None:
    """CRA-13, CRA-21: somebody else (who is stopped, say) holds the blob, the index, the door of staging or all
    layers: the pull waits, or does not need it; Ctrl-C ends it at once, and afterwards it works."""
    files = one(hostile, UNPRESSED, compression="none")
    one(hostile, SMALL, name="mine:0")
    pulled(pulls, f"{hostile.host}/mine:0")
    path = pulls.root / place
    if place == "partial":
        path = path / blob_of(files)[7:]
        path.touch()
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        child = pulls.start("pull", f"{hostile.host}/mine:1", environment=PATIENT)
        eventually(lambda: hostile.asked("GET /v2/mine/manifests/1"))
        time.sleep(0.5)
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=10)
            assert child.returncode == 130, said
            assert b"Traceback" not in said
        else:
            assert child.returncode == 0 and place == "layers", child.communicate()
    finally:
        os.close(fd)
    store.tidy()
    pulled(pulls, f"{hostile.host}/mine:1")
