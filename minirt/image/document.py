# SPDX-License-Identifier: Apache-2.0
"""JSON documents that strangers wrote: indexes, manifests, configs, an archive's list (RFC 8259, within limits).

At most 4 MiB and 64 levels deep, no name twice in one object; model/json.py refuses the rest (NaN, a byte-order
mark, lone surrogates, what is not UTF-8). What passes can be stored, compared and written again. Reads no file.
"""

from __future__ import annotations

from minirt.errors import ImageError, InvalidValue
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIZE_LIMIT = 4 << 20
DEPTH_LIMIT = 64


def parse(data: bytes, what: str) -> dict[str, Any]:
    """The object that `data` is; `what` names it in errors."""
    document = _parse(data, what)
    if not isinstance(document, dict):
        raise ImageError(f"malformed {what}: not a JSON object")
    return document


def parse_list(data: bytes, what: str) -> list[Any]:
    """As parse(), for a document that is a list."""
    document = _parse(data, what)
    if not isinstance(document, list):
        raise ImageError(f"malformed {what}: not a JSON list")
    return document


def write(document: dict[str, Any]) -> bytes:
    """Compact ASCII, names in the given order: the same document always becomes the same bytes."""
    return json.dumps(document).encode()


def _parse(data: bytes, what: str) -> Any:
    if len(data) > SIZE_LIMIT:
        raise ImageError(f"{what} is larger than the limit of {SIZE_LIMIT} bytes")
    if _depth(data) > DEPTH_LIMIT:
        raise ImageError(f"malformed {what}: nested deeper than {DEPTH_LIMIT} levels")
    try:
        return json.loads(data, unique=True)
    except InvalidValue as error:
        raise ImageError(f"malformed {what}: {error.message}") from None


def _depth(data: bytes) -> int:
    """The deepest nesting of brackets outside of strings, counted without recursion."""
    if data.count(b"[") + data.count(b"{") <= DEPTH_LIMIT:
        return 0
    depth = deepest = 0
    for number, part in enumerate(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')):
        if number % 2:
            continue  # inside a string
        for letter in part:
            if letter in b"[{":
                depth += 1
                deepest = max(deepest, depth)
            elif letter in b"]}":
                depth -= 1
    return deepest
