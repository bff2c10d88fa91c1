# SPDX-License-Identifier: Apache-2.0
"""Plans as buffers: the layout is the compiler's, words are the headers', and what cannot be said is refused."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from minirt.errors import InvalidValue
from minirt.kernel import execute, flat
from minirt.kernel._csrc import ffi, lib
from minirt.kernel.settings import Settings
from minirt.plan.step import CWD, INIT, MONITOR, Blob, Caps, Fd, Flags, Plan, Step, Strings
from own import NONE, opened, run, step


def decode(one: Step) -> tuple[Any, Any, flat.Flat]:
    """The struct mrt_step that C sees, the buffer as C sees it, and what keeps it."""
    code = flat.encode(Plan((one,)))
    whole = ffi.from_buffer(code.buffer)
    assert lib.mrt_check(whole, len(code.buffer)) == 0
    return ffi.cast("struct mrt_step *", whole + flat.HEAD.size), whole, code


def text(whole: Any, offset: int) -> bytes:
    return ffi.string(whole + offset)


def test_layout_is_the_compilers() -> None:
    sizes = {"mrt_plan": flat.HEAD, "mrt_step": flat.STEP, "mrt_settings": flat.SETTINGS}
    assert {name: ffi.sizeof(f"struct {name}") for name in sizes} == {name: one.size for name, one in sizes.items()}
    assert ffi.offsetof("struct mrt_step", "num") == 24
    assert ffi.offsetof("struct mrt_settings", "slot_pidfd") == 48


def test_arguments_are_sorted_by_type() -> None:
    about = ("EEXIST", "ENOENT")
    one, whole, _ = decode(
        Step("move_mount", Fd("a"), "from", CWD, "to", Flags("MOVE_MOUNT_F_EMPTY_PATH"), out="b", tolerate=about)
    )
    assert (one.op, one.actor) == (lib.MRT_OP_move_mount, lib.MRT_INIT)
    assert (list(one.fd), list(one.out)) == ([0, lib.MRT_CWD], [1, lib.MRT_NONE])
    assert [text(whole, one.str[i]) for i in range(2)] == [b"from", b"to"]
    assert (list(one.len), one.num[0]) == ([4, 2, 0, 0], 4)
    assert list(one.tolerate) == [lib.EEXIST, lib.ENOENT, 0, 0]


def test_what_is_left_out_leaves_a_hole() -> None:
    one, whole, _ = decode(Step("mount", None, "/target", None, Flags("MS_BIND"), None))
    assert [bool(offset) for offset in one.str] == [False, True, False, False]
    assert text(whole, one.str[1]) == b"/target"


def test_negative_and_wide_numbers() -> None:
    caps = Caps(("CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"))
    one, _, _ = decode(Step("prlimit64", -1, 2**64 - 1, caps))
    assert list(one.num)[:3] == [2**64 - 1, 2**64 - 1, 1 | 1 << 40]


def test_lists_and_bytes() -> None:
    envp = Strings(("A=ä\udcff", ""))
    one, whole, code = decode(Step("execve", "/x", Strings(), envp))
    assert (one.len[1], one.len[2]) == (0, 2)
    at = one.str[2]
    assert bytes(code.buffer[at : at + 8]) == b"A=\xc3\xa4\xff\0\0\0"[:8]
    one, whole, _ = decode(Step("write", Fd("f"), Blob(b"a\0b", "")))
    assert bytes(ffi.buffer(whole + one.str[0], 4)) == b"a\0b\0"


@pytest.mark.parametrize(
    ("words", "value"),
    [("0", 0), ("MS_NOSUID|MS_NODEV", 6), ("S_IFREG|0o644", 0o100644), ("0755", 0o755), ("12", 12), ("0x10|1", 17)],
)
def test_words(words: str, value: int) -> None:
    assert flat.number(words) == value


@pytest.mark.parametrize("words", ["MS_NOSUCH", "", "mrt_check", "MS_NOSUID |MS_NODEV", "1x", "-1", "MS_NOSUID|"])
def test_unknown_words_are_named(words: str) -> None:
    with pytest.raises(InvalidValue, match=r"no such constant|malformed number"):
        flat.number(words)


@pytest.mark.parametrize(
    "bad",
    [
        Step("no_such_call"),
        Step("fchdir", Fd("a"), tolerate=("ENOSUCH",)),
        Step("fchdir", Fd("a"), tolerate=("EPERM", "ENOENT", "EIO", "EBADF", "EEXIST")),
        Step("chdir", "a\0b"),
        Step("execve", "/x", Strings(("a\0b",)), Strings()),
        Step("fchdir", Fd("a"), Fd("b"), Fd("c")),
        Step("umask", 1, 2, 3, 4, 5, 6, 7),
        Step("chdir", 1.5),
        step("openat2", CWD, "/", NONE, NONE, NONE, out="it"),
    ],
    ids=lambda bad: f"{bad.op}-{len(bad.args)}-{len(bad.tolerate)}",
)
def test_what_cannot_be_said(bad: Step) -> None:
    with pytest.raises(InvalidValue):
        flat.encode(Plan((opened("/"), bad)))


def test_too_many_slots() -> None:
    fine = tuple(Step("fchdir", Fd(f"slot-{index}")) for index in range(lib.MRT_SLOTS))
    assert len(flat.encode(Plan(fine)).slots) == lib.MRT_SLOTS
    with pytest.raises(InvalidValue):
        flat.encode(Plan((*fine, Step("fchdir", Fd("one more")))))


def test_settings_and_the_monitors_slots() -> None:
    settings = Settings()
    settings.flags, settings.control, settings.cgroup_name, settings.title = 5, 7, "box", "minirt:box"
    settings.cleanup, settings.log_files, settings.log_size = ("/bin/minirt", "x"), 3, 1 << 40
    settings.events, settings.subject = "/run/minirt/events", ',"ID":"abc"'
    plan = Plan((Step("pipe2", NONE, out=("stdout_r", "stdout_w"), actor=MONITOR),))
    code = flat.encode(plan, settings, {"rootfs": 9})
    whole = ffi.from_buffer(code.buffer)
    own = ffi.cast("struct mrt_settings *", whole + ffi.cast("struct mrt_plan *", whole).settings)
    assert (own.flags, own.control, own.run_dir, own.log_files, own.log_size) == (5, 7, -1, 3, 1 << 40)
    assert [text(whole, at) for at in (own.cgroup_name, own.title, own.cleanup)] == [
        b"box",
        b"minirt:box",
        b"/bin/minirt",
    ]
    assert [text(whole, at) for at in (own.events, own.subject)] == [b"/run/minirt/events", b',"ID":"abc"']
    assert own.slot_stdout == code.slots["stdout_r"]
    assert own.slot_report == code.slots["report"]
    assert (own.slot_stdin, own.slot_pidfd, own.cleanup_count) == (0xFFFFFFFF, 0xFFFFFFFF, 2)
    numbers = ffi.cast("int32_t *", whole + code.offset)
    assert [numbers[code.slots[name]] for name in ("rootfs", "report")] == [9, -1]


def test_a_damaged_buffer_is_not_run() -> None:
    code = flat.encode(Plan((opened("/"),)))
    code.buffer[4] ^= 1
    with pytest.raises(InvalidValue):
        execute.run(code)


def test_what_was_opened_before_a_failure_is_closed() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(execute.StepError) as failed:
        run(opened("/", out="a"), opened("/", out="b"), opened("/nowhere", out="c"))
    assert failed.value.index == 2
    assert os.listdir("/proc/self/fd") == before


def test_only_the_actors_steps_run() -> None:
    made = run(Step("chdir", "/nowhere", actor=INIT), opened("/"), Step("chdir", "/nowhere", actor=MONITOR))
    assert list(made) == ["it"]
    os.close(made["it"])


def test_two_hundred_steps_are_quick() -> None:
    """2 ms is what a whole `run` can spare; a busy machine gets three tries."""
    steps = tuple(
        Step("openat2", Fd(f"slot-{n % 40}"), f"/path/{n}", Flags("O_PATH|O_CLOEXEC"), NONE, NONE, out=f"slot-{n % 40}")
        for n in range(200)
    )
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        flat.encode(Plan(steps))
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.002
