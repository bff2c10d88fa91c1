# SPDX-License-Identifier: Apache-2.0
"""What a test must leave as it found it: processes, mounts, cgroups, files, the host's /dev/null (proc(5), cgroups(7)).

Only what belongs to one test's own root and state is looked at, so that tests in parallel do not accuse each
other: processes by their descriptors, arguments, environment or cgroup, cgroups by container id, mounts by path.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MONITOR = "minirt:monitor\n"
GRACE_S = 10.0
"""How long a monitor that was just told to go, or the clean-up verb that it became, may take on a busy machine."""


def host() -> dict[str, object]:
    """What no test may change about the host itself."""
    null = os.stat("/dev/null")
    return {
        "/dev/null": (stat.filemode(null.st_mode), null.st_uid, null.st_gid, null.st_rdev),
        "host name": os.uname().nodename,
        "interfaces": interfaces(),
    }


def interfaces() -> list[str]:
    """Those of the current network namespace, bridges aside: a network's bridge stays as long as the network."""
    names = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    return sorted(name for name in names if not Path(f"/sys/class/net/{name}/bridge").exists())


def compare(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Only what `before` names."""
    return [f"{key}: was {before[key]}, is {after[key]}" for key in before if before[key] != after[key]]


def cgroup_mount() -> Path | None:
    """Where cgroup2 is mounted, None if it is not."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] == "cgroup2":
            return Path(fields.split()[4])
    return None


def cgroup_home() -> Path | None:
    """The cgroup that all containers' lie in: below the unit that systemd delegates, where it is the init."""
    mount = cgroup_mount()
    if mount is None:
        return None
    return mount / ("system.slice/minirt-containers.service" if Path("/run/systemd/system").is_dir() else "minirt")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _descriptors(process: Path) -> list[str]:
    found = []
    try:
        for link in (process / "fd").iterdir():
            found.append(os.readlink(link))
    except OSError:
        pass
    return found


def descriptors(pid: int) -> list[str]:
    """What a process holds open."""
    return _descriptors(Path("/proc", str(pid)))


def monitors() -> list[int]:
    """All of the machine's, whoever's containers they keep."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _text(process / "comm") == MONITOR]


def children() -> list[str]:
    """The names of this process's children, dead or alive, but for the registry that all tests share."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        name, _, rest = _text(process / "stat").partition("(")[2].rpartition(")")
        if rest and int(rest.split()[1]) == os.getpid() and name != "docker-registry":
            found.append(name)
    return found


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith((folder + "/", folder + " (deleted)"))


def _reason(process: Path, folders: tuple[str, ...], ids: Iterable[str]) -> str:
    """Why this process belongs to the test, "" if it does not."""
    cgroup = _text(process / "cgroup")
    for container in ids:
        if container in cgroup:
            return f"in the cgroup of {container[:12]}"
    for link in _descriptors(process):
        if any(_inside(link, folder) for folder in folders):
            return f"holds {link}"
    words = _text(process / "cmdline").split("\0") + _text(process / "environ").split("\0")
    for word in words:
        if any(_inside(word.partition("=")[2] or word, folder) for folder in folders):
            return f"was started with {word}"
    return ""


def processes(root: Path, state: Path, ids: Iterable[str]) -> dict[int, str]:
    """Living processes of this test's minirt: pid -> how they are known. The caller's own ancestors are left out."""
    mine = {os.getpid(), os.getppid()}
    folders, ids = (str(root), str(state)), tuple(ids)
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) in mine:
            continue
        fields = _text(process / "stat").rpartition(")")[2].split()
        if not fields or fields[0] in "ZX":
            continue
        why = _reason(process, folders, ids)
        if why:
            name = _text(process / "cmdline").replace("\0", " ").strip() or _text(process / "comm").strip()
            found[int(process.name)] = f"process {process.name} ({name}): {why}"
    return found


def cgroups(ids: Iterable[str]) -> list[str]:
    home = cgroup_home()
    if home is None or not home.is_dir():
        return []
    ids = set(ids)
    return [f"cgroup {folder}" for folder, _, _ in os.walk(home) if ids.intersection(Path(folder).parts)]


def everyones() -> list[str]:
    """Processes that call themselves minirt and resolvers, cgroups of containers, interfaces, whoever made them."""
    found = []
    for process in Path("/proc").iterdir():
        fields = _text(process / "stat").rpartition(")")[2].split()
        if process.name.isdigit() and fields and fields[0] not in "ZX":
            name = _text(process / "comm").strip()
            if name.startswith(("minirt", "dnsmasq")):
                found.append(f"process {process.name} ({name})")
    found += [f"interface {name}" for name in interfaces()]
    home = cgroup_home()
    if home is None:
        return found
    return found + [f"cgroup {path}" for path, _, _ in os.walk(home) if path not in (f"{home}", f"{home}/idle")]


def mounts(root: Path, state: Path) -> list[str]:
    """Mounts of the host's table that name this test's directories: minirt makes none there at all."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line}" for line in table if f"{root}/" in line or f"{state}/" in line]


def files(root: Path, state: Path) -> list[str]:
    """Containers' directories, run directories and temporary files that outlived their containers."""
    found = []
    for folder in (root / "containers", state):
        if folder.is_dir():
            found += [f"directory {path}" for path in folder.iterdir() if path.is_dir() and len(path.name) == 64]
    for top in (root, state):
        for parent, folders, names in os.walk(top):
            if Path(parent).name == "layers":
                folders[:] = [name for name in folders if "tmp" in name]  # a layer's own files may be called anything
            found += [
                f"temporary file {parent}/{name}"
                for name in (*names, *folders)
                if name.endswith((".tmp", ".new", ".part")) or name.startswith((".tmp", "tmp"))
            ]
    return found


def wait(look: Callable[[], object]) -> None:
    """Waits until `look` finds nothing more, GRACE_S at most."""
    deadline = time.monotonic() + GRACE_S
    while look() and time.monotonic() < deadline:
        time.sleep(0.02)


def left_behind(root: Path, state: Path, ids: Iterable[str]) -> list[str]:
    """Everything that is still there although every container has been removed, one line each."""
    ids = tuple(ids)
    wait(lambda: processes(root, state, ids) or cgroups(ids))
    return [
        *processes(root, state, ids).values(),
        *cgroups(ids),
        *mounts(root, state),
        *files(root, state),
    ]


def repair(before: dict[str, object], root: Path, state: Path, ids: Iterable[str]) -> None:
    """After a failure was written down: leave the machine fit for the next test."""
    ids = tuple(ids)
    for pid in processes(root, state, ids):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait(lambda: processes(root, state, ids))
    for line in sorted(cgroups(ids), key=len, reverse=True):
        try:
            os.rmdir(line.partition(" ")[2])
        except OSError:
            pass
    null = os.stat("/dev/null")
    if (stat.filemode(null.st_mode), null.st_uid, null.st_gid) != before["/dev/null"][:3]:  # type: ignore[index]
        os.chown("/dev/null", 0, 0)
        os.chmod("/dev/null", 0o666)
