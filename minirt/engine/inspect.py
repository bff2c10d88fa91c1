# SPDX-License-Identifier: Apache-2.0
"""`inspect`: all that is known of a container, in the shape of Docker's JSON (Engine API, ContainerInspect).

Members that only minirt has stand in "Minirt". What is unknown is null, never an invented value: an exit code
that nobody saw is not 0. Must not import plan or image.
"""

from __future__ import annotations

from minirt.engine import (
    flags,
    lifecycle,
    limits_inspect,
    moment,
    network_flags,
    network_inspect,
    policy,
    reconcile,
    store,
)
from minirt.errors import MinirtError
from minirt.model import json, signals
from minirt.runtime import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.db import Row
    from minirt.engine.record import Record
    from minirt.engine.store import Engine


def inspect(engine: Engine, ref: str) -> dict[str, Any]:
    """Raises NotFound. A container whose config.json is damaged is shown without what stands there."""
    row = engine.find(ref)
    seen = reconcile.look_ahead(engine, row)
    record = store.record(row)
    path = engine.roots.container(row.id)
    try:
        spec = bundle.read_spec(path)
    except MinirtError:
        spec = {}
    shown = json.loads(row.command)
    return {
        "Id": row.id,
        "Created": moment.text(row.created_ns),
        "Path": shown[0] if shown else "",
        "Args": shown[1:],
        "State": _state(row, seen),
        "Image": row.image_id or "",
        "ResolvConfPath": f"{path}/resolv.conf",
        "HostnamePath": f"{path}/hostname",
        "HostsPath": f"{path}/hosts",
        "LogPath": f"{path}/log",
        "Name": "/" + row.name,
        "RestartCount": row.restart_count or 0,
        "Driver": "" if record.options.rootfs else "overlay",
        "Platform": "linux",
        "ExecIDs": None,
        "HostConfig": _host_config(record, spec),
        "GraphDriver": _graph(record, path),
        "Mounts": [_mount(volume) for volume in record.volumes],
        "Config": _config(row, record, spec),
        "NetworkSettings": network_inspect.settings(engine, row, record, seen),
        "Minirt": {
            "Notes": record.notes,
            "Bundle": path,
            "RunDir": engine.roots.run(row.id),
            "Cgroup": engine.cgroup(row.id) if seen.status in lifecycle.ALIVE else "",
            "MonitorPid": seen.state.monitor_pid if seen.state and seen.status in lifecycle.ALIVE else 0,
            "Monitored": bool(seen.state and seen.status in lifecycle.ALIVE and seen.state.monitored()),
            "User": record.user,
        },
    }


def _state(row: Row, seen: reconcile.Seen) -> dict[str, Any]:
    alive = seen.status in lifecycle.ALIVE
    code: int | None = 0 if alive or seen.status == lifecycle.CREATED and row.error is None else seen.exit_code
    return {
        "Status": seen.status,
        "Running": alive or seen.status == lifecycle.RESTARTING,  # Docker: it is on its way
        "Paused": seen.status == lifecycle.PAUSED,
        "Restarting": seen.status == lifecycle.RESTARTING,
        "OOMKilled": seen.oom_killed,
        "Dead": False,
        "Pid": seen.pid,
        "ExitCode": code,
        "Error": row.error or "",
        "StartedAt": moment.text(seen.started_ns),
        "FinishedAt": moment.text(None if alive else seen.finished_ns),
    }


def _config(row: Row, record: Record, spec: dict[str, Any]) -> dict[str, Any]:
    options, config = record.options, record.config
    process = spec.get("process", {})
    attached = not options.detach
    return {
        "Hostname": record.hostname,
        "Domainname": options.domainname,
        "User": options.user or config.get("User") or "",
        "AttachStdin": attached and options.interactive,
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": attached and options.interactive,
        "Env": process.get("env", []),
        "Cmd": command(record),
        "Image": row.image,
        "ExposedPorts": _exposed(record),
        "Volumes": None,
        "WorkingDir": options.workdir or config.get("WorkingDir") or "",
        "Entrypoint": entrypoint(record),
        "Labels": record.labels,
        "StopSignal": signals.name(record.stop_signal),
        "StopTimeout": options.stop_timeout,
    }


def entrypoint(record: Record) -> object:
    if record.options.entrypoint is not None:
        return [record.options.entrypoint] if record.options.entrypoint else None
    return record.config.get("Entrypoint")


def command(record: Record) -> object:
    if record.options.command or record.options.entrypoint is not None:
        return record.options.command or None
    return record.config.get("Cmd")


def _host_config(record: Record, spec: dict[str, Any]) -> dict[str, Any]:
    options = record.options
    log_size, log_files = flags.log_options(options.log_opt)
    linux = spec.get("linux", {})
    return {
        "Binds": options.volumes or None,
        "LogConfig": {"Type": "cri", "Config": {"max-size": str(log_size), "max-file": str(log_files)}},
        "NetworkMode": _network_mode(record),
        "PortBindings": network_inspect.bindings_asked(record),
        "PublishAllPorts": options.publish_all,
        "Dns": options.dns,
        "DnsOptions": options.dns_option,
        "DnsSearch": options.dns_search,
        "Links": None,
        "RestartPolicy": _restart_policy(options.restart),
        "AutoRemove": options.auto_remove,
        "CapAdd": options.cap_add or None,
        "CapDrop": options.cap_drop or None,
        "CgroupnsMode": options.cgroupns or "private",
        "ExtraHosts": options.add_host,
        "GroupAdd": options.group_add or None,
        "IpcMode": options.ipc or "private",
        "OomScoreAdj": options.oom_score_adj,
        "PidMode": options.pid,
        "Privileged": options.privileged,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": options.security_opt or None,
        "Tmpfs": dict(_pair(text, ":") for text in options.tmpfs) or None,
        "UTSMode": options.uts,
        "ShmSize": flags.size(options.shm_size, "--shm-size") if options.shm_size else 64 << 20,
        "Sysctls": dict(_pair(text, "=") for text in options.sysctl) or None,
        "Runtime": "minirt",
        "Init": options.init or None,
        "Ulimits": [
            {"Name": limit["type"].removeprefix("RLIMIT_").lower(), "Soft": limit["soft"], "Hard": limit["hard"]}
            for limit in spec.get("process", {}).get("rlimits", ())
        ],
        "MaskedPaths": linux.get("maskedPaths"),
        "ReadonlyPaths": linux.get("readonlyPaths"),
        **limits_inspect.limits(options, linux.get("resources") or {}),
    }


def _restart_policy(text: str) -> dict[str, object]:
    wanted = policy.parse(text)
    return {"Name": wanted.name, "MaximumRetryCount": wanted.retries}


def _network_mode(record: Record) -> str:
    """Docker keeps the first network's name there."""
    kind, other = network_flags.mode(record.options)
    if kind != network_flags.BRIDGE:
        return f"container:{other}" if other else kind
    return network_flags.wanted(record.options)[0].network


def _exposed(record: Record) -> dict[str, object] | None:
    """What is open: the image's ports, --expose's, and those that -p names."""
    asked = [f"{one.container_port}/{one.protocol}" for one in network_flags.ports(record.options.publish, False, ())]
    return {text: {} for text in [*network_flags.exposed(record.options.expose, record.config), *asked]} or None


def _pair(text: str, separator: str) -> tuple[str, str]:
    key, _, value = text.partition(separator)
    return key, value


def _graph(record: Record, path: str) -> dict[str, Any]:
    if record.options.rootfs and not record.options.rootfs.endswith(":O"):
        return {"Name": "directory", "Data": {"RootDir": record.options.rootfs}}
    lower = [str(layer) for layer in reversed(record.layers)] or [record.options.rootfs.removesuffix(":O")]
    return {
        "Name": "overlay",
        "Data": {"LowerDir": ":".join(lower), "UpperDir": f"{path}/upper", "WorkDir": f"{path}/work"},
    }


def _mount(volume: list[Any]) -> dict[str, Any]:
    kind, name, source, destination, mode, writable, propagation = volume
    found = {
        "Type": kind, "Source": source, "Destination": destination, "Mode": mode, "RW": writable,
        "Propagation": propagation if kind == "bind" else "",
    }  # fmt: skip
    return {**found, "Name": name, "Driver": "local"} if kind == "volume" else found
