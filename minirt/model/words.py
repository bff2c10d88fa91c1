# SPDX-License-Identifier: Apache-2.0
r"""The words of one Dockerfile instruction: quotes, backslashes and $VARIABLES (Dockerfile reference, "Environment
replacement"; moby builder's shell lexer).

    'no $replacement'   "with $replacement"   \x is x   $NAME  ${NAME}  ${NAME:-otherwise}  ${NAME:+instead}

Pure; must not import shlex or re.
"""

from __future__ import annotations

from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_DEPTH_LIMIT = 16


def words(text: str, variables: Mapping[str, str]) -> list[str]:
    """The words that blanks divide, unquoted and expanded. A word that expands to nothing is none."""
    return [word for word in (expand(raw, variables) for raw in _divided(text)) if word]


def pairs(name: str, text: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """KEY=value words, or the old form KEY value with all of the rest as value."""
    raw = _divided(text)
    if "=" not in raw[0]:
        key, _, value = text.strip().replace("\t", " ", 1).partition(" ")
        if not value:
            raise InvalidValue(f"{name} must have two arguments", f"write {name} KEY=VALUE")
        return [(_named(name, expand(key, variables)), expand(value.strip(), variables))]
    found = []
    for word in raw:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidValue(f"syntax error: cannot find = in {word!a}", f"write {name} KEY=VALUE")
        found.append((_named(name, expand(key, variables)), expand(value, variables)))
    return found


def _named(name: str, key: str) -> str:
    if not key:
        raise InvalidValue(f"{name} names can not be blank", f"write {name} KEY=VALUE")
    return key


def _divided(text: str) -> list[str]:
    """Words still quoted."""
    found: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and quote != "'":
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in " \t":
            found += [word] if word else []
            word = ""
            at += 1
            continue
        word += letter
        at += 1
    if quote:
        raise InvalidValue(f"unexpected end of statement while looking for matching {quote}: {text[:120]!a}")
    return [*found, word] if word else found


def expand(text: str, variables: Mapping[str, str], depth: int = 0) -> str:
    """`text` without its quotes, and with the values of its variables. An unknown one is empty."""
    if depth > _DEPTH_LIMIT:
        raise InvalidValue(f"variables nested too deeply in {text[:120]!a}")
    result, quote, at = "", "", 0
    while at < len(text):
        letter = text[at]
        at += 1
        if quote == "'":
            quote, result = ("", result) if letter == "'" else (quote, result + letter)
        elif letter == "\\" and at < len(text):
            kept = quote == '"' and text[at] not in '"$\\'
            result += ("\\" if kept else "") + text[at]
            at += 1
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
        elif letter == "$":
            value, at = _variable(text, at, variables, depth)
            result += value
        else:
            result += letter
    return result


def _variable(text: str, at: int, variables: Mapping[str, str], depth: int) -> tuple[str, int]:
    """The value of what stands after the "$" and where it ends; a "$" before anything else is itself."""
    if text[at : at + 1] != "{":
        end = _name_end(text, at)
        return (variables.get(text[at:end], ""), end) if end > at else ("$", at)
    end = _name_end(text, at + 1)
    name = text[at + 1 : end]
    close = _closing(text, end)
    rest = text[end:close]
    if not name or (rest and rest[:2] not in (":-", ":+")):
        raise InvalidValue(f"unsupported modifier in substitution: {text[at - 1 : close + 1]!a}", "${NAME:-otherwise}")
    value = variables.get(name, "")
    if rest and (rest[1] == "+") == bool(value):
        value = expand(rest[2:], variables, depth + 1)
    return value, close + 1


def _name_end(text: str, at: int) -> int:
    start = at
    while at < len(text) and (text[at] == "_" or (text[at].isascii() and text[at].isalnum())):
        if at == start and text[at].isdigit():
            return at + 1
        at += 1
    return at


def _closing(text: str, at: int) -> int:
    level = 1
    while at < len(text):
        level += {"{": 1, "}": -1}.get(text[at], 0)
        if not level:
            return at
        at += 1
    raise InvalidValue(f"syntax error: missing '}}' in {text[:120]!a}")
