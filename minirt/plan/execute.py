# SPDX-License-Identifier: Apache-2.0
"""The last steps: descriptors closed, the workload executed (execve(2), close_range(2)).

A program named without a slash is looked for in PATH, one execve for each directory, as execvp(3) does; the kernel
says which exist, in the container's root and as the container's user. Runtime-spec config.md, "Process": args.
Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan import defaults
from minirt.plan.build import DIRECTORY, IN_ROOT, NONE, Build
from minirt.plan.step import CWD, Fd, Flags, Strings

_NOT_HERE = ("ENOENT", "ENOTDIR", "EACCES")
INIT_NAME = "minirt-init"


def execute(build: Build) -> None:
    """Init: nothing but 0, 1 and 2 survives; then the workload, or minirt's own pid 1 that starts it."""
    args, envp = build.process["args"], Strings(build.process.get("env") or ())
    every = 0xFFFFFFFF
    build.add("close_range", 3, every, Flags("CLOSE_RANGE_CLOEXEC"), pointer="/process", kind="exec")
    if build.context.init:
        argv = Strings((INIT_NAME, "--", *args))
        flags = Flags("AT_EMPTY_PATH")
        build.add("execveat", Fd("program"), "", argv, envp, flags, pointer="--init", kind="exec")
        return
    argv, pointer = Strings(args), "/process/args"
    if "/" in args[0]:
        build.add("execve", args[0], argv, envp, pointer=pointer, kind="exec")
        return
    for path in candidates(args[0], envp):
        build.add("execve", path, argv, envp, pointer=pointer, kind="exec", tolerate=_NOT_HERE)


def candidates(name: str, env: tuple[str, ...]) -> list[str]:
    """Where `name` may be. A directory of PATH that is not absolute is passed over: it would mean another program
    in every working directory."""
    path = next((entry[5:] for entry in reversed(env) if entry.startswith("PATH=")), defaults.PATH)
    directories = dict.fromkeys(entry.rstrip("/") for entry in path.split(":") if entry.startswith("/"))
    return [f"{directory}/{name}" for directory in directories] or [f"/{name}"]


def wait(build: Build) -> None:
    """Init: created, not started; one byte on "go" starts it (runtime.md, "Lifecycle")."""
    if build.context.wait:
        build.add("read", Fd("go"), pointer="/process", kind="exec")


def enter_directory(build: Build) -> None:
    """Init, its root and working directory the container's, still as root, as every other runtime does it: a user may
    start in a directory that only root may enter. No magic link is followed: this process has descriptors of its own,
    some of the host, some of what a mount covers (CVE-2024-21626)."""
    path, pointer, kind = build.process.get("cwd") or "/", "/process/cwd", "identity"
    if path == "/":
        build.add("chdir", path, pointer=pointer, kind=kind)
        return
    build.add("openat2", CWD, path, DIRECTORY, NONE, IN_ROOT, out="directory", pointer=pointer, kind=kind)
    build.add("fchdir", Fd("directory"), pointer=pointer, kind=kind)
