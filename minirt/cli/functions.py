# SPDX-License-Identifier: Apache-2.0
"""What a --format template may call: Docker's functions and those of text/template. Pure.

Docker's list is templates.BasicFunctions of docker/cli; `json` is the one that matters. A list prints as [a b], a
dict as map[k:v], nothing as <no value> (fmt.Sprint).
"""

from __future__ import annotations

from minirt.model import json

MISSING = object()  # what {{index .Map "key"}} gives for a map without that key
WIDEST = 65536  # no template may ask for more padding


def true(value: object) -> bool:
    return value is not MISSING and bool(value)


def show(value: object) -> str:
    """fmt.Sprint of one value."""
    if value is None or value is MISSING:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join([f"{key}:{_nested(value[key])}" for key in sorted(value)]) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join([_nested(item) for item in value]) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _nested(value: object) -> str:
    return "<nil>" if value is None else show(value)


def _json(value: object) -> str:
    return json.dumps(None if value is MISSING else value)


def _index(value: object, *keys: object) -> object:
    """A list by number, a map by key; a key that a map lacks gives nothing, as in Go."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, MISSING)
        elif isinstance(value, (list, tuple, str)) and isinstance(key, int) and key >= 0:
            value = value[key]
        elif value is not None and value is not MISSING:
            raise TypeError(key)
    return value


def _slice(value: object, start: object = 0, stop: object = None) -> object:
    if not isinstance(value, (str, list, tuple)) or not isinstance(start, int):
        raise TypeError(value)
    end = stop if isinstance(stop, int) else len(value)
    return value[max(start, 0) : max(end, 0)]


def _equal(first: object, *others: object) -> bool:
    return any(first == other for other in others)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _join(items: list[object], separator: str = " ") -> str:
    if not isinstance(items, (list, tuple)):
        raise TypeError(items)
    return separator.join([show(item) for item in items])


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _pad(text: str, before: int, after: int) -> str:
    if not 0 <= before <= WIDEST or not 0 <= after <= WIDEST:
        raise ValueError(before)
    return " " * before + text + " " * after if text else text


def _printf(template: str, *values: object) -> str:
    """%s %v %d %q %t %% with an optional minus and width; anything else is an error."""
    out, rest, given = "", template, list(values)
    while rest:
        text, percent, rest = rest.partition("%")
        out += text
        if not percent:
            break
        width = rest[: len(rest) - len(rest.lstrip("-0123456789"))]
        kind, rest = rest[len(width) : len(width) + 1], rest[len(width) + 1 :]
        if kind == "%":
            out += "%"
            continue
        value = given.pop(0)
        if kind not in ("s", "v", "d", "q", "t") or abs(int(width or "0")) > WIDEST:
            raise ValueError(kind)
        shown = _json(value) if kind == "q" else show(value)
        out += shown.ljust(-int(width)) if width.startswith("-") else shown.rjust(int(width or "0"))
    return out


def _print(*values: object) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    out = ""
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            out += " "
        out += show(value)
    return out


FUNCTIONS = {
    "json": _json,
    "index": _index,
    "slice": _slice,
    "len": len,
    "join": _join,
    "split": _split,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text[:1].upper() + text[1:],
    "pad": _pad,
    "truncate": _truncate,
    "print": _print,
    "println": lambda *values: " ".join([show(value) for value in values]) + "\n",
    "printf": _printf,
    "not": lambda value: not true(value),
    "eq": _equal,
    "ne": lambda first, second: first != second,
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
}
