# SPDX-License-Identifier: Apache-2.0
"""`events --filter` and the forms of one event, against Docker's."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from minirt.cli import event_filters
from minirt.cli.evaluate import render
from minirt.cli.verbs import events as verb
from minirt.engine.event_stream import Event
from minirt.errors import InvalidValue

NOON_NS = 1_767_366_245_000_000_042
ABOUT = {"image": "nginx:1.25", "name": "web", "tier": "front"}
DIE = Event(NOON_NS, "container", "die", "abc123", {**ABOUT, "exitCode": "3"})
EXEC = Event(NOON_NS, "container", "exec_create: sh -c true", "abc123", {**ABOUT, "execID": "f"})
PULL = Event(NOON_NS, "image", "pull", "nginx:1.25", {"name": "nginx"})
CONNECT = Event(NOON_NS, "network", "connect", "def456", {"name": "front", "type": "bridge", "container": "abc123"})


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("texts", "passed"),
    [
        ([], [DIE, EXEC, PULL, CONNECT]),
        (["type=container"], [DIE, EXEC]),
        (["type=image", "type=network"], [PULL, CONNECT]),
        (["event=die"], [DIE]),
        (["event=di"], []),
        (["event=exec_create"], [EXEC]),
        (["event=exec_create: sh -c true"], [EXEC]),
        (["event=die", "event=pull"], [DIE, PULL]),
        (["container=web"], [DIE, EXEC]),
        (["container=abc"], [DIE, EXEC]),
        (["container=bc1"], []),
        (["network=front"], [CONNECT]),
        (["volume=front"], [CONNECT]),
        (["image=nginx:1.25"], [DIE, EXEC, PULL]),
        (["image=nginx"], [DIE, EXEC, PULL]),
        (["image=ngin"], []),
        (["label=tier"], [DIE, EXEC]),
        (["label=tier=front", "label=image"], [DIE, EXEC]),
        (["label=tier=front", "label=tier=back"], []),
        (["scope=local"], [DIE, EXEC, PULL, CONNECT]),
        (["scope=swarm"], []),
        (["type=container", "event=die", "container=web"], [DIE]),
    ],
)
def test_filters(texts: list[str], passed: list[Event]) -> None:
    filters = event_filters.read(texts)
    assert [event for event in (DIE, EXEC, PULL, CONNECT) if event_filters.passes(event, filters)] == passed


def test_unknown_filter() -> None:
    with pytest.raises(InvalidValue, match="invalid filter 'color'"):
        event_filters.read(["color=red"])


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("UTC", "2026-01-02T15:04:05.000000042Z"),
        ("XYZ-5:30", "2026-01-02T20:34:05.000000042+05:30"),
        ("XYZ5", "2026-01-02T10:04:05.000000042-05:00"),
    ],
)
def test_line(zone: pytest.MonkeyPatch, place: str, shown: str) -> None:
    zone.setenv("TZ", place)
    time.tzset()
    assert verb.line(PULL) == f"{shown} image pull nginx:1.25 (name=nginx)"
    about = "exitCode=3, image=nginx:1.25, name=web, tier=front"
    assert verb.line(DIE) == f"{shown} container die abc123 ({about})"
    assert verb.line(Event(NOON_NS, "volume", "destroy", "data", {})) == f"{shown} volume destroy data"


def test_document() -> None:
    assert verb.document(DIE) == {
        "status": "die",
        "id": "abc123",
        "from": "nginx:1.25",
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "abc123", "Attributes": DIE.attributes},
        "scope": "local",
        "time": 1_767_366_245,
        "timeNano": NOON_NS,
    }
    assert "from" not in verb.document(PULL)
    assert "status" not in verb.document(CONNECT)


def test_template() -> None:
    """An attribute that an event does not have is no error: the stream goes on."""
    template = "{{.Time}} {{.Type}} {{.Status}} {{.From}} {{.Actor.ID}} {{.Actor.Attributes.exitCode}} {{.Scope}}"
    assert render(template, verb.fields(DIE)) == "1767366245 container die nginx:1.25 abc123 3 local"
    assert render(template, verb.fields(CONNECT)) == "1767366245 network   def456 <no value> local"
    assert render("{{json .Actor.Attributes}}", verb.fields(PULL)) == '{"name":"nginx"}'
    with pytest.raises(InvalidValue, match="no entry for key 'Nonsense'"):
        render("{{.Nonsense}}", verb.fields(DIE))
