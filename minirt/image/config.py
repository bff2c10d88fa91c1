# SPDX-License-Identifier: Apache-2.0
"""An image's configuration (OCI image specification, config.md), checked before anything is built from it.

All faults are found, each with its JSON pointer. Docker's own additions (Healthcheck, OnBuild, Shell …) are kept
as they are. What a value *means* (a user, a working directory) is for the room that uses it, in the container's
root. Pure.
"""

from __future__ import annotations

from minirt.errors import ImageError, InvalidValue
from minirt.model.reference import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LAYERS_LIMIT = 500  # overlayfs stacks at most 500 (OVL_MAX_STACK)


def check(config: dict[str, Any]) -> list[str]:
    """The diff_ids (64 hex digits each, bottom first) of a well-formed config; ImageError names all faults."""
    faults: list[str] = []
    for name in ("os", "architecture", "created", "author", "variant"):
        if config.get(name) is not None and not _text(config[name]):  # null is no word of it, as Go reads it
            faults.append(f"/{name} is not a string")
    if config.get("os") not in (None, "", "linux"):
        faults.append(f"/os is {str(config['os'])[:40]!a}, not linux")
    inner = config.get("config")
    if inner is not None and not isinstance(inner, dict):
        faults.append("/config is not an object")
    for name, (rule, wanted) in _RULES.items():
        value = inner.get(name) if isinstance(inner, dict) else None
        if value is not None and not rule(value):
            faults.append(f"/config/{name} is not {wanted}")
    diff_ids = _diff_ids(config, faults)
    if faults:
        raise ImageError("malformed image config: " + "; ".join(faults), "see the OCI image specification, config.md")
    return diff_ids


def layers(config: dict[str, Any], count: int, what: str = "the manifest") -> list[str]:
    """As check(), for an image of which `what` lists `count` layers: there must be a diff_id for each."""
    diff_ids = check(config)
    if len(diff_ids) != count:
        raise ImageError(f"the image config lists {len(diff_ids)} diff_ids, {what} {count} layers")
    return diff_ids


def _diff_ids(config: dict[str, Any], faults: list[str]) -> list[str]:
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        faults.append("/rootfs is not an object of type layers")
        return []
    listed = rootfs.get("diff_ids")
    if not isinstance(listed, list) or len(listed) > LAYERS_LIMIT:
        faults.append(f"/rootfs/diff_ids is not a list of at most {LAYERS_LIMIT} digests")
        return []
    found = []
    for index, text in enumerate(listed):
        try:
            found.append(sha256_hex(text, f"/rootfs/diff_ids/{index}"))
        except InvalidValue as error:
            faults.append(error.message)
    return found


def _text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(_text(item) for item in value)


def _environment(value: Any) -> bool:
    return _texts(value) and all(item.partition("=")[0] for item in value)


def _set(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(key) and item in ({}, None) for key, item in value.items())


def _labels(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(key) and _text(item) for key, item in value.items())


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "User": (_text, "a string"),
    "WorkingDir": (_text, "a string"),
    "StopSignal": (_text, "a string"),
    "Env": (_environment, "a list of NAME=VALUE"),
    "Cmd": (_texts, "a list of strings"),
    "Entrypoint": (_texts, "a list of strings"),
    "Volumes": (_set, "an object whose values are empty objects"),
    "ExposedPorts": (_set, "an object whose values are empty objects"),
    "Labels": (_labels, "an object of strings"),
}
