# SPDX-License-Identifier: Apache-2.0
"""Faults at chosen system calls of a command (strace(1) --inject): SIGKILL, or an error that the kernel could give.

A point is "name:N": the Nth call of that name. strace counts for each thread by itself, and the first that gets
there is hit. Points are taken from an undisturbed run, so that they exist.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from runner import Minirt, program

CHANGING = (
    "mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,chmod,fchmod,"
    "fchmodat,fchownat,utimensat,flock,ftruncate,write,pwrite64,fsync,fdatasync,syncfs,copy_file_range,openat2"
)
LINE = re.compile(r"^(\d+) +(\w+)\((.*)")
TIMEOUT_S = 60


def strace(
    minirt: Minirt, argv: Iterable[str], *options: str, input: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        ["strace", "-f", "-qq", *options, *program(), *argv],
        env=minirt.environment,
        input=input if input is not None else b"",
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    minirt.look()
    return done


def points(
    minirt: Minirt, *argv: str, calls: str = CHANGING, about: str = "", each: int = 4, input: bytes | None = None
) -> list[str]:
    """Points of `minirt *argv`, which runs undisturbed for it: of each name the first, the last and so many between
    that there are `each`. `about`: only calls whose arguments, with descriptors resolved, name this path."""
    trace = minirt.root.parent / "trace"
    done = strace(minirt, argv, "-y", "-o", str(trace), "-e", f"trace={calls}", input=input)
    assert done.returncode == 0, done
    counts: dict[tuple[str, str], int] = {}
    found: dict[str, set[int]] = {}
    elsewhere: set[tuple[str, int]] = set()  # what the main thread, which is the first to get there, calls otherwise
    main = ""
    for line in trace.read_text(errors="replace").splitlines():
        if match := LINE.match(line):
            thread, name, rest = match.groups()
            main = main or thread
            counts[thread, name] = number = counts.get((thread, name), 0) + 1
            if about in rest:
                found.setdefault(name, set()).add(number)
            elif thread == main:
                elsewhere.add((name, number))
    chosen = []
    for name, numbers in found.items():
        if not (known := sorted(number for number in numbers if (name, number) not in elsewhere)):
            continue
        places = {round(index * (len(known) - 1) / max(each - 1, 1)) for index in range(each)}
        chosen += [f"{name}:{known[place]}" for place in sorted(places)]
    assert len(chosen) > 2, f"strace saw too little: {chosen}"
    return chosen


def injected(
    minirt: Minirt, point: str, what: str, *argv: str, input: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command with `what` ("signal=KILL", "error=ENOSPC") at the point."""
    name, _, number = point.partition(":")
    inject = f"inject={name}:{what}:when={number}"
    return strace(minirt, argv, "-o", "/dev/null", "-e", f"trace={name}", "-e", inject, input=input)


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def kept(minirt: Minirt) -> Callable[[], None]:
    """Keeps a copy of the store as it is now; what this returns puts the store back to that."""
    copy = minirt.root.parent / "kept"
    subprocess.run(["cp", "-a", str(minirt.root), str(copy)], check=True)

    def back() -> None:
        shutil.rmtree(minirt.root)
        subprocess.run(["cp", "-a", str(copy), str(minirt.root)], check=True)

    return back
