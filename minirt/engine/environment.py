# SPDX-License-Identifier: Apache-2.0
"""Environment variables and labels: KEY=value words, and files of them (docker-run(1) --env-file, environ(7)).

Later words win over earlier ones; a variable keeps the place where it first stood, as Docker does. Must not
import anything but errors.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE_LIMIT_BYTES = 10 * 1024 * 1024
LINE_LIMIT_BYTES = 128 * 1024  # MAX_ARG_STRLEN: execve(2) takes no longer string


def collect(files: list[str], words: list[str], caller: Mapping[str, str]) -> list[str]:
    """KEY=value for everything that --env-file and then -e name. A bare KEY takes the caller's value; where the
    caller has none, KEY alone stays in the list: it removes what the image says (Docker)."""
    found: list[str] = []
    for path in files:
        for number, line in _lines(path):
            where = f'"{path}" line {number}'
            if set(line.partition("=")[0]) & set(" \t"):  # only in files: -e takes any name (Docker)
                raise InvalidValue(f"invalid environment variable: {where} has white space in its name")
            found.append(_variable(line, caller, where))
    for word in words:
        found.append(_variable(word, caller, f'"{word}"'))
    return merge(found)


def _variable(word: str, caller: Mapping[str, str], where: str) -> str:
    name, equals, _ = word.partition("=")
    if not name:
        raise InvalidValue(f"invalid environment variable: {where}", "write NAME=value")
    if "\0" in word:
        raise InvalidValue(f"invalid environment variable: {where} holds a NUL", "execve(2) cannot pass one")
    if not equals and name in caller:
        return f"{name}={caller[name]}"
    return word


def _lines(path: str) -> Iterable[tuple[int, str]]:
    """Numbered lines of an env or label file: UTF-8, # begins a comment, blanks before a word are dropped."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise InvalidValue(f'cannot read "{path}": {os.strerror(error.errno or 0)}') from error
    if len(data) > FILE_LIMIT_BYTES:
        raise InvalidValue(f'"{path}" is larger than {FILE_LIMIT_BYTES} bytes')
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidValue(f'"{path}" is not UTF-8: byte {error.start}') from error
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r").lstrip(" \t")
        if len(line) > LINE_LIMIT_BYTES:
            raise InvalidValue(f'"{path}" has a line longer than {LINE_LIMIT_BYTES} bytes')
        if line and not line.startswith("#"):
            yield number, line


def merge(*lists: Iterable[str]) -> list[str]:
    """One word per name, the last value in the first place."""
    found: dict[str, str] = {}
    for words in lists:
        for word in words:
            found[word.partition("=")[0]] = word
    return list(found.values())


def final(*lists: Iterable[str]) -> list[str]:
    """`merge`, less the names that have no value in the end: what execve gets."""
    return [word for word in merge(*lists) if "=" in word]


def labels(files: list[str], words: list[str]) -> list[str]:
    """KEY=value for --label-file and then --label; a bare KEY has the empty value."""
    found = [line for path in files for _, line in _lines(path)] + words
    for word in found:
        if not word.partition("=")[0] or "\0" in word:
            raise InvalidValue(f'invalid label: "{word}"', "write --label key=value")
    return merge(word if "=" in word else word + "=" for word in found)
