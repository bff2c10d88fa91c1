# SPDX-License-Identifier: Apache-2.0
"""The machine's root, made once by vagrant/root.sh and kept by the hash of what made it.

Below $XDG_CACHE_HOME/minirt/vm, else /var/cache/minirt/vm: a folder for each hash with root.ext4, vmlinuz and initrd. A
folder is made under another name and renamed when it is whole; whoever makes one holds the lock. Folders that nobody
has used for two weeks go. Must not import minirt.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNUSED_S = 14 * 24 * 3600
PYTHON_OF_DEBIAN_12 = "/usr/bin/python3.11"
VENV_INSIDE = "/usr/lib/minirt-vm"


class Broken(Exception):
    """The machine cannot be made or run; the message is for a person."""


def cache() -> Path:
    """Where roots are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache") / "minirt" / "vm"


def portable(venv: Path) -> bool:
    """Whether this venv works inside as it is: made by the same Python for the same C library."""
    release = Path("/etc/os-release")
    lines = release.read_text().splitlines() if release.exists() else []
    same = "ID=debian" in lines and 'VERSION_ID="12"' in lines
    return same and str((venv / "bin" / "python").resolve()) == PYTHON_OF_DEBIAN_12


def key(packages: Sequence[str], python: Sequence[str]) -> str:
    """The hash of what makes a root: the script, the packages, the Python packages of a venv of its own."""
    parts = [(HERE / "root.sh").read_text(), *sorted(set(packages)), "", *python]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Alone with the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure(packages: Sequence[str], python: Sequence[str]) -> Path:
    """The folder with root.ext4, vmlinuz and initrd for these packages, made if it isn't there."""
    here = cache()
    with lock(here):
        forget(here)
        made = here / key(packages, python)
        if not made.exists():
            make(made, packages, python)
        os.utime(made)
    return made


def make(made: Path, packages: Sequence[str], python: Sequence[str]) -> None:
    """Runs root.sh; on any failure or interruption nothing of it stays."""
    print(f"making the machine's root in {made}: Debian 12 and {len(packages)} packages", file=sys.stderr, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="new-", dir=made.parent))
    environment = {**os.environ, "MINIRT_VM_PYTHON": shlex.join(python)}
    try:
        words = ["sh", str(HERE / "root.sh"), str(folder), *packages]
        child = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        try:
            code = child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        if code:
            raise Broken(f"vagrant/root.sh exited {code}: is Debian's mirror within reach?")
        folder.rename(made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def forget(here: Path) -> None:
    """Removes what nobody used for two weeks, and what an interrupted making left."""
    for folder in here.iterdir():
        old = folder.is_dir() and time.time() - folder.stat().st_mtime > UNUSED_S
        if old or folder.name.startswith("new-"):
            shutil.rmtree(folder, ignore_errors=True)
