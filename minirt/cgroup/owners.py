# SPDX-License-Identifier: Apache-2.0
"""Who owns each cgroup controller: the v2 tree, a v1 hierarchy, or nobody (proc_cgroups(5), cgroups(7)).

A controller can be in one hierarchy only. On a hybrid host systemd or an init script mounts some as v1, and then
the v2 tree cannot limit by them; minirt refuses such a limit and says who has it. Must not import kernel or plan.
"""

from __future__ import annotations

from minirt.cgroup import tree
from minirt.errors import HostError

V2, V1, DISABLED, ABSENT = "v2", "v1", "disabled", "absent"
# What /proc/cgroups and the v1 mount options call a controller that v2 calls otherwise.
_V1_NAMES = {"io": "blkio"}
# Controllers that exist on v1 only or are no controller on v2: freezing and devices are core or eBPF there.
_V2_BUILT_IN = ("freezer", "devices")


class Owner:
    """kind: "v2", "v1" (mount: where), "disabled" (cgroup_disable= at boot) or "absent" (not built in)."""

    __slots__ = ("kind", "mount")

    def __init__(self, kind: str, mount: str = "") -> None:
        self.kind = kind
        self.mount = mount


def owners(
    cgroups: str = "/proc/cgroups", mountinfo: str = "/proc/self/mountinfo", root: str | None = None
) -> dict[str, Owner]:
    """The owner of each controller that v2 knows, by its v2 name."""
    root = tree.mount_point(mountinfo) if root is None else root
    in_v2 = tree.read(root, "cgroup.controllers").split()
    enabled, disabled, attached = _controllers(cgroups)
    mounts = _v1_mounts(mountinfo)
    found: dict[str, Owner] = {}
    for name in ("cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"):
        v1_name = _V1_NAMES.get(name, name)
        if name in in_v2:
            found[name] = Owner(V2)
        elif v1_name in mounts or v1_name in attached:
            found[name] = Owner(V1, mounts.get(v1_name, ""))
        elif v1_name in disabled:
            found[name] = Owner(DISABLED)
        else:
            found[name] = Owner(DISABLED if v1_name in enabled else ABSENT)
    return found


def _controllers(path: str) -> tuple[set[str], set[str], set[str]]:
    """/proc/cgroups: name, hierarchy (0: v2 or none), number of cgroups, enabled. Gone where v1 is not built in."""
    enabled: set[str] = set()
    disabled: set[str] = set()
    attached: set[str] = set()
    try:
        with open(path) as file:
            lines = file.readlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        fields = line.split()
        if line.startswith("#") or len(fields) != 4:
            continue
        (enabled if fields[3] == "1" else disabled).add(fields[0])
        if fields[1] != "0":
            attached.add(fields[0])
    return enabled, disabled, attached


def _v1_mounts(path: str) -> dict[str, str]:
    """Controller → where its v1 hierarchy is mounted: the super options of each mount of type cgroup name them."""
    mounts: dict[str, str] = {}
    with open(path) as file:
        for line in file:
            fields, _, filesystem = line.rstrip("\n").partition(" - ")
            kind, _, rest = filesystem.partition(" ")
            if kind == "cgroup":
                for option in rest.split(" ")[-1].split(","):
                    mounts.setdefault(option, fields.split(" ")[4])
    return mounts


def require(controller: str, limit: str) -> None:
    """HostError unless the v2 tree has `controller`; `limit` is the flag that needs it ("--memory")."""
    if controller in _V2_BUILT_IN:
        return
    owner = owners().get(controller, Owner(ABSENT))
    if owner.kind == V2:
        return
    v1_name = _V1_NAMES.get(controller, controller)
    if owner.kind == V1:
        where = f" mounted at {owner.mount}" if owner.mount else ""
        raise HostError(
            f'{limit} needs the cgroup v2 controller "{controller}", which a v1 hierarchy{where} owns',
            f"boot with systemd.unified_cgroup_hierarchy=1, or with cgroup_no_v1={v1_name}",
        )
    if owner.kind == DISABLED:
        raise HostError(
            f'{limit} needs the cgroup v2 controller "{controller}", which this boot has disabled',
            f"boot without cgroup_disable={v1_name} (or with cgroup_enable={v1_name})",
        )
    raise HostError(
        f'{limit} needs the cgroup v2 controller "{controller}", which this kernel does not have',
        "boot a kernel that is built with it",
    )
