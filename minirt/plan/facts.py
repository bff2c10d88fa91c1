# SPDX-License-Identifier: Apache-2.0
"""What a plan is compiled against: facts about the host, about one root filesystem, and what the caller wants.

Values only: kernel/host.py and runtime/survey.py find them out, tests and `minirt plan` make them up. Pure; must
import nothing.
"""


class Host:
    """One Linux host as far as a plan depends on it.

    kernel: (6, 1). arch: uname's machine, "x86_64". capabilities: names in the caller's bounding set, in order of
    number. namespaces: the kinds that the kernel has ("mount", "pid", "network", "uts", "ipc", "cgroup", "time",
    "user"). hard_limits: the caller's hard limit by "RLIMIT_NOFILE" …; a name that is not there is not clamped.
    cgroup_mount: where cgroup v2 is mounted. lowerdir_plus: overlay takes its layers one by one (Linux 6.5).
    """

    __slots__ = ("kernel", "arch", "capabilities", "namespaces", "hard_limits", "cgroup_mount", "lowerdir_plus")

    def __init__(
        self,
        kernel: tuple[int, int],
        arch: str,
        capabilities: tuple[str, ...],
        namespaces: tuple[str, ...],
        hard_limits: dict[str, int],
        cgroup_mount: str | None,
        lowerdir_plus: bool,
    ) -> None:
        self.kernel = kernel
        self.arch = arch
        self.capabilities = capabilities
        self.namespaces = namespaces
        self.hard_limits = hard_limits
        self.cgroup_mount = cgroup_mount
        self.lowerdir_plus = lowerdir_plus


class Target:
    """What one path of the specification meets in the root filesystem.

    path: where it leads, absolute as the container will see it, symlinks resolved inside the root. missing: the
    components that do not exist yet, each as a path, outermost first: ("/data", "/data/in"); () when it exists.
    kind: "dir" or "file", what is there or, where it is missing, what the mount's source needs there; "" when
    that cannot be said: a masked path that is absent, or a path below something that another mount will bring.
    """

    __slots__ = ("path", "missing", "kind")

    def __init__(self, path: str, missing: tuple[str, ...] = (), kind: str = "dir") -> None:
        self.path = path
        self.missing = missing
        self.kind = kind


class RootFacts:
    """Targets by path as the specification writes it: every mount's destination, every masked and read-only path
    (those below a proc or sysfs mount are looked up in the host's own), process.cwd, and "/dev".

    A path without an entry is taken to exist, as a directory or as what defaults.py knows it to be: so that a
    plan can be shown for a root filesystem that nobody looked at."""

    __slots__ = ("targets",)

    def __init__(self, targets: dict[str, Target] | None = None) -> None:
        self.targets = targets if targets is not None else {}
