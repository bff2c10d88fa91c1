# SPDX-License-Identifier: Apache-2.0
"""Where containers' cgroups live, what is handed on there, and what is refused, on a tree of plain files."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirt.cgroup import cpuset, home, hugetlb, io, memory, owners, pids, pressure, tree
from minirt.errors import HostError


class Tree:
    """A v2 tree of directories: every directory gets the files that the kernel would make."""

    def __init__(self, top: Path, controllers: str) -> None:
        self.top = top
        self.fill(top, controllers, "")

    @staticmethod
    def fill(directory: Path, controllers: str, enabled: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.controllers").write_text(controllers + "\n")
        (directory / "cgroup.subtree_control").write_text(enabled + "\n")
        (directory / "cgroup.procs").write_text("")


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Without systemd."""
    made = Tree(tmp_path / "cgroup", "cpu memory pids")
    monkeypatch.setattr(tree, "mount_point", lambda *_: str(made.top))
    monkeypatch.setattr(home, "by_systemd", lambda: False)
    return made


@pytest.fixture
def delegated(plain: Tree, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(home, "by_systemd", lambda: True)
    return plain


def test_place_with_and_without_systemd(plain: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.home() == f"{plain.top}/minirt" and home.home("/m") == "/m/minirt"
    monkeypatch.setattr(home, "by_systemd", lambda: True)
    assert home.home() == f"{plain.top}/system.slice/minirt-containers.service"


def test_what_is_enabled_already_is_left_alone(plain: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.fill(plain.top / "minirt", "cpu memory pids", "cpu memory pids")
    monkeypatch.setattr(tree, "write", lambda *_: pytest.fail("nothing was to be written"))
    path = home.create(home.home(), "a", {"memory": "/linux/resources/memory/limit"})
    assert path == f"{plain.top}/minirt/a" and Path(path).is_dir()


def test_each_controller_is_enabled_from_the_root_down(plain: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.fill(plain.top / "minirt", "cpu memory pids", "")
    written = []
    monkeypatch.setattr(tree, "write", lambda path, name, text: written.append((path, name, text)))
    home.prepare(home.home(), {})
    places = (str(plain.top), f"{plain.top}/minirt")
    names = ("cpu", "memory", "pids")
    assert written == [(place, "cgroup.subtree_control", f"+{name}") for place in places for name in names]


def test_systemds_part_of_the_tree_is_never_written_to(delegated: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(home.home())
    delegated.fill(delegated.top / "system.slice", "cpu memory pids", "cpu memory pids")
    delegated.fill(place, "cpu memory pids", "")
    (place / "cgroup.procs").write_text("4711\n")
    written = []
    monkeypatch.setattr(tree, "write", lambda path, name, text: written.append((path, name, text)))
    home.prepare(str(place), {})
    assert written[0] == (f"{place}/idle", "cgroup.procs", "4711")
    assert written and all(path.startswith(str(place)) for path, _, _ in written)


@pytest.mark.parametrize("systemd", [False, True])
def test_a_controller_that_is_not_delegated_is_refused_by_name(
    plain: Tree, monkeypatch: pytest.MonkeyPatch, systemd: bool
) -> None:
    monkeypatch.setattr(home, "by_systemd", lambda: systemd)
    monkeypatch.setattr(owners, "owners", lambda: {"hugetlb": owners.Owner("v2")})
    plain.fill(plain.top, "memory hugetlb", "memory")
    plain.fill(plain.top / "system.slice", "memory", "memory")
    plain.fill(Path(home.home()), "memory", "memory")
    monkeypatch.setattr(tree, "write", lambda *_: None)
    with pytest.raises(HostError) as raised:
        home.create(home.home(), "a", {"hugetlb": "--hugetlb-limit"})
    assert raised.value.message.startswith('--hugetlb-limit needs the cgroup v2 controller "hugetlb"')
    assert not Path(home.home(), "a").exists()
    if systemd:
        assert "is not delegated" in raised.value.message and "echo +hugetlb" in raised.value.remedy


def test_what_can_be_had_is_known_before_the_first_container(delegated: Tree) -> None:
    delegated.fill(delegated.top, "cpu hugetlb memory", "cpu memory")
    assert home.available(home.home()) == {"cpu", "memory"}
    delegated.fill(Path(home.home()), "memory", "memory")
    assert home.available(home.home()) == {"memory"}


def test_cpu_lists() -> None:
    assert cpuset.members("0-2,7\n") == {0, 1, 2, 7} and cpuset.members("") == set()
    for wrong in ("x", "2-1", "1-", "-1", "0-999999", "1;2", "٣"):
        with pytest.raises(ValueError):
            cpuset.members(wrong)


def test_readers(tmp_path: Path) -> None:
    """As the kernel writes them (cgroup-v2.rst)."""
    files = {
        "memory.current": "5000\n", "memory.max": "max\n", "memory.swap.max": "7\n", "memory.swap.current": "3\n",
        "memory.stat": "anon 1\ninactive_file 1000\n", "memory.events": "low 0\noom 2\noom_kill 1\n",
        "pids.current": "3\n", "pids.max": "10\n", "pids.events": "max 4\n",
        "io.stat": "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n254:16 rbytes=5 wbytes=0 rios=1 wios=0\n",
        "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    used = memory.read(str(tmp_path))
    assert used and (used.current_bytes, used.cache_bytes, used.limit_bytes, used.swap_limit_bytes) == (
        5000,
        1000,
        None,
        7,
    )
    assert memory.oom_kills(str(tmp_path)) == 1
    tasks = pids.read(str(tmp_path))
    assert tasks and (tasks.current, tasks.limit, tasks.refused) == (3, 10, 4)
    disks = io.read(str(tmp_path))
    assert disks and (disks.read_bytes, disks.written_bytes, disks.reads, disks.writes) == (15, 20, 2, 2)
    waited = pressure.read(str(tmp_path), "cpu")
    assert waited and (waited.some_percent, waited.some_us, waited.full_us) == (1.5, 77, 0)
    gone = str(tmp_path / "gone")
    answers = [memory.read(gone), pids.read(gone), io.read(gone), pressure.read(gone, "io"), memory.oom_kills(gone)]
    assert answers == [None] * 5


def test_names_of_huge_pages(tmp_path: Path) -> None:
    for size in ("2048", "1048576", "64"):
        (tmp_path / f"hugepages-{size}kB").mkdir()
    assert hugetlb.sizes(str(tmp_path)) == ("1GB", "2MB", "64KB")


def test_a_weight_that_nobody_heeds_is_refused(plain: Tree, tmp_path: Path) -> None:
    scheduler = tmp_path / "block/vda/queue/scheduler"
    scheduler.parent.mkdir(parents=True)
    scheduler.write_text("[none] mq-deadline bfq\n")
    disks, parent = str(tmp_path / "block"), str(plain.top)
    for file in ("io.weight", "io.bfq.weight"):
        (plain.top / file).write_text("default 100\n")
    with pytest.raises(HostError, match="--blkio-weight needs a disk that is shared by weight"):
        io.weight_file("--blkio-weight", parent, disks)
    (plain.top / "io.cost.qos").write_text("254:0 enable=1 ctrl=auto\n")
    assert io.weight_file("--blkio-weight", parent, disks) == "io.weight"
    scheduler.write_text("none mq-deadline [bfq]\n")
    assert io.weight_file("--blkio-weight", parent, disks) == "io.bfq.weight"
