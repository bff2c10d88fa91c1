# SPDX-License-Identifier: Apache-2.0
"""cgroup/owners.py: who owns each controller, on hosts that exist only as text."""

from __future__ import annotations

import pathlib

import pytest

from minirt.cgroup import owners, tree
from minirt.errors import HostError

HYBRID_CGROUPS = """#subsys_name\thierarchy\tnum_cgroups\tenabled
cpu\t1\t1\t1
memory\t4\t9\t1
blkio\t7\t1\t1
pids\t8\t1\t1
hugetlb\t0\t1\t1
rdma\t0\t1\t0
"""
HYBRID_MOUNTS = """31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
"""


def host(tmp_path: pathlib.Path, cgroups: str, mountinfo: str, in_v2: str) -> dict[str, owners.Owner]:
    (tmp_path / "cgroups").write_text(cgroups)
    (tmp_path / "mountinfo").write_text(mountinfo)
    (tmp_path / "cgroup.controllers").write_text(in_v2)
    return owners.owners(str(tmp_path / "cgroups"), str(tmp_path / "mountinfo"), str(tmp_path))


def test_hybrid_host(tmp_path: pathlib.Path) -> None:
    found = host(tmp_path, HYBRID_CGROUPS, HYBRID_MOUNTS, "hugetlb\n")
    assert {name: (owner.kind, owner.mount) for name, owner in found.items()} == {
        "cpu": ("v1", "/sys/fs/cgroup/cpu,cpuacct"),
        "cpuset": ("absent", ""),
        "hugetlb": ("v2", ""),
        "io": ("v1", "/sys/fs/cgroup/blkio"),
        "memory": ("v1", "/sys/fs/cgroup/memory"),
        "misc": ("absent", ""),
        "pids": ("v1", ""),
        "rdma": ("disabled", ""),
    }


def test_pure_host_without_proc_cgroups(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mountinfo").write_text("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    found = owners.owners(str(tmp_path / "none"), str(tmp_path / "mountinfo"), str(tmp_path))
    assert {owner.kind for owner in found.values()} == {"v2"}


@pytest.mark.parametrize(
    ("owner", "message", "remedy"),
    [
        (
            owners.Owner("v1", "/sys/fs/cgroup/blkio"),
            'needs the cgroup v2 controller "io", which a v1 hierarchy mounted at /sys/fs/cgroup/blkio owns',
            "cgroup_no_v1=blkio",
        ),
        (owners.Owner("disabled"), "which this boot has disabled", "without cgroup_disable=blkio"),
        (owners.Owner("absent"), "which this kernel does not have", "kernel"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, owner: owners.Owner, message: str, remedy: str
) -> None:
    monkeypatch.setattr(owners, "owners", lambda: {"io": owner})
    with pytest.raises(HostError) as raised:
        owners.require("io", "--device-read-bps")
    assert raised.value.message.startswith("--device-read-bps") and message in raised.value.message
    assert remedy in raised.value.remedy


def test_what_the_v2_tree_has_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "owners", lambda: {"pids": owners.Owner("v2")})
    owners.require("pids", "--pids-limit")
    owners.require("devices", "--device")


def test_this_host_has_an_answer_for_each_controller() -> None:
    found = owners.owners()
    listed = tree.read(tree.mount_point(), "cgroup.controllers").split()
    assert {name for name, owner in found.items() if owner.kind == owners.V2} == {n for n in listed if n in found}
