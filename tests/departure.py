# SPDX-License-Identifier: Apache-2.0
"""What the tests of commit, export, import and save share: an image to change, changes of every kind, and other
programs that read what came of it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runner import Minirt
from test_unpack import described

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
CHANGES = """
cd /tree
rm gone; rm -r gone-dir
rm -r dir-to-file; echo file >dir-to-file
rm -r dir-to-link; ln -s kept dir-to-link
rm file-to-dir; mkdir file-to-dir; echo in >file-to-dir/x
rm link-to-dir; mkdir link-to-dir; echo in >link-to-dir/y
rm -r renewed; mkdir renewed; echo c >renewed/c
mkdir renewed/sub; chmod 2750 renewed
rm kept/below/a; echo new >kept/below/new; chmod 1777 kept
rm hard-1; ln kept/file hard-3; ln kept/file kept/hard-4
echo changed >>changed; chown 1000:2097152 changed; chmod 4755 changed
mkfifo pipe; mknod node c 1 3
truncate -s 40M sparse; echo end >>sparse; truncate -s 5M hollow
ln -s /etc/passwd absolute; mkdir -p a/b/c; touch 'odd name'
touch -d '2001-02-03 04:05:06' kept/file
chmod 700 untouched
"""


def command(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
    return done.stdout


def make_base(minirt: Minirt, name: str = "base:1") -> None:
    """An image of busybox and /tree, in two layers, so that a third one stands on a stack."""
    root = minirt.rootfs
    tree = root / "tree"
    for folder in ("kept/below", "gone-dir/sub", "dir-to-file", "dir-to-link/sub", "renewed/old", "untouched/sub"):
        (tree / folder).mkdir(parents=True)
    for file in (
        "gone",
        "gone-dir/sub/x",
        "dir-to-file/x",
        "dir-to-link/sub/x",
        "file-to-dir",
        "renewed/a",
        "renewed/old/x",
    ):
        (tree / file).write_text(file)
    for file in ("kept/file", "kept/below/a", "kept/below/b", "untouched/sub/x", "changed", "hard-1"):
        (tree / file).write_text(file)
    os.link(tree / "hard-1", tree / "hard-2")
    (tree / "link-to-dir").symlink_to("kept")
    packed = subprocess.run(["tar", "-C", str(root), "-c", "."], capture_output=True, check=True).stdout
    minirt.ok("import", "-", name, input=packed)
    minirt.ok("run", "--name", "middle", name, "sh", "-c", "echo middle >/tree/middle; rm /tree/kept/below/b")
    minirt.ok("commit", "middle", name)
    minirt.ok("rm", "middle")


def change(minirt: Minirt, container: str) -> None:
    """Every kind of change, and a file capability and an attribute, which busybox cannot set."""
    minirt.ok("exec", container, "sh", "-ec", CHANGES)
    pid = json.loads(minirt.ok("inspect", container))[0]["State"]["Pid"]
    os.setxattr(f"/proc/{pid}/root/tree/changed", "security.capability", CAPABILITY)
    os.setxattr(f"/proc/{pid}/root/tree/kept", "user.note", b"\0\n=")


@contextmanager
def seen(minirt: Minirt, container: str, where: Path) -> Iterator[dict[bytes, Any]]:
    """What the kernel shows of a container that does not run, by its layers as inspect tells them."""
    graph = json.loads(minirt.ok("inspect", container))[0]["GraphDriver"]["Data"]
    where.mkdir()
    lower = f"{graph['UpperDir']}:{graph['LowerDir']}"
    command("mount", "-t", "overlay", "-o", f"ro,lowerdir={lower}", "overlay", where)
    try:
        yield described(where)
    finally:
        command("umount", where)


def on_terminal(minirt: Minirt, *argv: str | Path) -> tuple[int, str]:
    """Exit code and what a terminal shows."""
    child, terminal = minirt.terminal(*argv)
    shown = b""
    with suppress(OSError):  # EIO: the other end is closed
        while data := os.read(terminal, 4096):
            shown += data
    os.close(terminal)
    return child.wait(), shown.decode()


def digests(root: Path) -> dict[str, str]:
    """{name: digest of its manifest} of a store."""
    listed = json.loads((root / "images/index.json").read_text())["manifests"]
    return {
        one["annotations"]["org.opencontainers.image.ref.name"]: one["digest"] for one in listed if "annotations" in one
    }


def comparable(found: dict[bytes, Any]) -> dict[bytes, Any]:
    """Without what no layer says: the root's time, and the files of /etc that every runtime puts there itself."""
    mode, uid, gid, *_ = found[b"."]
    own = {b".", b"dev", b"proc", b"sys", *(b"etc/" + name for name in (b"hosts", b"hostname", b"resolv.conf"))}
    rest = {path: value for path, value in found.items() if path not in own}
    etc = rest.get(b"etc")
    return {**rest, b"etc": etc and etc[:3], b".": (mode, uid, gid)}
