# SPDX-License-Identifier: Apache-2.0
"""`update` killed before each system call that changes something: the container has the old or the new, and goes on."""

from __future__ import annotations

from pathlib import Path

import crashes
from runner import Minirt


def test_killed_anywhere(minirt: Minirt, tmp_path: Path) -> None:
    minirt.ok("run", "-d", "--name", "box", "--rootfs", minirt.rootfs, "sleep", "1000")
    change = ("update", "--restart", "on-failure:3", "box")
    points = crashes.crash_points(minirt, tmp_path, *change)
    seen = set()
    for point in points:
        minirt.ok("update", "--restart", "no", "box")
        crashes.killed_at(minirt, point, *change)
        seen.add(minirt.ok("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}} {{.State.Status}}", "box"))
        assert minirt.ok(*change) == "box", point
    assert seen == {"no running", "on-failure running"}
    minirt.ok("update", "--restart", "no", "box")
