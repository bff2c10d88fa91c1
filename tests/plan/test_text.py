# SPDX-License-Identifier: Apache-2.0
"""A step as text: in the kernel's words, safe to print; what failed, what asked for it, what to do."""

from __future__ import annotations

from errno import EINVAL, ENOENT, EPERM, errorcode
from pathlib import Path

import pytest

from minirt.plan import compile as compiler
from minirt.plan import network, text
from minirt.plan.facts import RootFacts
from minirt.plan.hints import HINTS, KIND_HINTS, REQUEST_HINTS
from minirt.plan.netlink import Batch, Elements, Request, Socket
from minirt.plan.step import CWD, Blob, Caps, Fd, Flags, Gids, Plan, Step, Strings
from specimens import HOST, context, spec

CONSTANTS = (Path(__file__).parents[2] / "csrc/bindings/constants.txt").read_text().split()
OPS = (Path(__file__).parents[2] / "csrc/ops.h").read_text()


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            Step("mount", "proc", "/proc", "proc", Flags("MS_NOSUID|MS_NODEV"), None),
            'mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, NULL)',
        ),
        (
            Step("openat2", CWD, "/x", Flags("O_PATH"), Flags("0"), Flags("0"), out="x"),
            'openat2(AT_FDCWD, "/x", O_PATH, 0, 0) = x',
        ),
        (Step("mkdirat", Fd("/dev"), "pts", 0o755), 'mkdirat(/dev, "pts", 0755)'),
        (
            Step("mknodat", Fd("d"), "null", Flags("S_IFCHR|0o666"), 1, 3),
            'mknodat(d, "null", S_IFCHR|0666, 1, 3)',
        ),
        (Step("umask", 0), "umask(0)"),
        (Step("umask", 0o7), "umask(0007)"),
        (Step("setgroups", Gids((0, 27))), "setgroups([0, 27])"),
        (Step("capset", Caps(("CAP_KILL",)), Caps(()), Caps(())), "capset(CAP_KILL, 0, 0)"),
        (Step("write", Fd("f"), Blob(b"0 1", "0 1")), 'write(f, "0 1")'),
        (Step("seccomp", Flags("A"), Flags("0"), Blob(b"", "default")), "seccomp(A, 0, <default>)"),
        (Step("pipe2", Flags("O_CLOEXEC"), out=("r", "w")), "pipe2(O_CLOEXEC) = r, w"),
        (Step("prlimit64", Flags("RLIMIT_CORE"), 0, (1 << 64) - 1), "prlimit64(RLIMIT_CORE, 0, RLIM_INFINITY)"),
        (Step("bind", Fd("port-0"), Socket("0.0.0.0", 80)), "bind(port-0, 0.0.0.0:80)"),
        (Step("bind", Fd("port-0"), Socket("::1", 80)), "bind(port-0, [::1]:80)"),
        (
            Step("netlink", Fd("links"), network.name_the_host()),
            "netlink(links, {RTM_NEWNSID, number 0, host-network})",
        ),
        (
            Step("netlink", Fd("links"), Request("RTM_NEWLINK", "0", {"ifi_index": 5}, (("IFLA_NOSUCH", "a\x1b[m"),))),
            "netlink(links, {RTM_NEWLINK, index 5, IFLA_NOSUCH a?[m})",
        ),
        (
            Step("netlink", Fd("filter"), Batch((
                Elements("NFT_MSG_NEWSETELEM", "inet", "minirt", "numbers", ("inet_service",), (),
                         tuple((port,) for port in range(9))),
            ))),
            "netlink(filter, {NFT_MSG_NEWSETELEM, inet minirt: numbers {0, 1, 2, 3, 5 more}})",
        ),
        (
            Step("execve", "/bin/sh", Strings(("sh", "-c", 'echo "x"\n')), Strings(("SECRET=1",))),
            'execve("/bin/sh", ["sh", "-c", "echo \\"x\\"\\n"], <1 variable>)',
        ),
    ],
)  # fmt: skip
def test_describe(step: Step, line: str) -> None:
    assert text.describe(step) == line


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b[31m", '"\\x1b[31m"'),
        ("a\udcffb", '"a\\xffb"'),
        ("\u202e", '"\\u202e"'),
        ("é", '"é"'),
        ("\x9b", '"\\x9b"'),
    ],
)
def test_img_29_no_control_character_is_printed(given: str, shown: str) -> None:
    """IMG-29: what an image brings reaches a terminal only escaped."""
    assert text.quote(given) == shown


def test_run_15_the_environment_is_not_shown() -> None:
    """RUN-15: secrets are in there, and error messages end up in logs."""
    assert "hunter2" not in text.describe(Step("execve", "/x", Strings(("x",)), Strings(("PASSWORD=hunter2",))))


def test_failure_says_what_where_why_and_what_to_do() -> None:
    plan = compiler.compile(spec(), HOST, RootFacts(), context())
    index = next(i for i, step in enumerate(plan.steps) if step.op == "fsopen" and step.args[0] == "mqueue")
    message, remedy = text.failure(plan, index, 19)
    assert message == (
        f'step {index + 1} of {len(plan.steps)}: fsopen("mqueue", FSOPEN_CLOEXEC) = filesystem: '
        "ENODEV (no such device); asked for by /mounts/4; "
        "usually the kernel does not have this file system, or its module is not loaded"
    )
    assert remedy == "cat /proc/filesystems; modprobe; see fsopen(2)"


def test_what_a_step_serves_says_more_than_its_call() -> None:
    root = Step("fsconfig", Fd("overlay"), Flags("FSCONFIG_CMD_CREATE"), kind="root")
    other = Step("fsconfig", Fd("x"), Flags("FSCONFIG_CMD_CREATE"), kind="mount")
    assert "upper directory" in text.failure(Plan((root,)), 0, EINVAL)[0]
    assert "option" in text.failure(Plan((other,)), 0, EINVAL)[0]


def test_any_errno_of_any_step_can_be_told() -> None:
    plan = compiler.compile(spec(), HOST, RootFacts(), context())
    for index in range(len(plan.steps)):
        for errno in (EPERM, ENOENT, EINVAL, 133, 9999):
            message, remedy = text.failure(plan, index, errno)
            assert message.startswith(f"step {index + 1} of ") and "see " in remedy and "\n" not in message


def test_what_a_request_asks_for_says_more_than_that_it_asks() -> None:
    link = network.Link("bridge", "eth0", 100, "", 0, "veth1", 3, (("10.0.0.2", 24),), ("10.0.0.1",))
    steps = tuple(Step("netlink", socket, request, kind="network") for socket, request in network.requests(link))
    told = [text.failure(Plan(steps), index, EINVAL)[0].partition("; usually ")[2] for index in (0, 1, 5)]
    assert told == [
        "the kernel does not accept the MTU or the name",
        "the network's bridge is gone",
        "the address is not one that an interface can have",
    ]
    assert "CAP_NET_ADMIN" in text.failure(Plan(steps), 0, EPERM)[0]


def test_hints_name_calls_and_errors_that_exist() -> None:
    names = set(errorcode.values())
    for op, errno in [*HINTS, *(key[1:] for key in KIND_HINTS)]:
        assert errno in names
        assert not op or f"X({op})" in OPS
    for request, errno in REQUEST_HINTS:
        assert errno in names
        assert request in CONSTANTS
