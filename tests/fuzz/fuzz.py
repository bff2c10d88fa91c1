#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes one target of fuzz_targets.py with atheris (libFuzzer) for some seconds; `make fuzz` runs all of them.

    python tests/fuzz/fuzz.py entries --seconds 60      new inputs go to build/fuzz/entries/, findings too
    python tests/fuzz/fuzz.py entries FILE …            replays files
    python tests/fuzz/fuzz.py entries --merge           what adds coverage goes into the corpus

Layers are unpacked as root by code that may be wrong, so all this runs in a mount namespace where the root file
system is read-only and the layers' directory a tmpfs of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
WORK = "MINIRT_FUZZ_DIRECTORY"
ENTER = """
mount -t tmpfs -o nodev,nosuid,size=1g tmpfs "$1"
mount --bind "$2" "$2"
mount -o remount,bind,ro /
shift 2
exec "$@"
"""
MEMORY_MB = 1024
TIMEOUT_S = 20


def enter(options: argparse.Namespace, found: Path) -> None:
    """Starts this program again where it can do no harm; returns its exit code by exiting."""
    with tempfile.TemporaryDirectory(prefix="minirt-fuzz-") as work:
        writable = str(HERE / "corpus") if options.merge else str(found)
        argv = ["unshare", "--mount", "sh", "-ec", ENTER, "sh", work, writable, sys.executable, *sys.argv]
        sys.exit(os.spawnvpe(os.P_WAIT, argv[0], argv, {**os.environ, WORK: work}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="fuzz one target")
    parser.add_argument("target")
    parser.add_argument("files", nargs="*", help="replay these instead")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--merge", action="store_true")
    return parser.parse_args()


def merge(name: str, new: Path, corpus: Path) -> None:
    """Copies into the corpus what takes a step from line to line of minirt that nothing before it took."""
    import fuzz_targets

    steps: set[tuple[str, int, int]] = set()
    last: dict[object, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if "/minirt/" not in frame.f_code.co_filename:
            return None
        steps.add((frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno))
        last[frame] = frame.f_lineno
        return trace

    def by_size(folder: Path) -> list[Path]:
        return sorted(folder.iterdir(), key=lambda file: file.stat().st_size)

    with fuzz_targets.target(name, Path(os.environ[WORK])) as play:
        for file in by_size(corpus) + by_size(new):
            before = len(steps)
            sys.settrace(trace)
            play(file.read_bytes())
            sys.settrace(None)
            last.clear()
            if len(steps) > before and file.parent == new:
                shutil.copy(file, corpus)
                print(f"{file.name} adds {len(steps) - before} steps")


def main() -> None:
    options = parse()
    found, corpus = TOP / "build/fuzz" / options.target, HERE / "corpus" / options.target
    for folder in (found / "new", corpus):
        folder.mkdir(parents=True, exist_ok=True)
    if WORK not in os.environ:
        enter(options, found)
    sys.path[:0] = [str(HERE), str(HERE.parent / "image")]
    if options.merge:
        merge(options.target, found / "new", corpus)
        return
    import atheris

    with atheris.instrument_imports(include=["minirt"]):
        import fuzz_targets
    words = [f"-rss_limit_mb={MEMORY_MB}", f"-timeout={TIMEOUT_S}", f"-artifact_prefix={found}/"]
    words += [f"-max_len={fuzz_targets.LONGEST[options.target]}", "-print_final_stats=1", "-verbosity=0"]
    if options.files:
        words += options.files
    else:
        words += [f"-max_total_time={options.seconds}", "-reload=0", str(found / "new"), str(corpus)]
    with fuzz_targets.target(options.target, Path(os.environ[WORK])) as play:
        atheris.Setup([sys.argv[0], *words], play)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
