# SPDX-License-Identifier: Apache-2.0
"""A registry's "no" as an error (OCI distribution specification, "Error codes"): its status, its code, its words.

The words are a stranger's: control characters and what is not printable are dropped, and they are cut. Pure but for
reading the answer's body, of at most 1 MiB.
"""

from __future__ import annotations

import time

from minirt.errors import InvalidValue, NotFound, RegistryError
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.image.registry.http import Response

BODY_LIMIT = 1 << 20
WORDS_LIMIT = 300


class Refusal(RegistryError):
    """`status` is HTTP's, `code` the registry's own ("" for none), `wait_s` how long it asks to wait."""

    def __init__(self, message: str, remedy: str, response: Response, code: str) -> None:
        super().__init__(message, remedy)
        self.status = response.status
        self.code = code
        self.wait_s = _retry_after(response)


def refusal(response: Response, what: str, host: str, hidden: Callable[[str], str] = str) -> RegistryError | NotFound:
    """The error that this answer to a request for `what` is. `hidden` takes secrets out of what it quotes."""
    code, words = _words(response, hidden)
    said = ": ".join(part for part in (code, words) if part)
    tail = f": {said}" if said else ""
    if response.status == 404:
        return NotFound(f"{what} is not in the registry {host!r}{tail}")
    if response.status in (401, 403):
        return Refusal(f"{host!r} denies access to {what}{tail}", login(host), response, code)
    if response.status == 429:
        return Refusal(f"{host!r} has had too many requests{tail}", "try again later", response, code)
    return Refusal(f"{host!r} answers {response.status} to the request for {what}{tail}", "", response, code)


def login(host: str) -> str:
    """The command that may help."""
    return "minirt login" if host == "registry-1.docker.io" else f"minirt login {host}"


def cleaned(text: object, hidden: Callable[[str], str] = str) -> str:
    """A stranger's text on one line, fit for a terminal."""
    if not isinstance(text, str):
        return ""
    text = hidden(text)[: WORDS_LIMIT * 4]
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return words if len(words) <= WORDS_LIMIT else words[: WORDS_LIMIT - 3] + "..."


def _words(response: Response, hidden: Callable[[str], str]) -> tuple[str, str]:
    """Code and message of the first error in the body."""
    try:
        data = response.read(BODY_LIMIT, "the answer")
    except RegistryError:
        return "", ""
    try:
        document = json.loads(data)
    except InvalidValue:
        plain = response.headers.get("content-type", "").startswith("text/plain")
        return "", cleaned(data.decode("utf-8", "replace"), hidden) if plain else ""
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else document
    if not isinstance(first, dict):
        return "", ""
    words = first.get("message") or first.get("details")
    return cleaned(first.get("code"), hidden)[:60], cleaned(words, hidden)


def _retry_after(response: Response) -> float:
    """RFC 9110, section 10.2.3: seconds, or a date."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text[:18])
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
