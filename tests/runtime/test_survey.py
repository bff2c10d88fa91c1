# SPDX-License-Identifier: Apache-2.0
"""runtime/survey.py against real trees: where destinations lead, what is missing, and that nothing leads outside."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest

from minirt.errors import InvalidValue
from minirt.plan.facts import Target
from minirt.runtime.survey import survey


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    tree = tmp_path / "root"
    for path in ("etc", "proc", "dev", "sys", "srv/data", "home"):
        (tree / path).mkdir(parents=True)
    (tree / "etc/hosts").write_text("")
    return tree


def look(tree: pathlib.Path, **spec: Any) -> dict[str, Target]:
    descriptor = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    try:
        return survey(descriptor, spec).targets
    finally:
        os.close(descriptor)


def bind(destination: str, source: object = "/etc") -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind"]}


def one(tree: pathlib.Path, destination: str, source: object = "/etc") -> tuple[str, tuple[str, ...], str]:
    target = look(tree, mounts=[bind(destination, source)])[destination]
    return target.path, target.missing, target.kind


@pytest.mark.parametrize(
    ("links", "destination", "expected"),
    [
        ({}, "/srv/data", ("/srv/data", (), "dir")),
        ({}, "/srv/data/", ("/srv/data", (), "dir")),
        ({}, "/srv/../etc/./hosts", ("/etc/hosts", (), "file")),
        ({}, "/a/b/c", ("/a/b/c", ("/a", "/a/b", "/a/b/c"), "dir")),
        ({}, "/srv/new/../other", ("/srv/other", ("/srv/new", "/srv/other"), "dir")),
        ({}, "/../../../x", ("/x", ("/x",), "dir")),
        ({"data": "/srv/data"}, "/data", ("/srv/data", (), "dir")),
        ({"data": "srv/data"}, "/data/new", ("/srv/data/new", ("/srv/data/new",), "dir")),
        ({"data": "/nowhere/deep"}, "/data", ("/nowhere/deep", ("/nowhere", "/nowhere/deep"), "dir")),
        ({"data": "/nowhere"}, "/data/in", ("/nowhere/in", ("/nowhere", "/nowhere/in"), "dir")),
        ({"data": "../../../../tmp/host"}, "/data", ("/tmp/host", ("/tmp", "/tmp/host"), "dir")),
        ({"one": "/two", "two": "/srv/../home"}, "/one/x", ("/home/x", ("/home/x",), "dir")),
    ],
)
def test_where_a_destination_leads(
    tree: pathlib.Path, links: dict[str, str], destination: str, expected: object
) -> None:
    """ROOT-04: absolute, climbing and dangling links stay inside the root."""
    for name, to in links.items():
        (tree / name).symlink_to(to)
    assert one(tree, destination) == expected


def test_a_missing_target_is_what_the_source_is(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    assert one(tree, "/etc/new", tmp_path / "file") == ("/etc/new", ("/etc/new",), "file")
    assert one(tree, "/etc/new", tmp_path) == ("/etc/new", ("/etc/new",), "dir")
    assert one(tree, "/etc/new", tmp_path / "missing")[2] == "dir"


def test_nothing_is_created(tree: pathlib.Path) -> None:
    before = sorted(str(path) for path in tree.rglob("*"))
    (tree / "data").symlink_to("/nowhere")
    look(tree, mounts=[bind("/data"), bind("/a/b")], process={"cwd": "/work"})
    (tree / "data").unlink()
    assert sorted(str(path) for path in tree.rglob("*")) == before and not os.path.exists("/nowhere")


@pytest.mark.parametrize(
    ("name", "to", "destination", "words"),
    [
        ("loop", "loop", "/loop/x", "in a circle of symbolic links"),
        ("ping", "/pong", "/ping", "in a circle of symbolic links"),
        ("up", "..", "/up", "leads to the root directory"),
        ("x", "y", "/", "leads to the root directory"),
        ("x", "y", "/srv/..", "leads to the root directory"),
        ("file", "/etc/hosts", "/file/below", 'leads through "/etc/hosts", which is not a directory'),
    ],
)
def test_destinations_that_are_refused(tree: pathlib.Path, name: str, to: str, destination: str, words: str) -> None:
    (tree / name).symlink_to(to)
    (tree / "pong").symlink_to("/ping")
    with pytest.raises(InvalidValue, match=words):
        one(tree, destination)


@pytest.mark.parametrize("to", ["/srv", "srv/data", "/nowhere", "../../etc"])
@pytest.mark.parametrize(("type_", "place"), [("proc", "proc"), ("sysfs", "sys")])
def test_proc_and_sysfs_go_onto_ordinary_directories_only(tree: pathlib.Path, type_: str, place: str, to: str) -> None:
    """ROOT-03 (CVE-2019-19921, CVE-2023-27561)."""
    (tree / place).rmdir()
    (tree / place).symlink_to(to)
    with pytest.raises(InvalidValue, match="the image has a symbolic link there") as raised:
        look(tree, mounts=[{"destination": f"/{place}", "type": type_, "source": type_}])
    assert "ordinary directory" in raised.value.remedy


def test_a_path_below_an_earlier_mount_is_not_looked_for_in_the_image(tree: pathlib.Path) -> None:
    (tree / "dev/shm").symlink_to("/etc")
    mounts = [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}, {"destination": "/dev/shm", "type": "tmpfs"}]
    targets = look(tree, mounts=mounts)
    assert (targets["/dev/shm"].path, targets["/dev/shm"].kind) == ("/dev/shm", "dir")
    (tree / "via").symlink_to("/dev/x")
    targets = look(tree, mounts=[*mounts, bind("/via")])
    assert targets["/via"].path == "/dev/x"


def test_dev_that_leads_elsewhere_stays_inside(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """ROOT-02 (CVE-2026-41579, CVE-2026-47766)."""
    (tree / "dev").rmdir()
    (tree / "dev").symlink_to(tmp_path)
    target = look(tree)["/dev"]
    assert target.path == str(tmp_path) and target.missing[0] == "/" + str(tmp_path).split("/")[1]
    assert target.missing[-1] == str(tmp_path)


def test_masked_and_read_only_paths(tree: pathlib.Path) -> None:
    (tree / "srv/link").symlink_to("/etc/hosts")
    targets = look(
        tree,
        mounts=[
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            bind("/home", "/etc"),
        ],
        linux={
            "maskedPaths": ["/proc/keys-that-do-not-exist", "/proc/interrupts", "/sys/kernel", "/srv/link", "/nope",
                            "/dev/x", "/home/passwd"],
            "readonlyPaths": ["/proc/sys", "/etc"],
        },
    )  # fmt: skip
    kinds = {path: target.kind for path, target in targets.items()}
    assert kinds == {
        "/proc": "dir", "/sys": "dir", "/dev": "dir", "/": "dir", "/home": "dir", "/etc": "dir",
        "/proc/keys-that-do-not-exist": "", "/proc/interrupts": "file", "/sys/kernel": "dir", "/srv/link": "file",
        "/nope": "", "/dev/x": "", "/home/passwd": "file", "/proc/sys": "dir",
    }  # fmt: skip
    assert targets["/srv/link"].path == "/etc/hosts"


def test_the_working_directory(tree: pathlib.Path) -> None:
    assert look(tree, process={"cwd": "/srv/work"})["/srv/work"].missing == ("/srv/work",)
    assert look(tree, process={"cwd": "/srv"})["/srv"].missing == ()
