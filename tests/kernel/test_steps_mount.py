# SPDX-License-Identifier: Apache-2.0
"""Each step that builds a file system, against the kernel: what it made is seen by other means than its own."""

from __future__ import annotations

import os
import stat
from errno import EEXIST, EINVAL, ENOENT, EROFS, EXDEV
from typing import Any

import pytest

import own
from minirt.kernel import call
from minirt.kernel.execute import StepError
from minirt.plan.step import CWD, Fd, Flags
from own import NONE, inside, opened, run, step, tmpfs

EMPTY = Flags("AT_EMPTY_PATH")
FD_TO_PATH = Flags("MOVE_MOUNT_F_EMPTY_PATH")


def attributes(path: str) -> set[str]:
    """The mount's options, of the topmost mount there."""
    with open("/proc/self/mountinfo") as file:
        return set([line.split()[5] for line in file if line.split()[4] == path][-1].split(","))


def failure(*steps: Any) -> tuple[int, int]:
    """(index of the step that failed, errno)."""
    with pytest.raises(StepError) as failed:
        run(*steps)
    assert failed.value.errno is not None
    return failed.value.index, failed.value.errno


def test_a_detached_mount_is_made_and_attached() -> None:
    def body() -> tuple[bool, str, set[str]]:
        made = run(*tmpfs("mount", ("size", "64k"), ("mode", "0711")))
        with open("/proc/self/mountinfo") as file:
            detached = file.read().splitlines()[-1].split()[4] == "/mnt"
        os.mkdir("/mnt/here")
        run(step("move_mount", Fd("mount"), "", CWD, "/mnt/here", FD_TO_PATH), inherited=made)
        return detached, oct(os.stat("/mnt/here").st_mode & 0o7777), attributes("/mnt/here")

    last_is_ours, mode, options = inside(body)
    assert last_is_ours  # the last mount in the table is own.py's, not the detached one
    assert mode == "0o711"
    assert "rw" in options


def test_descriptors_are_close_on_exec() -> None:
    def body() -> list[bool]:
        made = run(*tmpfs("mount"), opened("/mnt"), step("pipe2", Flags("O_CLOEXEC"), out=("r", "w")))
        return [os.get_inheritable(fd) for fd in made.values()]

    assert inside(body) == [False] * 5


def test_fsconfig_says_what_a_file_system_does_not_know() -> None:
    context = Fd("context")
    assert inside(
        lambda: failure(
            step("fsopen", "tmpfs", Flags("FSOPEN_CLOEXEC"), out="context"),
            step("fsconfig", context, Flags("FSCONFIG_SET_STRING"), "colour", "blue"),
        )
    ) == (1, EINVAL)


def test_overlay_of_layers_one_by_one() -> None:
    def body() -> tuple[str, str, bool]:
        for name in ("low", "high", "upper", "work"):
            os.mkdir(f"/mnt/{name}")
        for layer, text in (("low", "low"), ("high", "high")):
            with open(f"/mnt/{layer}/file", "w") as file:
                file.write(text)
        with open("/mnt/low/only", "w") as file:
            file.write("seen through")
        context, string = Fd("context"), Flags("FSCONFIG_SET_STRING")
        values = [("lowerdir+", "/mnt/high"), ("lowerdir+", "/mnt/low"), ("upperdir", "/mnt/upper")]
        values.append(("workdir", "/mnt/work"))
        made = run(
            step("fsopen", "overlay", Flags("FSOPEN_CLOEXEC"), out="context"),
            *(step("fsconfig", context, string, key, value) for key, value in values),
            step("fsconfig", context, Flags("FSCONFIG_CMD_CREATE")),
            step("fsmount", context, Flags("FSMOUNT_CLOEXEC"), Flags("MOUNT_ATTR_NODEV"), out="root"),
        )
        root = made["root"]
        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=root))
        texts = [os.read(os.open(name, os.O_RDONLY, dir_fd=root), 99).decode() for name in ("file", "only")]
        return texts[0], texts[1], os.path.exists("/mnt/upper/new")

    assert inside(body) == ("high", "seen through", True)


def test_open_tree_clones_and_mount_setattr_closes() -> None:
    def body() -> tuple[int, set[str], int]:
        os.mkdir("/mnt/source")
        os.mkdir("/mnt/target")
        made = run(
            step("open_tree", CWD, "/mnt/source", Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"), out="tree"),
            step("mount_setattr", Fd("tree"), "", EMPTY, Flags("MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID"), NONE, NONE),
            step("move_mount", Fd("tree"), "", CWD, "/mnt/target", FD_TO_PATH),
        )
        with pytest.raises(OSError) as refused:
            os.mkdir("x", dir_fd=made["tree"])
        closed = refused.value.errno
        options = attributes("/mnt/target")
        run(step("mount_setattr", CWD, "/mnt/target", NONE, NONE, Flags("MOUNT_ATTR_RDONLY"), NONE))
        os.mkdir("/mnt/target/now")
        return closed or 0, options, len(os.listdir("/mnt/source"))

    closed, options, entries = inside(body)
    assert (closed, entries) == (EROFS, 1)
    assert {"ro", "nosuid"} <= options


def test_move_mount_from_descriptor_to_descriptor() -> None:
    def body() -> bool:
        os.mkdir("/mnt/place")
        both = Flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")
        run(*tmpfs(), opened("/mnt/place", out="place"), step("move_mount", Fd("mount"), "", Fd("place"), "", both))
        return os.path.ismount("/mnt/place")

    assert inside(body)


def test_mount_and_umount2() -> None:
    def body() -> tuple[bool, bool, int]:
        os.mkdir("/mnt/old")
        run(step("mount", "none", "/mnt/old", "tmpfs", Flags("MS_NOSUID|MS_NODEV"), "size=32k"))
        mounted, options = os.path.ismount("/mnt/old"), attributes("/mnt/old")
        assert {"nosuid", "nodev"} <= options
        run(step("umount2", "/mnt/old", Flags("MNT_DETACH")))
        again = failure(step("umount2", "/mnt/old", NONE))
        return mounted, os.path.ismount("/mnt/old"), again[1]

    assert inside(body) == (True, False, EINVAL)


def test_mount_takes_nothing_for_what_is_left_out() -> None:
    def body() -> set[str]:
        run(step("mount", None, "/mnt", None, Flags("MS_REMOUNT|MS_BIND|MS_RDONLY"), None))
        return attributes("/mnt")

    assert "ro" in inside(body)


def test_pivot_root_and_what_follows() -> None:
    def body() -> tuple[list[str], str]:
        os.mkdir("/mnt/root")
        run(
            *tmpfs("root"),
            step("move_mount", Fd("root"), "", CWD, "/mnt/root", FD_TO_PATH),
            step("mkdirat", Fd("root"), "sub", 0o755),
            step("fchdir", Fd("root")),
            step("pivot_root", ".", "."),
            step("umount2", ".", Flags("MNT_DETACH")),
            step("chdir", "/"),
        )
        return os.listdir("/"), os.getcwd()

    assert inside(body) == (["sub"], "/")


def test_chroot() -> None:
    def body() -> list[str]:
        os.mkdir("/mnt/inner")
        run(step("chroot", "/mnt"), step("chdir", "/"))
        return os.listdir("/")

    assert inside(body) == ["inner"]


def test_chdir_through_a_descriptor_of_the_host_is_refused() -> None:
    """CVE-2024-21626: a working directory that a leaked descriptor opens has no name below the root."""

    def body() -> tuple[int, int]:
        leaked = os.open("/usr", os.O_PATH | os.O_DIRECTORY)
        os.mkdir("/mnt/proc")
        call.mount("proc", "/mnt/proc", "proc", 0)
        return failure(step("chroot", "/mnt"), step("chdir", "/"), step("chdir", f"/proc/self/fd/{leaked}"))

    assert inside(body, own.NAMESPACES) == (2, ENOENT)


def test_openat2_keeps_inside_the_root() -> None:
    def body() -> tuple[bool, tuple[int, int]]:
        os.makedirs("/mnt/root/etc")
        os.symlink("/etc", "/mnt/root/absolute")
        os.symlink("../../../..", "/mnt/root/climbing")
        in_root, beneath = Flags("RESOLVE_IN_ROOT"), Flags("RESOLVE_BENEATH")
        path = Flags("O_PATH|O_CLOEXEC")
        made = run(
            opened("/mnt/root", out="root"),
            step("openat2", Fd("root"), "/absolute", path, NONE, in_root, out="absolute"),
            step("openat2", Fd("root"), "climbing", path, NONE, in_root, out="climbing"),
        )
        inner, root = os.fstat(made["absolute"]), os.fstat(made["climbing"])
        same = inner.st_ino == os.stat("/mnt/root/etc").st_ino and root.st_ino == os.stat("/mnt/root").st_ino
        refused = failure(
            opened("/mnt/root", out="root"), step("openat2", Fd("root"), "climbing", path, NONE, beneath, out="x")
        )
        return same, refused

    assert inside(body) == (True, (1, EXDEV))


def test_what_is_made_in_a_directory() -> None:
    def body() -> dict[str, Any]:
        directory = Fd("it")
        os.umask(0)
        run(
            opened("/mnt"),
            step("mkdirat", directory, "dir", 0o750),
            step("mknodat", directory, "file", Flags("S_IFREG|0o640"), 0, 0),
            step("mknodat", directory, "null", Flags("S_IFCHR|0o666"), 1, 3),
            step("mknodat", directory, "big", Flags("S_IFBLK|0o600"), 259, 300),
            step("symlinkat", "to/nowhere", directory, "link"),
            step("mkdirat", directory, "dir", 0o750, tolerate=("EEXIST",)),
            step("mkdirat", directory, "gone", 0o700),
            step("unlinkat", directory, "gone", Flags("AT_REMOVEDIR")),
        )
        found: dict[str, Any] = {name: oct(os.lstat(f"/mnt/{name}").st_mode) for name in ("dir", "file", "null")}
        big = os.stat("/mnt/big").st_rdev
        found |= {"link": os.readlink("/mnt/link"), "gone": os.path.exists("/mnt/gone")}
        return found | {"big": (os.major(big), os.minor(big)), "again": failure(opened("/mnt"), again)}

    again = step("mkdirat", Fd("it"), "dir", 0o750)
    assert inside(body) == {
        "dir": oct(stat.S_IFDIR | 0o750),
        "file": oct(stat.S_IFREG | 0o640),
        "null": oct(stat.S_IFCHR | 0o666),
        "link": "to/nowhere",
        "gone": False,
        "big": (259, 300),
        "again": (1, EEXIST),
    }


def test_fchown_and_fchmod() -> None:
    def body() -> tuple[int, int, str]:
        open("/mnt/file", "w").close()
        run(
            opened("/mnt/file", "O_RDWR|O_CLOEXEC"),
            step("fchown", Fd("it"), 1000, 0xFFFFFFFF),
            step("fchmod", Fd("it"), 0o4711),
        )
        found = os.stat("/mnt/file")
        return found.st_uid, found.st_gid, oct(found.st_mode & 0o7777)

    assert inside(body) == (1000, 0, "0o4711")
