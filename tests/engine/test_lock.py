# SPDX-License-Identifier: Apache-2.0
"""The lock on a container: one holder, gone with its process, and never on a directory that is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minirt.engine import lock
from minirt.errors import Conflict

HOLDER = """
import sys, time
sys.path.insert(0, {top!r})
from minirt.engine import lock
held = lock.acquire({path!r})
print("held", flush=True)
time.sleep(60)
"""


def test_one_holder(tmp_path: Path) -> None:
    held = lock.acquire(str(tmp_path))
    assert held is not None and lock.held(str(tmp_path))
    assert lock.attempt(str(tmp_path)) is None
    with pytest.raises(Conflict, match="is busy"):
        lock.acquire(str(tmp_path), wait_s=0.05)
    held.release()
    assert not lock.held(str(tmp_path))
    again = lock.attempt(str(tmp_path))
    assert again is not None
    again.release()


def test_dies_with_its_holder(tmp_path: Path) -> None:
    top = str(Path(lock.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(top=top, path=str(tmp_path))], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    assert lock.attempt(str(tmp_path)) is None
    process.kill()
    process.wait()
    process.stdout.close()
    held = lock.acquire(str(tmp_path), wait_s=1)
    assert held is not None
    held.release()


def test_removed_while_waiting(tmp_path: Path) -> None:
    """Who waited for a container that is removed meanwhile gets none, and not the corpse."""
    path = tmp_path / "container"
    path.mkdir()
    held = lock.acquire(str(path))
    assert held is not None
    outcome: list[object] = []
    waiter = threading.Thread(target=lambda: outcome.append(lock.acquire(str(path), wait_s=10)))
    waiter.start()
    time.sleep(0.05)
    shutil.rmtree(path)
    held.release()
    waiter.join()
    assert outcome == [None]


def test_nothing_to_lock(tmp_path: Path) -> None:
    assert lock.acquire(str(tmp_path / "absent")) is None
    (tmp_path / "file").touch()
    assert lock.acquire(str(tmp_path / "file")) is None
    assert not lock.held(str(tmp_path / "absent"))


def test_descriptor_is_not_inherited(tmp_path: Path) -> None:
    """A child that lived on with the descriptor would hold the lock for ever."""
    held = lock.acquire(str(tmp_path))
    assert held is not None and not os.get_inheritable(held.fd)
    held.release()
