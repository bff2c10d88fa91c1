# SPDX-License-Identifier: Apache-2.0
"""Containers made through runtime.start alone, without engine and database: a bundle, a busybox root, a channel.

Must not import engine or cli.
"""

from __future__ import annotations

import os
import pathlib
import select
import shutil
import time
import uuid
from typing import Any

from minirt.cgroup import tree
from minirt.kernel import channel
from minirt.plan import defaults
from minirt.plan.rootfs import Directory, Overlay
from minirt.runtime import bundle, launch, start, state

BUSYBOX = "/bin/busybox"
APPLETS = "sh true false cat echo sleep id ls mount stat readlink grep kill tty touch mkdir chmod stty cut".split()


def busybox_root(path: pathlib.Path) -> pathlib.Path:
    """A root filesystem with nothing but busybox and two accounts."""
    for name in ("bin", "etc", "tmp", "root"):
        (path / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, path / "bin/busybox")
    for applet in APPLETS:
        (path / "bin" / applet).symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\napp:x:1000:\nvideo:x:44:app\n")
    return path


def spec(*args: str, **process: Any) -> dict[str, Any]:
    """What `run` asks for when nobody says anything, as a config.json."""
    capabilities = list(defaults.CAPABILITIES)
    return {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "box",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0, "umask": 0o022, "additionalGids": [0]},
            "args": list(args),
            "env": [f"PATH={defaults.PATH}", "HOME=/root"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [],
            "noNewPrivileges": False,
            **process,
        },
        "mounts": defaults.mounts(),
        "annotations": {"org.minirt.seccomp": "default"},
        "linux": {
            "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
            "maskedPaths": defaults.masked_paths(),
            "readonlyPaths": list(defaults.READONLY),
            "sysctl": dict(defaults.SYSCTL),
        },
    }


class Box:
    """One container below `base`: its bundle, run directory and cgroup, and what its channel said."""

    def __init__(self, base: pathlib.Path, lower: pathlib.Path) -> None:
        self.id = uuid.uuid4().hex * 2
        self.bundle = bundle.create(str(base / f"bundle-{self.id[:8]}"))
        self.run_dir = str(base / f"run-{self.id[:8]}")
        self.cache = str(base / "cache")
        self.cgroups = f"{tree.mount_point()}/minirt-test-{os.getpid()}"
        self.cgroup = f"{self.cgroups}/{self.id}"
        self.lower = str(lower)
        self.started: launch.Started | None = None
        self.stdout = self.stderr = b""

    def rootfs(self) -> Overlay | Directory:
        return Overlay((self.lower,), self.bundle.upper, self.bundle.work, mount_point=self.bundle.rootfs)

    def request(self, config: dict[str, Any], **options: Any) -> start.StartRequest:
        options = {"rootfs": self.rootfs(), "cgroup_parent": self.cgroups, "cache_dir": self.cache, **options}
        return start.StartRequest(self.id, self.bundle.path, self.run_dir, config, **options)

    def start(self, config: dict[str, Any], **options: Any) -> launch.Started:
        self.started = start.start(self.request(config, **options))
        return self.started

    def run(self, config: dict[str, Any], timeout_s: float = 20, **options: Any) -> tuple[int, str, str]:
        """Start it and wait: exit code, standard output, standard error."""
        self.start(config, **options)
        code = self.finish(timeout_s)
        return code, self.stdout.decode(), self.stderr.decode()

    def finish(self, timeout_s: float = 20) -> int:
        """Read the channel until EXITED."""
        assert self.started is not None
        code = self.listen(self.started, timeout_s)
        self.close()
        return code

    def listen(self, started: launch.Started, timeout_s: float) -> int:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ready, _, _ = select.select([started.control], [], [], max(0, deadline - time.monotonic()))
            kind, body = channel.read(started.control) if ready else (0, b"")
            if kind == channel.STDOUT:
                self.stdout += body
            elif kind == channel.STDERR:
                self.stderr += body
            elif kind == channel.EXITED:
                return int(channel.exited(body)[0])
            else:
                raise AssertionError(f"the channel ended with message {kind}; so far: {self.stdout!r} {self.stderr!r}")
        raise AssertionError(f"no end within {timeout_s} s; so far: {self.stdout!r} {self.stderr!r}")

    def close(self) -> None:
        """Leave the channel and take the monitor's exit status."""
        if self.started is not None and self.started.control >= 0:
            os.close(self.started.control)
            self.started.control = -1
            launch.reap(self.started.monitor_pid)

    def state(self) -> state.State:
        found = state.read(self.run_dir)
        assert found is not None
        return found

    def destroy(self) -> None:
        if os.path.isdir(self.cgroup):
            tree.kill(self.cgroup)
            tree.wait_event(self.cgroup, "populated", 0, 5)
        self.close()
        tree.remove(self.cgroup)
        if os.path.isdir(self.cgroups):
            tree.remove(self.cgroups)
