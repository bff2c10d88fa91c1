# SPDX-License-Identifier: Apache-2.0
"""Hostile containers and archives against commit, export, save and import: what they plant is not executed, what they
swap is not followed, what they name does not lead out.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

import forge
import runner
from departure import make_base
from runner import Minirt
from victim import SECRET, Victim


def test_import_hostile(minirt: Minirt, victim: Victim) -> None:
    """IMG-01, IMG-02 by import: the door is the same as for every layer."""
    link = forge.entry("d", forge.SYMLINK, link=str(victim.path))
    for members in ([forge.entry("../x", data=b"x")], [link, forge.entry("d/hello", data=b"overwritten")]):
        minirt("import", "-", "hostile", input=forge.tar(*members))
        assert victim.changes() == []


@pytest.mark.parametrize("verb", ["export", "commit"])
def test_img_33_a_container_that_swaps_links(
    minirt: Minirt, attacker: Path, victim: Victim, short_dir: Path, verb: str
) -> None:
    """IMG-33, IMG-18 (CVE-2018-15664): while the container exchanges a file and a directory with links to the host,
    nothing of the host is in what is packed. The control: the host's own tar, that follows by path, would find it."""
    tree = minirt.rootfs / "race"
    (tree / "dir/below").mkdir(parents=True)
    for name in ("hello", "dir/hello", "dir/below/file"):
        (tree / name).write_text("harmless")
    (tree / "link").symlink_to(victim.path / "hello")
    (tree / "dir-link").symlink_to(victim.path)
    packed = subprocess.run(["tar", "-C", str(minirt.rootfs), "-c", "."], capture_output=True, check=True).stdout
    minirt.ok("import", "-", "race:1", input=packed)
    words = [f"/race/{name}" for name in ("hello", "link", "dir", "dir-link")]
    script = f"cp -a /race /tmp/r; mv /race /old; mv /tmp/r /race; exec /bin/attacker swap {' '.join(words)}"
    minirt.ok("run", "-d", "--name", "racing", "race:1", "sh", "-c", script)
    upper = Path(json.loads(minirt.ok("inspect", "racing"))[0]["GraphDriver"]["Data"]["UpperDir"])
    runner.eventually(lambda: os.path.islink(upper / "race/hello"))
    runner.eventually(lambda: not os.path.islink(upper / "race/hello"))
    for _ in range(8):
        if verb == "export":
            minirt.ok("export", "-o", short_dir / "x.tar", "racing")
            data = (short_dir / "x.tar").read_bytes()
        else:
            identity = minirt.ok("commit", "--pause=false", "racing")
            minirt.ok("save", "-o", short_dir / "x.tar", identity)
            with tarfile.open(short_dir / "x.tar") as archive:
                layers = json.load(archive.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
                data = gzip.decompress(archive.extractfile(layers[-1]).read())  # type: ignore[union-attr]
        assert b"harmless" in data and SECRET.encode() not in data
    control = (b"".join(Path(upper / "race/hello").read_bytes() for _ in range(50)) for _ in range(200))
    assert any(SECRET.encode() in data for data in control), "the control: who follows the path does read the host"
    assert minirt.ok("ps", "-q", "--filter", "name=racing"), "it raced all the time"


def test_img_18_nothing_planted_is_executed(minirt: Minirt, short_dir: Path) -> None:
    """IMG-18 (CVE-2019-14271, CVE-2026-41567): a container full of gzip, tar, libnss and sitecustomize that would tell
    of it; commit, export and save open or execute none of them as code. The control: strace does see an execve, and
    the planted program does tell when it is executed."""
    make_base(minirt)
    canary = short_dir / "canary"
    plant = f"#!/bin/sh\ntouch {canary}\n"
    names = ["bin/gzip", "bin/unpigz", "bin/xz", "bin/tar", "usr/bin/python3", "etc/ld.so.preload", "bin/nsenter",
             "lib/x86_64-linux-gnu/libnss_files.so.2", "usr/lib/python3.11/sitecustomize.py"]  # fmt: skip
    minirt.ok("run", "-d", "--name", "planted", "base:1", "sleep", "1000")
    for name in names:
        script = f"mkdir -p $(dirname /{name}); rm -f /{name}; cat >/{name}; chmod 755 /{name}"
        minirt.ok("exec", "-i", "planted", "sh", "-c", script, input=plant)
    trace = short_dir / "trace"
    for argv in (["commit", "planted", "planted:1"], ["export", "-o", short_dir / "x.tar", "planted"],
                 ["save", "-o", short_dir / "y.tar", "planted:1"]):  # fmt: skip
        words = ["strace", "-f", "-y", "-qq", "-e", "trace=execve,execveat,mmap", "-e", "signal=none", "-o", trace]
        command_line = [*map(str, words), *runner.program(), *map(str, argv)]
        done = subprocess.run(command_line, env=minirt.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        executed = [line for line in trace.read_text().splitlines() if "execve" in line and " = 0" in line]
        own = [*runner.program(), "minirt", "python"]
        assert executed and all(any(name in line for name in own) for line in executed), executed
        mapped = [line for line in trace.read_text().splitlines() if "PROT_EXEC" in line]
        assert mapped and not any(f"/{name.rpartition('/')[2]}>" in line for line in mapped for name in names)
        assert not canary.exists()
    subprocess.run(["/bin/sh", "-c", plant], check=True)
    assert canary.exists()
    os.unlink(canary)


def test_root_stays_the_containers_wherever_pid_1_goes(minirt: Minirt, short_dir: Path) -> None:
    """CVE-2019-14271's cousin: pid 1 that has gone into a volume by chroot(2) does not make export read the volume.
    The control: /proc/PID/root does lead there."""
    make_base(minirt)
    volume = short_dir / "volume"
    (volume / "bin").mkdir(parents=True)
    (volume / "in-the-volume").write_text(SECRET)
    (volume / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (volume / "bin/busybox").chmod(0o755)
    words = ["-v", f"{volume}:/data", "base:1", "chroot", "/data", "/bin/busybox", "sleep", "1000"]
    minirt.ok("run", "-d", "--name", "gone", *words)
    pid = json.loads(minirt.ok("inspect", "gone"))[0]["State"]["Pid"]
    runner.eventually(lambda: os.path.exists(f"/proc/{pid}/root/in-the-volume"))
    minirt.ok("export", "-o", short_dir / "x.tar", "gone")
    with tarfile.open(short_dir / "x.tar") as archive:
        names = archive.getnames()
    assert "tree/kept/file" in names and "data" in names and "in-the-volume" not in names
    assert SECRET.encode() not in (short_dir / "x.tar").read_bytes()
    minirt.ok("commit", "gone", "gone:1")
    minirt.ok("save", "-o", short_dir / "y.tar", "gone:1")
    assert "in-the-volume" not in minirt.ok("run", "--rm", "gone:1", "ls", "/", "/data")


def test_overlays_marks_do_not_leave(minirt: Minirt, short_dir: Path) -> None:
    """IMG-09, IMG-10 the other way round: marks of overlay on what the container made are not in the layer, a redirect
    or a file without its data is refused by name, and a name that would hide another one is left out."""
    make_base(minirt)
    minirt.ok(
        "run", "--name", "marked", "base:1", "sh", "-c", "mkdir -p /own/dir; echo x >/own/file; echo y >/own/.wh.tree"
    )
    upper = Path(json.loads(minirt.ok("inspect", "marked"))[0]["GraphDriver"]["Data"]["UpperDir"])
    os.setxattr(upper / "own", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "own/dir", "trusted.overlay.origin", b"x")
    os.setxattr(upper / "own/dir", "user.overlay.redirect", b"/tree")
    identity = minirt.ok("commit", "marked")
    minirt.ok("save", "-o", short_dir / "x.tar", identity)
    with tarfile.open(short_dir / "x.tar") as archive:
        layers = json.load(archive.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
        data = gzip.decompress(archive.extractfile(layers[-1]).read())  # type: ignore[union-attr]
    assert b"own/file" in data and b"overlay" not in data and b".wh." not in data
    for name, mark in (("own/dir", "redirect"), ("own/file", "metacopy")):
        os.setxattr(upper / name, f"trusted.overlay.{mark}", b"/tree")
        minirt.fails("commit", "marked", code=1, says=f"'{name}' in the container's upper directory is of the kind")
        os.removexattr(upper / name, f"trusted.overlay.{mark}")
    assert list((minirt.root / "staging").iterdir()) == []
