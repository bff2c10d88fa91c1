# SPDX-License-Identifier: Apache-2.0
"""Namespaced kernel parameters (sysctl(8), proc(5); runtime-spec config-linux.md, "Sysctl").

Those of one interface (net.ipv4.conf.eth0.…) are written once it is there, all others before: what is set for
"default" holds for every interface that is made afterwards.

Written through a procfs that nobody can have mounted anything upon, so that the write cannot end in another file
(CVE-2025-52881). Which names may be set at all, model/sysctls.py says. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.model import sysctls
from minirt.plan import mounts
from minirt.plan.build import NONE, Build
from minirt.plan.step import Blob, Fd, Flags

_HERE = Flags("RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_XDEV")


def write_all(build: Build) -> None:
    """Init, in its network and ipc namespaces, before it has any interface but lo."""
    _write(build, False)


def write_of_links(build: Build) -> None:
    """Init, once its interfaces are there."""
    if build.context.links:
        _write(build, True)


def _write(build: Build, of_links: bool) -> None:
    names = {link.interface for link in build.context.links}
    for name, value in (build.linux.get("sysctl") or {}).items():
        path = sysctls.path(name)
        if (_interface(path) in names) is not of_links:
            continue
        proc = mounts.private_proc(build)
        pointer = "/linux/sysctl/" + name.replace("~", "~0").replace("/", "~1")
        flags = Flags("O_WRONLY|O_CLOEXEC")
        build.add("openat2", proc, "sys/" + path, flags, NONE, _HERE, out="sysctl", pointer=pointer, kind="sysctl")
        build.add("write", Fd("sysctl"), Blob(value.encode(), value), pointer=pointer, kind="sysctl")


def _interface(path: str) -> str:
    """ "eth0" of net/ipv4/conf/eth0/rp_filter."""
    parts = path.split("/")
    return parts[3] if len(parts) > 4 and parts[2] in ("conf", "neigh") else ""
