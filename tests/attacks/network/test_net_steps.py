# SPDX-License-Identifier: Apache-2.0
"""CRA-03 for networks: each call that a network or a published port adds fails in turn (strace(1) --inject).

The error is one line with its remedy, names the call and the errno where it is a step's, and nothing is left: no veth,
lease, rule, port or resolver. The same for calls of any other kind is in tests/attacks/test_crash_steps.py.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

import runner
import traces
from boxes import Box
from runner import Minirt

# What the kernel could say, and no step takes for granted.
ERRNO = {
    "sendmsg": "ENOBUFS", "sendto": "ENOBUFS", "recvfrom": "ENOBUFS", "bind": "EACCES", "listen": "ENOBUFS",
    "setsockopt": "ENOMEM", "socket": "ENFILE",
}  # fmt: skip
STEP = re.compile(r"step (\d+) of (\d+): (\w+)\(")
CALLS_LIMIT = 60


def injected(networked: Minirt, name: str, number: int, argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}"]
    trace += ["-e", f"inject={name}:error={ERRNO[name]}:when={number}"]
    done = subprocess.run(
        [*trace, *runner.program(), *argv], env=networked.environment, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=60,
    )  # fmt: skip
    networked.look()
    return done


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRNO)
def test_cra_03_every_call_for_a_network_fails(networked: Minirt, start: Callable[..., Box], name: str) -> None:
    """CRA-03: `run` with two networks and published ports, with the Nth call of this name failing, N = 1, 2, … until
    none is left: an error and nothing behind it, or a failure that does not matter."""
    networked.ok("network", "create", "net")
    start("other", "--network", "net")
    before = traces.count(networked)
    where = ["--network", "bridge", "--network", "net", "-p", "8080:80", "-p", "8080:80/udp"]
    argv = ["run", "--rm", "--name", "box", *where, "--rootfs", str(networked.rootfs), "true"]
    networked.ok(*argv)
    refused, steps, undisturbed = 0, 0, 0
    for number in range(1, CALLS_LIMIT):
        done = injected(networked, name, number, argv)
        said = done.stderr.decode()
        assert "Traceback" not in said and "internal error" not in said, (name, number, said)
        assert networked.ok("ps", "-aq").split() == [networked.ok("ps", "-q", "--filter", "name=other")]
        runner.eventually(lambda: not traces.more(before, traces.count(networked)))
        if done.returncode == 0:
            undisturbed += 1
            if undisturbed > 2:
                break
            continue
        undisturbed = 0
        assert done.returncode == 125, (name, number, done)
        assert said.startswith("minirt: ") and len(said.splitlines()) <= 3, (name, number, said)
        refused += 1
        if STEP.search(said):
            assert ERRNO[name] in said, (name, number, said)
            steps += 1
    networked.ok(*argv)
    assert refused, f"{name} never failed"
    assert steps or name == "sendto", f"no step was named for {name}"
