# SPDX-License-Identifier: Apache-2.0
"""What reaches the user: write(2) on descriptors 1 and 2, and nothing else (write(2), ECMA-48 control codes).

Names, labels and messages come from images and containers and are hostile: `safe` makes their control bytes
visible, so that none reaches a terminal. Only the workload's own output (`raw`) passes untouched. No sys.stdout:
its buffer would be flushed after the exit code is decided. Imports nothing above errors.
"""

from __future__ import annotations

import errno
import os

from minirt.errors import MinirtError

BIDI = frozenset((*range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A)))


debug = False  # --debug: set once, by main


class StdoutGone(Exception):
    """Nobody reads our standard output any more (EPIPE): end quietly, as SIGPIPE would."""


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; a descriptor that someone made non-blocking is waited for."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            import select

            waiter = select.poll()
            waiter.register(fd, select.POLLOUT)
            waiter.poll()


def raw(data: bytes | memoryview) -> None:
    """Bytes to standard output as they are. Raises StdoutGone or MinirtError (a full disk, a closed descriptor)."""
    try:
        write_all(1, data)
    except OSError as error:
        raise lost(error) from None


def lost(error: OSError) -> Exception:
    """What a failed write to standard output means for the command."""
    if error.errno in (errno.EPIPE, errno.EIO):
        return StdoutGone()
    return MinirtError(f"cannot write to standard output: {os.strerror(error.errno or 0)}")


def line(text: str) -> None:
    """One line of our own to standard output, its control bytes made visible."""
    raw(encode(safe(text) + "\n"))


def lines(texts: list[str]) -> None:
    """Many lines in one write(2)."""
    if texts:
        raw(encode("".join([safe(text) + "\n" for text in texts])))


def formatted(text: str) -> None:
    """What a --format template made: new lines and tabs are the template's; a terminal sees no other control."""
    raw(encode(safe(text, "\n\t") if os.isatty(1) else text))


def complain(message: str, remedy: str = "") -> None:
    """`minirt: message` on standard error and its remedy on a line of its own. Never fails.

    With --debug the traceback of the error being handled comes first.
    """
    if debug:
        import traceback

        hint(traceback.format_exc())
    text = f"minirt: {safe(message)}\n"
    if remedy:
        text += "".join(safe(part) + "\n" for part in remedy.split("\n"))
    hint(text)


def hint(text: str) -> None:
    """Text to standard error; when that is closed or full there is nobody left to tell."""
    try:
        write_all(2, encode(text))
    except OSError:
        pass


def encode(text: str) -> bytes:
    """UTF-8; a byte that a file name or an argument smuggled in as a lone surrogate comes out as that byte."""
    return text.encode("utf-8", "surrogateescape")


def safe(text: str, keep: str = "") -> str:
    r"""C0, DEL, C1, bidirectional controls and lone surrogates as \x1b or \u202e; a new line as \n."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([character if _harmless(character, keep) else _visible(character) for character in text])


def _harmless(character: str, keep: str) -> bool:
    code = ord(character)
    if code < 0xA0:
        return 0x20 <= code < 0x7F or character in keep
    return code not in BIDI and not 0xD800 <= code < 0xE000


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
