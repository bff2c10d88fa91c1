# SPDX-License-Identifier: Apache-2.0
"""Makes anew what the store can make from its own blobs: records, and layers that are missing.

`find` comes here when another program has changed the layout (skopeo can copy an image straight into it), or when
something under <root>/layers was lost.
"""

from __future__ import annotations

from minirt.errors import StoreError
from minirt.image import manifest, records
from minirt.image.commit import commit
from minirt.image.inherit import inherit
from minirt.image.layout import Layout
from minirt.image.staging import Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def fresh_records(root: str) -> None:
    """Makes the records fit index.json, unless somebody else has done so while we waited for the lock."""
    layout = Layout(root)
    try:
        layout.create()
        with layout.locked():
            records.refresh(layout)
    except OSError as error:
        raise StoreError(f"write the records in {root!r}: {error.strerror}", "run as root") from error


def missing_layers(root: str, record: dict[str, Any]) -> None:
    """Unpacks the layers of one image's record that are not there. `record` is what records.py wrote."""
    layout = Layout(root)
    layout.create()
    with Staging(layout) as staging:
        for diff_id, blob, size in record["blobs"]:
            known = records.layer_record(layout, diff_id)
            if known is not None:
                staging.layers[diff_id] = known
                continue
            if not layout.has_blob(blob, size):
                raise StoreError(
                    f"layer sha256:{diff_id[:12]} of image {record['id'][:12]} is gone, and so is its blob",
                    "load the image again",
                )
            descriptor = manifest.Descriptor({"digest": f"sha256:{blob}", "size": size}, "layer")
            staging.add_known(layout.blob(blob, size, "layer"), descriptor, diff_id)
        inherit(staging, [diff_id for diff_id, _, _ in record["blobs"]])
        commit(staging, [])
