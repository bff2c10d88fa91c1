# SPDX-License-Identifier: Apache-2.0
"""Why execve(2) failed: the kernel says ENOENT for six different things, this says which one it was.

Looks at the program as the container would: below its root by openat2, or below the source of the bind mount that
covers the path, and reads no more than its first page. What it finds there is hostile: it ends in an error text
only. Runs after a failure and never before.
"""

from __future__ import annotations

import os
import posixpath
import stat
import struct
from errno import E2BIG, EACCES, ELIBBAD, ELOOP, ENOENT, ENOEXEC, ENOTDIR

from minirt.errors import ExecFailed
from minirt.kernel import rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.plan.step import Plan

_MACHINES = {3: "i386", 8: "mips", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64",
             243: "riscv64", 258: "loongarch64"}  # fmt: skip  # e_machine, elf(5)
_RUNS_TOO = {"x86_64": ("i386",), "aarch64": ("arm",)}
_PT_INTERP = 3
_HEAD_BYTES = 4096


class Place:
    """The container's view of files: `root` is its root directory's descriptor. `binds`: (destination, source on
    the host, noexec) of mounts that `root` does not show, because init would have made them."""

    __slots__ = ("root", "binds")

    def __init__(self, root: int, binds: tuple[tuple[str, str, bool], ...] = ()) -> None:
        self.root = root
        self.binds = binds

    def mount_of(self, path: str) -> tuple[str, str, bool] | None:
        """The bind that covers `path`, the deepest one."""
        covering = [b for b in self.binds if path == b[0] or path.startswith(b[0].rstrip("/") + "/")]
        return max(covering, key=lambda b: len(b[0]), default=None)

    def open(self, path: str, flags: int) -> int:
        bind = self.mount_of(path)
        if bind is None:
            return rooted.open_in_root(self.root, path, flags)
        below = path[len(bind[0].rstrip("/")) :].lstrip("/")
        if not below:
            return os.open(bind[1], flags | os.O_CLOEXEC)
        source = os.open(bind[1], os.O_PATH | os.O_CLOEXEC)
        try:
            return rooted.open_in_root(source, below, flags)
        finally:
            os.close(source)


def binds(spec: dict[str, Any], bundle: str) -> tuple[tuple[str, str, bool], ...]:
    """The bind mounts of config.json, for a Place whose root does not show them."""
    found = []
    for mount in spec.get("mounts", ()):
        options = mount.get("options", ())
        if mount.get("type") == "bind" or "bind" in options or "rbind" in options:
            source = posixpath.join(bundle, mount.get("source", ""))
            found.append((posixpath.normpath(mount["destination"]), source, "noexec" in options))
    return tuple(found)


def tried(plan: Plan, cwd: str) -> tuple[str, ...]:
    """The absolute paths of the programs that the plan's execve steps tried, in order."""
    return tuple(posixpath.join(cwd, str(step.args[0])) for step in plan.steps if step.op == "execve")


def explain(place: Place, program: str, candidates: tuple[str, ...], error: int) -> ExecFailed:
    """ExecFailed with the cause, in Docker's words: 127 if there is no such program, 126 if it cannot be executed.

    `program` is argv[0] as given, `candidates` what was tried for it, `error` the errno of all that.
    """
    found: str | None = None
    for candidate in candidates:
        try:
            about = _status(place, candidate)
        except OSError:
            continue
        if "/" in program or not stat.S_ISDIR(about.st_mode):
            found = candidate
            break
    if found is None:
        return _missing(program, error)
    try:
        return _cause(place, program, found, _status(place, found), error)
    except OSError:
        return _failed(program, os.strerror(error).lower(), 127 if error in (ENOENT, ENOTDIR) else 126)


def _status(place: Place, path: str) -> os.stat_result:
    descriptor = place.open(path, os.O_PATH)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _failed(program: str, text: str, code: int, remedy: str = "") -> ExecFailed:
    return ExecFailed(f"exec: {_quoted(program)}: {text}", code, remedy)


def _quoted(text: str) -> str:
    shown = text if len(text) <= 200 else text[:200] + "…"
    return '"' + "".join(c if c.isprintable() else "\\x%02x" % (ord(c) & 0xFF) for c in shown) + '"'


def _missing(program: str, error: int) -> ExecFailed:
    if error == E2BIG:
        return _failed(
            program, "argument list too long", 126, "shorten the arguments or the environment, see execve(2)"
        )
    if "/" not in program:
        return _failed(program, "executable file not found in $PATH", 127)
    if error == EACCES:
        return _failed(program, "permission denied", 126)
    if error == ENOTDIR:
        return _failed(program, f"stat {program}: not a directory", 127)
    if error == ELOOP:
        return _failed(program, f"stat {program}: too many levels of symbolic links", 126)
    return _failed(program, f"stat {program}: no such file or directory", 127)


def _cause(place: Place, program: str, path: str, about: os.stat_result, error: int) -> ExecFailed:
    """The program exists: why could it not be executed?"""
    if stat.S_ISDIR(about.st_mode):
        return _failed(program, "is a directory", 126)
    if not stat.S_ISREG(about.st_mode):
        return _failed(program, "permission denied: not a regular file", 126)
    if error == EACCES:
        return _denied(place, program, path, about)
    if error == E2BIG:
        return _missing(program, error)
    head, interpreter = _read_head(place, path)
    if head.startswith(b"#!"):
        return _script(place, program, head, error)
    if head.startswith(b"\x7fELF"):
        return _elf(place, program, head, interpreter, error)
    if error == ENOEXEC:
        text = "exec format error: an empty file" if not head else "exec format error: neither ELF nor a script with #!"
        return _failed(program, text, 126, "a script must start with a line such as #!/bin/sh")
    return _failed(program, os.strerror(error).lower(), 127 if error == ENOENT else 126)


def _denied(place: Place, program: str, path: str, about: os.stat_result) -> ExecFailed:
    """EACCES: no execute bit, a noexec mount, or a directory or interpreter on the way that forbids it."""
    if not about.st_mode & 0o111:
        return _failed(program, "permission denied: no execute permission", 126, f"chmod +x {path}")
    bind = place.mount_of(path)
    descriptor = place.open(path, os.O_PATH)
    try:
        noexec = bool(os.fstatvfs(descriptor).f_flag & os.ST_NOEXEC) or (bind is not None and bind[2])
    finally:
        os.close(descriptor)
    if noexec:
        remedy = "mount it without noexec, or copy the program elsewhere"
        return _failed(program, "permission denied: its filesystem is mounted noexec", 126, remedy)
    head, interpreter = _read_head(place, path)
    named = _shebang(head)[0] if head.startswith(b"#!") else interpreter
    if named:
        shown = named.decode(errors="replace")
        try:
            below = _status(place, posixpath.join("/", shown))
        except OSError:
            below = None
        if below is not None and not (stat.S_ISREG(below.st_mode) and below.st_mode & 0o111):
            return _failed(program, f"permission denied: its interpreter {_quoted(shown)} cannot be executed", 126)
    if about.st_mode & 0o111 != 0o111:
        owner = f"mode {stat.S_IMODE(about.st_mode):04o}, owner {about.st_uid}:{about.st_gid}"
        return _failed(program, f"permission denied: {owner}", 126, f"chmod a+x {path}, or choose another --user")
    return _failed(program, "permission denied", 126)


def _read_head(place: Place, path: str) -> tuple[bytes, bytes]:
    """The first page of the program, and the interpreter that its ELF program headers name ("" if none)."""
    descriptor = place.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b"", b""
        head = os.pread(descriptor, _HEAD_BYTES, 0)
        return head, _elf_interpreter(descriptor, head)
    finally:
        os.close(descriptor)


def _elf_interpreter(descriptor: int, head: bytes) -> bytes:
    """elf(5): the string that the PT_INTERP program header points at; b"" if there is none or the file is cut."""
    if not head.startswith(b"\x7fELF") or len(head) < 64:
        return b""
    wide, order = head[4] == 2, ">" if head[5] == 2 else "<"
    if wide:
        offset, size, count = struct.unpack_from(order + "Q", head, 32)[0], *struct.unpack_from(order + "HH", head, 54)
    else:
        offset, size, count = struct.unpack_from(order + "I", head, 28)[0], *struct.unpack_from(order + "HH", head, 42)
    if size < (56 if wide else 32) or offset >= 1 << 40:
        return b""
    table = os.pread(descriptor, size * min(count, 128), offset)
    for start in range(0, len(table) - size + 1, size):
        if struct.unpack_from(order + "I", table, start)[0] != _PT_INTERP:
            continue
        where = struct.unpack_from(order + ("Q" if wide else "I"), table, start + (8 if wide else 4))[0]
        if where < 1 << 40:
            return os.pread(descriptor, 256, where).partition(b"\0")[0]
    return b""


def _shebang(head: bytes) -> tuple[bytes, bool]:
    """The interpreter of a script's first line as the kernel takes it, and whether the line ends in CR LF."""
    line = head[2:256].partition(b"\n")[0]
    words = line.strip(b" \t").replace(b"\t", b" ").split(b" ")
    return words[0], line.endswith(b"\r")


def _script(place: Place, program: str, head: bytes, error: int) -> ExecFailed:
    interpreter, carriage_return = _shebang(head)
    shown = interpreter.decode(errors="replace")
    if carriage_return and error in (ENOENT, ENOTDIR):
        text = f"no such file or directory: its first line ends in CR LF, so the interpreter would be {_quoted(shown)}"
        return _failed(program, text, 127, f"convert it to Unix line ends: sed -i 's/\\r$//' {program}")
    if error in (ENOENT, ENOTDIR):
        text = f"no such file or directory: its interpreter {_quoted(shown)} does not exist in the container"
        return _failed(program, text, 127, "install the interpreter in the image, or correct the first line")
    if not interpreter:
        return _failed(program, "exec format error: its first line names no interpreter", 126)
    if error == ENOEXEC:
        try:
            other, loader = _read_head(place, posixpath.join("/", shown))
        except OSError:
            other, loader = b"", b""
        if other.startswith(b"\x7fELF"):
            inner = _elf(place, shown, other, loader, error)
            return ExecFailed(inner.message, inner.exit_code or 126, inner.remedy)
    return _failed(program, f"{os.strerror(error).lower()}: interpreter {_quoted(shown)}", 126)


def _elf(place: Place, program: str, head: bytes, interpreter: bytes, error: int) -> ExecFailed:
    host = os.uname().machine
    order = ">" if head[5:6] == b"\2" else "<"
    number = struct.unpack_from(order + "H", head, 18)[0] if len(head) >= 20 else 0
    machine = _MACHINES.get(number, f"machine {number}")
    if error == ENOEXEC and machine != host:
        bits = "a 32-bit program" if machine in _RUNS_TOO.get(host, ()) else "a program"
        text = f"exec format error: {bits} for {machine}, this host is {host}"
        return _failed(program, text, 126, f"use an image for {host}")
    shown = interpreter.decode(errors="replace")
    if error in (ENOENT, ENOTDIR) and interpreter:
        text = f"no such file or directory: its ELF interpreter {_quoted(shown)} does not exist in the container"
        return _failed(
            program, text, 127, "the program needs the C library of another system; link it statically or add it"
        )
    if error in (ELIBBAD, ENOEXEC):
        return _failed(program, "exec format error: the ELF file is damaged", 126)
    return _failed(program, os.strerror(error).lower(), 127 if error == ENOENT else 126)
