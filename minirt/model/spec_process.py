# SPDX-License-Identifier: Apache-2.0
"""The "process" of a config.json, or of an exec (runtime-spec config.md, "Process").

Capabilities that this kernel does not know are no fault, as the specification wants it: the compiler leaves them
out. Pure; must import nothing but this room.
"""

from __future__ import annotations

from minirt.model.spec_faults import MAX_ID, Faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RLIMITS: tuple[str, ...] = tuple(
    "RLIMIT_" + name
    for name in (
        "AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK".split()
    )
)
SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
_UNSUPPORTED = {
    "apparmorProfile": "AppArmor profiles are not supported",
    "selinuxLabel": "SELinux labels are not supported",
    "scheduler": "scheduling attributes are not supported",
    "ioPriority": "I/O priorities are not supported",
    "execCPUAffinity": "CPU affinity is not supported",
    "commandLine": "it is for Windows; use args",
}
_MAX_GROUPS = 65536  # NGROUPS_MAX, limits.h
_MAX_LIMIT = (1 << 64) - 1


def check(process: dict[str, Any], pointer: str, faults: Faults) -> None:
    faults.unsupported(process, pointer, _UNSUPPORTED)
    for key in ("terminal", "noNewPrivileges"):
        faults.member(process, pointer, key, bool)
    size = faults.member(process, pointer, "consoleSize", dict)
    for key in ("height", "width"):
        faults.number(size, pointer + "/consoleSize", key, 0, 65535)
    args = faults.texts(process, pointer, "args")
    if not args or not args[0]:
        faults.add(pointer + "/args", "must name a program")
    faults.texts(process, pointer, "env")
    faults.path(process, pointer, "cwd", required=True)
    faults.number(process, pointer, "oomScoreAdj", -1000, 1000)
    _user(faults.member(process, pointer, "user", dict), pointer + "/user", faults)
    _capabilities(faults.member(process, pointer, "capabilities", dict), pointer + "/capabilities", faults)
    _rlimits(process, pointer, faults)


def _user(user: dict[str, Any], pointer: str, faults: Faults) -> None:
    faults.unsupported(user, pointer, {"username": "it is for Windows; use uid"})
    for key in ("uid", "gid"):
        faults.number(user, pointer, key, 0, MAX_ID)
    faults.number(user, pointer, "umask", 0, 0o777)
    groups = faults.member(user, pointer, "additionalGids", list)
    if len(groups) >= _MAX_GROUPS:
        faults.add(pointer + "/additionalGids", f"more than {_MAX_GROUPS - 1} groups")
    for index, group in enumerate(groups):
        if not isinstance(group, int) or isinstance(group, bool) or not 0 <= group <= MAX_ID:
            faults.add(f"{pointer}/additionalGids/{index}", "must be a group id")


def _capabilities(sets: dict[str, Any], pointer: str, faults: Faults) -> None:
    for name in SETS:
        for index, capability in enumerate(faults.texts(sets, pointer, name)):
            if not capability.startswith("CAP_"):
                faults.add(f"{pointer}/{name}/{index}", f'"{capability}" is not the name of a capability')


def _rlimits(process: dict[str, Any], pointer: str, faults: Faults) -> None:
    seen = set()
    for index, limit in enumerate(faults.objects(process, pointer, "rlimits")):
        here = f"{pointer}/rlimits/{index}"
        name = faults.one_of(limit, here, "type", RLIMITS, required=True)
        soft = faults.number(limit, here, "soft", 0, _MAX_LIMIT, required=True)
        hard = faults.number(limit, here, "hard", 0, _MAX_LIMIT, required=True)
        if soft > hard:
            faults.add(here + "/soft", f"{soft} is above the hard limit {hard}")
        if name and name in seen:
            faults.add(here + "/type", f"{name} is set twice")
        seen.add(name)
