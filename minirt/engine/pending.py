# SPDX-License-Identifier: Apache-2.0
"""Restarts that are still to come: the process that waits for one (csrc/waiter.c), and the clean-up verb's argv.

    run/waiter    "boot id" "pid" "start time in ticks"    of the one whose turn it will be

It holds no lock while it waits, so it can be called off at any moment, and it may die: who finds the row restarting
and nobody waiting sets off another (engine/reconcile.py). It becomes the clean-up verb in place, with the same pid;
one that is not on record any more finds nothing to do. Must not import reconcile or start.
"""

from __future__ import annotations

import os
import sys

from minirt.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine

SIGKILL = 9
GONE_S = 1.0  # for a killed process to be gone

# What csrc/launcher.c gives the interpreter, with one place more: the cffi runtime may lie elsewhere in development.
_PROGRAM = (
    "import os, sys; sys.path += [sys.argv.pop(1), sys.argv.pop(1)]; "
    "from minirt.cli.main import main; os._exit(main(sys.argv[1:]))"
)


def cleanup_command(engine: Engine, identity: str) -> tuple[str, ...]:
    """The argv by which the monitor cleans up after a container, and a waiter restarts one: an interpreter that reads
    neither the environment nor the working directory, since these have none to speak of."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    backend = getattr(sys.modules.get("_cffi_backend"), "__file__", None)
    places = (package, os.path.dirname(backend) if backend else package)
    roots = ("--root", engine.roots.root, "--state", engine.roots.state)
    return (sys.executable, "-IS", "-c", _PROGRAM, *places, *roots, "internal-cleanup", identity)


def set_off(engine: Engine, identity: str, delay_ms: int) -> int:
    """Somebody waits from now on; his pid. The caller holds the container's lock, and its run directory is gone or
    has no more than another waiter's record. HostError, OSError."""
    from minirt.kernel import monitor

    run_dir = engine.roots.run(identity)
    os.makedirs(run_dir, 0o700, exist_ok=True)
    theirs, ours = os.pipe()
    try:
        words = [os.fsencode(word) for word in cleanup_command(engine, identity)]
        pid = monitor.execute((b"minirt:waiter", b"%d" % theirs, b"%d" % delay_ms, *words), (theirs,))
        _record(run_dir, pid)
        os.write(ours, b"!")
    finally:
        os.close(theirs)
        os.close(ours)
    return pid


def _record(run_dir: str, pid: int) -> None:
    text = f"{process.boot_id()} {pid} {process.start_ticks(pid) or 0}"
    fd = os.open(f"{run_dir}/.waiter", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
    os.rename(f"{run_dir}/.waiter", f"{run_dir}/waiter")


def waiter(run_dir: str) -> tuple[int, int]:
    """(pid, start ticks) of who waits, or restarts it this moment; (0, 0): nobody."""
    try:
        fd = os.open(f"{run_dir}/waiter", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0, 0
    try:
        words = os.read(fd, 256).decode(errors="replace").split()
    finally:
        os.close(fd)
    if len(words) != 3 or words[0] != process.boot_id() or not (words[1] + words[2]).isdecimal():
        return 0, 0
    pid, ticks = int(words[1]), int(words[2])
    return (pid, ticks) if pid > 0 and process.alive(pid, ticks) else (0, 0)


def is_ours(run_dir: str) -> bool:
    """Whether this process is the one whose turn it is."""
    return waiter(run_dir)[0] == os.getpid()


def call_off(run_dir: str) -> None:
    """End who waits, unless that is this process. The caller holds the container's lock, or the container is gone."""
    pid, ticks = waiter(run_dir)
    if pid and pid != os.getpid() and process.send(pid, ticks, SIGKILL):
        process.wait(pid, ticks, GONE_S)
