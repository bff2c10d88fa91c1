# SPDX-License-Identifier: Apache-2.0
"""What `update` makes of old and new options, on a host that has every controller; and how it puts files back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minirt.cgroup import home
from minirt.engine import limits, update
from minirt.engine.db import Row
from minirt.engine.options import RunOptions
from minirt.errors import Conflict, HostError, InvalidValue

ROW = Row("f" * 64, "otter")
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _able(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("controllers", "processors"):
        monkeypatch.setattr(limits, name, lambda _: None)
    monkeypatch.setattr(limits, "swap", lambda *_: None)
    monkeypatch.setattr(home, "available", lambda _: frozenset(home.CONTROLLERS))
    monkeypatch.setattr(home, "home", lambda: "/nowhere")


def settle(options: RunOptions, before: dict[str, Any], **asked: object) -> tuple[dict[str, Any], RunOptions]:
    return update._settle(ROW, options, asked, before), options


def test_only_what_is_asked_for_is_touched() -> None:
    touched, options = settle(RunOptions(memory="64m", cpu_shares=512, pids_limit=7), {}, cpus="1.5")
    assert touched == {"cpu": {"quota": 150_000, "period": 100_000, "shares": 512}}
    assert (options.cpus, options.memory, options.pids_limit) == ("1.5", "64m", 7)


def test_first_limit_of_memory_has_as_much_swap_again() -> None:
    """As at birth; and the kernel then takes all of the container."""
    touched, _ = settle(RunOptions(), {}, memory="64m")
    assert touched == {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}, "unified": {"memory.oom.group": "1"}}


def test_less_memory_keeps_the_sum_that_was_set() -> None:
    before = {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}
    touched, options = settle(RunOptions(memory="64m"), before, memory="32m")
    assert touched["memory"] == {"limit": 32 * MIB, "swap": 128 * MIB}
    assert options.memory_swap == str(128 * MIB)  # so that the next start has the same


def test_more_memory_than_the_sum_needs_another_sum() -> None:
    before = {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}
    with pytest.raises(Conflict) as caught:
        settle(RunOptions(memory="64m"), before, memory="256m")
    assert "Memory limit should be smaller than already set memoryswap limit" in caught.value.message
    touched, _ = settle(RunOptions(memory="64m"), before, memory="256m", memory_swap="256m")
    assert touched["memory"] == {"limit": 256 * MIB, "swap": 256 * MIB}


def test_unlimited_swap_stays() -> None:
    before = {"memory": {"limit": 64 * MIB, "swap": -1}}
    touched, _ = settle(RunOptions(memory="64m", memory_swap="-1"), before, memory="256m")
    assert touched["memory"] == {"limit": 256 * MIB, "swap": -1}


@pytest.mark.parametrize(
    ("had", "asked", "says"),
    [
        ({"cpu_period": 50_000}, {"cpus": "1"}, "Nano CPUs cannot be updated as CPU Period has already been set"),
        ({"cpu_quota": 50_000}, {"cpus": "1"}, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ({"cpus": "1"}, {"cpu_period": 50_000}, "CPU Period cannot be updated as NanoCPUs has already been set"),
        ({"cpus": "1"}, {"cpu_quota": 50_000}, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ],
)
def test_two_ways_to_say_how_much_time(had: dict[str, Any], asked: dict[str, Any], says: str) -> None:
    with pytest.raises(Conflict) as caught:
        settle(RunOptions(**had), {}, **asked)
    assert caught.value.message == f"Cannot update container {ROW.id}: Conflicting options: {says}"


def test_reservation_above_the_limit_that_it_has() -> None:
    with pytest.raises(InvalidValue):
        settle(RunOptions(memory="64m"), {}, memory_reservation="128m")


@pytest.mark.parametrize(("asked", "limit"), [(100, 100), (0, -1), (-1, -1)])
def test_processes(asked: int, limit: int) -> None:
    assert settle(RunOptions(), {"pids": {"limit": 2048}}, pids_limit=asked)[0] == {"pids": {"limit": limit}}


def test_a_weight_leaves_rates_alone() -> None:
    rates = [{"major": 254, "minor": 0, "rate": 1000}]
    before = {"blockIO": {"weight": 500, "throttleReadBpsDevice": rates}, "devices": [{"allow": False}]}
    touched, _ = settle(RunOptions(blkio_weight=500), before, blkio_weight=100)
    assert update._merged(before, touched) == {
        "blockIO": {"weight": 100, "throttleReadBpsDevice": rates},
        "devices": [{"allow": False}],
    }


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a cgroup's files. One that is missing cannot be written, as one that the kernel refuses."""
    for name, text in (("memory.max", "max\n"), ("memory.swap.max", "max\n"), ("memory.oom.group", "0\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(home, "prepare", lambda *_: None)
    return tmp_path


def test_a_refusal_names_file_and_value_and_puts_all_back(cgroup: Path) -> None:
    touched, _ = settle(RunOptions(), {}, memory="64m", pids_limit=9)
    written: list[tuple[str, str]] = []
    with pytest.raises(HostError) as caught:
        update._write(str(cgroup), ROW.id, touched, written)
    assert 'the kernel does not take "9" for pids.max' in caught.value.message
    assert [file for file, _ in written] == ["memory.max", "memory.swap.max"]
    assert (cgroup / "memory.max").read_text() == str(64 * MIB)
    (cgroup / "memory.max").write_text("")  # a file of a cgroup takes a write as a whole
    update._put_back(str(cgroup), written)
    assert (cgroup / "memory.max").read_text() == "max\n"
    assert written == []


def test_what_has_ended_meanwhile_is_no_refusal(cgroup: Path) -> None:
    touched, _ = settle(RunOptions(), {}, memory="64m")
    update._write(f"{cgroup}/gone", ROW.id, touched, [])


@pytest.mark.parametrize("swap", [64 * MIB, -1])
def test_a_limit_below_what_is_in_use(cgroup: Path, monkeypatch: pytest.MonkeyPatch, swap: int) -> None:
    """What files hold in memory can be dropped; the rest cannot, but where it can be swapped out."""
    (cgroup / "memory.current").write_text(str(100 * MIB))
    (cgroup / "memory.stat").write_text(f"inactive_file {20 * MIB}\nactive_file {20 * MIB}\n")
    monkeypatch.setattr(update, "_may_swap", lambda wanted: wanted["swap"] < 0)
    wanted = {"limit": 64 * MIB, "swap": swap}
    update._refuse_less_than_used(str(cgroup), ROW.id, wanted)
    (cgroup / "memory.current").write_text(str(105 * MIB))
    if swap < 0:
        update._refuse_less_than_used(str(cgroup), ROW.id, wanted)
        return
    with pytest.raises(Conflict) as caught:
        update._refuse_less_than_used(str(cgroup), ROW.id, wanted)
    assert f"unable to set memory limit to {64 * MIB} (current usage: {105 * MIB})" in caught.value.message
