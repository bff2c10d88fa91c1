# SPDX-License-Identifier: Apache-2.0
"""All that is fuzzed, by name; tests/fuzz/fuzz.py feeds it, test_corpus.py replays it.

A target is a function of bytes. What minirt refuses, it refuses by a MinirtError: any other exception, a broken rule
(AssertionError), memory or time beyond bounds is a finding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz_layers import Arena, entries, tar
from fuzz_networks import networks
from fuzz_registries import addresses, answers
from fuzz_values import documents, references, stream

ON_ARENA: dict[str, Callable[[Arena, bytes], None]] = {"tar": tar, "entries": entries}
PURE: dict[str, Callable[[bytes], None]] = {
    "stream": stream,
    "documents": documents,
    "references": references,
    "answers": answers,
    "addresses": addresses,
    "networks": networks,
}
LONGEST = {
    "tar": 16384,
    "entries": 512,
    "stream": 4096,
    "documents": 4096,
    "references": 512,
    "answers": 4096,
    "addresses": 512,
    "networks": 256,
}


@contextlib.contextmanager
def target(name: str, folder: Path) -> Iterator[Callable[[bytes], None]]:
    """The target of that name as a function of bytes; `folder` is its own for the time."""
    if name in PURE:
        yield PURE[name]
    else:
        arena, play = Arena(folder), ON_ARENA[name]
        yield lambda data: play(arena, data)
