# SPDX-License-Identifier: Apache-2.0
"""A place to make system calls in: a child with namespaces of its own, where nothing done touches the host.

`inside(function)` runs it there and gives what it returned; `run(step, …)` executes steps as any plan's are.
"""

from __future__ import annotations

import ast
import os
import traceback
from collections.abc import Callable
from typing import Any

from minirt.kernel import call, execute, flat
from minirt.plan.step import CWD, HOST, Fd, Flags, Plan, Step

NAMESPACES = "CLONE_NEWNS|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWNET"
NONE = Flags("0")


class InsideFailed(AssertionError):
    """The child's own traceback."""


def inside(function: Callable[[], Any], namespaces: str = NAMESPACES) -> Any:
    """What `function` returns in a forked child, as root, with a mount table that is a private copy of the host's. A
    tmpfs lies on /mnt there. Values are literals. What it raises fails the test; StepError and
    OSError are handed on."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = _answer(function, namespaces)
        except BaseException:
            os.write(writing, repr(("failed", traceback.format_exc())).encode())
            os._exit(1)
        os.write(writing, repr(answer).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        data = pipe.read()
    status = os.waitpid(child, 0)[1]
    if not data:
        raise InsideFailed(f"the child ended with status {status}")
    kind, value = ast.literal_eval(data)
    if kind == "step":
        raise execute.StepError(*value)
    if kind == "error":
        raise OSError(value, os.strerror(value))
    if kind == "failed":
        raise InsideFailed(value)
    return value


def _answer(function: Callable[[], Any], namespaces: str) -> tuple[str, Any]:
    call.unshare(namespaces)
    call.mount_setattr(call.AT_FDCWD, "/", "AT_RECURSIVE", propagation="MS_PRIVATE")
    call.mount("tmpfs", "/mnt", "tmpfs", 0, "size=4m")
    try:
        return "value", function()
    except execute.StepError as error:
        return "step", (error.index, error.errno)
    except OSError as error:
        return "error", error.errno


def step(op: str, *args: object, **about: Any) -> Step:
    return Step(op, *args, actor=HOST, **about)


def run(*steps: Step, inherited: dict[str, int] | None = None) -> dict[str, int]:
    """Execute the steps here; the descriptors that they made, by slot."""
    return execute.run(flat.encode(Plan(steps), None, inherited or {}))


def opened(path: str, flags: str = "O_PATH|O_CLOEXEC", out: str = "it") -> Step:
    return step("openat2", CWD, path, Flags(flags), NONE, NONE, out=out)


def tmpfs(out: str = "mount", *options: tuple[str, str]) -> tuple[Step, ...]:
    """Steps that leave a detached tmpfs in the slot."""
    context = Fd(f"{out}-context")
    return (
        step("fsopen", "tmpfs", Flags("FSOPEN_CLOEXEC"), out=context.name),
        *(step("fsconfig", context, Flags("FSCONFIG_SET_STRING"), key, value) for key, value in options),
        step("fsconfig", context, Flags("FSCONFIG_CMD_CREATE")),
        step("fsmount", context, Flags("FSMOUNT_CLOEXEC"), NONE, out=out),
    )


def status(field: str) -> str:
    """A line of /proc/self/status."""
    with open("/proc/self/status") as file:
        return next(line.partition(":")[2].strip() for line in file if line.startswith(field + ":"))
