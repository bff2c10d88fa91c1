# SPDX-License-Identifier: Apache-2.0
"""The "linux" section of a config.json (runtime-spec config-linux.md).

Namespaces come first: what a sysctl, a hostname or a clock's offset may be depends on which are the container's
own. Pure; must import nothing but this room.
"""

from __future__ import annotations

from minirt.model import mounts, spec_resources, sysctls
from minirt.model.spec_faults import MAX_ID, Faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMESPACES = ("mount", "pid", "network", "ipc", "uts", "cgroup", "time", "user")
_UNSUPPORTED = {
    "uidMappings": "user namespaces are not supported",
    "gidMappings": "user namespaces are not supported",
    "intelRdt": "resctrl is not supported",
    "mountLabel": "SELinux labels are not supported",
    "netDevices": "moving network devices is not supported",
    "memoryPolicy": "memory policies are not supported",
}
_DEVICE_TYPES = ("c", "u", "b", "p")
_CLOCKS = ("monotonic", "boottime")
_MAX_SECONDS = (1 << 63) // 1_000_000_000
_PROPAGATIONS = (*mounts.PROPAGATIONS, *("r" + word for word in mounts.PROPAGATIONS))


def namespaces(linux: dict[str, Any], faults: Faults) -> dict[str, str]:
    """{kind: path or ""}; the kinds that are not in it are the host's."""
    found: dict[str, str] = {}
    for index, namespace in enumerate(faults.objects(linux, "/linux", "namespaces")):
        pointer = f"/linux/namespaces/{index}"
        kind = faults.one_of(namespace, pointer, "type", NAMESPACES, required=True)
        path = faults.path(namespace, pointer, "path")
        if kind in found:
            faults.add(pointer + "/type", f"{kind} is listed twice")
        if kind == "user":
            faults.add(pointer, "user namespaces are not supported")
        if kind == "mount" and path:
            faults.add(pointer + "/path", "joining another mount namespace is not supported")
        if kind:
            found[kind] = path
    if "mount" not in found:
        faults.add("/linux/namespaces", "must list a mount namespace: without one the mounts would be the host's")
    return found


def check(linux: dict[str, Any], namespaces: dict[str, str], faults: Faults) -> None:
    """Everything but the namespaces themselves."""
    own = frozenset(kind for kind, path in namespaces.items() if not path)
    faults.unsupported(linux, "/linux", _UNSUPPORTED)
    if linux.get("resources"):
        spec_resources.check(faults.member(linux, "/linux", "resources", dict), faults)
    for key in ("maskedPaths", "readonlyPaths"):
        for index, path in enumerate(faults.texts(linux, "/linux", key)):
            faults.absolute(path, f"/linux/{key}/{index}")
    faults.text(linux, "/linux", "cgroupsPath")
    faults.one_of(linux, "/linux", "rootfsPropagation", _PROPAGATIONS)
    for name, value in faults.member(linux, "/linux", "sysctl", dict).items():
        fault = sysctls.fault(name, value, own)
        if fault:
            faults.add(faults.join("/linux/sysctl", name), fault)
    _devices(linux, faults)
    _personality(faults.member(linux, "/linux", "personality", dict), faults)
    _offsets(faults.member(linux, "/linux", "timeOffsets", dict), own, faults)
    _seccomp(linux, faults)


def _devices(linux: dict[str, Any], faults: Faults) -> None:
    seen = set()
    for index, device in enumerate(faults.objects(linux, "/linux", "devices")):
        pointer = f"/linux/devices/{index}"
        path = faults.path(device, pointer, "path", required=True)
        kind = faults.one_of(device, pointer, "type", _DEVICE_TYPES, required=True)
        if path and not path.strip("/."):
            faults.add(pointer + "/path", f'"{path}" is the root itself')
        if ".." in path.split("/"):
            faults.add(pointer + "/path", "must not contain ..")
        if path and path in seen:
            faults.add(pointer + "/path", f'"{path}" is made twice')
        seen.add(path)
        for key, most in (("major", (1 << 12) - 1), ("minor", (1 << 20) - 1)):
            faults.number(device, pointer, key, 0, most, required=kind in ("c", "u", "b"))
        faults.number(device, pointer, "fileMode", 0, 0o177777)
        for key in ("uid", "gid"):
            faults.number(device, pointer, key, 0, MAX_ID)


def _personality(personality: dict[str, Any], faults: Faults) -> None:
    if personality:
        faults.one_of(personality, "/linux/personality", "domain", ("LINUX", "LINUX32"), required=True)
        faults.unsupported(personality, "/linux/personality", {"flags": "personality flags are not supported"})


def _offsets(offsets: dict[str, Any], own: frozenset[str], faults: Faults) -> None:
    if offsets and "time" not in own:
        faults.add("/linux/timeOffsets", "needs a time namespace of the container's own in linux.namespaces")
    for clock in offsets:
        pointer = faults.join("/linux/timeOffsets", clock)
        if clock not in _CLOCKS:
            faults.add(pointer, f"is not one of {', '.join(_CLOCKS)}")
            continue
        offset = faults.member(offsets, "/linux/timeOffsets", clock, dict)
        faults.number(offset, pointer, "secs", -_MAX_SECONDS, _MAX_SECONDS)
        faults.number(offset, pointer, "nanosecs", 0, 999_999_999)


def _seccomp(linux: dict[str, Any], faults: Faults) -> None:
    """Its form; names of system calls and actions are libseccomp's to judge. A filter that asks a listener is
    refused: nobody would answer it."""
    profile = faults.member(linux, "/linux", "seccomp", dict)
    if not profile:
        return
    pointer = "/linux/seccomp"
    faults.text(profile, pointer, "defaultAction", required=True)
    faults.texts(profile, pointer, "architectures")
    faults.texts(profile, pointer, "flags")
    reason = "notification of a listener is not supported"
    faults.unsupported(profile, pointer, {"listenerPath": reason, "listenerMetadata": reason})
    if profile.get("defaultAction") == "SCMP_ACT_NOTIFY":
        faults.add(pointer + "/defaultAction", reason)
    for index, rule in enumerate(faults.objects(profile, pointer, "syscalls")):
        here = f"{pointer}/syscalls/{index}"
        faults.texts(rule, here, "names")
        if not rule.get("names"):
            faults.add(here + "/names", "is required")
        if faults.text(rule, here, "action", required=True) == "SCMP_ACT_NOTIFY":
            faults.add(here + "/action", reason)
