# SPDX-License-Identifier: Apache-2.0
"""`make vm-test`: pytest inside a machine with pure cgroup v2 and systemd, in QEMU; exits with pytest's code.

The machine's root is made once (vm_root.py), the tree comes as a disk (vm_disk.py), QEMU runs them (vm_machine.py).
Where KVM works every kernel test is run; emulated, where Python takes 17 times as long, those marked `vm` and folders
where the kind of host matters most. Words given after `--` are for pytest instead of that choice. build/vm/ gets
junit.xml, and serial.log with what the kernel and systemd said if anything failed. Must not import minirt.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from types import FrameType

import vm_disk
import vm_machine
import vm_root

FOLDER = vm_disk.TREE / "build" / "vm"
ENDING_S = 90
"""What boot, results and end may take."""
ALL = ("-m", "kernel", "tests")
EMULATED = ("tests/cgroup", "tests/birth", "tests/monitor")
"""Folders that are run under emulation too, after what is marked `vm`."""

COMMAND = """
python=.venv/bin/python
if test ! -e .venv; then
    python={inside}/bin/python
    PATH={inside}/bin:$PATH
    $python -m pip --disable-pip-version-check --quiet install --no-build-isolation --no-deps \
        --config-settings=build-dir=/tmp/minirt-build . || exit
    rm -rf /tmp/minirt-build
fi
exec {start}
"""


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    try:
        return test(options)
    except vm_root.Broken as error:
        print(f"vm-test: {error}", file=sys.stderr)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        print(f"vm-test: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("vm-test: interrupted", file=sys.stderr)
        return 130
    return 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="pytest inside a machine with pure cgroup v2 and systemd")
    parser.add_argument("--packages", default="", help="Debian packages that the tests need")
    parser.add_argument("--python", default="", help="Python packages, where the host's .venv does not work inside")
    parser.add_argument("--minutes", type=float, default=30, help="how long all of it may take after the root is made")
    parser.add_argument("--workers", type=int, default=3, help="pytest's -n")
    parser.add_argument("--command", help="run this shell command inside instead of pytest")
    parser.add_argument("words", nargs="*", help="pytest's arguments, after --")
    return parser.parse_args()


def leave(number: int, frame: FrameType | None) -> None:
    """A signal ends this as Ctrl-C does: by way of every `finally`."""
    raise KeyboardInterrupt


def test(options: argparse.Namespace) -> int:
    venv = vm_root.portable(vm_disk.TREE / ".venv")
    python = [] if venv else [*shlex.split(options.python), *dependencies()]
    root = vm_root.ensure(options.packages.split(), python)
    kind = vm_machine.accelerator(root)
    words = options.words or (ALL if kind == "kvm" else emulated())
    seconds = int(options.minutes * 60)
    command = options.command or pytest_command(words, options.workers)
    FOLDER.mkdir(parents=True, exist_ok=True)
    serial = FOLDER / "serial.log"
    (FOLDER / "junit.xml").unlink(missing_ok=True)
    with vm_disk.told(vm_root.cache(), venv, seconds - ENDING_S, command) as told, vm_disk.answer(root) as answer:
        print(f"vm-test: {kind}, at most {seconds // 60} minutes: {command.strip().splitlines()[-1]}", flush=True)
        ended = vm_machine.session(root, (told, answer), seconds, serial)
        code = vm_disk.answered(answer, FOLDER)
    if code == 0:
        serial.unlink(missing_ok=True)
        return 0
    why = f"exit {code}" if code is not None else "no result" if ended else f"not done after {seconds} s"
    print(f"vm-test: {why}; what the machine said on its way: {serial}", file=sys.stderr)
    return code or 1


def emulated() -> list[str]:
    """What is run where the CPU is emulated. Files with tests marked `vm` are looked for as text: to collect all tests
    would take minutes inside."""
    tests = vm_disk.TREE / "tests"
    marked = sorted(path for path in tests.rglob("test_*.py") if re.search(r"mark\.vm\b", path.read_text()))
    files = [str(path.relative_to(vm_disk.TREE)) for path in marked]
    apart = [name for name in files if not name.startswith(tuple(f"{folder}/" for folder in EMULATED))]
    return ["-m", "vm or kernel and not slow", *apart, *EMULATED]


def dependencies() -> list[str]:
    """What minirt itself needs of Python."""
    return list(tomllib.loads((vm_disk.TREE / "pyproject.toml").read_text())["project"]["dependencies"])


def pytest_command(words: Sequence[str], workers: int) -> str:
    """The script that runs pytest inside."""
    start = ["-m", "pytest", "-q", "-n", str(workers), "-p", "no:cacheprovider", "--junitxml=/run/results/junit.xml"]
    return COMMAND.format(inside=vm_root.VENV_INSIDE, start=f"$python {shlex.join([*start, *words])}")


if __name__ == "__main__":
    sys.exit(main())
