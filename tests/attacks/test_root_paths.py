# SPDX-License-Identifier: Apache-2.0
"""A root filesystem whose paths lead out of it: the working directory, /dev, /proc, /sys and mount points (openat2(2),
path_resolution(7)). Deterministic forms; the same with a racing neighbour is in test_root_races.py.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import runner
from victim import SECRET, Victim


def outside(path: Path) -> str:
    """The path of a host's file as an image names it that hopes for ".." above its root."""
    return "../" * 20 + str(path).lstrip("/")


def test_root_01_working_directory_through_a_descriptor(minirt: runner.Minirt, rootfs: Path) -> None:
    """ROOT-01 (CVE-2024-21626): /proc/self/fd/N, directly and through a link, never becomes a directory outside."""
    (rootfs / "w").symlink_to("/proc/self/fd/8")
    minirt.ok("run", "-d", "--name", "target", "--rootfs", rootfs, "sleep", "1000")
    shell = ["sh", "-c", "pwd -P; ls -a ../../../../.."]
    for path in [f"/proc/self/fd/{number}" for number in range(3, 51)] + ["/w"]:
        assert_inside(minirt("exec", "-w", path, "target", *shell), rootfs)
    for path in [f"/proc/self/fd/{number}" for number in range(3, 51, 6)] + ["/proc/self/fd/8/..", "/w"]:
        assert_inside(minirt("run", "--rm", "-w", path, "--rootfs", rootfs, *shell), rootfs)


def test_root_01_a_missing_directory_is_not_made_through_a_descriptor(minirt: runner.Minirt, rootfs: Path) -> None:
    """ROOT-01: the runtime makes a working directory that is missing; below /proc/self/fd/N that would be wherever its
    own descriptor N leads, the container's cgroup for one."""
    options = ["run", "--rm", "--rootfs", f"{rootfs}:O"]
    for number in range(3, 46):
        result = minirt(*options, "-w", f"/proc/self/fd/{number}/made-outside", "true")
        assert result.code == 125 and "asked for by /process/cwd" in result.stderr, repr(result)
    assert minirt.ok(*options, "-w", "/new/made-inside", "pwd") == "/new/made-inside", "the control: it is made"


def assert_inside(result: runner.Result, rootfs: Path) -> None:
    assert "Traceback" not in result.stderr
    if result.code == 0:
        assert set(os.listdir(rootfs)) <= set(result.lines[1:]), repr(result)
        assert "root.path" not in result.stdout and "unreachable" not in result.stdout, repr(result)
    else:
        assert "asked for by /process/cwd" in result.stderr, repr(result)


def test_root_01_control_a_descriptor_is_a_way_out(minirt: runner.Minirt, rootfs: Path) -> None:
    """With a descriptor of the host's root the same path leads out of chroot(2); an honest link works inside."""
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    subprocess.run(["mount", "-t", "proc", "proc", str(rootfs / "proc")], check=True)
    try:
        words = ["chroot", str(rootfs), "/bin/sh", "-c", f"cd /proc/self/fd/{top} && ls -a"]
        there = subprocess.run(words, pass_fds=[top], capture_output=True, text=True)
    finally:
        subprocess.run(["umount", str(rootfs / "proc")], check=True)
        os.close(top)
    assert set(os.listdir("/")) <= set(there.stdout.split()), there
    (rootfs / "w").symlink_to("/tmp")
    assert minirt.ok("run", "--rm", "-w", "/w", "--rootfs", rootfs, "pwd", "-P") == "/tmp"


@pytest.mark.parametrize("form", ["overlay", "directory", "own /dev"])
def test_root_02_dev_is_a_link_to_the_host(minirt: runner.Minirt, rootfs: Path, victim: Victim, form: str) -> None:
    """ROOT-02 (CVE-2026-41579, CVE-2026-47766): no node, no link, no mount point appears where /dev points."""
    (rootfs / "dev").rmdir()
    (rootfs / "dev").symlink_to(victim.path / "empty")
    options: list[str | Path] = ["-v", f"{rootfs}/tmp:/dev"] if form == "own /dev" else []
    result = minirt("run", "--rm", *options, "--rootfs", f"{rootfs}:O" if form == "overlay" else rootfs, "ls", "/dev/")
    assert os.listdir(victim.path / "empty") == []
    assert result.code == 0, repr(result)
    if form == "own /dev":
        return
    assert "null" in result.out.split(), "it was made inside instead"
    inside = victim.path.relative_to("/") / "empty"
    assert form == "overlay" or (rootfs / inside).is_dir(), "where the link leads below the root"


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("leads_to", ["/elsewhere", "/tmp", "victim"])
def test_root_03_proc_or_sys_is_a_link(
    minirt: runner.Minirt, rootfs: Path, victim: Victim, name: str, leads_to: str
) -> None:
    """ROOT-03 (CVE-2019-19921, CVE-2023-27561): procfs and sysfs go onto an ordinary directory or nowhere."""
    (rootfs / name).rmdir()
    (rootfs / name).symlink_to(outside(victim.path) if leads_to == "victim" else leads_to)
    said = minirt.fails("run", "--rm", "--rootfs", rootfs, "true", code=125, says="symbolic link")
    assert "must be mounted on an ordinary directory" in said


def test_root_03_a_mount_below_a_link(minirt: runner.Minirt, rootfs: Path, victim: Victim) -> None:
    """ROOT-03: what is mounted below /proc stays below the procfs of the container, not below a link of the image."""
    (rootfs / "link").symlink_to("/proc")
    result = minirt(
        "run", "--rm", "-v", f"{victim.path}/hello:/link/version:ro", "--rootfs", rootfs, "cat", "/link/version"
    )
    assert result.out == SECRET if result.code == 0 else result.code == 125, repr(result)
    minirt.fails("run", "--rm", "-v", f"{victim.path}:/proc:ro", "--rootfs", rootfs, "/nothing", code=127)


LINKS = {
    "absolute": "{victim}/made",
    "upwards": "{outside}/made",
    "dangling": "/nowhere/at/all",
    "chain": "/other",
}


@pytest.mark.parametrize("name", LINKS)
def test_root_04_mount_point_through_a_link(minirt: runner.Minirt, rootfs: Path, victim: Victim, name: str) -> None:
    """ROOT-04 (CVE-2019-16884): the mount point is made and mounted upon where the link leads inside the root."""
    link = LINKS[name].format(victim=victim.path, outside=outside(victim.path))
    (rootfs / "data").symlink_to(link)
    (rootfs / "other").symlink_to("/third/../third")
    with open("/proc/self/mountinfo") as table:
        before = table.read()
    source = rootfs.parent / "source"
    source.mkdir()
    (source / "mark").write_text("mounted\n")
    assert minirt.ok("run", "--rm", "-v", f"{source}:/data", "--rootfs", rootfs, "cat", "/data/mark") == "mounted"
    assert not (victim.path / "made").exists() and not Path("/nowhere").exists()
    with open("/proc/self/mountinfo") as table:
        assert table.read() == before
    if name in ("absolute", "upwards"):
        assert escapes(rootfs / "data", victim), "the control: a path that is opened as a string leaves the root"


def escapes(link: Path, victim: Victim) -> bool:
    """Whether creating a file through the link makes one in the victim's tree; takes it away again."""
    link.write_text("")
    made = victim.path / "made"
    if not made.exists():
        return False
    made.unlink()
    os.utime(victim.path, ns=(0, victim.mtime_ns))
    return True


@pytest.mark.parametrize("destination", ["/loop", "/", "/data/..", "/proc/self/cwd", "/proc/self/fd/3", "/top"])
def test_root_04_impossible_mount_points(minirt: runner.Minirt, rootfs: Path, victim: Victim, destination: str) -> None:
    """ROOT-04: a loop, the root itself, a magic link: refused with a word, nothing mounted or made."""
    (rootfs / "loop").symlink_to("/loop")
    (rootfs / "top").symlink_to("../../..")
    result = minirt("run", "--rm", "-v", f"{victim.path}:{destination}", "--rootfs", rootfs, "ls", "-A", "/")
    assert result.code == 125 and "Traceback" not in result.stderr and result.stderr.strip(), repr(result)


def test_root_12_cgroup_through_links(minirt: runner.Minirt, rootfs: Path, victim: Victim) -> None:
    """ROOT-12: links where the cgroup tree goes: it is mounted inside, read-only, and nothing is made outside."""
    (rootfs / "sys").rmdir()
    (rootfs / "sys/fs").mkdir(parents=True)
    (rootfs / "sys/fs/cgroup").symlink_to(victim.path / "empty")
    result = minirt(
        "run", "--rm", "--rootfs", rootfs, "sh", "-c", "cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x"
    )
    assert result.lines[:1] == ["1"] and "Read-only" in result.stderr, repr(result)
    assert os.listdir(victim.path / "empty") == []


def test_root_14_no_mount_reaches_the_host(minirt: runner.Minirt, rootfs: Path, short_dir: Path) -> None:
    """ROOT-14: a root filesystem on a shared mount, reached through a link: the host's table stays as it is while the
    container runs, although a mount made by the host itself there would reach every peer."""
    shared, table = short_dir / "shared", Path("/proc/self/mountinfo")
    shared.mkdir()
    subprocess.run(["mount", "--bind", str(rootfs), str(shared)], check=True)
    try:
        subprocess.run(["mount", "--make-rshared", str(shared)], check=True)
        (short_dir / "link").symlink_to(shared)
        mine = [line for line in table.read_text().splitlines() if str(short_dir) in line]
        assert len(mine) == 1 and " shared:" in mine[0], "the control: it is a shared mount"
        minirt.ok("run", "-d", "--name", "one", "--tmpfs", "/data", "--rootfs", short_dir / "link", "sleep", "1000")
        assert [line for line in table.read_text().splitlines() if str(short_dir) in line] == mine
        inside = minirt.ok("exec", "one", "cat", "/proc/self/mountinfo")
        assert " shared:" not in inside and "/data" in inside
        minirt.ok("rm", "-f", "one")
        assert [line for line in table.read_text().splitlines() if str(short_dir) in line] == mine
    finally:
        subprocess.run(["umount", "-R", str(shared)], check=True)


def test_root_16_no_automatic_mounts_follow_the_image(minirt: runner.Minirt, rootfs: Path, victim: Victim) -> None:
    """ROOT-16 (CVE-2024-9341): links at /etc/localtime and the like bring nothing of the host into the container."""
    for name in ("localtime", "system-fips", "timezone"):
        (rootfs / "etc" / name).symlink_to(victim.path / "hello")
    (rootfs / "run/secrets").symlink_to(victim.path)
    script = "cat /etc/localtime /etc/system-fips /etc/timezone; ls /run/secrets/; cat /proc/self/mountinfo"
    result = minirt("run", "--rm", "--rootfs", rootfs, "sh", "-c", script)
    assert SECRET not in result.stdout, repr(result)
    places = {line.split()[4] for line in result.lines if " - " in line}
    assert {place for place in places if place.startswith("/etc")} == {
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
    }
    assert not any(place.startswith("/run") for place in places)


def test_root_18_device_nodes_over_links(minirt: runner.Minirt, rootfs: Path, victim: Victim) -> None:
    """ROOT-18: a host's file behind a link of the name of a device stays a file, with a /dev of ours (a tmpfs) and with
    one of the caller's, where the image's links are what the runtime meets."""
    for name in ("null", "zero", "console", "ptmx", "fd"):
        (rootfs / "dev" / name).symlink_to(victim.path / "hello")
    assert "null" in minirt.ok("run", "--rm", "--rootfs", rootfs, "ls", "/dev")
    minirt("run", "--rm", "--privileged", "--rootfs", rootfs, "true")
    own = rootfs.parent / "own"
    own.mkdir()
    for name in ("null", "console", "ptmx", "pts", "shm"):
        (own / name).symlink_to(outside(victim.path / "hello"))
    minirt("run", "--rm", "-v", f"{own}:/dev", "--rootfs", rootfs, "true")
    with_terminal, ours = minirt.terminal("run", "--rm", "-it", "-v", f"{own}:/dev", "--rootfs", rootfs, "true")
    with_terminal.wait(20)
    os.close(ours)
