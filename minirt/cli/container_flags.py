# SPDX-License-Identifier: Apache-2.0
"""The flags that `run` and `create` share, and what they become: engine.options.RunOptions (docker-run(1)).

Only the grammar of the command line is here; what a value means (a volume, a user, a capability) the engine says.
A flag of Docker's that minirt cannot keep is refused by name, never ignored.
"""

from __future__ import annotations

from minirt.cli import output
from minirt.cli.parse import BYTES, INT, LIST, MAP, STRING, Command, Option, Parsed, usage_error
from minirt.engine import network_flags
from minirt.engine.options import DEFAULTS, UNSUPPORTED, RunOptions
from minirt.errors import CommandError, InvalidValue, NoSuchImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from minirt.cli.session import Session

    Made = TypeVar("Made")


def _stream(text: str) -> None:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")


FLAGS = (
    Option("add-host", "", LIST, "Add a custom host-to-IP mapping (host:ip)"),
    Option("attach", "a", LIST, "Attach to STDIN, STDOUT or STDERR", check=_stream),
    Option("blkio-weight", "", INT, "Block IO (relative weight), between 10 and 1000"),
    Option("blkio-weight-device", "", LIST, "Block IO weight (relative device weight)"),
    Option("cap-add", "", LIST, "Add Linux capabilities"),
    Option("cap-drop", "", LIST, "Drop Linux capabilities"),
    Option("cgroup-parent", "", STRING, "Parent cgroup for the container, below that of all containers"),
    Option("cgroupns", "", STRING, "Cgroup namespace to use (host|private)"),
    Option("cidfile", "", STRING, "Write the container ID to the file"),
    Option("cpu-period", "", INT, "Limit CPU CFS (Completely Fair Scheduler) period"),
    Option("cpu-quota", "", INT, "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Option("cpu-shares", "c", INT, "CPU shares (relative weight)"),
    Option("cpus", "", STRING, "Number of CPUs", metavar="decimal"),
    Option("cpuset-cpus", "", STRING, "CPUs in which to allow execution (0-3, 0,1)"),
    Option("cpuset-mems", "", STRING, "MEMs in which to allow execution (0-3, 0,1)"),
    Option("device", "", LIST, "Add a host device to the container"),
    Option("device-cgroup-rule", "", LIST, "Add a rule to the cgroup allowed devices list"),
    Option("device-read-bps", "", LIST, "Limit read rate (bytes per second) from a device"),
    Option("device-read-iops", "", LIST, "Limit read rate (IO per second) from a device"),
    Option("device-write-bps", "", LIST, "Limit write rate (bytes per second) to a device"),
    Option("device-write-iops", "", LIST, "Limit write rate (IO per second) to a device"),
    Option("dns", "", LIST, "Set custom DNS servers", check=network_flags.check_address),
    Option("dns-option", "", LIST, "Set DNS options"),
    Option("dns-opt", "", LIST, hidden=True),
    Option("dns-search", "", LIST, "Set custom DNS search domains", check=network_flags.check_domain),
    Option("domainname", "", STRING, "Container NIS domain name"),
    Option("entrypoint", "", STRING, "Overwrite the default ENTRYPOINT of the image"),
    Option("env", "e", LIST, "Set environment variables"),
    Option("env-file", "", LIST, "Read in a file of environment variables"),
    Option("expose", "", LIST, "Expose a port or a range of ports"),
    Option("group-add", "", LIST, "Add additional groups to join"),
    Option("hostname", "h", STRING, "Container host name"),
    Option("hugetlb-limit", "", LIST, "Limit huge pages of one size (2MB:64m)"),
    Option("init", help="Run an init inside the container that forwards signals and reaps processes"),
    Option("interactive", "i", help="Keep STDIN open even if not attached"),
    Option("ip", "", STRING, "IPv4 address (e.g., 172.30.100.104)"),
    Option("ip6", "", STRING, "IPv6 address (e.g., 2001:db8::33)"),
    Option("ipc", "", STRING, "IPC mode to use (private|host|container:NAME)"),
    Option("label", "l", LIST, "Set meta data on a container"),
    Option("label-file", "", LIST, "Read in a line delimited file of labels"),
    Option("log-opt", "", LIST, "Log options: max-size=10m, max-file=3"),
    Option("mac-address", "", STRING, "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Option("memory", "m", BYTES, "Memory limit"),
    Option("memory-reservation", "", BYTES, "Memory soft limit"),
    Option("memory-swap", "", BYTES, "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    Option("name", "", STRING, "Assign a name to the container"),
    Option("network", "", LIST, "Connect a container to a network", None, "network", network_flags.check_network),
    Option("net", "", LIST, check=network_flags.check_network, hidden=True),
    Option("network-alias", "", LIST, "Add network-scoped alias for the container"),
    Option("net-alias", "", LIST, hidden=True),
    Option("oom-score-adj", "", INT, "Tune host's OOM preferences (-1000 to 1000)"),
    Option("pid", "", STRING, "PID namespace to use (host|container:NAME)"),
    Option("pids-limit", "", INT, "Tune container pids limit (set -1 for unlimited)"),
    Option("platform", "", STRING, "Set platform if the registry has the image for several"),
    Option("privileged", help="Give extended privileges to this container"),
    Option("publish", "p", LIST, "Publish a container's port(s) to the host"),
    Option("publish-all", "P", help="Publish all exposed ports to random ports"),
    Option("pull", "", STRING, 'Pull image before running ("always", "missing", "never")', default="missing"),
    Option("quiet", "q", help="Suppress the pull output"),
    Option("read-only", help="Mount the container's root filesystem as read only"),
    Option("restart", "", STRING, "Restart policy to apply when a container exits", default="no"),
    Option("rm", help="Automatically remove the container when it exits"),
    Option(
        "rootfs",
        "",
        STRING,
        "Run in this directory instead of an image; DIR:O keeps it as it is",
        metavar="DIR[:O]",
    ),
    Option("security-opt", "", LIST, "Security options: no-new-privileges, seccomp=FILE|unconfined"),
    Option("shm-size", "", BYTES, "Size of /dev/shm"),
    Option("stop-signal", "", STRING, "Signal to stop the container"),
    Option("stop-timeout", "", INT, "Timeout (in seconds) to stop a container"),
    Option("sysctl", "", MAP, "Sysctl options"),
    Option("tmpfs", "", LIST, "Mount a tmpfs directory"),
    Option("tty", "t", help="Allocate a pseudo-TTY"),
    Option("ulimit", "", LIST, "Ulimit options", metavar="ulimit"),
    Option("user", "u", STRING, "Username or UID (format: <name|uid>[:<group|gid>])"),
    Option("uts", "", STRING, "UTS namespace to use (host)"),
    Option("volume", "v", LIST, "Bind mount a volume"),
    Option("workdir", "w", STRING, "Working directory inside the container"),
    Option("no-healthcheck", hidden=True),
    Option("disable-content-trust", hidden=True),
)
# Docker's other flags, so that they are refused by their name and not taken for an unknown word.
REFUSED = (
    *[Option(name, "", STRING, hidden=True) for name in (
        "annotation", "cpu-rt-period", "cpu-rt-runtime", "gpus", "health-cmd",
        "health-interval", "health-retries", "health-start-interval", "health-start-period", "health-timeout",
        "isolation", "kernel-memory", "link", "link-local-ip", "log-driver", "memory-swappiness", "mount",
        "runtime", "storage-opt", "userns", "volume-driver", "volumes-from",
    )],
    Option("oom-kill-disable", hidden=True),
    Option("use-api-socket", hidden=True),
)  # fmt: skip
# Where the engine's word is not the flag with underscores.
FIELDS = {
    "rm": "auto_remove", "volume": "volumes", "net": "network", "net-alias": "network_alias", "dns-opt": "dns_option",
}  # fmt: skip
NOT_STORED = frozenset(
    ("attach", "cidfile", "platform", "pull", "quiet", "no-healthcheck", "disable-content-trust", "sig-proxy",
     "detach-keys", "detach", "explain")
)  # fmt: skip
PULL = ("always", "missing", "never")


def options(command: Command, parsed: Parsed) -> RunOptions:
    """RunOptions from one command line. Raises UsageError and InvalidValue."""
    _refuse(command, parsed)
    words = parsed.arguments
    given: dict[str, object] = {}
    for name in sorted(parsed.given - NOT_STORED):
        field, value = FIELDS.get(name, name.replace("-", "_")), parsed.values[name]
        if field in DEFAULTS:
            before = given.get(field)  # --net and --network are two spellings of one list
            given[field] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
    if given.get("network") == ["host"] and (parsed.list("publish") or parsed.flag("publish-all")):
        output.hint("WARNING: Published ports are discarded when using host network mode\n")
    if parsed.text("rootfs"):
        return RunOptions(command=words, **given)
    if not words:
        raise usage_error(command, f"'minirt {command.name}' requires at least 1 argument", CommandError)
    return RunOptions(image=words[0], command=words[1:], **given)


def _refuse(command: Command, parsed: Parsed) -> None:
    """What is understood but cannot be had."""
    for option in REFUSED:
        if option.name in parsed.given:
            reason = UNSUPPORTED.get(option.name, "")
            told = reason.partition("(")[2].rstrip(")")
            raise InvalidValue(
                f"--{option.name} is not supported yet" + (f": {reason}" if reason and not told else ""),
                told or "leave it out",
            )
    if parsed.text("pull") not in PULL:
        raise InvalidValue(
            f'invalid pull option: \'{parsed.text("pull")}\': must be one of "always", "missing" or "never"',
            "leave it out to pull what is missing",
        )
    if parsed.text("platform"):
        _check_platform(parsed.text("platform"))


def _check_platform(text: str) -> None:
    import os

    from minirt.model import platform as platforms

    machine = os.uname().machine
    wanted, host = platforms.parse(text, machine), platforms.Platform("linux", machine)
    same = (wanted.system, wanted.architecture) == (host.system, host.architecture)
    if not same and wanted not in host.order():
        raise InvalidValue(f'--platform "{text}" cannot run on this {machine} host')


def with_image(session: Session, parsed: Parsed, options: RunOptions, act: Callable[[], Made]) -> Made:
    """What `act` makes of the image; pulled before where --pull asks for it, or where there is none. A short name that
    is not here, and for which registries.conf has an alias, is replaced in `options`."""
    policy, platform = parsed.text("pull"), parsed.text("platform")
    absent = False
    if policy != "always" or not options.image:
        try:
            if options.image and platform:
                _check_local(session, options.image, platform)
            return act()
        except NoSuchImage:
            from minirt.cli import missing

            if missing.is_identity(options.image):
                raise
            if meant := missing.alias(options.image):
                options.image = meant
                return with_image(session, parsed, options, act)
            if policy == "never":
                raise
            absent = True
    from minirt.cli import interrupt, missing

    interrupt.release()  # a pull is long, and may be torn apart
    options.image = missing.alias(options.image) or options.image
    missing.fetch(session, options.image, platform, parsed.flag("quiet"), absent)
    return act()


def _check_local(session: Session, image: str, platform: str) -> None:
    """An image that is here for another platform than --platform counts as missing."""
    import os

    from minirt.cli import missing

    if not missing.suits(session, image, platform, os.uname().machine):
        raise missing.other_platform(image, platform)


def write_cidfile(path: str, identity: str) -> None:
    """--cidfile: a new file with the id and nothing else; one that exists already was refused before."""
    import os

    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "w") as file:
        file.write(identity)


def check_cidfile(path: str) -> None:
    """Docker refuses a file that exists before it makes a container."""
    import os

    if path and os.path.lexists(path):
        raise InvalidValue(
            f'container ID file found, make sure the other container isn\'t running or delete "{path}"',
            "each container needs its own --cidfile",
        )
