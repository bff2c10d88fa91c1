# SPDX-License-Identifier: Apache-2.0
"""Detach keys: their grammar, and finding them in what is typed however it is cut."""

from __future__ import annotations

import pytest

from minirt.cli import terminal
from minirt.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ("a,b,ctrl-A", b"ab\x01"),
    ],
)
def test_grammar(text: str, found: bytes) -> None:
    assert terminal.keys(text) == found


@pytest.mark.parametrize("text", ["", "zzz", "ctrl-", "ctrl-é", "ctrl-1", "a,,b", "ctrl-aa"])
def test_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="invalid detach keys"):
        terminal.keys(text)


def typed(*reads: bytes) -> tuple[bytes, bool]:
    watch = terminal.KeyWatch(b"\x10\x11")
    out = b""
    for data in reads:
        try:
            out += watch.pass_on(data)
        except terminal.Detached as detached:
            return out + detached.before, True
    return out, False


@pytest.mark.parametrize(
    ("reads", "out", "detached"),
    [
        ((b"\x10\x11",), b"", True),
        ((b"\x10", b"\x11"), b"", True),
        ((b"ls\n", b"\x10", b"\x11"), b"ls\n", True),
        ((b"\x10x",), b"\x10x", False),
        ((b"\x10", b"x"), b"\x10x", False),
        ((b"\x10\x10\x11",), b"\x10", True),
        ((b"\x11\x10",), b"\x11", False),
        ((b"x=1\r\x10\x11",), b"x=1\r", True),
        ((b"plain",), b"plain", False),
    ],
)
def test_watch(reads: tuple[bytes, ...], out: bytes, detached: bool) -> None:
    got, left = typed(*reads)
    assert (got, left) == (out, detached)
