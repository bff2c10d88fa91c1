# SPDX-License-Identifier: Apache-2.0
"""A step is a value: one system call that makes a container, not yet made (clone(2) … execve(2)).

Symbolic throughout: descriptors are named slots, flags are the kernel's words. csrc/ops.h lists the calls;
kernel/flat.py turns a plan into the buffer that the executor runs. Pure: no I/O, no kernel, no number that a
header defines. Plain slotted classes, because dataclasses and typing cost 12 and 7 ms at import.
"""

HOST, MONITOR, INIT = "host", "monitor", "init"  # who makes the call: caller, minirt-monitor, the new pid 1


class Fd:
    """A descriptor by the name of its slot. Fd("cwd") is AT_FDCWD."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fd) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


CWD = Fd("cwd")


class Flags(str):
    """A number in the kernel's words: "MS_NOSUID|MS_NODEV", "O_PATH", "SIOCSIFFLAGS"; "0" for none."""

    __slots__ = ()


class Caps(tuple[str, ...]):
    """A capability set by name, ("CAP_CHOWN", …): a 64-bit mask, bit n for capability number n."""

    __slots__ = ()


class Strings(tuple[str, ...]):
    """A list of strings: argv, envp."""

    __slots__ = ()


class Gids(tuple[int, ...]):
    """gid_t[] as setgroups(2) takes it."""

    __slots__ = ()


class Blob:
    """Bytes given to a call, and how to show them: Blob(bpf, "default profile, 213 instructions")."""

    __slots__ = ("data", "label")

    def __init__(self, data: bytes, label: str) -> None:
        self.data = data
        self.label = label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and (other.data, other.label) == (self.data, self.label)

    def __hash__(self) -> int:
        return hash((self.data, self.label))


class Step:
    """One system call.

    op: its name in csrc/ops.h. args: Fd, str (a path or string), int, Flags, Caps, Strings, Gids, Blob, in the
    order of the table there; None leaves out an optional one. out: the slots that receive descriptors.
    pointer: what asked for it, a JSON pointer into config.json ("/mounts/3") or a flag ("--init"). kind: the
    isolation that it serves ("mount", "pid", "network", "uts", "ipc", "cgroup", "time", "user", "root", "device",
    "mask", "identity", "capability", "seccomp", "limit", "console", "stdio", "sysctl", "exec"). tolerate: errno
    names that count as done.
    """

    __slots__ = ("op", "args", "out", "actor", "pointer", "kind", "tolerate")

    def __init__(
        self,
        op: str,
        *args: object,
        out: str | tuple[str, str] = (),  # type: ignore[assignment]
        actor: str = INIT,
        pointer: str = "",
        kind: str = "",
        tolerate: tuple[str, ...] = (),
    ) -> None:
        self.op = op
        self.args = args
        self.out = (out,) if isinstance(out, str) else out
        self.actor = actor
        self.pointer = pointer
        self.kind = kind
        self.tolerate = tolerate

    def _key(self) -> tuple[object, ...]:
        return (self.op, self.args, self.out, self.actor, self.pointer, self.kind, self.tolerate)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and other._key() == self._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Step({self.op}, {', '.join(map(repr, self.args))})"


class Plan:
    """An ordered tuple of steps; `inherited` names the slots whose descriptors the caller brings."""

    __slots__ = ("steps", "inherited")

    def __init__(self, steps: tuple[Step, ...], inherited: tuple[str, ...] = ()) -> None:
        self.steps = steps
        self.inherited = inherited
