# SPDX-License-Identifier: Apache-2.0
"""The `mounts` of a container's config.json: the defaults, the three files below /etc, --tmpfs and -v
(OCI runtime-spec config.md, "Mounts"; docker-run(1)).

Pure: where a volume lies on the host is told by the caller. Must not import runtime or kernel.
"""

from __future__ import annotations

import os

from minirt.engine import flags
from minirt.errors import InvalidValue
from minirt.model import capabilities
from minirt.plan import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.options import RunOptions

    Mount = dict[str, object]

ETC_FILES = ("resolv.conf", "hostname", "hosts")
_ETC_OPTIONS = ("bind", "nosuid", "nodev", "noexec", "rprivate")


class Mounts:
    """mounts: for config.json. pointers: {index: the flag that asked for it}. volumes: for inspect, as Record has
    them."""

    __slots__ = ("mounts", "pointers", "volumes")

    def __init__(self, mounts: list[Mount], pointers: dict[int, str], volumes: list[list[object]]) -> None:
        self.mounts = mounts
        self.pointers = pointers
        self.volumes = volumes


def build(options: RunOptions, bundle: str, locate: Callable[[flags.Volume], str]) -> Mounts:
    """All mounts in the order in which they are made: parents before what lies below them.

    `locate` gives the host path of a volume. A mount of the user's takes the place of a default with the same
    destination, as Docker does; two of the user's with the same destination are InvalidValue.
    """
    wanted: list[tuple[Mount, str]] = []
    volumes: list[list[object]] = []
    given = capabilities.adjust(defaults.CAPABILITIES, options.cap_add, options.cap_drop)
    closed = not options.privileged and "CAP_MKNOD" not in given
    for text in options.volumes:
        volume = flags.volume(text)
        source = locate(volume)
        wanted.append((_bind(volume, source, closed), f"-v {text}"))
        kind = ["bind", ""] if volume.is_bind else ["volume", source.rsplit("/", 2)[-2]]
        mode = ",".join(filter(None, (text.split(":")[2:] or [""])))
        volumes.append([*kind, source, volume.destination, mode, not volume.read_only, volume.propagation])
    for text in options.tmpfs:
        destination, words = flags.tmpfs(text)
        wanted.append((_tmpfs(destination, words), f"--tmpfs {text}"))
    wanted.sort(key=lambda pair: str(pair[0]["destination"]).count("/"))
    taken: set[str] = set()
    for mount, flag in wanted:
        if mount["destination"] in taken:
            raise InvalidValue(f"Duplicate mount point: {mount['destination']}", f"it is asked for again by {flag}")
        taken.add(str(mount["destination"]))
    mounts = [mount for mount in _defaults(options) + _etc(options, bundle) if mount["destination"] not in taken]
    pointers = {len(mounts) + index: flag for index, (_, flag) in enumerate(wanted)}
    return Mounts(mounts + [mount for mount, _ in wanted], pointers, volumes)


def _defaults(options: RunOptions) -> list[Mount]:
    """defaults.MOUNTS as far as the namespaces and --privileged leave them so."""
    found: list[Mount] = []
    writable = {"/sys", "/sys/fs/cgroup"} if options.privileged else set()
    if flags.security(options.security_opt).writable_cgroups:
        writable.add("/sys/fs/cgroup")
    for mount in defaults.mounts():
        destination, words = mount["destination"], list(mount["options"])  # type: ignore[call-overload]
        if destination in writable:
            words.remove("ro")
        if destination == "/dev/shm" and options.shm_size:
            size = flags.size(options.shm_size, "--shm-size")
            words = [f"size={size}" if word.startswith("size=") else word for word in words]
        if destination == "/dev/shm" and options.ipc == "host":  # a mqueue shows its namespace's queues by itself
            mount = {"destination": destination, "type": "bind", "source": destination}
            words = ["rbind", "nosuid", "noexec", "nodev"]
        found.append({**mount, "options": words})
    return found


def _etc(options: RunOptions, bundle: str) -> list[Mount]:
    """hosts, hostname and resolv.conf: files of the bundle, bound over the image's. Who shares the network of another
    container shares that one's files: they are about its network."""
    mode, _, other = (options.network[0] if options.network else "").partition(":")
    if mode == "container" and other:
        bundle = f"{os.path.dirname(bundle)}/{other}"
    words = [*_ETC_OPTIONS, "ro"] if options.read_only else list(_ETC_OPTIONS)
    return [
        {"destination": f"/etc/{name}", "type": "bind", "source": f"{bundle}/{name}", "options": list(words)}
        for name in ETC_FILES
    ]


def _bind(volume: flags.Volume, source: str, closed: bool) -> Mount:
    """`closed`: device nodes in it cannot be used, by a container that cannot make any; what goes to /dev was meant."""
    words = ["rbind", volume.propagation, "ro" if volume.read_only else "rw"]
    if closed and not f"{volume.destination}/".startswith("/dev/"):
        words.append("rnodev")
    return {"destination": volume.destination, "type": "bind", "source": source, "options": words}


def _tmpfs(destination: str, words: list[str]) -> Mount:
    """Docker's defaults for --tmpfs: noexec, nosuid, nodev, unless the opposite is asked for."""
    opposite = {"noexec": "exec", "nosuid": "suid", "nodev": "dev"}
    options = [word for word, other in opposite.items() if other not in words and word not in words] + words
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}
