# SPDX-License-Identifier: Apache-2.0
"""The rest of the crossing into C: single calls, facts about the host, the channel, the monitor's start."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

import invariants
from minirt.errors import HostError
from minirt.kernel import call, channel, flat, host, monitor
from minirt.plan.step import Plan
from own import inside, step


def test_calls_say_who_they_are_and_what_about() -> None:
    with pytest.raises(FileNotFoundError) as failed:
        call.openat2(call.AT_FDCWD, "/nowhere", os.O_PATH)
    assert str(failed.value) == "[Errno 2] openat2: No such file or directory: '/nowhere'"
    with pytest.raises(OSError) as refused:
        call.setns(-1, "CLONE_NEWNS")
    assert refused.value.errno == errno.EBADF


def test_clone3_from_python() -> None:
    def body() -> tuple[int, int]:
        pid, pidfd = call.clone3("CLONE_NEWPID|CLONE_NEWUTS")
        if pid == 0:
            os._exit(os.getpid() + 40)
        assert os.waitid(os.P_PIDFD, pidfd, os.WEXITED).si_status == 41  # type: ignore[union-attr]
        return pid > 1, os.get_inheritable(pidfd)

    assert inside(body) == (True, False)


def test_single_calls_that_steps_have_too() -> None:
    def body() -> list[object]:
        call.sethostname("here")
        call.keyctl_join("minirt-test")
        os.mkdir("/mnt/at")
        tree = call.open_tree(call.AT_FDCWD, "/mnt", "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")
        call.mount_setattr(tree, "", "AT_EMPTY_PATH", "MOUNT_ATTR_RDONLY")
        call.move_mount(tree, "", call.AT_FDCWD, "/mnt/at", "MOVE_MOUNT_F_EMPTY_PATH")
        read_only = bool(os.statvfs("/mnt/at").f_flag & os.ST_RDONLY)
        call.umount2("/mnt/at", "MNT_DETACH")
        effective, permitted, _ = call.capget()
        call.capset(effective & ~1, permitted, 0)
        call.close_range(tree, tree)
        return [os.uname().nodename, read_only, call.capget()[0] & 1, os.path.exists(f"/proc/self/fd/{tree}")]

    assert inside(body) == ["here", True, 0, False]


def test_pairs_and_connections(short_dir: Path) -> None:
    deep = short_dir / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    directory = os.open(deep, os.O_PATH)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"/proc/self/fd/{directory}/attach")
        listener.listen()
        client = call.connect_seqpacket(directory, "attach")
        server, _ = listener.accept()
        with server:
            channel.send(client, channel.RESIZE, channel.size(24, 80))
            assert channel.read(server.fileno()) == (channel.RESIZE, b"\x18\0P\0")
            server.sendall(b"\x05" + b"\x07\0\0\0" + b"\0\0\0\0")
            kind, body = channel.read(client)
            assert (kind, channel.exited(body)) == (channel.EXITED, (7, 0))
        assert channel.read(client) == (0, b"")
        os.close(client)
    with pytest.raises(OSError) as failed:
        call.connect_seqpacket(directory, "nothing")
    assert failed.value.errno == errno.ENOENT
    os.close(directory)


def test_a_full_message_and_a_gone_reader() -> None:
    ours, theirs = call.socketpair_seqpacket()
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        channel.read(ours)
    channel.send(ours, channel.STDIN, bytes(channel.PAYLOAD))
    assert channel.read(theirs) == (channel.STDIN, bytes(channel.PAYLOAD))
    os.close(theirs)
    with pytest.raises(BrokenPipeError):
        channel.send(ours, channel.STDIN, b"x")
    os.close(ours)
    with pytest.raises(OSError, match="malformed"):
        channel.started(b"short")


def test_facts() -> None:
    begun = time.perf_counter()
    facts = host.facts()
    assert time.perf_counter() - begun < 0.05
    assert facts.kernel >= (5, 14)
    assert {"mount", "pid", "network", "uts", "ipc", "cgroup"} <= set(facts.namespaces)
    assert "CAP_SYS_ADMIN" in facts.capabilities
    assert facts.cgroup_mount is not None
    assert (Path(facts.cgroup_mount) / "cgroup.controllers").exists()


@pytest.mark.parametrize(
    ("text", "version"),
    [("6.1.0-18-amd64", (6, 1)), ("5.14", (5, 14)), ("6.12-rc1", (6, 12)), ("6.8+", (6, 8)), ("7", (7, 0))],
)
def test_releases(text: str, version: tuple[int, int]) -> None:
    assert host.release(text) == version


def test_a_mount_point_with_blanks_is_unescaped() -> None:
    def body() -> str | None:
        os.mkdir("/mnt/a b\\c")
        call.mount("none", "/mnt/a b\\c", "cgroup2", 0)
        while (found := host.cgroup_mount()) != "/mnt/a b\\c" and found is not None:
            call.umount2(found, "MNT_DETACH")
        return found

    assert inside(body) == "/mnt/a b\\c"


def test_the_program_cannot_be_written() -> None:
    """CVE-2019-5736: through /proc/<pid>/exe, whoever asks."""
    fd = monitor.open_program()
    assert stat.S_ISREG(os.fstat(fd).st_mode)
    with pytest.raises(OSError) as failed:
        os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    assert failed.value.errno in (errno.EROFS, errno.ETXTBSY, errno.EPERM)
    os.close(fd)


def test_the_sealed_copy_cannot_be_written_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EPERM, "no mounts here")

    monkeypatch.setattr(call, "open_tree", refuse)
    fd = monitor.open_program()
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:minirt-monitor")
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_a_missing_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "PROGRAM", "/nowhere/minirt-monitor")
    with pytest.raises(HostError, match="is missing"):
        monitor.open_program()


def test_spawn_and_the_first_word() -> None:
    """A plan without a birth in it is the monitor's to refuse."""
    ours, theirs = call.socketpair_seqpacket()
    settings = monitor.Settings()
    settings.control = theirs
    pid = monitor.spawn(flat.encode(Plan((step("umask", 0),)), settings), (theirs,))
    os.close(theirs)
    kind, body = channel.read(ours)
    assert (kind, channel.failed(body)) == (channel.FAILED, (-1, errno.EINVAL))
    assert channel.read(ours) == (0, b"")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(ours)


def test_what_a_monitor_inherits(tmp_path: Path) -> None:
    """No environment, default signals, a session of its own, no descriptor but those kept (RUN-17)."""
    leak = os.open("/", os.O_PATH)
    os.set_inheritable(leak, True)
    kept = os.open(tmp_path, os.O_PATH)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor, "PROGRAM", "/bin/sleep")  # takes the plan's number for seconds
        pid = monitor.spawn(flat.encode(Plan(())), (kept,))
    try:
        while not (command := Path(f"/proc/{pid}/cmdline").read_bytes()):
            time.sleep(0.001)  # vfork(2) returns in the middle of execve
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.001)  # until it sleeps, its loader has files of its own open
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        fds = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        argv = command.split(b"\0")
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        assert int(fields["SigBlk"], 16) == int(fields["SigIgn"], 16) == 0
        assert os.getsid(pid) == pid
        assert argv[0] == b"minirt:monitor"
        assert fds - {0, 1, 2} == {kept, int(argv[1])}
        assert os.readlink(f"/proc/{pid}/fd/{int(argv[1])}").startswith("/memfd:minirt-plan")
        with pytest.raises(PermissionError):
            os.write(os.open(f"/proc/{pid}/fd/{int(argv[1])}", os.O_RDWR), b"x")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        os.close(leak)
        os.close(kept)


def test_a_program_that_cannot_be_executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    monkeypatch.setattr(monitor, "PROGRAM", str(tmp_path / "text"))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(HostError, match="permission denied"):
        monitor.spawn(flat.encode(Plan(())), ())
    assert os.listdir("/proc/self/fd") == before
    assert not invariants.children()


def test_the_monitor_is_static() -> None:
    """Nothing of the host's libraries is mapped into a process on its way into a container."""
    headers = subprocess.run(["readelf", "-l", monitor.PROGRAM], capture_output=True, text=True, check=True)
    assert "LOAD" in headers.stdout
    assert "INTERP" not in headers.stdout
