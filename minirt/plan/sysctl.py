# SPDX-License-Identifier: Apache-2.0
"""Namespaced kernel parameters (sysctl(8), proc(5); runtime-spec config-linux.md, "Sysctl").

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
    """Init, in its network and ipc namespaces."""
    for name, value in (build.linux.get("sysctl") or {}).items():
        proc = mounts.private_proc(build)
        pointer = "/linux/sysctl/" + name.replace("~", "~0").replace("/", "~1")
        path, flags = "sys/" + sysctls.path(name), Flags("O_WRONLY|O_CLOEXEC")
        build.add("openat2", proc, path, flags, NONE, _HERE, out="sysctl", pointer=pointer, kind="sysctl")
        build.add("write", Fd("sysctl"), Blob(value.encode(), value), pointer=pointer, kind="sysctl")
