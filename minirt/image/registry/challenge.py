# SPDX-License-Identifier: Apache-2.0
"""What a 401 asks for: the WWW-Authenticate field (RFC 9110, section 11.6.1), which may hold several challenges.

    challenge  = scheme [1*SP (token68 | param *("," param))];   param = token "=" (token | quoted-string)

Pure.
"""

from __future__ import annotations

LIMIT = 8192
_SPACE = " \t"
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/:=?")


class Challenge:
    """`scheme` in lower case: "bearer", "basic"; `parameters` by names in lower case, the first of each."""

    __slots__ = ("scheme", "parameters")

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.parameters: dict[str, str] = {}


def parse(text: str) -> list[Challenge]:
    """All that can be read; what is malformed ends it."""
    found: list[Challenge] = []
    at, end = 0, min(len(text), LIMIT)
    while at < end:
        if text[at] in _SPACE or text[at] == ",":
            at += 1
            continue
        word, at = _word(text, at, end)
        if not word:
            break
        after = _skip(text, at, end)
        if after < end and text[after] == "=" and found:
            value, at = _value(text, _skip(text, after + 1, end), end)
            found[-1].parameters.setdefault(word.lower(), value)
        else:
            found.append(Challenge(word.lower()))
    return found


def _skip(text: str, at: int, end: int) -> int:
    while at < end and text[at] in _SPACE:
        at += 1
    return at


def _word(text: str, at: int, end: int) -> tuple[str, int]:
    start = at
    while at < end and text[at] in _TOKEN and text[at] != "=":
        at += 1
    return text[start:at], at


def _value(text: str, at: int, end: int) -> tuple[str, int]:
    if at >= end or text[at] != '"':
        start = at
        while at < end and text[at] in _TOKEN:
            at += 1
        return text[start:at], at
    letters, at = [], at + 1
    while at < end and text[at] != '"':
        if text[at] == "\\" and at + 1 < end:
            at += 1
        letters.append(text[at])
        at += 1
    return "".join(letters), at + 1
