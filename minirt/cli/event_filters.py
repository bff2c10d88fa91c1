# SPDX-License-Identifier: Apache-2.0
"""`events --filter`: container=, event=, image=, label=, network=, scope=, type=, volume= (moby's events/filter.go).

Several values of one key mean any of them, several keys all of them; several labels all of them. A container, network
or volume is meant by its name or id, or by how one begins. Pure.
"""

from __future__ import annotations

from minirt.cli.filters import collect, labelled
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.event_stream import Event

KEYS = ("container", "event", "image", "label", "network", "scope", "type", "volume")
NAMED = ("container", "network", "volume")
LONG = ("exec_create", "exec_start")  # actions that go on with the command line


def read(texts: list[str]) -> dict[str, list[str]]:
    """{key: values}. Raises InvalidValue for a key that there is not."""
    return collect(texts, KEYS, lambda key, value: None)


def passes(event: Event, filters: dict[str, list[str]]) -> bool:
    return all(_passes(event, key, values) for key, values in filters.items())


def _passes(event: Event, key: str, values: list[str]) -> bool:
    if key == "label":
        return all(labelled(event.attributes, value) for value in values)
    if key == "scope":
        return "local" in values
    if key == "type":
        return event.kind in values
    if key == "event":
        return any(_is_action(event.action, value) for value in values)
    if key in NAMED:
        name = event.attributes.get("name", "")
        return any(event.id.startswith(value) or name.startswith(value) for value in values)
    image = event.attributes.get("name" if event.kind == "image" else "image", "")
    return any(value in (event.id, image, _without_tag(image)) for value in values)


def _is_action(action: str, value: str) -> bool:
    return action.startswith(f"{value}:") if value in LONG else action == value


def _without_tag(image: str) -> str:
    from minirt.model import reference

    try:
        return reference.parse(image).familiar
    except InvalidValue:
        return image
