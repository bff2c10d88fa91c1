# SPDX-License-Identifier: Apache-2.0
"""What a container gets when nobody asks for anything else: capabilities, mounts, devices, masks, limits.

Tables in the form of the OCI runtime specification (config.md, config-linux.md), for engine/spec.py to copy into
a config.json and for the compiler where the specification tells a runtime to add something itself. Pure; must
import nothing.
"""

# capabilities(7): Podman's eleven. MKNOD, NET_RAW and AUDIT_WRITE are not among them; ping works without NET_RAW
# through the sysctl below.
CAPABILITIES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_SETFCAP",
)
# With a network namespace of its own: anybody may ping without CAP_NET_RAW, and any user's server take port 80.
SYSCTL: dict[str, str] = {
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv4.ip_unprivileged_port_start": "0",
}

# What the kernel tells about the host, or takes from root without asking which namespace. Value: what it is.
MASKED: dict[str, str] = {
    "/proc/acpi": "dir",
    "/proc/asound": "dir",
    "/proc/interrupts": "file",
    "/proc/kcore": "file",
    "/proc/keys": "file",
    "/proc/latency_stats": "file",
    "/proc/sched_debug": "file",
    "/proc/scsi": "dir",
    "/proc/timer_list": "file",
    "/proc/timer_stats": "file",
    "/sys/devices/virtual/powercap": "dir",
    "/sys/firmware": "dir",
    "/sys/fs/selinux": "dir",
}
READONLY: tuple[str, ...] = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_FILES = ("/proc/sysrq-trigger",)

# An annotation of this name says that the filter is the default profile (seccomp_profile.py), made at every start.
SECCOMP_ANNOTATION = "org.minirt.seccomp"

SHM_SIZE = "65536k"
_PROC_OPTIONS = ("nosuid", "noexec", "nodev")
# destination, type, source, options: in the order in which they are mounted
MOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", _PROC_OPTIONS),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", (*_PROC_OPTIONS, "mode=1777", "size=" + SHM_SIZE)),
    ("/dev/mqueue", "mqueue", "mqueue", _PROC_OPTIONS),
    ("/sys", "sysfs", "sysfs", (*_PROC_OPTIONS, "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", (*_PROC_OPTIONS, "ro")),
)
# name below /dev, type, major, minor: runtime-spec "Default Devices"; console and ptmx are made otherwise
DEVICES: tuple[tuple[str, str, int, int], ...] = (
    ("null", "c", 1, 3),
    ("zero", "c", 1, 5),
    ("full", "c", 1, 7),
    ("random", "c", 1, 8),
    ("urandom", "c", 1, 9),
    ("tty", "c", 5, 0),
)
# Their numbers, and those of console, ptmx and all pseudoterminals (-1: each minor): what a cgroup's program allows
DEVICES_ALLOWED: tuple[tuple[int, int], ...] = (
    *((major, minor) for _, _, major, minor in DEVICES),
    (5, 1),
    (5, 2),
    (136, -1),
)
DEVICE_LINKS: tuple[tuple[str, str], ...] = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)

NAMESPACES: tuple[str, ...] = ("mount", "pid", "network", "ipc", "uts", "cgroup", "time")
RLIMITS: tuple[tuple[str, int, int], ...] = (("RLIMIT_NOFILE", 1024, 524288), ("RLIMIT_CORE", 0, 0))
PIDS_LIMIT = 2048
UMASK = 0o022
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def masked_paths(processors: int = 0) -> list[str]:
    """linux.maskedPaths for a host with this many processors: each one's thermal_throttle is masked as well, and
    the specification has no wildcard."""
    throttles = [f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(processors)]
    return [*MASKED, *throttles]


def kind(path: str) -> str:
    """ "dir" or "file": what a masked or read-only path is where nobody looked."""
    return MASKED.get(path) or ("file" if path in _FILES else "dir")


def mounts() -> list[dict[str, object]]:
    """MOUNTS as config.json has them; a new list with new members every time."""
    return [
        {"destination": destination, "type": type_, "source": source, "options": list(options)}
        for destination, type_, source, options in MOUNTS
    ]
