# SPDX-License-Identifier: Apache-2.0
"""`ps --filter`: name=, id=, status=, label=, ancestor=, network=, publish=, exited=, before= … (docker-ps(1)).

Several values of one key mean any of them, several keys all of them; several labels all of them, as in Docker.
A name is a regular expression there; `re` is imported only for one that is more than plain letters. Pure.
"""

from __future__ import annotations

from minirt.errors import InvalidValue, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.ps import Listed

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
KEYS = (
    "ancestor", "before", "exited", "expose", "id", "label", "name", "network", "publish", "since", "status",
)  # fmt: skip
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/")


def check(text: str) -> None:
    """For the command line's table: the form alone."""
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")


def read(texts: list[str]) -> dict[str, list[str]]:
    """{key: values}. Raises InvalidValue for a key or a state that there is not."""
    return collect(texts, KEYS, _check_value)


def collect(texts: list[str], keys: tuple[str, ...], check_value: Callable[[str, str], None]) -> dict[str, list[str]]:
    """{key: values} of KEY=VALUE texts. InvalidValue for a key that is not in `keys`; check_value(key, value) may raise
    too."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        key, value = key.strip().lower(), value.strip()
        if key not in keys:
            raise InvalidValue(f"invalid filter '{key}'", f"there are {', '.join(keys)}")
        check_value(key, value)
        found.setdefault(key, []).append(value)
    return found


def _check_value(key: str, value: str) -> None:
    if key == "status" and value not in STATES:
        raise InvalidValue(f"invalid filter 'status={value}'", f"there are {', '.join(STATES)}")
    if key == "exited" and not value.lstrip("-").isdecimal():
        raise InvalidValue(f"invalid filter 'exited={value}'", "write a number")
    if key in ("publish", "expose") and _span(value) is None:
        raise InvalidValue(f"invalid filter '{key}={value}'", "write 80, 80/tcp or 8000-8080/tcp")


def ends(filters: dict[str, list[str]]) -> bool:
    """Whether stopped containers are wanted without -a: who asks for a status or a code asks for those."""
    return any(key in filters for key in ("status", "exited", "before", "since"))


def chosen(
    rows: list[Listed], filters: dict[str, list[str]], stored: Callable[[str], tuple[dict[str, str], list[str]]]
) -> list[Listed]:
    """The rows that pass all filters, in their order. stored: the labels and networks of a container by its id."""
    kept = rows
    for key, values in filters.items():
        if key == "label":
            kept = [row for row in kept if _has_all(stored(row.id)[0], values)]
        elif key == "network":
            kept = [row for row in kept if set(values) & set(stored(row.id)[1])]
        elif key in ("before", "since"):
            kept = [row for row in kept if any(_relative(rows, row, key, value) for value in values)]
        else:
            kept = [row for row in kept if any(_one(row, key, value) for value in values)]
    return kept


def _one(row: Listed, key: str, value: str) -> bool:
    if key == "id":
        return row.id.startswith(value)
    if key == "status":
        return row.status == value
    if key == "exited":
        return row.status == "exited" and row.exit_code == int(value)
    if key == "name":
        return _name(row.name, value)
    if key in ("publish", "expose"):
        return _opens(row, key == "publish", value)
    return _ancestor(row, value)


def _span(value: str) -> tuple[int, int, str] | None:
    """80, 80/udp or 8000-8080/tcp: (first, last, protocol); None for anything else."""
    numbers, _, protocol = value.partition("/")
    begin, dash, end = numbers.partition("-")
    end = end if dash else begin
    if not all(word.isascii() and word.isdecimal() and len(word) < 6 for word in (begin, end)):
        return None
    return int(begin), int(end), protocol or "tcp"


def _opens(row: Listed, published: bool, value: str) -> bool:
    span = _span(value)
    assert span is not None
    first, last, protocol = span
    numbers = [one.public if published else one.private for one in row.ports if one.protocol == protocol]
    return any(first <= number <= last for number in numbers)


def _name(name: str, pattern: str) -> bool:
    """Docker matches against "/name"; a plain word is looked for anywhere in it."""
    if PLAIN.issuperset(pattern):
        return pattern in f"/{name}"
    import re

    try:
        return any(re.search(pattern, form) for form in (f"/{name}", name))
    except re.error as error:
        raise InvalidValue(
            f"invalid filter 'name={pattern}': {error}", "a name filter is a regular expression"
        ) from None


def _ancestor(row: Listed, value: str) -> bool:
    """The image by name, with or without tag, or by id."""
    identity = (row.image_id or "").removeprefix("sha256:")
    if value and identity.startswith(value.removeprefix("sha256:")) and len(value) >= 4:
        return True
    if not row.image or not value:
        return False
    from minirt.model import reference

    try:
        have, wanted = reference.parse(row.image).tagged(), reference.parse(value)
    except InvalidValue:
        return row.image == value
    return have.name == wanted.name and wanted.tagged().tag == have.tag


def _has_all(labels: dict[str, str], values: list[str]) -> bool:
    return all(labelled(labels, value) for value in values)


def labelled(labels: dict[str, str], value: str) -> bool:
    """Whether the label KEY, or KEY=VALUE, is there."""
    key, equals, wanted = value.partition("=")
    return key in labels and (not equals or labels[key] == wanted)


def _relative(rows: list[Listed], row: Listed, key: str, value: str) -> bool:
    other = next((one for one in rows if one.name == value or (value and one.id.startswith(value))), None)
    if other is None:
        raise NotFound(f"No such container: {value}", "see which there are: minirt ps -a")
    return row.created_ns < other.created_ns if key == "before" else row.created_ns > other.created_ns
