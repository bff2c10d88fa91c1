# SPDX-License-Identifier: Apache-2.0
"""runtime/failure.py: each cause of a failed execve, with the real file and the errno that the kernel gives for it."""

from __future__ import annotations

import errno
import os
import pathlib
import posixpath
import shutil
import struct
import subprocess

import pytest

from minirt.errors import ExecFailed
from minirt.runtime import failure

BUSYBOX = "/bin/busybox"


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/sh")
    return root


def program(root: pathlib.Path, path: str, content: bytes, mode: int = 0o755) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)


def explain(
    root: pathlib.Path, name: str, error: int, binds: tuple[tuple[str, str, bool], ...] = (), cwd: str = "/"
) -> tuple[int | None, str, str]:
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        tried = (f"/usr/bin/{name}", f"/bin/{name}") if "/" not in name else (posixpath.join(cwd, name),)
        failed = failure.explain(failure.Place(descriptor, binds), name, tried, error)
    finally:
        os.close(descriptor)
    assert isinstance(failed, ExecFailed) and "\n" not in failed.message
    return failed.exit_code, failed.message, failed.remedy


def elf(machine: int, wide: bool = True, interpreter: bytes = b"") -> bytes:
    """A minimal ELF header with one program header, PT_INTERP if there is an interpreter."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    if wide:
        head = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        table = struct.pack("<IIQQQQQQ", 3 if interpreter else 0, 4, 120, 0, 0, len(interpreter) + 1, 0, 1)
    else:
        head = ident + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        table = struct.pack("<IIIIIIII", 3 if interpreter else 0, 84, 0, 0, len(interpreter) + 1, 0, 4, 1)
    return head + table + interpreter + b"\0"


def test_no_such_program(root: pathlib.Path) -> None:
    assert explain(root, "foo", errno.ENOENT)[:2] == (127, 'exec: "foo": executable file not found in $PATH')
    assert explain(root, "/bin/foo", errno.ENOENT)[:2] == (
        127, 'exec: "/bin/foo": stat /bin/foo: no such file or directory',
    )  # fmt: skip
    assert explain(root, "/bin/sh/x", errno.ENOTDIR)[:2] == (127, 'exec: "/bin/sh/x": stat /bin/sh/x: not a directory')
    assert explain(root, "", errno.ENOENT)[0] == 127


def test_a_directory(root: pathlib.Path) -> None:
    assert explain(root, "/usr", errno.EACCES)[:2] == (126, 'exec: "/usr": is a directory')


def test_a_directory_on_the_path_is_not_the_program(root: pathlib.Path) -> None:
    (root / "bin/tool").mkdir()
    assert explain(root, "tool", errno.EACCES)[:2] == (127, 'exec: "tool": executable file not found in $PATH')


def test_no_execute_bit(root: pathlib.Path) -> None:
    program(root, "bin/tool", b"#!/bin/sh\n", 0o644)
    code, message, remedy = explain(root, "tool", errno.EACCES)
    assert (code, message) == (126, 'exec: "tool": permission denied: no execute permission')
    assert remedy == "chmod +x /bin/tool"


def test_another_users_program(root: pathlib.Path) -> None:
    program(root, "bin/tool", b"#!/bin/sh\n", 0o700)
    assert "permission denied: mode 0700, owner 0:0" in explain(root, "tool", errno.EACCES)[1]


@pytest.mark.parametrize("line", [b"#!/bin/bash\r\n", b"#! /bin/sh -e\r\necho\r\n", b"#!/usr/bin/env sh\r\n"])
def test_carriage_return_in_the_first_line(root: pathlib.Path, line: bytes) -> None:
    program(root, "entry.sh", line)
    code, message, remedy = explain(root, "/entry.sh", errno.ENOENT)
    assert code == 127 and "its first line ends in CR LF" in message
    assert remedy == "convert it to Unix line ends: sed -i 's/\\r$//' /entry.sh"


def test_script_interpreter_missing(root: pathlib.Path) -> None:
    program(root, "entry.sh", b"#!/bin/bash -e\n")
    assert explain(root, "/entry.sh", errno.ENOENT)[:2] == (
        127,
        'exec: "/entry.sh": no such file or directory: its interpreter "/bin/bash" does not exist in the container',
    )


def test_elf_interpreter_missing(root: pathlib.Path) -> None:
    shutil.copy(shutil.which("env") or "/usr/bin/env", root / "bin/dynamic")
    code, message, _ = explain(root, "dynamic", errno.ENOENT)
    assert code == 127
    assert 'its ELF interpreter "/lib' in message and "does not exist in the container" in message
    program(root, "bin/narrow", elf(3, wide=False, interpreter=b"/lib/ld-linux.so.2"))
    assert '"/lib/ld-linux.so.2" does not exist' in explain(root, "narrow", errno.ENOENT)[1]


def test_wrong_architecture(root: pathlib.Path) -> None:
    other, name = (62, "x86_64") if os.uname().machine == "aarch64" else (183, "aarch64")
    program(root, "bin/other", elf(other))
    code, message, remedy = explain(root, "other", errno.ENOEXEC)
    assert code == 126 and f"exec format error: a program for {name}, this host is {os.uname().machine}" in message
    assert remedy == f"use an image for {os.uname().machine}"
    program(root, "script", b"#!/bin/other\n")
    assert f"a program for {name}" in explain(root, "/script", errno.ENOEXEC)[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "exec format error: an empty file"),
        (b"echo hello\n", "exec format error: neither ELF nor a script with #!"),
        (b"\x7fELF", "exec format error: "),
        (b"\x7fELF" + b"\xff" * 4000, "exec format error: "),
        (b"#!\n", "names no interpreter"),
    ],
)
def test_no_program_at_all(root: pathlib.Path, content: bytes, words: str) -> None:
    program(root, "bin/tool", content)
    code, message, _ = explain(root, "tool", errno.ENOEXEC)
    assert code == 126 and words in message


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")
def test_noexec_mount(root: pathlib.Path) -> None:
    (root / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", root / "data"], check=True)
    try:
        program(root, "data/tool", b"#!/bin/sh\n")
        code, message, _ = explain(root, "/data/tool", errno.EACCES)
    finally:
        subprocess.run(["umount", root / "data"], check=True)
    assert code == 126 and "its filesystem is mounted noexec" in message


def test_a_program_on_a_bind_mount_is_looked_for_in_its_source(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    program(tmp_path, "source/tool", b"#!/bin/nothing\n")
    binds = (("/data", str(tmp_path / "source"), False), ("/data/deeper", "/nonexistent", False))
    assert 'interpreter "/bin/nothing" does not exist' in explain(root, "/data/tool", errno.ENOENT, binds)[1]
    assert "no such file" in explain(root, "/data/deeper/tool", errno.ENOENT, binds)[1]
    noexec = (("/data", str(tmp_path / "source"), True),)
    assert "mounted noexec" in explain(root, "/data/tool", errno.EACCES, noexec)[1]


def test_a_relative_program_is_found_from_the_working_directory(root: pathlib.Path) -> None:
    program(root, "srv/run", b"#!/bin/nothing\n")
    assert 'interpreter "/bin/nothing"' in explain(root, "./run", errno.ENOENT, cwd="/srv")[1]


def test_links_are_followed_inside_the_root_only(root: pathlib.Path) -> None:
    (root / "bin/hostname-of-host").symlink_to("/etc/hostname")
    assert explain(root, "/bin/hostname-of-host", errno.ENOENT)[0] == 127
    (root / "bin/loop").symlink_to("loop")
    assert explain(root, "/bin/loop", errno.ELOOP)[:2] == (
        126, 'exec: "/bin/loop": stat /bin/loop: too many levels of symbolic links',
    )  # fmt: skip


def test_a_fifo_is_not_opened_for_reading(root: pathlib.Path) -> None:
    os.mkfifo(root / "bin/fifo", 0o755)
    assert explain(root, "fifo", errno.EACCES)[:2] == (126, 'exec: "fifo": permission denied: not a regular file')


def test_a_name_from_an_image_reaches_no_terminal_unquoted(root: pathlib.Path) -> None:
    code, message, _ = explain(root, "evil\x1b[2J\n", errno.ENOENT)
    assert code == 127 and "\x1b" not in message


def test_argument_list_too_long(root: pathlib.Path) -> None:
    assert explain(root, "sh", errno.E2BIG)[:2] == (126, 'exec: "sh": argument list too long')
