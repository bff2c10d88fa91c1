# SPDX-License-Identifier: Apache-2.0
"""Who the workload is and what it may do: users, groups, capabilities, no_new_privs, seccomp (credentials(7),
capabilities(7), prctl(2), seccomp(2)).

The order is the kernel's: dropping from the bounding set needs CAP_SETPCAP, groups need CAP_SETGID, a filter needs
CAP_SYS_ADMIN unless no_new_privs is set, and a change of uid empties the effective set. So:

    bounding ─ no_new_privs ─ groups ─ gid ─ [filter] ─ uid, keeping capabilities ─ capset ─ ambient ─ … ─ [filter]

The filter comes last, right before execve, when no_new_privs allows it. A filter that is loaded earlier must allow
what still follows; the default one does. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.errors import InvalidValue
from minirt.model.capabilities import NAMES, NUMBERS
from minirt.plan import defaults
from minirt.plan.build import NONE, Build
from minirt.plan.step import Caps, Flags, Gids

_SECCOMP = "/linux/seccomp"
_SETS = "/process/capabilities"


def become(build: Build) -> None:
    """Everything but the last filter. Afterwards this process is the workload's user."""
    user = build.process.get("user") or {}
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    _bound(build)
    if build.process.get("noNewPrivileges"):
        pointer = "/process/noNewPrivileges"
        build.add("prctl", Flags("PR_SET_NO_NEW_PRIVS"), 1, 0, 0, 0, pointer=pointer, kind="identity")
    else:
        _filter(build)
    sets = capability_sets(build)
    if uid and sets["permitted"]:
        build.add("prctl", Flags("PR_SET_KEEPCAPS"), 1, pointer="/process/user", kind="identity")
    groups = list(dict.fromkeys([gid, *(user.get("additionalGids") or ())]))
    build.add("setgroups", Gids(groups), pointer="/process/user/additionalGids", kind="identity")
    build.add("setresgid", gid, gid, gid, pointer="/process/user/gid", kind="identity")
    build.add("setresuid", uid, uid, uid, pointer="/process/user/uid", kind="identity")
    build.add(
        "capset", Caps(sets["effective"]), Caps(sets["permitted"]), Caps(sets["inheritable"]), pointer=_SETS,
        kind="capability",
    )  # fmt: skip
    for name in sets["ambient"]:
        what, pointer = Flags("PR_CAP_AMBIENT_RAISE"), _SETS + "/ambient"
        build.add("prctl", Flags("PR_CAP_AMBIENT"), what, Flags(name), 0, 0, pointer=pointer, kind="capability")
    if uid or gid:  # a change of credentials forgets it
        build.add("prctl", Flags("PR_SET_PDEATHSIG"), Flags("SIGKILL"), pointer="/process/user", kind="identity")


def last_filter(build: Build) -> None:
    """The filter of a process that cannot gain privileges: nothing of ours but execve has to pass it."""
    if build.process.get("noNewPrivileges"):
        _filter(build)


def umask(build: Build) -> None:
    value = (build.process.get("user") or {}).get("umask")
    mask = defaults.UMASK if value is None else value
    build.add("umask", mask, pointer="/process/user/umask", kind="identity")


def capability_sets(build: Build) -> dict[str, tuple[str, ...]]:
    """The five sets as far as this host can grant them, by what the kernel demands of them: permitted lies in what
    we have, effective and ambient in permitted, inheritable in bounding. No capabilities in the specification: none."""
    asked = build.process.get("capabilities") or {}
    grantable = set(build.host.capabilities)
    sets = {
        name: tuple(sorted((set(asked.get(name) or ()) & grantable), key=NUMBERS.__getitem__))
        for name in ("bounding", "permitted", "effective", "inheritable", "ambient")
    }
    permitted, inheritable = set(sets["permitted"]), set(sets["inheritable"])
    sets["effective"] = tuple(name for name in sets["effective"] if name in permitted)
    sets["ambient"] = tuple(name for name in sets["ambient"] if name in permitted and name in inheritable)
    return sets


def _bound(build: Build) -> None:
    keep = set((build.process.get("capabilities") or {}).get("bounding") or ())
    for name in NAMES:
        if name not in keep and name in build.host.capabilities:
            drop = Flags("PR_CAPBSET_DROP")
            build.add("prctl", drop, Flags(name), pointer=_SETS + "/bounding", kind="capability")


def _filter(build: Build) -> None:
    blob = build.context.seccomp
    if blob is not None:
        mode = Flags("SECCOMP_SET_MODE_FILTER")
        build.add("seccomp", mode, NONE, blob, pointer=_SECCOMP, kind="seccomp")
    elif build.linux.get("seccomp") or defaults.SECCOMP_ANNOTATION in (build.spec.get("annotations") or {}):
        raise InvalidValue("the seccomp profile has not been compiled", "without it the container would be unconfined")
