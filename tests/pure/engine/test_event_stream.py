# SPDX-License-Identifier: Apache-2.0
"""The file of events as it is written, rotated and damaged, and its reader beside it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirt.engine import event_stream, events
from minirt.engine.paths import Roots
from minirt.engine.store import Engine
from minirt.kernel import events as file_

WRITERS, LINES = 4, 300


class Place:
    """A file of events that is full after `limit` bytes."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "events")
        self.number = 0

    def write(self, action: str = "", limit: int = 1 << 20, **attributes: str) -> str:
        self.number += 1
        action = action or f"act {self.number}"
        file_.append(self.path, events.line("container", action, "abc", attributes, self.number), limit)
        return action


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(Roots(str(tmp_path / "root"), str(tmp_path / "state")))
    made.roots.prepare()
    yield made
    made.close()


def actions(reader: event_stream.Reader) -> list[str]:
    return [event.action for event in reader.present()]


def test_from_the_beginning_and_from_the_end(place: Place) -> None:
    there = [place.write() for _ in range(3)]
    whole, late = event_stream.Reader(place.path, True), event_stream.Reader(place.path, False)
    assert (actions(whole), actions(late)) == (there, [])
    new = place.write()
    assert (actions(whole), actions(late)) == ([new], [new])
    whole.close()
    late.close()


def test_a_file_that_is_not_there_yet(place: Place) -> None:
    reader = event_stream.Reader(place.path, False)
    assert actions(reader) == []
    assert actions(reader) == [] and place.write() in actions(reader)
    reader.close()


def test_rotation_loses_nothing_and_repeats_nothing(place: Place) -> None:
    """Each second line fills the file: at every step the reader is given what was written since."""
    reader = event_stream.Reader(place.path, True)
    for _ in range(20):
        written = place.write(limit=120)
        assert actions(reader) == [written]
    assert sorted(os.listdir(os.path.dirname(place.path)))[-1] == "events.1"
    reader.close()


def test_what_came_in_two_files(place: Place) -> None:
    reader = event_stream.Reader(place.path, False)
    written = [place.write(limit=limit) for limit in (1 << 20, 1, 1 << 20)]
    assert actions(reader) == written
    reader.close()
    again = event_stream.Reader(place.path, True)
    assert actions(again) == written
    again.close()


def test_a_late_writer_of_the_older_file_is_heard(place: Place) -> None:
    """It had opened the file before it was renamed."""
    place.write()
    reader = event_stream.Reader(place.path, True)
    assert len(actions(reader)) == 1
    with open(place.path, "ab") as late:
        os.rename(place.path, f"{place.path}.1")
        new = place.write()
        assert actions(reader) == [new]
        late.write(events.line("container", "late", "abc", {}, 9))
    assert actions(reader) == ["late"]
    reader.close()


def test_the_file_is_bounded(place: Place) -> None:
    for _ in range(500):
        place.write(limit=4096)
    sizes = [os.path.getsize(name) for name in (place.path, f"{place.path}.1") if os.path.exists(name)]
    assert max(sizes) < 4096 + 200
    assert sorted(os.listdir(os.path.dirname(place.path))) == ["events", "events.1"][-len(sizes) :]


def test_many_writers_rotate_and_lose_no_line(tmp_path: Path) -> None:
    """Several find the file full at the same time: only one renames it, and never one that was just begun."""
    path, limit = str(tmp_path / "events"), 1 << 16
    children = []
    for writer in range(WRITERS):
        if (child := os.fork()) == 0:
            for number in range(LINES):
                file_.append(path, events.line("container", f"{writer} {number}", "x", {}, 1), limit)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * WRITERS
    assert limit < os.path.getsize(f"{path}.1") + os.path.getsize(path) < 2 * limit
    reader = event_stream.Reader(path, True)
    seen = actions(reader)
    reader.close()
    for writer in range(WRITERS):
        assert [one for one in seen if one.startswith(f"{writer} ")] == [
            f"{writer} {number}" for number in range(LINES)
        ]


def test_damaged_lines_are_passed_over(place: Place) -> None:
    """What a full disk has cut short takes no other line with it, and nothing in a line can look like its begin."""
    whole = events.line("container", "die", "abc", {"label": '{"timeNano":1,"Type":"forged"}'}, 5)
    torn = whole[:40]
    with open(place.path, "wb") as file:
        file.write(torn + whole + b"\xff\xfe\n\n[]\n{}\n" + b'{"timeNano":"x"}\n' + whole + torn)
    reader = event_stream.Reader(place.path, True)
    found = list(reader.present())
    reader.close()
    assert [(one.time_ns, one.kind, one.action, one.id) for one in found] == [(5, "container", "die", "abc")] * 2
    assert found[0].attributes["label"] == '{"timeNano":1,"Type":"forged"}'


@pytest.mark.parametrize("line", [b"", b"{}", b"null", b'{"timeNano":1}', b'{"timeNano":1,"Attributes":[]}'])
def test_what_is_no_event(line: bytes) -> None:
    assert event_stream.parse(line) is None


def test_an_argument_that_is_not_text() -> None:
    shown = events.shown_command(["printf", os.fsdecode(b"\xff")])
    found = event_stream.parse(events.line("container", shown, "a", {os.fsdecode(b"\xfe"): "x"}, 1).strip())
    assert found is not None
    assert (found.action, found.attributes) == ("printf ?", {"?": "x"})


def test_a_long_command_line_is_cut() -> None:
    assert len(events.shown_command(["x" * 10000])) == events.COMMAND_LIMIT


def test_labels_that_are_too_long_for_the_monitor_are_left_out() -> None:
    about = {"image": "busybox", "name": "web", "label": "x" * 10000}
    assert events.subject("abc", {**about, "label": "y"}).endswith('"label":"y"')
    assert events.subject("abc", about) == ',"ID":"abc","Attributes":{"image":"busybox","name":"web"'


def test_follow_waits_for_the_kernel_and_ends_with_its_directory(engine: Engine) -> None:
    """inotify(7): what somebody else writes wakes the reader; a directory that is removed ends it."""

    def write() -> None:
        for number in range(3):
            file_.append(events.path(engine), events.line("image", f"{number}", "id", {}, time.time_ns()))
        os.unlink(events.path(engine))
        os.rmdir(engine.roots.state)

    found = event_stream.follow(engine)
    events.tell(engine, events.IMAGE, "before", "id", {})
    other = threading.Timer(0.2, write)
    other.start()
    seen = [event.action for event in found]
    other.join()
    assert seen == ["0", "1", "2"]


def test_until_ends_it(engine: Engine) -> None:
    events.tell(engine, events.IMAGE, "pull", "id", {})
    assert [event.action for event in event_stream.follow(engine, until_ns=1)] == []
    since = next(event_stream.follow(engine, since_ns=0)).time_ns
    assert [event.time_ns for event in event_stream.follow(engine, since, since)] == [since]
    assert [event.time_ns for event in event_stream.follow(engine, since + 1, since + 1)] == []


def test_an_event_that_cannot_be_written_fails_nothing(engine: Engine) -> None:
    os.symlink("/nonexistent/x", events.path(engine))
    events.tell(engine, events.IMAGE, "pull", "id", {})
    assert engine.events == []
