# SPDX-License-Identifier: Apache-2.0
"""Everything that `run`, `create` and `exec` can be asked for, as plain values (Docker's flags, docker-run(1)).

Each field holds what the user wrote; engine/flags.py gives every flag's grammar, engine/spec.py turns the whole
into an OCI runtime spec. The options are stored with the container as JSON, so they must be plain lists, strings
and numbers. Must not import runtime, kernel or the database.
"""

from __future__ import annotations

from minirt.engine import environment, network_flags
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Every field with what it is when the user says nothing. A list is copied for each RunOptions.
DEFAULTS: dict[str, object] = {
    "image": "",  # the reference as written; "" with --rootfs
    "command": [],  # the words after the image; [] = the image's Cmd
    "rootfs": "",  # --rootfs DIR[:O]
    "name": "",
    "detach": False,
    "interactive": False,
    "tty": False,
    "auto_remove": False,  # --rm
    "init": False,
    "privileged": False,
    "read_only": False,
    "env": [],  # KEY=value, or KEY: taken from the caller's environment
    "env_file": [],
    "label": [],
    "label_file": [],
    "workdir": "",
    "user": "",
    "group_add": [],
    "hostname": "",
    "domainname": "",
    "add_host": [],  # name:address
    "entrypoint": None,  # None = the image's; "" = none at all
    "volumes": [],  # -v [src:]dst[:options]
    "tmpfs": [],  # dst[:options]
    "cap_add": [],
    "cap_drop": [],
    "security_opt": [],
    "pid": "",  # "" = private, host, container:X
    "ipc": "",  # "" = private, private, host, container:X
    "uts": "",  # "" = private, host
    "cgroupns": "",  # "" = private, private, host
    "network": [],  # NAME or name=NAME,alias=…; none, host, container:X alone; [] = what settle_network says
    "network_alias": [],
    "ip": "",
    "ip6": "",
    "mac_address": "",
    "publish": [],  # [address:][host port:]container port[/protocol]
    "publish_all": False,
    "expose": [],  # port[/protocol]
    "dns": [],
    "dns_search": [],
    "dns_option": [],
    "log_opt": [],  # max-size=, max-file=
    "stop_signal": "",
    "stop_timeout": None,  # seconds; None = 10
    "ulimit": [],  # name=soft[:hard]
    "shm_size": "",
    "sysctl": [],  # key=value
    "oom_score_adj": 0,
    "memory": "",  # bytes, with a unit as in 64m
    "memory_reservation": "",
    "memory_swap": "",  # memory and swap together; -1 = as much swap as there is
    "cpus": "",  # 1.5
    "cpu_shares": None,  # 2 to 262144; Docker's 0 = the default
    "cpu_period": None,  # microseconds
    "cpu_quota": None,  # microseconds in each period; -1 = all
    "cpuset_cpus": "",  # 0-2,7
    "cpuset_mems": "",
    "pids_limit": None,  # None = 2048 where the controller is; 0 or less = none
    "blkio_weight": None,  # 10 to 1000
    "blkio_weight_device": [],  # /dev/vda:500
    "device_read_bps": [],  # /dev/vda:1mb
    "device_write_bps": [],
    "device_read_iops": [],  # /dev/vda:1000
    "device_write_iops": [],
    "hugetlb_limit": [],  # 2MB:64m
    "device": [],  # /dev/fuse[:/dev/inside][:rwm]
    "device_cgroup_rule": [],  # "c 10:* rwm"
    "cgroup_parent": "",  # a path below the cgroup of all containers
    "restart": "",  # --restart: "" = no
    "explain": False,  # record how long each step took
}

# What engine/limits.py makes of the host and of linux.resources: not even looked at where none of them is given.
LIMITS = (
    "memory", "memory_reservation", "memory_swap", "cpus", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus",
    "cpuset_mems", "pids_limit", "blkio_weight", "blkio_weight_device", "device_read_bps", "device_write_bps",
    "device_read_iops", "device_write_iops", "hugetlb_limit", "device", "device_cgroup_rule", "cgroup_parent",
)  # fmt: skip

# Flags of Docker's that say something minirt cannot keep yet. They are refused by name, never ignored.
UNSUPPORTED: dict[str, str] = {
    "memory-swappiness": "--memory-swappiness (cgroup v2 has none for a container; sysctl vm.swappiness is the host's)",
    "kernel-memory": "--kernel-memory (cgroup v2 counts it in --memory)",
    "oom-kill-disable": "--oom-kill-disable (cgroup v2 cannot; give more with --memory, or --oom-score-adj)",
    "cpu-rt-period": "--cpu-rt-period (cgroup v2 has no limits of real-time scheduling)",
    "cpu-rt-runtime": "--cpu-rt-runtime (cgroup v2 has no limits of real-time scheduling)",
    "link": "--link (put both containers on a user network: they find each other by name)",
    "gpus": "devices", "runtime": "other runtimes",
    "userns": "user namespaces", "health-cmd": "health checks", "log-driver": "other log drivers",
    "mount": "--mount (use -v or --tmpfs)", "volumes-from": "--volumes-from (use -v)",
}  # fmt: skip


class RunOptions:
    """What one container was asked to be. Unknown names are a TypeError: a misspelt flag never passes."""

    __slots__ = tuple(DEFAULTS)

    image: str
    command: list[str]
    rootfs: str
    name: str
    detach: bool
    interactive: bool
    tty: bool
    auto_remove: bool
    init: bool
    privileged: bool
    read_only: bool
    env: list[str]
    env_file: list[str]
    label: list[str]
    label_file: list[str]
    workdir: str
    user: str
    group_add: list[str]
    hostname: str
    domainname: str
    add_host: list[str]
    entrypoint: str | None
    volumes: list[str]
    tmpfs: list[str]
    cap_add: list[str]
    cap_drop: list[str]
    security_opt: list[str]
    pid: str
    ipc: str
    uts: str
    cgroupns: str
    network: list[str]
    network_alias: list[str]
    ip: str
    ip6: str
    mac_address: str
    publish: list[str]
    publish_all: bool
    expose: list[str]
    dns: list[str]
    dns_search: list[str]
    dns_option: list[str]
    log_opt: list[str]
    stop_signal: str
    stop_timeout: int | None
    ulimit: list[str]
    shm_size: str
    sysctl: list[str]
    oom_score_adj: int
    memory: str
    memory_reservation: str
    memory_swap: str
    cpus: str
    cpu_shares: int | None
    cpu_period: int | None
    cpu_quota: int | None
    cpuset_cpus: str
    cpuset_mems: str
    pids_limit: int | None
    blkio_weight: int | None
    blkio_weight_device: list[str]
    device_read_bps: list[str]
    device_write_bps: list[str]
    device_read_iops: list[str]
    device_write_iops: list[str]
    hugetlb_limit: list[str]
    device: list[str]
    device_cgroup_rule: list[str]
    cgroup_parent: str
    restart: str
    explain: bool

    def __init__(self, **given: object) -> None:
        if isinstance(given.get("network"), str):  # as it was stored when there was one word for it
            given["network"] = [given["network"]] if given["network"] else []
        for name, default in DEFAULTS.items():
            value = given.pop(name, default)
            setattr(self, name, list(value) if isinstance(value, list | tuple) else value)
        if given:
            raise TypeError(f"no such option: {', '.join(sorted(given))}")

    def to_dict(self) -> dict[str, object]:
        """Only what differs from the defaults, so that most containers store a line."""
        return {name: getattr(self, name) for name in DEFAULTS if getattr(self, name) != DEFAULTS[name]}


def settle(options: RunOptions, caller: Mapping[str, str]) -> None:
    """Read --env-file and --label-file and the caller's variables, so that the options stand on their own.

    Raises InvalidValue also for text that is not UTF-8: config.json and the database could not hold it.
    """
    for name in DEFAULTS:
        value = getattr(options, name)
        for word in value if isinstance(value, list) else (value,):
            if isinstance(word, str) and not _storable(word):
                raise InvalidValue(f"--{name.replace('_', '-')}: {word!a} holds a NUL or is not UTF-8")
    if options.restart:
        from minirt.engine import policy

        policy.check(options)
    options.env = environment.collect(options.env_file, options.env, caller)
    options.label = environment.labels(options.label_file, options.label)
    options.env_file, options.label_file = [], []
    settle_network(options, caller)


def settle_network(options: RunOptions, caller: Mapping[str, str]) -> None:
    """Where no --network is given, what MINIRT_NETWORK names, else the default network."""
    options.network = options.network or [caller.get("MINIRT_NETWORK") or network_flags.BRIDGE]
    network_flags.check(options)


def _storable(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in word


class ExecOptions:
    """What `exec` can be asked for; `user` and `workdir` "" mean the container's own."""

    __slots__ = ("command", "detach", "env", "env_file", "interactive", "privileged", "tty", "user", "workdir")

    def __init__(
        self,
        command: list[str],
        *,
        detach: bool = False,
        interactive: bool = False,
        tty: bool = False,
        privileged: bool = False,
        user: str = "",
        workdir: str = "",
        env: list[str] | None = None,
        env_file: list[str] | None = None,
    ) -> None:
        self.command = command
        self.detach = detach
        self.interactive = interactive
        self.tty = tty
        self.privileged = privileged
        self.user = user
        self.workdir = workdir
        self.env = env or []
        self.env_file = env_file or []
