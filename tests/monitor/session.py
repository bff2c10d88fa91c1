# SPDX-License-Identifier: Apache-2.0
"""One monitor, started with a plan of a few steps, and its caller's end of the channel (csrc/monitor.h).

The plan: pipes or a pty, clone3, what the test adds, execve. Uses minirt.kernel as the runtime does; knows no
container, image or specification.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from minirt.kernel import call, channel, flat
from minirt.kernel import monitor as kernel_monitor
from minirt.plan.step import CWD, MONITOR, Fd, Flags, Plan, Step, Strings

WAIT_S = 20.0
Message = tuple[int, bytes]


def alive(pid: int) -> bool:
    """A zombie is dead: its parent may be slow."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition: object, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited too long: {what}"
        time.sleep(0.01)


def pipe_steps(stdin: bool) -> list[Step]:
    names = (["stdin"] if stdin else []) + ["stdout", "stderr"]
    return [Step("pipe2", Flags("O_CLOEXEC"), out=(f"{name}_r", f"{name}_w"), actor=MONITOR) for name in names]


def stream_steps(stdin: bool) -> list[Step]:
    ends = ([("stdin_r", 0)] if stdin else []) + [("stdout_w", 1), ("stderr_w", 2)]
    return [Step("dup3", Fd(name), number, 0) for name, number in ends]


def terminal_steps() -> list[Step]:
    opening = Flags("O_RDWR|O_NOCTTY|O_CLOEXEC")
    return [
        Step("openat2", CWD, "/dev/ptmx", opening, 0, 0, out="ptmx"),
        Step("ioctl_int", Fd("ptmx"), Flags("TIOCSPTLCK"), 0),
        Step("ioctl", Fd("ptmx"), Flags("TIOCGPTPEER"), opening, out="pty"),
        Step("sendmsg_fd", Fd("report"), Fd("ptmx")),
        *(Step("dup3", Fd("pty"), number, 0) for number in range(3)),
        Step("ioctl", Fd("pty"), Flags("TIOCSCTTY"), 0),
    ]


class Session:
    """pid: the monitor's. run, container: its directories. workload, start_ticks: from STARTED, once it was read.

    tty, stdin, record, log: what the monitor keeps. namespaces: for clone3. extra: init steps before execve.
    flags: further monitor flags. cgroup: (descriptor of the parent, name) of a cgroup that is there already.
    """

    def __init__(
        self,
        folder: Path,
        argv: Iterable[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        record: bool = True,
        log: bool = True,
        namespaces: str = "CLONE_NEWPID",
        extra: tuple[Step, ...] = (),
        flags: int = 0,
        log_size: int = 0,
        log_files: int = 3,
        cleanup: tuple[str, ...] = (),
        cgroup: tuple[int, str] | None = None,
    ) -> None:
        self.run, self.container = folder / "run", folder / "container"
        self.run.mkdir(parents=True)
        self.container.mkdir()
        self.workload = 0
        self.status: int | None = None
        self.heard: list[Message] = []
        self.others: list[socket.socket] = []
        settings = kernel_monitor.Settings()
        settings.flags = flags | (kernel_monitor.TTY if tty else 0) | (kernel_monitor.STDIN if stdin else 0)
        settings.flags |= (kernel_monitor.RECORD if record else 0) | (kernel_monitor.LOG if log else 0)
        settings.log_size, settings.log_files, settings.cleanup = log_size, log_files, cleanup
        settings.run_dir = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY)
        settings.container_dir = os.open(self.container, os.O_RDONLY | os.O_DIRECTORY)
        inherited = {}
        if cgroup:
            settings.cgroup_parent, settings.cgroup_name = cgroup
            inherited["cgroup"] = os.open(cgroup[1], os.O_RDONLY | os.O_DIRECTORY, dir_fd=cgroup[0])
        self.control, settings.control = call.socketpair_seqpacket()
        code = flat.encode(self.plan(tuple(argv), tty, stdin, namespaces, extra, bool(cgroup)), settings, inherited)
        own = [settings.run_dir, settings.container_dir, settings.control, *inherited.values()]
        keep = (*own, cgroup[0]) if cgroup else tuple(own)
        self.pid = kernel_monitor.spawn(code, keep)
        for descriptor in own:
            os.close(descriptor)

    @staticmethod
    def plan(
        argv: tuple[str, ...], tty: bool, stdin: bool, namespaces: str, extra: tuple[Step, ...], cgroup: bool
    ) -> Plan:
        clone = ("clone3", Flags(namespaces), Flags("SIGCHLD"), *((Fd("cgroup"),) if cgroup else ()))
        steps = [] if tty else pipe_steps(stdin)
        steps += [Step(*clone, out="pidfd", actor=MONITOR), Step("setsid")]
        steps += terminal_steps() if tty else stream_steps(stdin)
        steps += extra
        steps += [Step("close_range", 3, 0xFFFFFFFF, Flags("CLOSE_RANGE_CLOEXEC"))]
        environment = Strings(("PATH=/usr/bin:/bin", "LC_ALL=C"))
        for path in [argv[0]] if "/" in argv[0] else [f"/nowhere/{argv[0]}", f"/bin/{argv[0]}"]:
            tolerate = () if "/" in argv[0] else ("ENOENT", "ENOTDIR", "EACCES")
            steps.append(Step("execve", path, Strings(argv), environment, tolerate=tolerate))
        return Plan(tuple(steps), ("report", "cgroup") if cgroup else ("report",))

    def hear(self, descriptor: int | None = None) -> Message | None:
        """The next message; None at the end."""
        descriptor = self.control if descriptor is None else descriptor
        assert select.select([descriptor], [], [], WAIT_S)[0], "no message came"
        packet = os.read(descriptor, 65536)
        if not packet:
            return None
        if descriptor == self.control:
            self.heard.append((packet[0], packet[1:]))
        if packet[0] == channel.STARTED:
            self.workload, self.start_ticks = channel.started(packet[1:])
        return packet[0], packet[1:]

    def started(self) -> Session:
        message = self.hear()
        assert message and message[0] == channel.STARTED, message
        return self

    def exited(self) -> tuple[int, int]:
        """(code, signal), having heard everything before it."""
        while message := self.hear():
            if message[0] == channel.EXITED:
                return struct.unpack("<ii", message[1])
        raise AssertionError("the monitor left without a word")

    def failed(self) -> tuple[int, int]:
        message = self.hear()
        assert message and message[0] == channel.FAILED, message
        return struct.unpack("<ii", message[1])

    def output(self, kind: int | None = None) -> bytes:
        return b"".join(body for type_, body in self.heard if type_ == (kind or channel.STDOUT))

    def say(self, kind: int, body: bytes = b"") -> None:
        os.write(self.control, bytes((kind,)) + body)

    def attach(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.others.append(client)
        client.connect(str(self.run / "attach"))
        client.settimeout(WAIT_S)
        return client

    def record(self, name: str) -> dict[str, int]:
        lines = (self.run / name).read_text().splitlines()
        return {key: int(value) for key, value in (line.split(" ") for line in lines)}

    def log(self, name: str = "log") -> list[tuple[str, str, str]]:
        """(stream, tag, content) of each record."""
        records = (self.container / name).read_bytes().decode(errors="surrogateescape").split("\n")
        assert records.pop() == ""
        return [tuple(record.split(" ", 3)[1:]) for record in records]  # type: ignore[misc]

    def close(self) -> None:
        if self.control >= 0:
            os.close(self.control)
        self.control = -1

    def wait(self) -> int:
        """The monitor's own exit code, once it has ended; its channel is closed first."""
        self.close()
        if self.status is None:
            wait_until(self._ended, "the monitor's end")
        assert self.status is not None
        return os.waitstatus_to_exitcode(self.status)

    def _ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status = status
        return pid != 0

    def end(self) -> None:
        for client in self.others:
            client.close()
        self.close()
        if self.status is None and not self._ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
