# SPDX-License-Identifier: Apache-2.0
"""NET-11, NET-12, NET-14, NET-15: ports and addresses under races, kills and restarts; what a container may set.

What is counted before and after is in tests/traces.py; the fixture counts once more at the end.
"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import exchange
import runner
import traces
from boxes import Box
from runner import Minirt
from world import HOST, HOST6, NEIGHBOUR, World

CYCLES, AT_ONCE = 12, 4


def bind_fails(kind: int, address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as mine:
        if family == socket.AF_INET6:
            mine.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            mine.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def test_net_11_a_published_port_is_held(world: World, start: Callable[..., Box]) -> None:
    """NET-11: the kernel itself refuses the port to any process of the host, on every address, as long as the container
    runs, and gives it afterwards."""
    box = start("web", "-p", "8080:80", "-p", "8080:80/udp", "-p", f"{HOST}:8081:80")
    everywhere = ["0.0.0.0", "127.0.0.1", HOST, "::", "::1", HOST6]
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert [bind_fails(kind, address, 8080) for address in everywhere] == [True] * 6
    assert bind_fails(socket.SOCK_STREAM, HOST, 8081)
    assert not bind_fails(socket.SOCK_STREAM, "127.0.0.1", 8081)
    box.mine.ok("rm", "-f", "web")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert [bind_fails(kind, address, 8080) for address in everywhere] == [False] * 6


def test_net_11_two_at_once(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-11: several runs want one port at the same moment: exactly one gets it, the others say who has it and leave
    neither rule nor lease nor veth."""
    start("other")
    before = traces.count(networked)
    words = ["-p", "8080:80", "--rootfs", str(networked.rootfs), "sleep", "1000"]
    running = [networked.start("run", "-d", "--name", f"racer{number}", *words) for number in range(AT_ONCE)]
    ended = [(child.communicate(timeout=60), child.returncode) for child in running]
    networked.look()
    codes = [code for _, code in ended]
    assert sorted(codes) == [0] + [125] * (AT_ONCE - 1), ended
    winner = f"racer{codes.index(0)}"
    for (_, stderr), code in ended:
        if code:
            assert b"port is already allocated" in stderr and winner.encode() in stderr, stderr
            assert b"Traceback" not in stderr
    after = traces.count(networked)
    assert after["veths"] == before["veths"] + 1
    assert after["rows of endpoints"] == before["rows of endpoints"] + 1
    assert after["elements of inet ports4"] == before["elements of inet ports4"] + 1
    networked.ok("rm", "-f", winner)
    runner.eventually(lambda: not traces.more(before, traces.count(networked)))


def test_net_11_a_range_with_one_taken(world: World, start: Callable[..., Box]) -> None:
    """NET-11: a range of ports, one of which a process of the host has: refused as a whole, the others stay free."""
    box = start("other")
    before = traces.count(box.mine)
    with exchange.answering("squatter", 8003):
        said = box.mine.fails(
            "run", "--rm", "-p", "8000-8005:80-85", "--rootfs", box.mine.rootfs, "true", code=125, says="8003"
        )
        assert "address already in use" in said or "already allocated" in said
        assert traces.count(box.mine) == before
        assert not bind_fails(socket.SOCK_STREAM, "0.0.0.0", 8000)
    box.mine.ok("run", "--rm", "-p", "8000-8005:80-85", "--rootfs", box.mine.rootfs, "true")


def test_net_12_cycles(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-12: containers with ports and names come and go, several at a time, on two networks: no two ever have one
    address, and at the end everything is as before."""
    networked.ok("network", "create", "--subnet", "10.9.8.0/28", "net")
    start("other")
    before = traces.count(networked)
    failed: list[str] = []

    def cycle(number: int) -> None:
        for turn in range(CYCLES // AT_ONCE):
            port = f"{9000 + number * 100 + turn}:80"
            done = networked(
                "run", "--rm", "--network", "net", "--network", "bridge", "-p", port, "--rootfs", networked.rootfs,
                "sh", "-c", "ip -4 addr show eth0 | grep -c 'inet '",
            )  # fmt: skip
            if done.code or done.out != "1":
                failed.append(repr(done))

    threads = [threading.Thread(target=cycle, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    runner.eventually(lambda: traces.count(networked) == before)


def test_net_12_fifty_at_once(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-12: fifty detached containers started at the same time: fifty addresses; then all removed at once."""
    start("other")
    before = traces.count(networked)
    words = ["--rootfs", str(networked.rootfs), "sleep", "1000"]
    running = [networked.start("run", "-d", "--name", f"n{number}", *words) for number in range(50)]
    for child in running:
        _, stderr = child.communicate(timeout=120)
        assert child.returncode == 0, stderr
    networked.look()
    names = [f"n{number}" for number in range(50)]
    told = networked.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", *names).split()
    assert len(set(told)) == 50
    assert traces.count(networked)["veths"] == before["veths"] + 50
    removing = [networked.start("rm", "-f", *names[start : start + 10]) for start in range(0, 50, 10)]
    for child in removing:
        _, stderr = child.communicate(timeout=120)
        assert child.returncode == 0, stderr
    runner.eventually(lambda: traces.count(networked) == before)


@pytest.mark.parametrize("call", ["bind", "sendto", "clone3", "socket"])
def test_net_12_killed_at_a_call(networked: Minirt, start: Callable[..., Box], call: str) -> None:
    """NET-12: `run`, its monitor or init is killed at the Nth call of this name (strace(1) --inject), N = 1, 2, …:
    between lease and rule, rule and socket, socket and clone. The next command puts all of it right."""
    start("other")
    before = traces.count(networked)
    words = ["-p", "8080:80", "-p", "8080:80/udp", "--rootfs", str(networked.rootfs), "true"]
    killed = 0
    for number in range(1, 40):
        argv = ["run", "--rm", "--name", "box", *words]
        inject = f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", *inject]
        done = subprocess.run(
            [*trace, *runner.program(), *argv], env=networked.environment, stdin=subprocess.DEVNULL, capture_output=True
        )
        networked.look()
        networked("rm", "-f", "box")
        assert networked("run", "--rm", "--name", "box", *words).code == 0, f"after a kill at {call} {number}"
        runner.eventually(lambda: not traces.more(before, traces.count(networked)))
        if done.returncode == 0:
            break
        killed += 1
    assert killed, "the control: it was killed at least once"


def test_net_12_killed_at_any_moment(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-12: kill -9 of `run`, and of the container's monitor, at moments that nobody chose."""
    start("other")
    before = traces.count(networked)
    words = ["-p", "8080:80", "--network", "bridge", "--rootfs", str(networked.rootfs), "sleep", "1000"]
    moment = random.Random(12)
    for number in range(10):
        child = networked.start("run", "-d", "--name", f"box{number}", *words)
        time.sleep(moment.uniform(0.0, 0.12))
        child.kill()
        child.communicate()
        networked.look()
        monitor = networked("inspect", "-f", "{{.Minirt.MonitorPid}}", f"box{number}").out
        if number % 2 and monitor.isdecimal() and int(monitor) > 1:
            try:
                os.kill(int(monitor), signal.SIGKILL)
            except ProcessLookupError:
                pass
        networked("rm", "-f", f"box{number}")
    assert networked("run", "--rm", *words[:-2], "true").code == 0
    runner.eventually(lambda: not traces.more(before, traces.count(networked)))


def test_net_12_an_address_in_use_is_not_given_again(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-12: on a network with five addresses the sixth container is refused; after one has gone, killed as it was,
    its address is the one that is free."""
    networked.ok("network", "create", "--subnet", "10.9.8.0/29", "net")
    words = ["--network", "net", "--rootfs", str(networked.rootfs), "sleep", "1000"]
    boxes = []
    for number in range(5):
        networked.ok("run", "-d", "--name", f"n{number}", *words)
        boxes.append(Box(networked, f"n{number}"))
    held = [box.address4 for box in boxes]
    assert len(set(held)) == 5
    networked.fails("run", "--rm", *words, code=125, says="10.9.8.0/29")
    os.kill(int(networked.ok("inspect", "-f", "{{.Minirt.MonitorPid}}", "n3")), signal.SIGKILL)
    for box in boxes:
        box.namespace.close()
    networked.ok("run", "-d", "--name", "again", *words)
    again = Box(networked, "again")
    assert again.address4 == held[3]
    again.namespace.close()


def test_net_14_udp_after_a_restart(world: World, start: Callable[..., Box]) -> None:
    """NET-14: a client that sends from one port all the time is answered by the container that has the port now: after
    the first was replaced, and although it had begun before anybody had the port."""
    sender = (NEIGHBOUR, 4444)
    with world.neighbour:
        assert exchange.silent(HOST, 8053, "udp")
        for _ in range(3):
            with pytest.raises(OSError):
                exchange.ask(HOST, 8053, "udp", source=sender, patience_s=0.1)
    first = start("first", "-p", "8053:80/udp")
    with world.neighbour:
        assert exchange.ask(HOST, 8053, "udp", source=sender).name == "first"
    start("placeholder")  # so that the address is another one
    first.mine.ok("rm", "-f", "first")
    start("middle")
    start("second", "-p", "8053:80/udp")
    with world.neighbour:
        assert exchange.ask(HOST, 8053, "udp", source=sender).name == "second"
    first.mine.ok("restart", "-t", "0", "second")
    runner.eventually(lambda: answers(world, sender) == "second")


def answers(world: World, sender: tuple[str, int]) -> str:
    with world.neighbour:
        try:
            return exchange.ask(HOST, 8053, "udp", source=sender, patience_s=0.3).name
        except OSError:
            return ""


SETTINGS = {
    "net/ipv4/ping_group_range": "0\t2147483647",
    "net/ipv4/ip_unprivileged_port_start": "0",
}


def test_net_15_settings_inside(networked: Minirt) -> None:
    """NET-15: in a network of its own a container may bind low ports and ping without a capability, and /proc/sys is
    read-only; with the host's network the host's settings stay what they are."""
    run: list[str | Path] = ["run", "--rm", "--user", "65534", "--rootfs", networked.rootfs, "sh", "-c"]
    script = "; ".join(f"cat /proc/sys/{name}" for name in SETTINGS)
    assert networked.ok(*run, script).splitlines() == list(SETTINGS.values())
    host = [Path("/proc/sys", name).read_text().strip() for name in SETTINGS]
    assert host != list(SETTINGS.values()), "the control"
    assert networked.ok("run", "--rm", "--network", "host", *run[2:], script).splitlines() == host
    assert "Read-only" in networked("run", "--rm", *run[4:], "echo 1 >/proc/sys/net/ipv4/ip_forward").stderr
    assert re.search("listen", networked(*run, "nc -l -p 80 & sleep 0.2; netstat -ltn | grep :80 && echo listen").out)
