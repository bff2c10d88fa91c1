# SPDX-License-Identifier: Apache-2.0
"""The store's first files, made before there is anything to lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirt.image.layout import Layout


def test_store_is_made_while_a_collection_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CRA-10: who makes the store has no lock yet, so a collection takes the temporary file: before it is linked, or
    after."""
    link = os.link
    swept: list[str] = []

    def sweep(temporary: str, path: str) -> None:
        before = len(swept) % 2 == 0
        swept.append(path)
        if not before:
            link(temporary, path)
        os.unlink(temporary)
        if before:
            link(temporary, path)

    monkeypatch.setattr(os, "link", sweep)
    layout = Layout(str(tmp_path / "root"))
    layout.create()
    assert [os.path.basename(path) for path in swept] == ["oci-layout", "oci-layout", "index.json", "index.json"]
    assert sorted(os.listdir(layout.images)) == ["blobs", "index.json", "oci-layout"]
