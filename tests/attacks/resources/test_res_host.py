# SPDX-License-Identifier: Apache-2.0
"""RES-06, 07, 08, 09, 11, 12: what a container, or its user, piles up on the host: files, deep trees, mounts, watches,
starts at the same time, execs, long arguments. RES-03, 04 and 05 (output, terminals, zombies) are in tests/monitor."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import invariants
from runner import Minirt, eventually

BUSYBOX = "localhost/busybox"


@pytest.fixture
def tight(minirt: Minirt) -> Iterator[Minirt]:
    """Its root is a file system of 24 MiB and 1500 inodes, with an image in it."""
    minirt.root.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=24m,nr_inodes=1500,mode=700", "tmpfs", str(minirt.root)]
    subprocess.run(words, check=True)
    try:
        minirt.ok("run", "--rm", BUSYBOX, "true")
        yield minirt
        minirt.close()
    finally:
        subprocess.run(["umount", "-l", str(minirt.root)], check=True)


@pytest.mark.parametrize(
    "bomb",
    ["i=0; while : >/f$i; do i=$((i+1)); done", "cat /dev/zero >/big", "cat /dev/zero >/data/big"],
    ids=["inodes", "layer", "volume"],
)
def test_res_06_a_store_without_room(tight: Minirt, bomb: str) -> None:
    """RES-06: whoever fills the store, the others' records stay true, and with nothing left `rm -f` gives it back."""
    tight.ok("run", "-d", "--name", "neighbour", BUSYBOX, "sleep", "1000")
    tight("run", "--name", "bomb", "-v", "data:/data", BUSYBOX, "sh", "-c", f"({bomb}) 2>/dev/null; sync")
    free = os.statvfs(tight.root)
    assert free.f_bavail == 0 or free.f_favail == 0
    assert tight.ok("exec", "neighbour", "echo", "alive") == "alive"
    assert set(tight.ok("ps", "-a", "--format", "{{.Names}}").split()) == {"neighbour", "bomb"}
    tight.ok("rm", "-f", "-v", "bomb")
    if "data" in bomb:
        tight.ok("volume", "rm", "data")
    eventually(lambda: os.statvfs(tight.root).f_bavail and os.statvfs(tight.root).f_favail)
    tight.ok("rm", "-f", "neighbour")
    tight.ok("run", "--rm", BUSYBOX, "true")


def test_res_07_a_deep_tree_of_long_names(minirt: Minirt) -> None:
    """RES-07: directories nested far beyond PATH_MAX, and one that nobody may read, go as any others; what no archive
    can name is refused in words."""
    wrap = "i=0; while [ $i -lt 150 ]; do mkdir new && mv old new/$n && mv new old || exit; i=$((i+1)); done"
    script = f"n=$(printf %0200d 0); mkdir -m 0 old; {wrap}"
    minirt.ok("run", "--name", "deep", "-w", "/srv", BUSYBOX, "sh", "-c", script)
    archive = minirt.root.parent / "deep.tar"
    minirt.fails("export", "-o", archive, "deep", code=1, says="bytes does not go into an archive")
    assert not archive.exists()
    minirt.ok("rm", "deep")
    assert os.listdir(minirt.root / "containers") == []


def test_res_08_mounts_and_watches_are_the_containers_own(minirt: Minirt) -> None:
    """RES-08: many mounts and keys die with their namespaces; the host's table never had them."""
    before = len(Path("/proc/self/mountinfo").read_text().splitlines())
    script = (
        "i=0; while [ $i -lt 2000 ]; do mount -t tmpfs t /mnt || exit; i=$((i+1)); done; wc -l </proc/self/mountinfo"
    )
    result = minirt("run", "--name", "many", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", BUSYBOX,
                    "sh", "-c", f"mkdir -p /mnt; {script}", timeout_s=120)  # fmt: skip
    assert result.code == 0 and int(result.out) >= 2000, repr(result)
    assert len(Path("/proc/self/mountinfo").read_text().splitlines()) == before
    minirt.ok("rm", "many")


def test_res_09_sixty_runs_at_once(minirt: Minirt) -> None:
    """RES-09: each succeeds or fails with a reason, and none waits for all the others."""
    minirt.ok("run", "--rm", BUSYBOX, "true")
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: minirt("run", "--rm", BUSYBOX, "echo", "x"), range(60)))
    assert [result.out for result in results] == ["x"] * 60, [result for result in results if result.code][:1]
    assert minirt.ok("ps", "-aq") == ""


def memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def test_res_11_many_execs(minirt: Minirt) -> None:
    """RES-11: the container's monitor is not in their way and grows by none of them; no zombie stays."""
    identity = minirt.ok("run", "-d", "--name", "busy", BUSYBOX, "sleep", "1000")
    (monitor,) = (pid for pid in invariants.monitors() if identity in str(invariants.descriptors(pid)))
    for _ in range(5):
        minirt.ok("exec", "busy", "true")
    before = (len(invariants.descriptors(monitor)), memory_kib(monitor), sorted(os.listdir(minirt.state / identity)))
    for _ in range(60):
        minirt.ok("exec", "busy", "true")
    after = (len(invariants.descriptors(monitor)), memory_kib(monitor), sorted(os.listdir(minirt.state / identity)))
    assert after[0] == before[0] and after[2] == before[2] and after[1] <= before[1] + 256
    assert minirt.ok("exec", "busy", "sh", "-c", "ls -d /proc/[0-9]*").split()[1:2] != []
    states = minirt.ok("exec", "busy", "sh", "-c", "cat /proc/[0-9]*/stat")
    assert not [line for line in states.splitlines() if line.rpartition(")")[2].split()[:1] == ["Z"]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-e", "X=" + "y" * 120_000) * 20, ("true",)),
        ((), ("true", *["z" * 100_000] * 22)),
    ],
    ids=["environment", "arguments"],
)
def test_res_12_too_much_to_execute(minirt: Minirt, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    """RES-12: E2BIG is said in words, and nothing is left."""
    names = iter(range(1000))
    options = tuple(word.replace("X=", f"X{next(names)}=") for word in options)
    file = minirt.root.parent / "environment"
    if options:  # more than one execve(2) of our own could carry
        file.write_text("\n".join(word for word in options if word != "-e"))
        file.write_text(file.read_text() + "\n" + file.read_text().replace("X", "Y"))
        options = ("--env-file", str(file))
        told = minirt.fails("run", *options, BUSYBOX, *words, code=126, says="argument list too long")
        assert len(told.splitlines()) <= 3
    else:
        with pytest.raises(OSError, match="Argument list too long"):
            minirt("run", *options, BUSYBOX, *words)
    assert minirt("ps", "-aq").out == ""


def test_res_12_a_label_of_ten_megabytes(minirt: Minirt) -> None:
    """RES-12: it is kept, or refused with a reason."""
    file = minirt.root.parent / "labels"
    file.write_text("big=" + "x" * (10 << 20) + "\n")
    result = minirt("create", "--name", "labelled", "--label-file", file, BUSYBOX, "true")
    if result.code == 0:
        assert len(minirt.ok("inspect", "--format", "{{json .Config.Labels}}", "labelled")) > 10 << 20
    else:
        assert result.code == 125 and "Traceback" not in result.stderr
