# SPDX-License-Identifier: Apache-2.0
"""Device nodes and links below /dev (mknod(2), symlink(2); runtime-spec config-linux.md, "Default Devices", "Devices").

Made relative to the descriptor of the tmpfs that this plan mounted there, so an image whose /dev is a symlink to a
directory of the host gains nothing (CVE-2026-41579). Where the specification binds something onto /dev, that is
taken as it is. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan import defaults
from minirt.plan.build import BENEATH, DIRECTORY, IN_ROOT, NONE, PLACE, ROOT, Build
from minirt.plan.step import Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = {"c": "S_IFCHR", "u": "S_IFCHR", "b": "S_IFBLK", "p": "S_IFIFO"}
_DEFAULTS = "/linux/devices"


def make_all(build: Build) -> None:
    """Init, umask 0: right after the mounts, because nothing but a device depends on a device."""
    asked = build.linux.get("devices") or ()
    dev = directory(build)
    if dev is not None:
        _make_defaults(build, dev, {device["path"] for device in asked})
    for index, device in enumerate(asked):
        _make(build, device, f"/linux/devices/{index}")


def directory(build: Build) -> Fd | None:
    """The slot of the container's /dev: our tmpfs, the root's own directory, or None where /dev is bound from the
    host, which brings its own nodes."""
    for mount in reversed(build.mounts):
        if mount.path == "/dev":
            return mount.slot if mount.fresh else None
    if not any(step.out == ("dev",) for step in build.steps):
        build.make("/dev", build.mounts[0], _DEFAULTS, "device")
        build.add("openat2", ROOT, "/dev", DIRECTORY, NONE, IN_ROOT, out="dev", pointer=_DEFAULTS, kind="device")
    return Fd("dev")


def _make_defaults(build: Build, dev: Fd, replaced: set[str]) -> None:
    """What every container has. In a tmpfs of ours nothing can exist yet; in a directory of the image it may."""
    exists = () if dev.name != "dev" else ("EEXIST",)
    for name, type_, major, minor in defaults.DEVICES:
        if "/dev/" + name not in replaced:
            mode = Flags(_TYPES[type_] + "|0o666")
            build.add(
                "mknodat", dev, name, mode, major, minor, pointer=_DEFAULTS, kind="device", tolerate=exists
            )  # fmt: skip
    for name, target in defaults.DEVICE_LINKS:
        build.add("symlinkat", target, dev, name, pointer=_DEFAULTS, kind="device", tolerate=exists)


def _make(build: Build, device: dict[str, Any], pointer: str) -> None:
    """One device of the specification. mknod(2) gives it to root; another owner is set through the node itself,
    found again without following anything."""
    parent, name = build.parent(str(device["path"]), pointer, "device")
    mode = Flags(f"{_TYPES[device['type']]}|0o{device.get('fileMode', 0o666) & 0o7777:o}")
    major, minor = device.get("major", 0), device.get("minor", 0)
    build.add("mknodat", parent, name, mode, major, minor, pointer=pointer, kind="device", tolerate=("EEXIST",))
    uid, gid = device.get("uid") or 0, device.get("gid") or 0
    if uid or gid:
        nofollow = Flags(PLACE + "|O_NOFOLLOW")
        build.add("openat2", parent, name, nofollow, NONE, BENEATH, out="place", pointer=pointer, kind="device")
        build.add("fchown", Fd("place"), uid, gid, pointer=pointer, kind="device")
