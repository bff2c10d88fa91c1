# SPDX-License-Identifier: Apache-2.0
"""Which devices a container can open and make: the eBPF program on its cgroup. It needs no controller, so it is shown
on every host, by 1:11, /dev/kmsg: each host has it, and no container by default. To open it takes CAP_SYSLOG."""

from __future__ import annotations

import os

import pytest

import runner

OPEN = "mknod /n c 1 11 && exec 3</n && echo opened"
FORBIDDEN = "Operation not permitted"


def inside(minirt: runner.Minirt, script: str, *options: str) -> runner.Result:
    return minirt("run", "--rm", "--cap-add", "SYSLOG", *options, "localhost/busybox", "sh", "-c", script)


def test_a_node_that_is_not_allowed_can_be_made_and_not_opened(minirt: runner.Minirt) -> None:
    result = inside(minirt, OPEN, "--cap-add", "MKNOD")
    assert result.code != 0 and FORBIDDEN in result.stderr and "opened" not in result.out, repr(result)


@pytest.mark.parametrize("rule", ["c 1:11 rwm", "c 1:* r", "c *:* rm", "a *:* rwm"])
def test_a_rule_allows_it(minirt: runner.Minirt, rule: str) -> None:
    result = inside(minirt, OPEN, "--cap-add", "MKNOD", "--device-cgroup-rule", rule)
    assert result.out == "opened", repr(result)


@pytest.mark.parametrize("rule", ["c 1:11 w", "c 1:12 rwm", "b 1:11 rwm"])
def test_a_rule_for_something_else_does_not(minirt: runner.Minirt, rule: str) -> None:
    result = inside(minirt, OPEN, "--cap-add", "MKNOD", "--device-cgroup-rule", rule)
    assert result.code != 0 and FORBIDDEN in result.stderr, repr(result)


def test_without_the_capability_no_node_is_made(minirt: runner.Minirt) -> None:
    result = inside(minirt, OPEN, "--device-cgroup-rule", "c 1:11 rwm")
    assert result.code != 0 and "mknod" in result.stderr and FORBIDDEN in result.stderr, repr(result)


def test_device_is_made_with_its_mode_and_opened_as_far_as_allowed(minirt: runner.Minirt) -> None:
    script = (
        "ls -l /dev/log-of-kernel; exec 3</dev/log-of-kernel && echo read; echo x >/dev/log-of-kernel && echo wrote"
    )
    result = inside(minirt, script, "--device", "/dev/kmsg:/dev/log-of-kernel:r")
    assert "1,  11" in result.out and "read" in result.lines and "wrote" not in result.lines, repr(result)
    assert FORBIDDEN in result.stderr


def test_exec_is_held_to_the_same(minirt: runner.Minirt) -> None:
    minirt.ok("run", "-d", "--name", "one", "--cap-add", "MKNOD", "localhost/busybox", "sleep", "1000")
    result = minirt("exec", "--privileged", "one", "sh", "-c", OPEN)
    assert result.code != 0 and FORBIDDEN in result.stderr, repr(result)


def test_privileged_has_no_program(minirt: runner.Minirt) -> None:
    assert inside(minirt, OPEN.replace("/n", "/tmp/n"), "--privileged", "--tmpfs", "/tmp:dev").out == "opened"


def test_the_usual_devices_work(minirt: runner.Minirt) -> None:
    script = "for d in zero urandom random tty; do head -c 3 </dev/$d >/dev/null || exit 1; done; echo x >/dev/null"
    assert inside(minirt, script.replace(" tty", "")).code == 0
    child, terminal = minirt.terminal("run", "--rm", "-t", "localhost/busybox", "sh", "-c", ": </dev/tty && exit 7")
    assert child.wait(30) == 7
    os.close(terminal)


BAD = [
    (("--device", "/dev/nowhere"), 'gathering device information while adding custom device "/dev/nowhere"'),
    (("--device", "/etc/passwd"), "not a device node"),
    (("--device", "/dev/null:relative"), "bad format for device"),
    (("--device", "/dev/null:/x:rx"), "bad format for device"),
    (("--device-cgroup-rule", "c 1:1"), "invalid device cgroup format 'c 1:1'"),
    (("--device-cgroup-rule", "everything"), "invalid device cgroup format"),
]


@pytest.mark.parametrize(("options", "says"), BAD)
def test_bad_device(minirt: runner.Minirt, options: tuple[str, ...], says: str) -> None:
    told = minirt.fails("run", *options, "localhost/busybox", "true", code=125, says=says)
    assert len(told.splitlines()) <= 2
    assert minirt.ok("ps", "-aq") == ""
