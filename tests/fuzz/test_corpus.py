# SPDX-License-Identifier: Apache-2.0
"""Everything that fuzzing has found or that adds to its coverage, once again, without a fuzzer (`make fuzz`)."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz_layers
import fuzz_targets

CORPUS = Path(__file__).with_name("corpus")
NAMES = sorted([*fuzz_targets.ON_ARENA, *fuzz_targets.PURE])


@pytest.mark.parametrize("name", NAMES)
def test_corpus_holds_no_surprise(name: str, tmp_path: Path) -> None:
    files = sorted((CORPUS / name).iterdir())
    assert len(files) > 3
    with fuzz_targets.target(name, tmp_path) as play:
        for file in files:
            try:
                play(file.read_bytes())
            except Exception as error:
                error.add_note(f"found by {file}")
                raise


def test_every_folder_is_a_target() -> None:
    assert sorted(folder.name for folder in CORPUS.iterdir()) == NAMES


def test_a_layer_that_reaches_out_is_seen(tmp_path: Path) -> None:
    """The judge itself: what a hostile layer would do is noticed."""
    arena = fuzz_layers.Arena(tmp_path)
    (arena.victim / "file").write_text("touched")
    with pytest.raises(AssertionError, match="outside"):
        arena.unpack(bytes(1024))
