# SPDX-License-Identifier: Apache-2.0
"""A tree of the host that a container must neither change nor read, and what has become of it (stat(2))."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SECRET = "the-hosts-own-secret"


class Victim:
    """path: the tree, with `hello` (which holds SECRET), an empty directory `empty` and a file `below/file`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "empty").mkdir(parents=True)
        (path / "below").mkdir()
        (path / "hello").write_text(SECRET + "\n")
        (path / "below/file").write_text(SECRET + "\n")
        self.before = self.state()
        self.mtime_ns = os.stat(path).st_mtime_ns

    def state(self) -> dict[str, tuple[object, ...]]:
        """Every path below, with mode, owner, size, links, time of change of what it holds, and content."""
        found: dict[str, tuple[object, ...]] = {}
        for folder, _, names in os.walk(self.path):
            for path in [Path(folder), *(Path(folder, name) for name in names)]:
                about = os.lstat(path)
                content = path.read_bytes() if stat.S_ISREG(about.st_mode) else b""
                found[str(path.relative_to(self.path))] = (
                    stat.filemode(about.st_mode),
                    (about.st_uid, about.st_gid),
                    about.st_nlink,
                    about.st_mtime_ns,
                    content,
                )
        return found

    def changes(self) -> list[str]:
        """What is not as it was, one line each."""
        now = self.state()
        return [
            f"{name}: was {self.before.get(name)}, is {now.get(name)}"
            for name in sorted({*self.before, *now})
            if self.before.get(name) != now.get(name)
        ]
