# SPDX-License-Identifier: Apache-2.0
"""Small honest images for tests, as OCI layouts {file name: content}: see Registry.put, forge.archive and
forge.write_directory for what to do with them.

    image(layer(entry("a", data=b"1")), layer(…), compression="zstd", platform="linux/arm64", config={"Cmd": ["sh"]})
    index(image(…, platform="linux/amd64"), image(…, platform="linux/arm64/v8"))
    busybox()                                                a runnable one
Layers are tar streams, made by tests/image/forge.py (entry, tar). Images that begin with the same layers share them.
"""

from __future__ import annotations

import gzip
import json
import platform as machine
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from forge import DIRECTORY, SYMLINK, digest, entry, tar

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}[machine.machine()]
Layout = dict[str, bytes]
layer = tar


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "zstd": zstd,
    "none": lambda data: data,
}


def described(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def laid_out(listed: list[dict[str, Any]], blobs: list[bytes]) -> Layout:
    whole = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": listed}
    files = {"blobs/sha256/" + digest(blob)[7:]: blob for blob in blobs}
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(whole).encode(), **files}


def image(
    *layers: bytes,
    compression: str = "gzip",
    platform: str = f"linux/{HERE}",
    config: dict[str, Any] | None = None,
    docker: bool = False,
) -> Layout:
    """One image. `platform`: "os/architecture[/variant]". `docker`: with Docker's media types (gzip or none only)."""
    system, architecture, *variant = platform.split("/")
    packed = [COMPRESSIONS[compression](one) for one in layers]
    whole: dict[str, Any] = {
        "architecture": architecture,
        "os": system,
        **({"variant": variant[0]} if variant else {}),
        "config": config or {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(one) for one in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[compression]
    layer_type, config_type = f"{OCI}.layer.v1.tar{suffix}", f"{OCI}.config.v1+json"
    manifest_type = f"{OCI}.manifest.v1+json"
    if docker:
        layer_type = f"{DOCKER}.image.rootfs.diff.tar" + (".gzip" if suffix else "")
        config_type, manifest_type = f"{DOCKER}.container.image.v1+json", f"{DOCKER}.distribution.manifest.v2+json"
    configured = json.dumps(whole).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": described(config_type, configured),
            "layers": [described(layer_type, one) for one in packed],
        }
    ).encode()
    named = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
    return laid_out([{**described(manifest_type, manifest), "platform": named}], [*packed, configured, manifest])


def index(*images: Layout) -> Layout:
    """Several images under one tag: index.json lists them all."""
    listed = [json.loads(one["index.json"])["manifests"][0] for one in images]
    return laid_out(listed, [blob for one in images for name, blob in one.items() if name.startswith("blobs/")])


@cache
def busybox_layer() -> bytes:
    """busybox-static, the applets that tests use, and nothing else."""
    program = Path("/bin/busybox").read_bytes()
    applets = "sh cat ls echo true false sleep id env touch rm mkdir ln stat sha256sum".split()
    return tar(
        *(entry(f"{name}/", DIRECTORY, mode=0o755) for name in ("bin", "dev", "etc", "proc", "sys", "root")),
        entry("tmp/", DIRECTORY, mode=0o1777),
        entry("etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\n"),
        entry("bin/busybox", data=program, mode=0o755),
        *(entry(f"bin/{name}", SYMLINK, link="busybox") for name in applets),
    )


def busybox(*above: bytes, **options: Any) -> Layout:
    """A runnable image of busybox, with further layers `above` it."""
    return image(busybox_layer(), *above, **options)
