# SPDX-License-Identifier: Apache-2.0
"""JSON (RFC 8259) without the json package: 0.1 ms to import instead of 6, nearly all of which is `re`.

CPython's own scanner and encoder live in the accelerator `_json`; this module drives them directly. Where an
interpreter lacks the accelerator the package is used. Stricter than the package where a document may be hostile:
NaN and Infinity, a byte order mark, bytes that are not UTF-8, a lone surrogate and unbounded depth are errors.
Pure; must not import json, re or anything of minirt but errors.
"""

from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\n\r"


def _constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unserialisable(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not a JSON type")


class _Rules:
    """What `_json.make_scanner` asks of the decoder that it belongs to."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)
    memo: dict[str, str] = {}


class _UniqueKeys(_Rules):
    @staticmethod
    def object_pairs_hook(pairs: "list[tuple[str, Any]]") -> "dict[str, Any]":  # type: ignore[override]
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("an object names a member twice")
        return members


_scan: "Any"
_scan_unique: "Any"
_encode: "Any"
try:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

    _scan = make_scanner(_Rules)  # type: ignore[arg-type]  # it reads attributes: a class has them as well
    _scan_unique = make_scanner(_UniqueKeys)  # type: ignore[arg-type]
    _encode = make_encoder(None, _unserialisable, encode_basestring_ascii, None, ":", ",", False, False, False)
except ImportError:  # an interpreter without the accelerator: slower, same rules
    from json import JSONDecoder, JSONEncoder
    from json.encoder import encode_basestring, encode_basestring_ascii

    def _decoder(hook: "Any") -> "Any":
        return JSONDecoder(object_pairs_hook=hook, parse_constant=_constant).scan_once  # type: ignore[attr-defined]

    def _encode(value: object, level: int) -> tuple[str, ...]:
        return (JSONEncoder(allow_nan=False, separators=(",", ":")).encode(value),)

    _scan, _scan_unique = _decoder(None), _decoder(_UniqueKeys.object_pairs_hook)


def loads(document: "str | bytes | bytearray", unique: bool = False) -> "Any":
    """The value of one JSON document; InvalidValue says where it goes wrong.

    unique: refuse an object that names a member twice (documents that another program reads as well, and may
    read differently)."""
    try:
        text = document if isinstance(document, str) else str(document, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidValue(f"JSON is not UTF-8 at byte {error.start}") from None
    start, end = 0, len(text)
    while start < end and text[start] in _SPACE:
        start += 1
    try:
        value, stop = _first(text, start, unique)
        while stop < end and text[stop] in _SPACE:
            stop += 1
        if "\\u" in text:  # only an escape can bring in half of a surrogate pair
            _texts(value)
    except StopIteration as error:
        raise InvalidValue(f"JSON has no value at character {error.value}") from None
    except RecursionError:
        raise InvalidValue("JSON is nested too deeply") from None
    except ValueError as error:
        raise InvalidValue(f"malformed JSON: {error}") from None
    if stop != end:
        raise InvalidValue(f"JSON goes on after its end at character {stop}")
    return value


def _first(text: str, start: int, unique: bool) -> "Any":
    """One value and where it ends. The accelerator takes its exception from json.decoder without importing it."""
    scan = _scan_unique if unique else _scan
    try:
        return scan(text, start)
    except SystemError:
        __import__("json.decoder")
        return scan(text, start)


def _texts(value: object) -> None:
    """UnicodeEncodeError (a ValueError) when a string anywhere inside holds a lone surrogate."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, member in value.items():
            key.encode()
            _texts(member)
    elif isinstance(value, list):
        for member in value:
            _texts(member)


def dumps(value: object) -> str:
    """One line of ASCII. Keys keep their order; NaN, a reference to itself and foreign types are TypeError,
    ValueError or RecursionError: a mistake of the caller."""
    return "".join(_encode(value, 0))


def pretty(value: object, indent: str = "    ") -> str:
    """Many lines, for people (`inspect`, config.json): an empty list or object stays on its line, non-ASCII as is."""
    return _pretty(value, "\n", indent)


def _pretty(value: object, newline: str, indent: str) -> str:
    inner = newline + indent
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict) and value:
        members = (f"{encode_basestring(str(key))}: {_pretty(member, inner, indent)}" for key, member in value.items())
        return "{" + inner + ("," + inner).join(members) + newline + "}"
    if isinstance(value, (list, tuple)) and value:
        return "[" + inner + ("," + inner).join(_pretty(member, inner, indent) for member in value) + newline + "]"
    return dumps(value)
