# SPDX-License-Identifier: Apache-2.0
"""Containers that are restarted: what inspect says of them, who waits for them, and a host that reboots (proc(5)).

Must not import minirt.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import invariants
import runner

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def inspect(minirt: runner.Minirt, name: str) -> dict[str, Any]:
    return dict(json.loads(minirt.ok("inspect", name))[0])


def status(minirt: runner.Minirt, name: str) -> str:
    return str(inspect(minirt, name)["State"]["Status"])


def ended(minirt: runner.Minirt, name: str, restarts: int) -> bool:
    """Whether it has exited for good, after so many restarts."""
    found = inspect(minirt, name)
    return (found["State"]["Status"], found["RestartCount"]) == ("exited", restarts)


def count(minirt: runner.Minirt, name: str) -> int:
    return int(inspect(minirt, name)["RestartCount"])


def waiters(minirt: runner.Minirt) -> list[int]:
    """The processes that wait to restart a container of this test's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"minirt:waiter" and str(minirt.root).encode() in words:
                found.append(int(process.name))
    return found


def set_delay(minirt: runner.Minirt, identity: str, milliseconds: int) -> None:
    """As if its last restart had waited so long."""
    with contextlib.closing(sqlite3.connect(minirt.root / "minirt.db", timeout=10)) as database, database:
        database.execute("UPDATE containers SET delay_ms = ? WHERE id = ?", (milliseconds, identity))


def with_long_wait(minirt: runner.Minirt, name: str, *options: str | Path, policy: str = "always") -> str:
    """A container that has just ended and is to be restarted in a minute; then it stays: its id."""
    words = ("sh", "-c", "until test -e /tmp/end; do sleep 0.02; done; rm /tmp/end; exit 3")
    identity = minirt.ok("run", "-d", "--name", name, "--restart", policy, *options, *words)
    set_delay(minirt, identity, 40000)
    minirt.ok("exec", name, "touch", "/tmp/end")
    runner.eventually(lambda: status(minirt, name) == "restarting" and waiters(minirt))
    return identity


def kill_all(minirt: runner.Minirt) -> None:
    """SIGKILL to every process of this test's: what the power's end does."""
    minirt.look()
    for _ in range(50):
        pids = invariants.processes(minirt.root, minirt.state, minirt.seen)
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    raise AssertionError(f"does not die: {pids}")


@contextlib.contextmanager
def rebooted(minirt: runner.Minirt, keep_state: bool = False) -> Iterator[None]:
    """From the power's end on: nothing runs, the state directory is gone, and it is another boot. Mounts are this test
    worker's own."""
    kill_all(minirt)
    if not keep_state:
        shutil.rmtree(minirt.state)
    other = minirt.root.parent / "boot_id"
    other.write_text(f"{uuid.uuid4()}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(other), os.fsencode(BOOT_ID), None, ctypes.c_ulong(0x1000), None):  # MS_BIND
        raise OSError(ctypes.get_errno(), "another boot id")
    try:
        yield
        minirt.close()
    finally:
        libc.umount2(os.fsencode(BOOT_ID), 2)  # MNT_DETACH
