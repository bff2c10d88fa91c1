# SPDX-License-Identifier: Apache-2.0
"""A step as a person reads it: one line in the manner of strace(1), and what it means when it fails.

Everything is derived from the step and the number of the error; nobody writes a message beside a call. Control
characters of whatever an image or a user brought are escaped, so that no text of theirs reaches a terminal as it
is. Pure; must not import kernel.
"""

from __future__ import annotations

import os
from errno import errorcode

from minirt.plan.hints import HINTS, KIND_HINTS, REQUEST_HINTS, Hint
from minirt.plan.netlink import Batch, Request, Socket
from minirt.plan.request_text import describe as request
from minirt.plan.step import Blob, Caps, Fd, Flags, Gids, Plan, Step, Strings

# (operation, position among its arguments): a mode, written in octal
_OCTAL = {("openat2", 3), ("mkdirat", 2), ("mknodat", 2), ("fchmod", 1), ("umask", 0)}
_MANUAL = {
    "bpf_prog_attach": "bpf(2)", "bpf_prog_load": "bpf(2)", "capset": "capset(2)", "clone3": "clone(2)",
    "dup3": "dup(2)", "fchdir": "chdir(2)", "fchmod": "chmod(2)",
    "fchown": "chown(2)", "ioctl": "ioctl_tty(2)", "ioctl_ifflags": "netdevice(7)", "ioctl_int": "ioctl_tty(2)",
    "ioctl_winsize": "ioctl_tty(2)", "mkdirat": "mkdir(2)", "mknodat": "mknod(2)", "pipe2": "pipe(2)",
    "prlimit64": "getrlimit(2)", "sendmsg_fd": "sendmsg(2)", "setdomainname": "getdomainname(2)",
    "sethostname": "gethostname(2)", "setresgid": "setresuid(2)", "symlinkat": "symlink(2)",
    "unlinkat": "unlink(2)", "setsockopt": "socket(7)",
}  # fmt: skip


def describe(step: Step) -> str:
    """`move_mount(/proc, "", rootfs, "proc", MOVE_MOUNT_F_EMPTY_PATH)`, `fsmount(…) = /proc`: descriptors by the
    names of their slots, flags in the kernel's words."""
    shown = ", ".join(_argument(step, index, value) for index, value in enumerate(step.args))
    made = f" = {', '.join(step.out)}" if step.out else ""
    return f"{step.op}({shown}){made}"


def manual(step: Step) -> str:
    """The page to read on: "mount(2)"."""
    if step.op == "netlink":
        return "nft(8)" if isinstance(step.args[-1], Batch) else "rtnetlink(7)"
    return _MANUAL.get(step.op, f"{step.op}(2)")


def failure(plan: Plan, index: int, errno: int) -> tuple[str, str]:
    """(message, remedy) for step `index` of `plan`, counted from 0, that failed with `errno`."""
    step, name = plan.steps[index], errorcode.get(errno, str(errno))
    message = f"step {index + 1} of {len(plan.steps)}: {describe(step)}: {name} ({os.strerror(errno).lower()})"
    if step.pointer:
        message += f"; asked for by {step.pointer}"
    hint = hint_for(step, name)
    page = f"see {manual(step)}"
    if hint is None:
        return message, page
    return f"{message}; usually {hint.meaning}", f"{hint.check}; {page}" if hint.check else page


def hint_for(step: Step, errno_name: str) -> Hint | None:
    """The narrower table first: by what is requested or what the step serves, then by the call alone, then by the
    error alone."""
    return (
        next(
            (REQUEST_HINTS[word, errno_name] for word in _requested(step) if (word, errno_name) in REQUEST_HINTS), None
        )
        or KIND_HINTS.get((step.kind, step.op, errno_name))
        or HINTS.get((step.op, errno_name))
        or HINTS.get(("", errno_name))
    )


def _requested(step: Step) -> tuple[str, ...]:
    """What the step asks of netlink: its attributes, and what the request is ("RTM_NEWLINK", "NFT_MSG_NEWSETELEM")."""
    last = step.args[-1] if step.op == "netlink" else None
    if isinstance(last, Batch):
        return (last[0].type,)
    return (*(name for name, _ in last.attributes), last.type) if isinstance(last, Request) else ()


def _argument(step: Step, index: int, value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, Fd):
        return "AT_FDCWD" if value.name == "cwd" else value.name
    if isinstance(value, Flags):
        return value.replace("0o", "0") if (step.op, index) in _OCTAL else str(value)
    if isinstance(value, Caps):
        return "|".join(value) or "0"
    if isinstance(value, Strings):
        return _strings(step, index, value)
    if isinstance(value, Request | Batch):
        return request(value)
    if isinstance(value, Socket):
        return f"[{value.address}]:{value.port}" if ":" in value.address else f"{value.address}:{value.port}"
    if isinstance(value, Gids):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, Blob):
        return quote(value.label) if step.op == "write" else f"<{value.label}>"
    if isinstance(value, int):
        return _number(step, index, value)
    return quote(str(value))


def _number(step: Step, index: int, value: int) -> str:
    if (step.op, index) in _OCTAL:
        return f"{value:#05o}".replace("o", "") if value else "0"
    return {0xFFFFFFFF: "~0", (1 << 64) - 1: "RLIM_INFINITY"}.get(value, str(value))


def _strings(step: Step, index: int, value: Strings) -> str:
    """argv in full; of the environment only how much there is, because that is where secrets are."""
    if step.op in ("execve", "execveat") and index == (2 if step.op == "execve" else 3):
        return f"<{len(value)} variable{'' if len(value) == 1 else 's'}>"
    return "[" + ", ".join(map(quote, value)) + "]"


def quote(text: str) -> str:
    """A string in double quotes, safe to print: control and format characters, and halves of one, as escapes."""
    return '"' + "".join(_SPECIAL.get(c) or (c if c.isprintable() else _escape(c)) for c in text) + '"'


_SPECIAL = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def _escape(character: str) -> str:
    """`\\xNN` for a control character and for a byte that is no UTF-8 (os.fsdecode's surrogate), else `\\uNNNN`."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
