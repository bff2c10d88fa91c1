# SPDX-License-Identifier: Apache-2.0
"""Each step on descriptors, against the kernel: bytes, pipes, sockets, terminals, the interface lo."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import socket
import struct
import termios
from errno import EBADF, ECANCELED, EINVAL, EIO, EPIPE
from pathlib import Path

import pytest

from minirt.kernel import call
from minirt.kernel.execute import StepError
from minirt.plan.step import CWD, Blob, Fd, Flags
from own import NONE, inside, opened, run, step


def test_write_one_piece(tmp_path: Path) -> None:
    made = run(
        step("openat2", CWD, str(tmp_path / "f"), Flags("O_WRONLY|O_CREAT|O_CLOEXEC"), 0o600, NONE, out="f"),
        step("write", Fd("f"), Blob(b"a\0b", "three bytes")),
        step("write", Fd("f"), "text"),
    )
    os.close(made["f"])
    assert (tmp_path / "f").read_bytes() == b"a\0btext"


def test_a_short_write_is_an_error() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(StepError) as failed:
        run(step("write", Fd("w"), Blob(bytes(1 << 20), "more than a pipe holds")), inherited={"w": writing})
    assert failed.value.errno == EIO
    os.close(reading)
    with pytest.raises(StepError) as failed:
        run(step("write", Fd("w"), "x"), inherited={"w": writing})
    assert failed.value.errno == EPIPE
    os.close(writing)


def test_read_waits_for_one_byte_and_takes_the_end_for_no() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"12")
    run(step("read", Fd("r")), step("read", Fd("r")), inherited={"r": reading})
    os.close(writing)
    with pytest.raises(StepError) as failed:
        run(step("read", Fd("r")), inherited={"r": reading})
    os.close(reading)
    assert (failed.value.index, failed.value.errno) == (0, ECANCELED)


def test_close_gives_the_slot_up() -> None:
    made = run(opened("/", out="a"), opened("/", out="b"), step("close", Fd("a")))
    assert list(made) == ["b"]
    os.close(made["b"])
    with pytest.raises(StepError) as failed:
        run(opened("/", out="a"), step("close", Fd("a")), step("close", Fd("a")))
    assert (failed.value.index, failed.value.errno) == (2, EBADF)


def test_dup3() -> None:
    def body() -> tuple[bool, bool]:
        run(opened("/mnt"), step("dup3", Fd("it"), 100, NONE), step("dup3", Fd("it"), 101, Flags("O_CLOEXEC")))
        return os.get_inheritable(100), os.get_inheritable(101)

    assert inside(body) == (True, False)


def test_pipe2() -> None:
    made = run(step("pipe2", Flags("O_CLOEXEC"), out=("reading", "writing")))
    os.write(made["writing"], b"x")
    assert os.read(made["reading"], 9) == b"x"
    for fd in made.values():
        os.close(fd)


def test_socket_and_the_flags_of_lo() -> None:
    """A new network namespace has lo, down; this is what brings it up."""

    def body() -> tuple[bool, bool]:
        def reachable() -> bool:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                try:
                    one.connect(("127.0.0.1", 9))
                    return True
                except OSError:
                    return False

        before = reachable()
        datagram = Flags("SOCK_DGRAM|SOCK_CLOEXEC")
        run(
            step("socket", Flags("AF_INET"), datagram, 0, out="socket"),
            step("ioctl_ifflags", Fd("socket"), "lo", Flags("IFF_UP")),
        )
        return before, reachable()

    assert inside(body) == (False, True)


def test_an_interface_name_that_is_too_long() -> None:
    with pytest.raises(StepError) as failed:
        run(
            step("socket", Flags("AF_INET"), Flags("SOCK_DGRAM|SOCK_CLOEXEC"), 0, out="socket"),
            step("ioctl_ifflags", Fd("socket"), "l" * 16, Flags("IFF_UP")),
        )
    assert failed.value.errno == EINVAL


def test_sendmsg_fd() -> None:
    ours, theirs = call.socketpair_seqpacket()
    reading, writing = os.pipe()
    run(step("sendmsg_fd", Fd("socket"), Fd("payload")), inherited={"socket": theirs, "payload": writing})
    with socket.socket(fileno=ours) as receiver:
        data, control, flags, _ = receiver.recvmsg(16, socket.CMSG_SPACE(4))
    assert (data, flags & socket.MSG_CTRUNC) == (b"\0", 0)
    assert control[0][:2] == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    received = array.array("i", control[0][2])[0]
    os.write(received, b"through")
    assert os.read(reading, 99) == b"through"
    for fd in (theirs, reading, writing, received):
        os.close(fd)


def test_a_terminal_by_descriptor() -> None:
    """devpts of its own, its ptmx, the other end without a name, its size, and the controlling terminal."""

    def body() -> tuple[bytes, tuple[int, int], bool]:
        os.mkdir("/mnt/pts")
        call.mount("devpts", "/mnt/pts", "devpts", 0, "newinstance,ptmxmode=0666")
        made = run(
            opened("/mnt/pts/ptmx", "O_RDWR|O_NOCTTY|O_CLOEXEC", "ptmx"),
            step("ioctl_int", Fd("ptmx"), Flags("TIOCSPTLCK"), 0),
            step("ioctl_winsize", Fd("ptmx"), 33, 111),
            step("ioctl", Fd("ptmx"), Flags("TIOCGPTPEER"), Flags("O_RDWR|O_NOCTTY|O_CLOEXEC"), out="peer"),
            step("setsid"),
            step("ioctl", Fd("peer"), Flags("TIOCSCTTY"), NONE),
        )
        os.write(made["peer"], b"hello")
        rows, columns = struct.unpack("HHHH", fcntl.ioctl(made["peer"], termios.TIOCGWINSZ, bytes(8)))[:2]
        return (
            os.read(made["ptmx"], 9),
            (rows, columns),
            os.get_terminal_size(os.open("/dev/tty", os.O_RDWR)).columns == 111,
        )

    assert inside(body) == (b"hello", (33, 111), True)


def test_ioctl_without_a_descriptor_leaves_no_slot() -> None:
    def body() -> dict[str, int]:
        _master, terminal = pty.openpty()
        return run(step("setsid"), step("ioctl", Fd("it"), Flags("TIOCSCTTY"), NONE), inherited={"it": terminal})

    assert inside(body) == {}
