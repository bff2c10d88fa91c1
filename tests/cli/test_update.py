# SPDX-License-Identifier: Apache-2.0
"""`update` as Docker's users know it: what is refused and how, several containers, the restart policy, all or nothing.

What limits do is shown where there are controllers: tests/cgroup/test_update_live.py.
"""

from __future__ import annotations

import json
import re

import pytest

from runner import Minirt


@pytest.fixture
def box(minirt: Minirt) -> Minirt:
    minirt.ok("create", "--name", "box", "--rootfs", minirt.rootfs, "sleep", "1000")
    return minirt


def settled(minirt: Minirt, name: str = "box") -> tuple[str, bytes]:
    """HostConfig, and config.json as it lies there."""
    shown = minirt.ok("inspect", "--format", "{{json .HostConfig}}", name)
    identity = minirt.ok("inspect", "--format", "{{.Id}}", name)
    return shown, (minirt.root / "containers" / identity / "config.json").read_bytes()


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        ((), 1, "you must provide one or more flags when using this command"),
        (("-m", "3q"), 125, """invalid argument "3q" for "-m, --memory" flag: invalid size: '3q'"""),
        (("-m", "-1"), 125, "invalid size: '-1'"),
        (("--memory-swap", "-2"), 125, "invalid size: '-2'"),
        (("--cpus", "two"), 125, "failed to parse two as a rational number"),
        (("--cpus", "0.0000000001"), 125, "value is too precise"),
        (("--cpu-shares", "many"), 125, "--cpu-shares"),
        (("--pids-limit", "1.5"), 125, "--pids-limit"),
        (("-m", "5m"), 1, "Minimum memory limit allowed is 6MB"),
        (("--memory-reservation", "1m"), 1, "Minimum memory reservation allowed is 6MB"),
        (("-m", "64m", "--memory-swap", "32m"), 1, "Minimum memoryswap limit should be larger than memory limit"),
        (("--memory-swap", "64m"), 1, "You should always set the Memory limit when using Memoryswap limit"),
        (("-m", "16m", "--memory-reservation", "32m"), 1, "can not be less than memory reservation"),
        (("--cpu-shares", "1"), 1, "range is from 2 to 262144"),
        (("--cpu-quota", "10"), 1, "can not be less than 1ms"),
        (("--cpu-period", "10"), 1, "can not be less than 1ms"),
        (("--cpus", "1", "--cpu-quota", "50000"), 1, "Conflicting options"),
        (("--blkio-weight", "5"), 1, "range of blkio weight is from 10 to 1000"),
        (("--kernel-memory", "64m"), 1, "--kernel-memory is not supported"),
        (("--cpu-rt-runtime", "1000"), 1, "--cpu-rt-runtime is not supported"),
        (("--restart", "sometimes"), 1, "unknown policy 'sometimes'"),
        (("--restart", "always:3"), 1, "maximum retry count can only be used with 'on-failure'"),
        (("--restart", "on-failure:-1"), 1, "maximum retry count cannot be negative"),
        (("--rm",), 125, "unknown flag: --rm"),
    ],
)
def test_bad_input_changes_nothing(box: Minirt, argv: tuple[str, ...], code: int, says: str) -> None:
    before = settled(box)
    box.fails("update", *argv, "box", code=code, says=says)
    assert settled(box) == before


def test_a_limit_that_fails_takes_the_policy_with_it(box: Minirt) -> None:
    before = settled(box)
    box.fails("update", "--restart", "always", "--cpu-shares", "1", "box", code=1)
    assert settled(box) == before


def test_no_container(box: Minirt) -> None:
    box.fails("update", "--restart", "no", "nosuch", code=1, says="No such container: nosuch")
    box.fails("update", "--restart", "no", "../box", code=1, says="No such container")
    box.fails("update", "--restart", "no", code=1, says="requires at least 1 argument")
    box.ok("rm", "box")
    box.fails("update", "--restart", "no", "box", code=1, says="No such container: box")


def test_several_go_on_past_one_that_is_not_there(box: Minirt) -> None:
    box.ok("run", "-d", "--name", "live", "--rootfs", box.rootfs, "sleep", "1000")
    result = box("update", "--restart", "on-failure:3", "box", "nosuch", "live")
    assert (result.code, result.stdout) == (1, "box\nlive\n")
    assert result.stderr.startswith("minirt: No such container: nosuch\n")
    for name in ("box", "live"):
        policy = json.loads(settled(box, name)[0])["RestartPolicy"]
        assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}
    box.ok("update", "--restart", "no", "live")
    assert json.loads(settled(box, "live")[0])["RestartPolicy"]["Name"] == "no"


def test_policy_against_rm(minirt: Minirt) -> None:
    minirt.ok("create", "--rm", "--name", "brief", "--rootfs", minirt.rootfs, "sleep", "1000")
    says = "Restart policy cannot be updated because AutoRemove is enabled for the container"
    minirt.fails("update", "--restart", "always", "brief", code=1, says=says)
    assert minirt.ok("update", "--restart", "no", "brief") == "brief"
    minirt.ok("rm", "brief")


@pytest.mark.parametrize("argv", [("-m", "0"), ("--cpus", "0"), ("--cpu-shares", "0"), ("--cpuset-cpus", "")])
def test_nothing_is_no_change(box: Minirt, argv: tuple[str, ...]) -> None:
    before = settled(box)
    assert box.ok("update", *argv, "box") == "box"
    assert settled(box) == before


def test_processes_without_limit_on_any_host(box: Minirt) -> None:
    """It is what the kernel does without the controller as well; and the container starts with it."""
    assert box.ok("update", "--pids-limit", "-1", "box") == "box"
    box.ok("start", "box")
    box.ok("update", "--pids-limit", "-1", "box")


@pytest.mark.parametrize(
    ("argv", "controller"),
    [
        (("-m", "64m"), "memory"),
        (("--cpus", "1"), "cpu"),
        (("--cpuset-cpus", "0"), "cpuset"),
        (("--pids-limit", "100"), "pids"),
    ],
)
def test_controller_that_v1_has_is_named(box: Minirt, argv: tuple[str, ...], controller: str) -> None:
    """Also on a container that does not run: its next start could not keep it. Where v2 has it, it is taken."""
    before = settled(box)
    result = box("update", *argv, "box")
    if result.code == 0:
        assert settled(box) != before
        return
    assert re.search(rf'{argv[0].lstrip("-")[0]}.* needs the cgroup v2 controller "{controller}"', result.stderr)
    assert settled(box) == before


def test_more_cpus_than_there_are(box: Minirt) -> None:
    for argv in (("--cpus", "4000"), ("--cpuset-cpus", "0-4000"), ("--cpuset-cpus", "a"), ("--cpuset-mems", "77")):
        before = settled(box)
        result = box("update", *argv, "box")
        assert result.code == 1 and len(result.stderr.splitlines()) == 2, repr(result)
        assert settled(box) == before
