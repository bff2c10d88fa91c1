# SPDX-License-Identifier: Apache-2.0
"""Options and an image's config become an OCI runtime spec (config.md, config-linux.md): Docker's rules for what
wins, minirt's defaults (plan/defaults.py) for what nobody said.

Pure: no file, no kernel, no clock, so that `minirt plan` needs no root and a golden test needs nothing. Who the
user is stands in the root filesystem: `finish` puts that in once somebody has looked. Must not import runtime,
kernel or the database.
"""

from __future__ import annotations

import posixpath

from minirt.engine import environment, flags, mounts, network_flags
from minirt.engine.record import Record
from minirt.errors import HostError, InvalidValue
from minirt.model import capabilities, signals
from minirt.plan import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirt.engine.options import RunOptions
    from minirt.plan.facts import Host

OCI_VERSION = "1.2.0"
SECCOMP_ANNOTATION = "org.minirt.seccomp"
RESERVED_LABELS = ("org.minirt.",)  # an image cannot say them: what a runtime interprets is the user's to set
CWD_LIMIT_BYTES = 4095
_NAMESPACE_FLAGS = {"pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroupns", "network": "network"}
_NAMESPACE_WORDS = {
    "pid": ("private", "host", "container"),
    "ipc": ("private", "shareable", "host", "container"),
    "uts": ("private", "host", "container"),
    "cgroup": ("private", "host"),
}


class Place:
    """What only the caller can know. bundle: the container's directory. locate: the host path of a volume.
    joined: {namespace: path} for container:X. seccomp: a profile that was read from a file. devices: the host's
    nodes, for --privileged and --device. resources: of the limits that were asked for (limits.py). controllers: those
    that a container's cgroup has. processors: how many have a thermal_throttle directory to mask. host_name: what
    --network host is called."""

    __slots__ = (
        "bundle", "controllers", "devices", "host_name", "id", "joined", "locate", "processors", "resources", "seccomp",
    )  # fmt: skip

    def __init__(
        self,
        identity: str,
        bundle: str,
        locate: Callable[[flags.Volume], str],
        joined: dict[str, str] | None = None,
        seccomp: dict[str, Any] | None = None,
        devices: Sequence[dict[str, object]] = (),
        processors: int = 0,
        host_name: str = "",
        resources: dict[str, Any] | None = None,
        controllers: frozenset[str] = frozenset(),
    ) -> None:
        self.id = identity
        self.bundle = bundle
        self.locate = locate
        self.joined = joined or {}
        self.seccomp = seccomp
        self.devices = devices
        self.processors = processors
        self.host_name = host_name
        self.resources = resources or {}
        self.controllers = controllers


class Built:
    """spec: all but process.user (see `finish`). record: hostname, labels, notes, volumes and stop signal filled
    in. user: what to resolve in the root filesystem. origins: {JSON pointer: the flag that asked for it}."""

    __slots__ = ("origins", "record", "spec", "user")

    def __init__(self, spec: dict[str, Any], record: Record, user: str, origins: dict[str, str]) -> None:
        self.spec = spec
        self.record = record
        self.user = user
        self.origins = origins


def build(record: Record, host: Host, place: Place) -> Built:
    """Raises InvalidValue for a malformed flag or image value, HostError for what this host lacks."""
    options, config = record.options, record.config
    modes = namespace_modes(options)
    record.hostname = flags.hostname(options.hostname) or _default_hostname(modes, place)
    record.stop_signal = signals.number(options.stop_signal or str(config.get("StopSignal") or "") or "SIGTERM")
    record.labels = _labels(options, config, record.notes)
    made = mounts.build(options, place.bundle, place.locate)
    record.volumes = made.volumes
    if config.get("Volumes"):
        record.notes.append("the image's Volumes are kept in the container's own layer; -v makes a real one")
    security = flags.security(options.security_opt)
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "root": {"path": "rootfs", "readonly": options.read_only},
        "process": _process(record, host, security),
        "mounts": made.mounts,
        "annotations": {},
        "linux": _linux(options, host, place, modes),
    }
    if modes["uts"] == "private":
        spec["hostname"] = record.hostname
        if options.domainname:
            spec["domainname"] = flags.hostname(options.domainname)
    if place.seccomp is not None:
        spec["linux"]["seccomp"] = place.seccomp
    elif not security.seccomp and not options.privileged:
        spec["annotations"][SECCOMP_ANNOTATION] = "default"
    origins = {f"/mounts/{index}": flag for index, flag in made.pointers.items()}
    return Built(spec, record, options.user or str(config.get("User") or ""), origins)


def finish(built: Built, uid: int, gid: int, groups: Sequence[int], home: str) -> None:
    """Put in who the process is. A user that is not root gets its capabilities bounded, not given (Docker)."""
    process = built.spec["process"]
    process["user"] = {"uid": uid, "gid": gid, "umask": defaults.UMASK, "additionalGids": list(groups)}
    if uid != 0:
        process["capabilities"]["effective"] = process["capabilities"]["permitted"] = []
    if not any(word.startswith("HOME=") for word in process["env"]):
        process["env"].append(f"HOME={home}")
    built.record.user = f"{uid}:{gid}"


def namespace_modes(options: RunOptions) -> dict[str, str]:
    """{"pid": "private" | "host" | "container", …}: what the namespace flags ask for, checked."""
    modes = {}
    for kind, words in _NAMESPACE_WORDS.items():
        flag = _NAMESPACE_FLAGS[kind]
        mode, _ = flags.namespace(flag, getattr(options, flag), words)
        modes[kind] = "private" if mode in ("", "private", "shareable") else mode
    network, _ = network_flags.mode(options)
    modes["network"] = "private" if network in (network_flags.NONE, network_flags.BRIDGE) else network
    if options.hostname and modes["uts"] != "private":
        raise InvalidValue("conflicting options: hostname and the UTS mode", "leave out --hostname or --uts")
    return modes


def command(options: RunOptions, config: dict[str, object]) -> list[str]:
    """Entrypoint and Cmd by Docker's rules: --entrypoint drops the image's Cmd as well."""
    entrypoint, default = config.get("Entrypoint") or [], config.get("Cmd") or []
    assert isinstance(entrypoint, list) and isinstance(default, list)
    if options.entrypoint is not None:
        words = ([options.entrypoint] if options.entrypoint else []) + options.command
    else:
        words = entrypoint + (options.command or default)
    if not words:
        raise InvalidValue("no command specified", "the image has none: name one after it")
    if not words[0]:
        raise InvalidValue("the command is empty", "name a program after the image")
    return words


def _process(record: Record, host: Host, security: flags.Security) -> dict[str, Any]:
    options, config = record.options, record.config
    image_env = config.get("Env") or []
    assert isinstance(image_env, list)
    base = [f"PATH={defaults.PATH}", f"HOSTNAME={record.hostname}"] + (["TERM=xterm"] if options.tty else [])
    chosen = _capabilities(options, host, record.notes)
    process: dict[str, Any] = {
        "terminal": options.tty,
        "args": command(options, config),
        "env": environment.final(base, image_env, options.env),
        "cwd": working_directory(options.workdir, str(config.get("WorkingDir") or "")),
        "capabilities": {"bounding": chosen, "effective": chosen, "permitted": chosen},
        "rlimits": _rlimits(options, host, record.notes),
        "noNewPrivileges": security.no_new_privileges,
    }
    if not -1000 <= options.oom_score_adj <= 1000:
        raise InvalidValue(f"Invalid value {options.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if options.oom_score_adj:
        process["oomScoreAdj"] = options.oom_score_adj
    return process


def working_directory(flag: str, image: str) -> str:
    """Absolute and plain. -w must be absolute (Docker); the image's is taken as below "/"."""
    if flag and not flag.startswith("/"):
        raise InvalidValue(f"the working directory '{flag}' is invalid, it needs to be an absolute path")
    path = flag or image or "/"
    if len(path.encode()) > CWD_LIMIT_BYTES:
        raise InvalidValue(f"the working directory is longer than {CWD_LIMIT_BYTES} bytes: '{path[:40]}…'")
    return posixpath.normpath("/" + path.lstrip("/"))


def _capabilities(options: RunOptions, host: Host, notes: list[str]) -> list[str]:
    """The set after --cap-add, --cap-drop and --privileged, less what the host itself lacks: that is a note, but an
    error where the user asked for it by name."""
    base = capabilities.NAMES if options.privileged else defaults.CAPABILITIES
    chosen = capabilities.adjust(base, options.cap_add, options.cap_drop)
    lacking = [name for name in chosen if name not in host.capabilities]
    named = {capabilities.normalise(name) for name in options.cap_add if name.upper() not in ("ALL", "CAP_ALL")}
    for name in lacking:
        if name in named:
            raise HostError(
                f"this host lacks {name}: it is not in the bounding set of the caller",
                "leave out --cap-add, or run minirt where root has it (see capsh --print)",
            )
        notes.append(f"{name} left out: this host lacks it")
    return [name for name in chosen if name not in lacking]


def _rlimits(options: RunOptions, host: Host, notes: list[str]) -> list[dict[str, object]]:
    limits = {name: (soft, hard) for name, soft, hard in defaults.RLIMITS}
    asked = {}
    for text in options.ulimit:
        name, soft, hard = flags.ulimit(text)
        asked[name] = limits[name] = (soft, hard)
    found: list[dict[str, object]] = []
    for name, (soft, hard) in limits.items():
        most = host.hard_limits.get(name, hard)
        if hard > most and "CAP_SYS_RESOURCE" not in host.capabilities:
            if name in asked:
                notes.append(f"{name} lowered to {most}: the caller's hard limit, and this host lacks CAP_SYS_RESOURCE")
            hard, soft = most, min(soft, most)
        found.append({"type": name, "soft": soft, "hard": hard})
    return found


def _linux(options: RunOptions, host: Host, place: Place, modes: dict[str, str]) -> dict[str, Any]:
    namespaces: list[dict[str, str]] = []
    for kind in defaults.NAMESPACES:
        mode = modes.get(kind, "private")
        if mode == "container":
            namespaces.append({"type": kind, "path": place.joined.get(kind, f"/proc/0/ns/{ns_file(kind)}")})
        elif mode == "private" and (kind in host.namespaces or kind != "time"):
            namespaces.append({"type": kind})
    own = frozenset(kind for kind in ("network", "ipc") if modes[kind] == "private")
    sysctl = dict(defaults.SYSCTL) if "network" in own else {}
    sysctl.update(flags.sysctl(text, own) for text in options.sysctl)
    below = options.cgroup_parent.strip("/") + "/" if options.cgroup_parent else ""
    linux: dict[str, Any] = {"namespaces": namespaces, "cgroupsPath": f"/minirt/{below}{place.id}"}
    if resources := _resources(options, place):
        linux["resources"] = resources
    if sysctl:
        linux["sysctl"] = sysctl
    if place.devices:
        linux["devices"] = list(place.devices)
    if not options.privileged:
        linux["maskedPaths"] = defaults.masked_paths(place.processors)
        linux["readonlyPaths"] = list(defaults.READONLY)
    return linux


def _resources(options: RunOptions, place: Place) -> dict[str, Any]:
    """What was asked for, a limit of processes, and all devices refused but the usual ones."""
    found = dict(place.resources)
    if "pids" in place.controllers:
        found.setdefault("pids", {"limit": defaults.PIDS_LIMIT})
    elif found.get("pids") == {"limit": -1}:
        del found["pids"]  # nobody limits them anyway
    allowed = found.pop("devices", [])
    if not options.privileged:
        found["devices"] = [{"allow": False, "access": "rwm"}, *allowed]
    return found


def ns_file(kind: str) -> str:
    """The name of a namespace below /proc/PID/ns (namespaces(7))."""
    return {"network": "net", "mount": "mnt"}.get(kind, kind)


def _default_hostname(modes: dict[str, str], place: Place) -> str:
    if place.host_name and (modes["network"] == "host" or modes["uts"] == "host"):
        return place.host_name
    return place.id[:12]


def _labels(options: RunOptions, config: dict[str, object], notes: list[str]) -> dict[str, str]:
    """The image's and then the user's. What an image may not say is dropped with a note (CVE-2026-53488)."""
    labels: dict[str, str] = {}
    image = config.get("Labels") or {}
    assert isinstance(image, dict)
    for key, value in image.items():
        if key.startswith(RESERVED_LABELS):
            notes.append(f"label {key!a} of the image left out: the prefix is reserved")
        else:
            labels[key] = str(value)
    for word in options.label:
        key, _, value = word.partition("=")
        labels[key] = value
    return labels
