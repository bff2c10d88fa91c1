# SPDX-License-Identifier: Apache-2.0
"""Capabilities by name and number (capabilities(7), linux/capability.h), and Docker's --cap-add and --cap-drop.

The numbers are kernel ABI. A set is a tuple of names in the order of their numbers, without doubles. Pure; must
import nothing of minirt but errors.
"""

from minirt.errors import InvalidValue

NAMES: tuple[str, ...] = tuple(
    "CAP_" + name
    for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE"
        " NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT"
        " SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE"
        " AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ"
        " PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)
NUMBERS: dict[str, int] = {name: number for number, name in enumerate(NAMES)}


def normalise(text: str) -> str:
    """ "CAP_NET_ADMIN" for "net_admin", "CAP_NET_ADMIN" …; InvalidValue for a name that no kernel knows."""
    name = text.upper()
    name = name if name.startswith("CAP_") else "CAP_" + name
    if name not in NUMBERS:
        raise InvalidValue(f"invalid capability: {text!r}", "see capabilities(7) for their names")
    return name


def in_order(names: "tuple[str, ...] | list[str] | set[str]") -> tuple[str, ...]:
    """A set of names as a tuple ordered by number."""
    return tuple(sorted(set(names), key=NUMBERS.__getitem__))


def mask(names: "tuple[str, ...] | list[str]") -> int:
    """The 64-bit mask of a set: bit n is capability number n."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return bits


def from_mask(bits: int) -> tuple[str, ...]:
    """The names in a mask, as /proc/<pid>/status shows it; bits beyond the last known one have no name."""
    return tuple(name for number, name in enumerate(NAMES) if bits >> number & 1)


def adjust(base: tuple[str, ...], add: list[str], drop: list[str]) -> tuple[str, ...]:
    """`base` after --cap-add and --cap-drop, by Docker's rules: with `--cap-add ALL` everything but what is dropped
    by name, with `--cap-drop ALL` only what is added by name, else the base less the dropped plus the added."""
    added = [name for name in add if name.upper() not in ("ALL", "CAP_ALL")]
    dropped = [name for name in drop if name.upper() not in ("ALL", "CAP_ALL")]
    everything, nothing = len(added) != len(add), len(dropped) != len(drop)
    chosen = {normalise(name) for name in added}
    removed = {normalise(name) for name in dropped}
    if everything:
        return in_order(set(NAMES) - removed)
    if nothing:
        return in_order(chosen)
    return in_order((set(base) - removed) | chosen)
