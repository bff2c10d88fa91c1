# SPDX-License-Identifier: Apache-2.0
"""The machine's second and third disk: what it is told, and what it answers.

The second is an ext4 made by mke2fs -d: the tree, the session script, the command. The third is raw and receives a tar
archive. Both are files without a name: whatever ends this process, nothing stays. Must not import minirt.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
LEFT_OUT = (".git", "build", ".make", ".mypy_cache", ".ruff_cache", ".pytest_cache")
ROOM_BYTES = 1 << 30
RESULTS_BYTES = 64 << 20


def told(room: Path, venv: bool, seconds: int, command: str) -> IO[bytes]:
    """The second disk, made in the directory `room`: this tree (with .venv if `venv`), and a shell script that runs in
    it for at most `seconds`."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=room) as name:
        folder = Path(name)
        left_out = LEFT_OUT if venv else (*LEFT_OUT, ".venv")
        entries = [str(entry) for entry in sorted(TREE.iterdir()) if entry.name not in left_out]
        (folder / "disk/tree").mkdir(parents=True)
        run("cp", "-a", "--reflink=auto", *entries, str(folder / "disk/tree"))
        if venv:
            precompile(folder / "disk/tree")
        shutil.copy(HERE / "session.sh", folder / "disk/session")
        (folder / "disk/settings").write_text(f"tree={shlex.quote(str(TREE))}\nseconds={seconds}\n")
        (folder / "disk/command").write_text(command)
        used = int(subprocess.run(["du", "-sB1", name], capture_output=True, check=True).stdout.split()[0])
        blocks = (used * 5 // 4 + ROOM_BYTES) // 4096
        run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", f"{name}/disk", f"{name}/image", str(blocks))
        return open(folder / "image", "r+b")


PRECOMPILE = """mount --bind "$1" "$2" && cd "$2" && .venv/bin/python -m compileall -q minirt tests
.venv/bin/python -m pytest -q --collect-only -p no:cacheprovider tests"""


def precompile(tree: Path) -> None:
    """Byte code of the tree, which would take minutes to make inside; pytest's own of the tests comes from collecting
    them. It names files by path, so the copy stands where the original does, in a namespace of mounts of its own."""
    words = ["unshare", "--mount", "sh", "-c", PRECOMPILE, "sh", str(tree), str(TREE)]
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def answer(room: Path) -> IO[bytes]:
    """The third disk, empty, in the directory `room`."""
    file = tempfile.TemporaryFile(dir=room)  # noqa: SIM115  (the caller's with)
    file.truncate(RESULTS_BYTES)
    return file


def answered(disk: IO[bytes], folder: Path) -> int | None:
    """Unpacks what the machine wrote into `folder` (plain files only); the exit code, None if it wrote none."""
    disk.seek(0)
    code = None
    try:
        with tarfile.open(fileobj=BytesIO(disk.read())) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                data, name = file.read(), Path(member.name).name
                if name == "exit":
                    code = int(data)
                else:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(data)
    except (tarfile.TarError, ValueError):
        return None
    return code


def run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def paths(files: Sequence[IO[bytes]]) -> list[str]:
    """Names under which a child that inherits them opens these files."""
    return [f"/proc/self/fd/{file.fileno()}" for file in files]
