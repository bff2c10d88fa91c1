# SPDX-License-Identifier: Apache-2.0
"""runtime/user.py: who the workload runs as, with files that an image made to mislead (IMG-23, IMG-24)."""

from __future__ import annotations

import os
import pathlib
import resource
import time
from collections.abc import Iterator

import pytest

from minirt.errors import InvalidValue
from minirt.runtime import user

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
99999999999:x:0:0:trap:/root:/bin/sh
0x0:x:0:0:trap:/root:/bin/sh
1e0:x:0:0:trap:/root:/bin/sh
-1:x:0:0:trap:/root:/bin/sh
big:x:4294967296:0::/:
signed:x:-1:0::/:
empty:x::::/:
blank:x: 0:0::/:
short:x
app:x:1000:1001:App,,,:/home/app:/bin/sh
app:x:0:0:second entry loses:/root:/bin/sh
relative:x:1003:1003::home:/bin/sh
svc-a.b_c$:x:1004:1004::/srv:
"""
GROUP = """root:x:0:
wheel:x:10:root,app
app:x:1001:
video:x:44:daemon,app,root
prefix:x:45:apple,xapp
broken:x:-5:app
huge:x:99999999999:app
"""


@pytest.fixture
def root(tmp_path: pathlib.Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    descriptor = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def ids(found: user.User) -> tuple[int, int, tuple[int, ...], str]:
    return found.uid, found.gid, found.groups, found.home


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0, (0, 10, 44), "/root")),
        ("root", (0, 0, (0, 10, 44), "/root")),
        ("0", (0, 0, (0, 10, 44), "/root")),
        ("1", (1, 1, (1, 44), "/usr/sbin")),
        ("app", (1000, 1001, (1001, 10, 44), "/home/app")),
        ("1000", (1000, 1001, (1001, 10, 44), "/home/app")),
        ("app:video", (1000, 44, (44,), "/home/app")),
        ("app:7", (1000, 7, (7,), "/home/app")),
        ("1000:0", (1000, 0, (0,), "/home/app")),
        ("4711", (4711, 0, (0,), "/")),
        ("4711:4712", (4711, 4712, (4712,), "/")),
        ("2147483647", (2147483647, 0, (0,), "/")),
        ("relative", (1003, 1003, (1003,), "/")),
        ("svc-a.b_c$", (1004, 1004, (1004,), "/srv")),
    ],
)
def test_resolve(root: int, text: str, expected: object) -> None:
    assert ids(user.resolve(root, text)) == expected


def test_group_add_by_name_and_number(root: int) -> None:
    assert user.resolve(root, "app", ["video", "wheel", "5"]).groups == (1001, 10, 44, 5)
    assert user.resolve(root, "4711", ["video"]).groups == (0, 44)
    with pytest.raises(InvalidValue, match="unable to find group nobody: no matching entries in group file"):
        user.resolve(root, "app", ["nobody"])


@pytest.mark.parametrize(
    "text",
    [
        "4294967296", "2147483648", "99999999999", "-1", "+1", "0x0", "1e0", "0b0", " 0", "0 ", "1000:", ":0", ":",
        "app:", "app:-1", "app:2147483648", "app:0x0", "١", "①", "1_000", "app\n", "a/b", "..\0", "app:video:x",
        "0" * 100_000, "a" * 100_000, "1000:99999999999",
    ],
)  # fmt: skip
def test_no_number_is_bent_into_a_uid_or_looked_up_as_a_name(root: int, text: str) -> None:
    """IMG-23 (CVE-2024-40635, CVE-2026-46680, CVE-2026-30892, CVE-2016-3697)."""
    with pytest.raises(InvalidValue) as raised:
        user.resolve(root, text)
    assert len(raised.value.message) < 300 and "\n" not in raised.value.message


@pytest.mark.parametrize("name", ["big", "signed", "empty", "blank", "short", "nobody"])
def test_a_line_with_a_malformed_uid_is_no_entry(root: int, name: str) -> None:
    with pytest.raises(InvalidValue, match=f"unable to find user {name}: no matching entries in passwd file"):
        user.resolve(root, name)


def replace(tmp_path: pathlib.Path, name: str, kind: str) -> None:
    file = tmp_path / "etc" / name
    file.unlink()
    if kind == "absolute link":
        file.symlink_to("/etc/shadow")
    elif kind == "climbing link":
        file.symlink_to("../../../../../../../../etc/passwd")
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "zero":
        os.mknod(file, 0o666 | 0o020000, os.makedev(1, 5))
    elif kind == "directory":
        file.mkdir()
    elif kind == "sparse":
        with open(file, "wb") as out:
            out.truncate(20 << 30)
    elif kind == "loop":
        file.symlink_to(name)


@pytest.mark.parametrize("kind", ["absolute link", "climbing link", "fifo", "zero", "directory", "sparse", "loop"])
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_hostile_user_files_are_refused_quickly_and_numbers_need_none(
    root: int, tmp_path: pathlib.Path, name: str, kind: str
) -> None:
    """IMG-24 (CVE-2026-47262, CVE-2024-9676): never a host file, never blocked, never read without end."""
    if kind == "zero" and os.geteuid() != 0:
        pytest.skip("mknod needs root")
    replace(tmp_path, name, kind)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InvalidValue):
        user.resolve(root, "daemon:video" if name == "group" else "daemon")
    assert ids(user.resolve(root, "4711:4712")) == (4711, 4712, (4712,), "/")
    assert time.process_time() - started < 4  # of processor time: linear, whatever else runs
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_a_link_inside_the_root_is_followed_inside_the_root(root: int, tmp_path: pathlib.Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "etc/passwd").unlink()
    (tmp_path / "usr/passwd").write_text("inner:x:77:78::/inner:\n")
    (tmp_path / "etc/passwd").symlink_to("/usr/passwd")
    assert ids(user.resolve(root, "inner")) == (77, 78, (78,), "/inner")


def test_a_million_groups_end_in_an_error_in_bounded_time(root: int, tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "etc/group", "w") as out:
        out.writelines(f"g:x:{gid}:app\n" for gid in range(600_000))
    started = time.process_time()
    with pytest.raises(InvalidValue, match="the kernel allows 65536"):
        user.resolve(root, "app")
    assert time.process_time() - started < 4  # of processor time: linear, whatever else runs


def test_one_endless_line(root: int, tmp_path: pathlib.Path) -> None:
    (tmp_path / "etc/passwd").write_bytes(b"x:" * (5 << 20))
    started = time.process_time()
    with pytest.raises(InvalidValue, match="no matching entries"):
        user.resolve(root, "app")
    assert time.process_time() - started < 4  # of processor time: linear, whatever else runs


def test_an_image_without_user_files(tmp_path: pathlib.Path) -> None:
    descriptor = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert ids(user.resolve(descriptor, "")) == (0, 0, (0,), "/")
        assert ids(user.resolve(descriptor, "5:6", ["7"])) == (5, 6, (6, 7), "/")
        with pytest.raises(InvalidValue, match="unable to find user app"):
            user.resolve(descriptor, "app")
    finally:
        os.close(descriptor)
