# SPDX-License-Identifier: Apache-2.0
"""What of this host a plan depends on: uname(2), capabilities(7), namespaces(7), getrlimit(2), /proc/self/mountinfo.

Asked anew by each command, in less than a millisecond; nothing is cached across a boot. Must not import runtime.
"""

from __future__ import annotations

import os

from minirt.kernel import call
from minirt.model.capabilities import from_mask
from minirt.plan.facts import Host

_NAMESPACES = {
    "mnt": "mount", "pid": "pid", "net": "network", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup", "time": "time",
    "user": "user",
}  # fmt: skip
LIMITS = tuple(
    "RLIMIT_" + name
    for name in (
        "AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK"
    ).split()
)
_LOWERDIR_PLUS = (6, 8)  # where it cannot be tried, for want of privileges


def facts() -> Host:
    """The host as it is for this process."""
    kernel = release(os.uname().release)
    return Host(
        kernel,
        os.uname().machine,
        from_mask(_capabilities()),
        namespaces(),
        {name: call.hard_limit(name) for name in LIMITS},
        cgroup_mount(),
        _takes_layers_one_by_one(kernel),
    )


def release(text: str) -> tuple[int, int]:
    """(6, 1) of "6.1.0-18-amd64"."""
    major, _, rest = text.partition(".")
    digits = ""
    for character in rest:
        if not character.isdigit():
            break
        digits += character
    return int(major), int(digits or 0)


def _capabilities() -> int:
    """What a child of ours can have. Without root there is no child, and a plan shows what root's would have."""
    bounding = call.bounding_set()
    return bounding & call.capget()[1] if os.geteuid() == 0 else bounding


def namespaces() -> tuple[str, ...]:
    """The kinds that this kernel has, in the order above."""
    found = set(os.listdir("/proc/self/ns"))
    return tuple(kind for name, kind in _NAMESPACES.items() if name in found)


def cgroup_mount() -> str | None:
    """Where cgroup v2 is mounted (its root, as this process sees it); None: nowhere."""
    with open("/proc/self/mountinfo", "rb", buffering=0) as file:
        text = file.readall()
    at = text.find(b" - cgroup2 ")
    if at < 0:
        return None
    fields = text[text.rfind(b"\n", 0, at) + 1 : at].split(b" ")
    return os.fsdecode(_unescape(fields[4]))


def _unescape(path: bytes) -> bytes:
    r"""proc_pid_mountinfo(5): blank, tab, newline and backslash are \ooo."""
    first, *rest = path.split(b"\\")
    return first + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest)


def _takes_layers_one_by_one(kernel: tuple[int, int]) -> bool:
    """Whether overlayfs knows the option `lowerdir+`: tried, because distributions port such things back. Before it
    read its options one by one (Linux 6.5) it took any word, and refused the lot at the end."""
    try:
        context = call.fsopen("overlay")
    except OSError:
        return kernel >= _LOWERDIR_PLUS
    try:
        call.fsconfig(context, "FSCONFIG_SET_STRING", "lowerdir+", "/")
        try:
            call.fsconfig(context, "FSCONFIG_SET_STRING", "no such option", "/")
            return False
        except OSError:
            return True
    except OSError:
        return False
    finally:
        os.close(context)
