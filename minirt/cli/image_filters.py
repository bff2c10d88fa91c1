# SPDX-License-Identifier: Apache-2.0
"""`images --filter`: before=, dangling=, label=, reference=, since=, until= (docker-images(1)).

Several values of one key mean any of them, several keys all of them; several labels all of them, as in Docker. A
reference is a shell pattern (Go's path.Match) for the short name, with or without its tag.
"""

from __future__ import annotations

from minirt.cli import phrase
from minirt.cli.filters import collect, labelled
from minirt.cli.parse import FALSE, TRUE
from minirt.engine import moment
from minirt.errors import InvalidValue, NoSuchImage
from minirt.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.images import Known
    from minirt.model.reference import Reference

KEYS = ("before", "dangling", "label", "reference", "since", "until")


def read(texts: list[str]) -> dict[str, list[str]]:
    """{key: values}. Raises InvalidValue for a key or a value that there is not."""
    return collect(texts, KEYS, _check_value)


def _check_value(key: str, value: str) -> None:
    if key == "dangling" and value not in TRUE + FALSE:
        raise InvalidValue(f"invalid filter 'dangling={value}'", "write true or false")


def chosen(
    images: list[Known], filters: dict[str, list[str]], identify: Callable[[str], str], now_ns: int
) -> list[Known]:
    """The images that pass all filters. identify: the id of what a user calls an image, or NoSuchImage."""
    kept = images
    for key, values in filters.items():
        if key == "dangling":
            wanted = {value in TRUE for value in values}
            kept = [one for one in kept if (not one.tags) in wanted]
        elif key == "label":
            kept = [one for one in kept if all(labelled(one.listed.labels, value) for value in values)]
        elif key == "until":
            before = min(phrase.moment(value, now_ns) for value in values)
            kept = [one for one in kept if created_ns(one.listed.created) < before]
        elif key in ("before", "since"):
            marks = [_created_of(images, identify(value), value) for value in values]
            kept = [one for one in kept if any(_relative(one, mark, key) for mark in marks)]
        else:
            kept = [one for one in kept if any(matches(name, values) for name in (*one.tags, *one.digests))]
    return kept


def matches(name: Reference, patterns: list[str]) -> bool:
    """Docker's FamiliarMatch; a plain name also in its long form."""
    return any(
        glob(pattern, name.short()) or glob(pattern, name.familiar) or _means(pattern, name) for pattern in patterns
    )


def created_ns(created: str) -> int:
    """0 for an image that does not say when it was made, or says it in no known form."""
    try:
        return phrase.moment(created, 0) if created not in ("", moment.NEVER) else 0
    except InvalidValue:
        return 0


def glob(pattern: str, text: str) -> bool:
    r"""path.Match of Go: * and ? stop at a slash, [a-z] and [^a-z] are sets, \ takes the next character as it is."""
    if not frozenset("*?[\\") & set(pattern):
        return pattern == text
    import re

    rule, at = "", 0
    while at < len(pattern):
        letter, at = pattern[at], at + 1
        if letter == "[":
            end = pattern.find("]", at + 1)
            if end < 0:
                raise InvalidValue(f"invalid filter 'reference={pattern}'", "close the bracket")
            inner, at = pattern[at:end], end + 1
            rule += f"[{'^' if inner[0] == '^' else ''}{_set(inner.removeprefix('^'))}]"
        elif letter == "\\" and at < len(pattern):
            rule, at = rule + re.escape(pattern[at]), at + 1
        else:
            rule += {"*": "[^/]*", "?": "[^/]"}.get(letter) or re.escape(letter)
    try:
        return re.fullmatch(rule, text) is not None
    except re.error:
        raise InvalidValue(f"invalid filter 'reference={pattern}'", "write a shell pattern") from None


def _set(inner: str) -> str:
    return "".join(letter if letter == "-" or letter.isalnum() else f"\\{letter}" for letter in inner)


def _means(pattern: str, name: Reference) -> bool:
    try:
        wanted = reference.parse(pattern)
    except InvalidValue:
        return False
    return wanted.name == name.name and wanted.tag in (None, name.tag) and wanted.digest in (None, name.digest)


def _created_of(images: list[Known], identity: str, text: str) -> int:
    for one in images:
        if one.listed.id == identity:
            return created_ns(one.listed.created)
    raise NoSuchImage(f"no such image: {text}", "minirt images lists them")


def _relative(one: Known, mark_ns: int, key: str) -> bool:
    mine = created_ns(one.listed.created)
    return mine < mark_ns if key == "before" else mine > mark_ns
