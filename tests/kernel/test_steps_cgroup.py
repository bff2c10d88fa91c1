# SPDX-License-Identifier: Apache-2.0
"""The steps that limit, against the kernel: a file of a cgroup by its descriptor, and an eBPF program for devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from errno import EBADF, EINVAL, ENOENT, EPERM
from pathlib import Path

import pytest

import invariants
from minirt.cgroup import home, tree
from minirt.kernel.execute import StepError
from minirt.plan.build import BENEATH
from minirt.plan.devices_program import program
from minirt.plan.step import Blob, Fd, Flags, Step
from own import NONE, run, step

KIND = Flags("BPF_CGROUP_DEVICE")
ALLOW_ALL = program([{"allow": True, "access": "rwm"}])


@pytest.fixture
def cgroup() -> Iterator[Path]:
    place = invariants.cgroup_home()
    assert place is not None
    path = home.create(str(place), f"steps-{os.getpid()}", {})
    yield Path(path)
    tree.remove(path)


def opened(cgroup: Path) -> Step:
    return step("openat2", Fd("cwd"), str(cgroup), Flags("O_PATH|O_DIRECTORY|O_CLOEXEC"), NONE, NONE, out="cgroup")


def limit(file: str, text: str) -> tuple[Step, Step, Step]:
    return (
        step("openat2", Fd("cgroup"), file, Flags("O_WRONLY|O_CLOEXEC"), NONE, BENEATH, out=file),
        step("write", Fd(file), Blob(text.encode(), text)),
        step("close", Fd(file)),
    )


def load(code: bytes) -> Step:
    return step("bpf_prog_load", Flags("BPF_PROG_TYPE_CGROUP_DEVICE"), KIND, Blob(code, "a program"), out="devices")


def attach() -> Step:
    return step("bpf_prog_attach", Fd("cgroup"), Fd("devices"), KIND, Flags("BPF_F_ALLOW_MULTI"))


def close(made: dict[str, int]) -> None:
    for descriptor in made.values():
        os.close(descriptor)


def test_a_file_is_written_twice_by_the_same_slot(cgroup: Path) -> None:
    file = "cgroup.max.depth"
    made = run(opened(cgroup), *limit(file, "7"), *limit(file, "5"))
    assert list(made) == ["cgroup"]
    close(made)
    assert (cgroup / file).read_text() == "5\n"


def test_a_file_that_is_not_there_and_a_value_that_is_none(cgroup: Path) -> None:
    for file, text, index, errno in (("no.such", "1", 1, ENOENT), ("cgroup.max.depth", "deep", 2, EINVAL)):
        with pytest.raises(StepError) as failed:
            run(opened(cgroup), *limit(file, text))
        assert (failed.value.index, failed.value.errno) == (index, errno)


def answers(cgroup: Path) -> list[str]:
    """What a process in the cgroup is told when it opens /dev/null and /dev/zero."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        (cgroup / "cgroup.procs").write_text("0")
        for path in ("/dev/null", "/dev/zero"):
            try:
                os.close(os.open(path, os.O_RDONLY))
                os.write(writing, b"fine ")
            except OSError as error:
                os.write(writing, b"EPERM " if error.errno == EPERM else b"odd ")
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        told = pipe.read().split()
    os.waitpid(child, 0)
    return told


def test_a_program_decides(cgroup: Path) -> None:
    assert answers(cgroup) == ["fine", "fine"]
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}]
    close(run(opened(cgroup), load(program(rules)), attach()))
    assert answers(cgroup) == ["fine", "EPERM"]


def test_all_programs_must_agree(cgroup: Path) -> None:
    close(run(opened(cgroup), load(program([])), attach()))
    close(run(opened(cgroup), load(ALLOW_ALL), attach()))
    assert answers(cgroup) == ["EPERM", "EPERM"]


def test_what_is_no_program_or_no_cgroup(cgroup: Path) -> None:
    with pytest.raises(StepError) as failed:
        run(load(b"\xff" * 16))
    assert (failed.value.index, failed.value.errno) == (0, EINVAL)
    nothing = step("bpf_prog_attach", Fd("cgroup"), Fd("cgroup"), KIND, Flags("BPF_F_ALLOW_MULTI"))
    with pytest.raises(StepError) as failed:
        run(opened(cgroup), nothing)
    assert failed.value.index == 1 and failed.value.errno in (EINVAL, EBADF)
    elsewhere = step("openat2", Fd("cwd"), "/", Flags("O_PATH|O_DIRECTORY|O_CLOEXEC"), NONE, NONE, out="cgroup")
    with pytest.raises(StepError) as failed:
        run(elsewhere, load(ALLOW_ALL), attach())
    assert (failed.value.index, failed.value.errno) == (2, EBADF)
