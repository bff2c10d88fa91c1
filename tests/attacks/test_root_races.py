# SPDX-License-Identifier: Apache-2.0
"""Paths that a neighbour changes while a container starts (rename(2) RENAME_EXCHANGE), and what the runtime itself
writes below /proc. The neighbour is a container too and reaches the path through a volume that both have.

A race ends after RACE_S seconds or STARTS starts; raise both for a long hunt (1000 starts).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import runner
from victim import SECRET, Victim

STARTS, RACE_S = 100, 5.0

Swapping = Callable[..., None]
"""swap(a, b, c, d, …): the neighbour exchanges a with b and c with d, names of the volume, until the test ends."""


@pytest.fixture
def volume(short_dir: Path) -> Path:
    """A directory that two containers share."""
    (short_dir / "volume").mkdir()
    return short_dir / "volume"


@pytest.fixture
def swap(minirt: runner.Minirt, attacker: Path, volume: Path) -> Iterator[Swapping]:
    def start(*names: str) -> None:
        """Returns once the first pair has been seen to change places and to change back."""
        before = os.lstat(volume / names[0]).st_ino
        words = ["/bin/attacker", "swap", *(f"/shared/{name}" for name in names)]
        minirt.ok("run", "-d", "--name", "neighbour", "-v", f"{volume}:/shared", "--rootfs", minirt.rootfs, *words)
        runner.eventually(lambda: os.lstat(volume / names[0]).st_ino != before)
        runner.eventually(lambda: os.lstat(volume / names[0]).st_ino == before)

    yield start
    assert minirt.ok("ps", "-q"), "the neighbour has been at it all the time"
    minirt.ok("rm", "-f", "neighbour")


def own_mounts(victim: Victim) -> list[str]:
    """What the host's mount table has below this test's own directory."""
    table = Path("/proc/self/mountinfo").read_text()
    return [line for line in table.splitlines() if str(victim.path.parent) in line]


def race(minirt: runner.Minirt, victim: Victim, *words: str | Path) -> list[runner.Result]:
    """Starts while the neighbour swaps: each succeeds or fails with a word, and the host stays as it is."""
    before, deadline = own_mounts(victim), time.monotonic() + RACE_S
    results: list[runner.Result] = []
    while len(results) < STARTS and (time.monotonic() < deadline or len(results) < 5):
        result = minirt("run", "--rm", *words)
        assert victim.changes() == [], repr(result)
        assert result.code in (0, 125, 126, 127) and "Traceback" not in result.stderr, repr(result)
        assert SECRET not in result.stdout, repr(result)
        results.append(result)
    assert own_mounts(victim) == before
    return results


def test_root_05_mount_point_below_a_swapped_directory(
    minirt: runner.Minirt, victim: Victim, volume: Path, short_dir: Path, swap: Swapping
) -> None:
    """ROOT-05 (CVE-2021-30465), ROOT-06 (CVE-2024-45310): a component of a mount point, exchanged all the time for a
    link to the host. Nothing is mounted on, made in or shown of the host."""
    (volume / "a").mkdir()
    (volume / "b").symlink_to("../" * 20 + str(victim.path / "empty").lstrip("/"))
    (short_dir / "source").mkdir()
    (short_dir / "source/mark").write_text("mounted\n")
    swap("a", "b")
    options = ["-v", f"{volume}:/shared", "-v", f"{short_dir}/source:/shared/a/point", "--rootfs", f"{minirt.rootfs}:O"]
    results = race(minirt, victim, *options, "cat", "/proc/self/mountinfo")
    assert any(result.code == 0 for result in results), "the control: a start can succeed"
    for result in results:
        if result.code == 0:
            assert any(line.split()[4].endswith("/point") for line in result.lines), repr(result)
    assert escapes(volume / "a/made", victim.path / "empty/made"), "the control: mkdir by path does escape"
    os.rmdir(victim.path / "empty/made")
    os.utime(victim.path / "empty", ns=(0, victim.before["empty"][3]))  # type: ignore[arg-type]


def escapes(path: Path, outside: Path) -> bool:
    """Whether making `path` again and again, as a naive runtime would, once makes `outside`."""
    deadline = time.monotonic() + 10
    while not outside.exists() and time.monotonic() < deadline:
        for act in (os.mkdir, os.rmdir):
            try:
                act(path)
            except OSError:
                continue
            if outside.exists():
                break
    return outside.exists()


def test_root_06_file_below_a_swapped_directory(
    minirt: runner.Minirt, victim: Victim, volume: Path, short_dir: Path, swap: Swapping
) -> None:
    """ROOT-06 (CVE-2024-45310): the empty file that a bind of a file needs is never made on the host."""
    (volume / "a").mkdir()
    (volume / "b").symlink_to(victim.path / "empty")
    (short_dir / "file").write_text("mounted\n")
    swap("a", "b")
    options = ["-v", f"{volume}:/shared", "-v", f"{short_dir}/file:/shared/a/deep/file", "--rootfs", str(minirt.rootfs)]
    results = race(minirt, victim, *options, "true")
    assert any(result.code == 0 for result in results), "the control: a start can succeed"


MASKED = [path for path in ("/proc/keys", "/proc/timer_list", "/proc/interrupts") if os.path.exists(path)]


def test_root_07_null_is_a_link(minirt: runner.Minirt, victim: Victim, volume: Path) -> None:
    """ROOT-07 (CVE-2025-31133): with a /dev of the attacker's, whose null is a link into procfs or to the host, masks
    are null devices of our own and what the link names is neither shown nor made writable."""
    for target in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", str(victim.path / "hello")):
        (volume / "null").unlink(missing_ok=True)
        (volume / "null").symlink_to(target)
        assert_masked(minirt("run", "--rm", "-v", f"{volume}:/dev", "--rootfs", minirt.rootfs, "sh", "-c", SCRIPT))
    (volume / "null").unlink()
    os.mkfifo(volume / "null")
    assert_masked(minirt("run", "--rm", "-v", f"{volume}:/dev", "--rootfs", minirt.rootfs, "sh", "-c", SCRIPT))


SCRIPT = "cat " + " ".join(MASKED) + "; echo end; stat -c '%t:%T %n' " + " ".join(MASKED)
SCRIPT += "; echo evil > /proc/sys/kernel/core_pattern && echo WRITTEN; true"


def assert_masked(result: runner.Result) -> None:
    assert MASKED, "the control: this host has what is to be masked"
    assert all(os.path.getsize(path) or Path(path).read_text() for path in MASKED), "the control: and it says something"
    assert result.lines == ["end", *(f"1:3 {path}" for path in MASKED)], repr(result)


def test_root_07_null_is_swapped(minirt: runner.Minirt, victim: Victim, volume: Path, swap: Swapping) -> None:
    """ROOT-07, the race: a true null device in a shared /dev, exchanged for a link into procfs."""
    os.mknod(volume / "null", 0o20666, os.makedev(1, 3))
    (volume / "evil").symlink_to("/proc/sys/kernel/core_pattern")
    swap("null", "evil")
    words = ["-v", f"{volume}:/dev", "--rootfs", str(minirt.rootfs), "sh", "-c", SCRIPT]
    for result in race(minirt, victim, *words):
        assert result.code == 0 or result.code == 125, repr(result)
        if result.code == 0:
            assert_masked(result)


def test_root_08_console_and_pts_are_links(minirt: runner.Minirt, victim: Victim, volume: Path) -> None:
    """ROOT-08 (CVE-2025-52565): with a /dev of the attacker's, console and pts lead to the host: the terminal comes
    from a devpts of the container's own and nothing is bound over what the links name."""
    (volume / "console").symlink_to("/proc/sys/kernel/core_pattern")
    (volume / "pts").symlink_to(victim.path / "empty")
    (volume / "ptmx").symlink_to(victim.path / "hello")
    words = ["sh", "-c", "tty; grep -c console /proc/self/mountinfo; cat /proc/self/mountinfo"]
    result = minirt("run", "--rm", "-t", "-v", f"{volume}:/dev", "--rootfs", f"{minirt.rootfs}:O", *words)
    assert "core_pattern" not in result.stdout and SECRET not in result.stdout, repr(result)
    control = minirt("run", "--rm", "-t", "--rootfs", minirt.rootfs, "sh", "-c", "tty; ls -l /dev/console")
    assert control.lines[0].strip() == "/dev/pts/0" and control.lines[1].startswith("c"), repr(control)


def test_root_08_console_is_swapped(minirt: runner.Minirt, victim: Victim, volume: Path, swap: Swapping) -> None:
    """ROOT-08, the race: /dev/console and /dev/pts exchanged for links to a file and a directory of the host."""
    (volume / "console").touch()
    (volume / "evil-console").symlink_to("/proc/sys/kernel/core_pattern")
    (volume / "pts").mkdir()
    (volume / "evil-pts").symlink_to(victim.path / "empty")
    swap("console", "evil-console", "pts", "evil-pts")
    words = ["-t", "-v", f"{volume}:/dev", "--rootfs", f"{minirt.rootfs}:O", "cat", "/proc/self/mountinfo"]
    for result in race(minirt, victim, *words):
        assert "core_pattern" not in result.stdout, repr(result)


WRITES = ["--oom-score-adj", "700", "--sysctl", "net.ipv4.ip_default_ttl=99"]
"""What makes the runtime itself write below /proc."""


def test_root_09_writes_go_to_a_procfs_of_our_own(minirt: runner.Minirt, victim: Victim, volume: Path) -> None:
    """ROOT-09 (CVE-2025-52881, CVE-2019-19921): a /proc that the attacker brings, full of links and files of the names
    that the runtime writes: the writes reach the kernel, not those."""
    (volume / "self").mkdir()
    (volume / "sys/net/ipv4").mkdir(parents=True)
    (volume / "self/oom_score_adj").symlink_to(victim.path / "hello")
    (volume / "sys/net/ipv4/ip_default_ttl").write_text("untouched")
    (volume / "self/attr").symlink_to("/proc/sysrq-trigger")
    options = [*WRITES, "--rootfs", str(minirt.rootfs)]
    minirt.ok("run", "--rm", "-v", f"{volume}:/proc", *options, "true")
    assert (volume / "sys/net/ipv4/ip_default_ttl").read_text() == "untouched"
    script = "cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_default_ttl"
    assert minirt.ok("run", "--rm", *options, "sh", "-c", script).split() == ["700", "99"], (
        "the control: they are written"
    )


@pytest.mark.parametrize("place", ["/proc/self/oom_score_adj", "/proc/sys/net/ipv4/ip_default_ttl", "/proc/1/attr"])
def test_root_09_mounts_over_what_is_written(minirt: runner.Minirt, victim: Victim, volume: Path, place: str) -> None:
    """ROOT-09: a file of a shared volume mounted over the file that the runtime writes gets no byte of it."""
    (volume / "file").write_text("untouched")
    minirt("run", "--rm", *WRITES, "-v", f"{volume}/file:{place}", "--rootfs", minirt.rootfs, "true")
    assert (volume / "file").read_text() == "untouched"


def test_root_09_proc_is_swapped(minirt: runner.Minirt, victim: Victim, volume: Path, swap: Swapping) -> None:
    """ROOT-09, the race: a shared /proc whose `sys` and `self` are exchanged for links to the host's."""
    for name in ("sys", "self"):
        (volume / name).mkdir()
        (volume / f"evil-{name}").symlink_to(victim.path)
    swap("sys", "evil-sys", "self", "evil-self")
    options = [*WRITES, "-v", f"{volume}:/proc"]
    race(minirt, victim, *options, "--rootfs", minirt.rootfs, "true")
    minirt.ok("pause", "neighbour")  # or the names change places under our own look
    assert not any(path.is_file() for path in volume.rglob("*"))
