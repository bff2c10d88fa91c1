# SPDX-License-Identifier: Apache-2.0
"""`minirt events`: what happens to containers, images, networks and volumes, as it happens (docker-events(1))."""

from __future__ import annotations

import time

from minirt.cli import event_filters, filters, formatting, interrupt, output, phrase
from minirt.cli.evaluate import Record, render
from minirt.cli.parse import LIST, STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.cli.template import parse
from minirt.engine import event_stream
from minirt.errors import InvalidValue
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.event_stream import Event

COMMAND = Command(
    "events",
    "[OPTIONS]",
    "Get real time events from minirt",
    (
        Option("filter", "f", LIST, "Filter output based on conditions provided", check=filters.check),
        Option("format", "", STRING, formatting.HELP_ONE),
        Option("since", "", STRING, "Show all events created since timestamp"),
        Option("until", "", STRING, "Stream events until this timestamp"),
    ),
    maximum=0,
    aliases=("system events", "events"),
)


class _Absent(dict[str, object]):
    """What an attribute is that an event does not have: <no value>, and no end of the stream."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> object:
        return None


def run(session: Session, parsed: Parsed) -> int:
    """Until --until, or until somebody interrupts it: that is how it usually ends, so nothing is said (Docker)."""
    now_ns = time.time_ns()
    since, until = [
        phrase.moment(parsed.text(name), now_ns) if parsed.text(name) else None for name in ("since", "until")
    ]
    if since is not None and until is not None and since > until:
        raise InvalidValue(
            f"`since` time ({parsed.text('since')}) cannot be after `until` time ({parsed.text('until')})",
            "exchange the two",
        )
    wanted = event_filters.read(parsed.list("filter"))
    show = _shown(parsed.text("format"))
    try:
        for event in event_stream.follow(session.engine, since, until):
            if event_filters.passes(event, wanted):
                show(event)
    except interrupt.Interrupted as ended:
        return 128 + ended.signo
    return 0


def _shown(wish: str) -> Callable[[Event], None]:
    """How --format wants each event to be printed."""
    text = wish.strip()
    if not text:
        return lambda event: output.line(line(event))
    if text in ("json", "{{json .}}", "{{ json . }}"):
        return lambda event: output.line(json.dumps(document(event)))
    template = parse(text)
    return lambda event: output.formatted(render(template, fields(event)) + "\n")


def line(event: Event) -> str:
    """Docker's one line: TIME TYPE ACTION ID (KEY=VALUE, …), in local time."""
    attributes = ", ".join(f"{key}={event.attributes[key]}" for key in sorted(event.attributes))
    parts = [local(event.time_ns), event.kind, event.action, event.id, f"({attributes})" if attributes else ""]
    return " ".join(part for part in parts if part)


def local(time_ns: int) -> str:
    """Go's 2006-01-02T15:04:05.000000000Z07:00."""
    seconds, rest = divmod(time_ns, phrase.SECOND)
    there = time.localtime(seconds)
    zone = time.strftime("%z", there)
    shown = "Z" if there.tm_gmtoff == 0 else f"{zone[:3]}:{zone[3:5]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', there)}.{rest:09d}{shown}"


def document(event: Event) -> dict[str, object]:
    """events.Message as JSON: status, id and from are there for containers and images alone."""
    old: dict[str, object] = {}
    if event.kind in ("container", "image"):
        old = {"status": event.action, "id": event.id}
        if event.kind == "container":
            old["from"] = event.attributes.get("image", "")
    return {
        **old,
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time_ns // phrase.SECOND,
        "timeNano": event.time_ns,
    }


def fields(event: Event) -> Record:
    """The same by the names that a template knows."""
    whole = document(event)
    actor = {"ID": event.id, "Attributes": Record(dict(event.attributes), _Absent())}
    return Record(
        {
            "Status": whole.get("status", ""),
            "ID": whole.get("id", ""),
            "From": whole.get("from", ""),
            "Type": event.kind,
            "Action": event.action,
            "Actor": actor,
            "Scope": "local",
            "Time": whole["time"],
            "TimeNano": event.time_ns,
        },
        {},
    )
