# SPDX-License-Identifier: Apache-2.0
"""The runtimes that the benchmark puts beside minirt: how each is set up, asked, and taken down.

Each peer has its own storage below the scratch directory and turns an act ("run", "exec", …) into an argv; None
where it has no such act. Must not import minirt: it is measured through its command line like the others.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple

IMAGE = "localhost/busybox"


def sh(*argv: str | Path, **options: object) -> str:
    """Runs a command of the set-up; its output. A failure ends the benchmark with what the command said."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(map(str, argv))}: exit {done.returncode}\n{done.stderr}")
    return str(done.stdout)


def make_rootfs(folder: Path) -> Path:
    """A root filesystem with nothing but busybox-static and its applets."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root"):
        (folder / name).mkdir(parents=True)
    sh("cp", "/bin/busybox", folder / "bin/busybox")
    for applet in sh("/bin/busybox", "--list").split():
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return folder


class Peer:
    """One runtime. `client` is the argv that every act begins with."""

    name = ""
    client: list[str]

    def version(self) -> str:
        return sh(self.client[0], "--version").splitlines()[0]

    def argv(self, act: str, name: str = "") -> list[str] | None:
        """The command of an act; `name` is the container that it makes or uses."""
        idle = [IMAGE, "sleep", "100000"]
        acts = {
            "run": [*self.client, "run", "--rm", "--network", "none", *self.extra(), IMAGE, "true"],
            "run -d": [*self.client, "run", "-d", "--name", name, "--network", "none", *self.extra(), *idle],
            "create": [*self.client, "create", "--name", name, "--network", "none", *self.extra(), *idle],
            "exec": [*self.client, "exec", name, "true"],
            "rm": [*self.client, "rm", "-f", name],
            "ps": [*self.client, "ps", "-a"],
        }
        return acts.get(act)

    def extra(self) -> list[str]:
        return []

    def pid(self, name: str) -> int:
        """The host pid of a running container's workload."""
        return int(json.loads(sh(*self.client, "inspect", name))[0]["State"]["Pid"])

    def close(self) -> None:
        pass


class Minirt(Peer):
    name = "minirt"

    def __init__(self, scratch: Path, program: str) -> None:
        self.client = [program, "--root", str(scratch / "minirt"), "--state", str(scratch / "minirt-run")]


class Docker(Peer):
    """Debian's dockerd with its own data root, socket and containerd. networks: with its bridge and its firewall rules,
    in a network namespace that is nobody else's; otherwise without both."""

    name = "docker"

    def __init__(self, scratch: Path, rootfs: Path, networks: bool = False) -> None:
        home = scratch / "docker"
        home.mkdir()
        self.client = ["docker", "--config", str(home), "-H", f"unix://{home}/sock"]
        options = ["--storage-driver=overlay2"]
        if not networks:
            options += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        places = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"]
        with open(home / "log", "w") as log:
            self.daemon = subprocess.Popen(
                ["/usr/sbin/dockerd", *places, "-H", f"unix://{home}/sock", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while subprocess.run([*self.client, "version"], capture_output=True).returncode:
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: dockerd does not start\n{(home / 'log').read_text()}")
            time.sleep(0.2)
        sh("sh", "-c", 'tar -C "$0" -c . | "$@" import - ' + IMAGE, rootfs, *self.client)

    def daemons(self) -> list[int]:
        """dockerd and its containerd."""
        kids = Path(f"/proc/{self.daemon.pid}/task").glob("*/children")
        return [self.daemon.pid, *(int(pid) for file in kids for pid in file.read_text().split())]

    def close(self) -> None:
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()


class Podman(Peer):
    """Podman with runc (crun refuses a host with cgroup v1 and v2) and limits that this host allows."""

    name = "podman"

    def __init__(self, scratch: Path, rootfs: Path) -> None:
        home = scratch / "podman"
        self.client = ["podman", "--root", f"{home}/root", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp"]
        self.client += ["--runtime", "/usr/sbin/runc", "--cgroup-manager", "cgroupfs", "--storage-driver", "overlay"]
        self.client += ["--events-backend", "file"]
        sh("sh", "-c", 'tar -C "$0" -c . | "$@" import - ' + IMAGE, rootfs, *self.client)

    def argv(self, act: str, name: str = "") -> list[str] | None:
        if act == "rm":
            return [*self.client, "rm", "-f", "-t", "0", name]
        return super().argv(act, name)

    def extra(self) -> list[str]:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        tasks = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        return ["--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={tasks}:{tasks}"]


class Runc(Peer):
    """runc on a bundle that is ready: no image, no copy-on-write, no log."""

    name = "runc"

    def __init__(self, scratch: Path, rootfs: Path) -> None:
        self.home = scratch / "runc"
        self.client = ["runc", "--root", str(self.home / "state")]
        for bundle, argv in (("true", ["true"]), ("idle", ["sleep", "100000"])):
            folder = self.home / bundle
            folder.mkdir(parents=True)
            sh("runc", "spec", "--bundle", folder)
            spec = json.loads((folder / "config.json").read_text())
            spec["process"].update(terminal=False, args=argv)
            del spec["process"]["rlimits"]
            spec["root"]["path"] = str(rootfs)
            (folder / "config.json").write_text(json.dumps(spec))

    def argv(self, act: str, name: str = "") -> list[str] | None:
        acts = {
            "run": [*self.client, "run", "--bundle", str(self.home / "true"), "bench"],
            "run -d": [*self.client, "run", "-d", "--bundle", str(self.home / "idle"), name],
            "exec": [*self.client, "exec", name, "true"],
            "rm": [*self.client, "delete", "-f", name],
        }
        return acts.get(act)

    def pid(self, name: str) -> int:
        return int(json.loads(sh(*self.client, "state", name))["pid"])


class Bubblewrap(Peer):
    """A sandbox without images, cgroups, logs or names: what birth alone costs in a finished tool."""

    name = "bwrap"

    def __init__(self, rootfs: Path) -> None:
        self.client = ["bwrap"]
        self.rootfs = str(rootfs)

    def argv(self, act: str, name: str = "") -> list[str] | None:
        mounts = ["--bind", self.rootfs, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        return ["bwrap", "--unshare-all", *mounts, "/bin/true"] if act == "run" else None


class Birth(Peer):
    """bench/birth.c: the system calls of a birth, in C."""

    name = "bare C"

    def __init__(self, scratch: Path, rootfs: Path, cgroups: Path) -> None:
        home = scratch / "birth"
        for name in ("upper", "work", "merged"):
            (home / name).mkdir(parents=True)
        source = Path(__file__).with_name("birth.c")
        sh("gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", source, "-o", home / "birth")
        self.client = [str(home / "birth")]
        self.rest = [str(rootfs), str(home), str(cgroups / f"birth-{os.getpid()}"), "/bin/true"]

    def version(self) -> str:
        return "bench/birth.c"

    def argv(self, act: str, name: str = "") -> list[str] | None:
        return [*self.client, *self.rest] if act == "run" else None


class Skopeo(Peer):
    """skopeo(1) to fetch and umoci(1) to unpack: images only."""

    name = "skopeo"
    client = ["skopeo"]

    def version(self) -> str:
        return f"{super().version()}, {sh('umoci', '--version').strip()}"

    def argv(self, act: str, name: str = "") -> list[str] | None:
        return None


class Took(NamedTuple):
    """What one command cost: milliseconds from start to end, processor time of it and its children, and the most
    memory that one of its processes had."""

    ms: float
    cpu_ms: float
    peak_mb: float


def do(argv: list[str]) -> Took:
    """Runs one command, which must succeed; by posix_spawn, the cheapest start that Python has. Reaps on the way
    whoever else ended: this is pid 1 of its namespace."""
    with tempfile.TemporaryFile() as errors:
        return _do(argv, errors)


def _do(argv: list[str], errors: BinaryIO) -> Took:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
    ]
    began = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    while True:
        ended, status, usage = os.wait4(-1, 0)
        if ended == pid:
            break
    took = (time.perf_counter() - began) * 1000
    if status:
        errors.seek(0)
        said = errors.read().decode(errors="replace")
        raise SystemExit(f"bench: {' '.join(argv)}: exit {os.waitstatus_to_exitcode(status)}\n{said}")
    return Took(took, (usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss / 1024)
