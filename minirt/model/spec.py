# SPDX-License-Identifier: Apache-2.0
"""A config.json is judged (OCI runtime-spec 1.2, config.md and config-linux.md): every fault at once, each with its
JSON pointer (RFC 6901).

What minirt cannot do yet is refused by name, never left out in silence: a container with fewer limits or less
protection than was asked for would be worse than none. Unknown properties are ignored, as the specification
demands. Pure; must import nothing but errors and this room.
"""

from __future__ import annotations

from minirt.errors import SpecError
from minirt.model import mounts, spec_linux, spec_process
from minirt.model.spec_faults import Faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Other operating systems' sections and what is to come. Empty ones ask for nothing.
_UNSUPPORTED = {
    "hooks": "hooks are not supported",
    "solaris": "minirt runs on Linux only",
    "windows": "minirt runs on Linux only",
    "vm": "virtual machines are not supported",
    "zos": "minirt runs on Linux only",
    "freebsd": "minirt runs on Linux only",
}
_IDMAPPED = dict.fromkeys(("uidMappings", "gidMappings"), "idmapped mounts are not supported")


def validate(spec: Any) -> None:
    """SpecError with all that is wrong or not supported; None: every property can be carried out."""
    faults = Faults()
    if not isinstance(spec, dict):
        raise SpecError([("", "must be an object")])
    _version(spec, faults)
    faults.unsupported(spec, "", _UNSUPPORTED)
    _root(spec, faults)
    namespaces = spec_linux.namespaces(faults.member(spec, "", "linux", dict), faults)
    _names(spec, namespaces, faults)
    _mounts(spec, faults)
    _annotations(spec, faults)
    if "process" not in spec:
        faults.add("/process", "is required")
    else:
        spec_process.check(faults.member(spec, "", "process", dict), "/process", faults)
    spec_linux.check(faults.member(spec, "", "linux", dict), namespaces, faults)
    if faults.found:
        raise SpecError(faults.found)


def validate_process(process: Any, pointer: str = "") -> None:
    """The same for one process object: what an exec is asked to run."""
    faults = Faults()
    if not isinstance(process, dict):
        raise SpecError([(pointer, "must be an object")])
    spec_process.check(process, pointer, faults)
    if faults.found:
        raise SpecError(faults.found)


def _version(spec: dict[str, Any], faults: Faults) -> None:
    version = spec.get("ociVersion")
    if not isinstance(version, str):
        faults.add("/ociVersion", "is required" if version is None else "must be a string")
    elif version.split(".")[0] != "1":
        faults.add("/ociVersion", f'"{version[:20]}" is not supported: minirt knows version 1')


def _root(spec: dict[str, Any], faults: Faults) -> None:
    root = faults.member(spec, "", "root", dict)
    if "root" not in spec:
        faults.add("/root", "is required")
    elif isinstance(spec["root"], dict):
        faults.text(root, "/root", "path", required=True)
        faults.member(root, "/root", "readonly", bool)


def _names(spec: dict[str, Any], namespaces: dict[str, str], faults: Faults) -> None:
    """sethostname(2): 64 bytes; without a uts namespace it would rename the host."""
    for key in ("hostname", "domainname"):
        name = faults.text(spec, "", key)
        if name and len(name.encode("utf-8", "replace")) > 64:
            faults.add("/" + key, "is longer than 64 bytes")
        if name and "uts" not in namespaces:
            faults.add("/" + key, "would rename the host: linux.namespaces has no uts namespace")


def _mounts(spec: dict[str, Any], faults: Faults) -> None:
    for index, mount in enumerate(faults.objects(spec, "", "mounts")):
        pointer = f"/mounts/{index}"
        destination = faults.path(mount, pointer, "destination", required=True)
        if destination and not destination.strip("/."):
            faults.add(pointer + "/destination", f'"{destination}" is the root itself')
        type_, source = faults.text(mount, pointer, "type"), faults.text(mount, pointer, "source")
        options = faults.texts(mount, pointer, "options")
        bind = type_ == "bind" or "bind" in options or "rbind" in options
        if bind and not source:
            faults.add(pointer + "/source", "is required for a bind mount")
        if not bind and not type_:
            faults.add(pointer + "/type", "is required unless it is a bind mount")
        for position, word in enumerate(options):
            if mounts.unsupported(word):
                faults.add(f"{pointer}/options/{position}", f'"{word}" is not supported')
        faults.unsupported(mount, pointer, _IDMAPPED)


def _annotations(spec: dict[str, Any], faults: Faults) -> None:
    for key, value in faults.member(spec, "", "annotations", dict).items():
        if not isinstance(value, str):
            faults.add(faults.join("/annotations", key), "must be a string")
        if not key:
            faults.add("/annotations/", "the key must not be empty")
