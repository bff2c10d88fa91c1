# SPDX-License-Identifier: Apache-2.0
"""The log reader on files as the monitor writes and rotates them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minirt.engine import logs, moment

BASE_NS = 1_700_000_000 * moment.SECOND


def line(number: int, text: str, stream: str = "stdout", tag: str = "F") -> bytes:
    stamp = moment.text(BASE_NS + number)[:-1].ljust(29, "0")
    return f"{stamp}Z {stream} {tag} {text}\n".encode()


class Log:
    """Writes and rotates as csrc/monitor_log.c does."""

    def __init__(self, directory: Path, files: int = 3) -> None:
        self.path = str(directory / "log")
        self.files = files
        self.number = 0

    def write(self, text: str, tag: str = "F", stream: str = "stdout") -> None:
        self.number += 1
        with open(self.path, "ab") as file:
            file.write(line(self.number * 10, text, stream, tag))

    def rotate(self) -> None:
        for number in range(self.files - 1, 0, -1):
            source = self.path if number == 1 else f"{self.path}.{number - 1}"
            if os.path.exists(source):
                os.rename(source, f"{self.path}.{number}")
        if self.files == 1:
            os.unlink(self.path)


def dead() -> bool:
    return False


def texts(path: str, tail: int | None = None, follow: bool = False, alive: Callable[[], bool] = dead) -> str:
    return b"".join(data for _, _, data in logs.records(path, follow, tail, None, None, alive)).decode()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_order_across_rotated_files(log: Log) -> None:
    for number in range(6):
        log.write(str(number))
        if number % 2:
            log.rotate()
    assert texts(log.path) == "2\n3\n4\n5\n"


def test_stream_and_moment_are_kept(log: Log) -> None:
    log.write("out")
    log.write("err", stream="stderr")
    found = list(logs.records(log.path, False, None, None, None, dead))
    assert found == [("stdout", BASE_NS + 10, b"out\n"), ("stderr", BASE_NS + 20, b"err\n")]


def test_parts_join_to_a_line(log: Log) -> None:
    for text, tag in (("one ", "P"), ("line", "F"), ("no end", "P")):
        log.write(text, tag)
    assert texts(log.path) == "one line\nno end"


@pytest.mark.parametrize(("tail", "expected"), [(0, ""), (1, "9\n"), (3, "7\n8\n9\n"), (100, None)])
def test_tail_across_files(log: Log, tail: int, expected: str | None) -> None:
    for number in range(10):
        log.write(str(number))
        if number in (4, 7):
            log.rotate()
    assert texts(log.path, tail) == (expected if expected is not None else texts(log.path))


def test_tail_counts_lines_not_parts(log: Log) -> None:
    for text, tag in (("a", "F"), ("b1", "P"), ("b2", "P"), ("b3", "F"), ("c", "F")):
        log.write(text, tag)
    assert texts(log.path, 2) == "b1b2b3\nc\n"
    assert texts(log.path, 1) == "c\n"


def test_tail_of_a_long_log_reads_backwards(log: Log) -> None:
    with open(log.path, "wb") as file:
        for number in range(20000):
            file.write(line(number, "x" * 50 + str(number)))
    assert texts(log.path, 5).splitlines() == ["x" * 50 + str(number) for number in range(19995, 20000)]


def test_since_and_until(log: Log) -> None:
    for number in range(5):
        log.write(str(number))
    found = logs.records(log.path, False, None, BASE_NS + 20, BASE_NS + 40, dead)
    assert b"".join(data for *_, data in found) == b"1\n2\n3\n"


def test_absent_log_is_empty(tmp_path: Path) -> None:
    assert texts(str(tmp_path / "absent" / "log")) == ""
    assert texts(str(tmp_path / "log"), 5) == ""


def test_exe_09_forged_and_torn_records(log: Log) -> None:
    """EXE-09: a workload's line that looks like a record stays text; a torn record does not stop the reader."""
    forged = "2030-01-01T00:00:00.000000000Z stderr F forged"
    log.write(forged)
    with open(log.path, "ab") as file:
        file.write(b"2023-11-14T22:13:20.0000")
    found = list(logs.records(log.path, False, None, None, None, dead))
    assert found == [("stdout", BASE_NS + 10, forged.encode() + b"\n")]
    with open(log.path, "ab") as file:
        file.write(b"\n" + line(20, "after"))
    found = list(logs.records(log.path, False, None, None, None, dead))
    assert [data for *_, data in found] == [forged.encode() + b"\n", b"2023-11-14T22:13:20.0000\n", b"after\n"]


def test_exe_09_memory_is_bounded(log: Log) -> None:
    """EXE-09: 64 MiB without a newline comes in pieces, not at once."""
    with open(log.path, "wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    sizes = [len(data) for *_, data in logs.records(log.path, False, None, None, None, dead)]
    assert max(sizes) <= logs.LINE_LIMIT_BYTES + logs.CHUNK_BYTES
    assert sum(sizes) >= 62 << 20


def test_exe_10_symlink_is_not_followed(tmp_path: Path) -> None:
    """EXE-10: a log that is a symbolic link is an error, not the file that it leads to."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "log").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        texts(str(tmp_path / "log"))


@pytest.mark.parametrize("files", [1, 2, 3])
def test_exe_10_follower_survives_rotation(tmp_path: Path, files: int) -> None:
    """EXE-10: nothing lost and nothing twice while the log is rotated under a follower."""
    log, done = Log(tmp_path, files), threading.Event()
    log.write("0")

    def produce() -> None:
        for number in range(1, 300):
            log.write(str(number))
            if number % 40 == 0:
                time.sleep(3 * logs.POLL_S)  # a reader that keeps up: what is rotated away unread is lost to all
                log.rotate()
        done.set()

    writer = threading.Thread(target=produce)
    writer.start()
    found = texts(log.path, follow=True, alive=lambda: not done.is_set())
    writer.join()
    assert found.split() == [str(number) for number in range(300)]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_exe_10_rotations_between_a_look_and_an_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """EXE-10: a follower that is held up while the log is rotated goes on with the next file, not with a later one."""
    log = Log(tmp_path, files=100)
    log.write("1")
    reader = logs.Reader(log.path)
    assert [data for _, _, data in reader.present()] == [b"1\n"]
    open_, held = logs._open, [True]

    def held_up(name: str) -> int:
        if held.pop() if held else False:
            for _ in range(times):
                log.rotate()
                log.write(str(log.number + 1))
        return open_(name)

    log.rotate()
    log.write("2")
    monkeypatch.setattr(logs, "_open", held_up)
    assert b"".join(data for _, _, data in reader.present()) == b"".join(b"%d\n" % at for at in range(2, times + 3))
    assert not held, "the control: it was held up"
    reader.close()


def test_exe_10_a_gap_in_the_names(tmp_path: Path) -> None:
    """EXE-10: in the middle of a rotation the next file is called two less."""
    log = Log(tmp_path, files=100)
    log.write("1")
    reader = logs.Reader(log.path)
    assert len(list(reader.present())) == 1
    log.rotate()
    log.write("2")
    os.rename(f"{log.path}.1", f"{log.path}.2")
    assert [data for _, _, data in reader.present()] == [b"2\n"]
    reader.close()


def test_follow_gives_what_was_written_before_the_end(log: Log) -> None:
    """CRA-20: the container ends while we read; its last words are given."""
    asked = []

    def alive() -> bool:
        asked.append(True)
        if len(asked) == 2:
            log.write("last words")
        return len(asked) < 2

    log.write("first")
    assert texts(log.path, follow=True, alive=alive) == "first\nlast words\n"
