# SPDX-License-Identifier: Apache-2.0
"""The image that the benchmark moves about: a real Debian 12 with python3, nginx and git, in two layers.

mmdebstrap(1) makes the first layer, apt-get in a chroot the second, umoci packs both, skopeo writes the docker
archive. It takes a minute and the network, so it is kept under /var/tmp, by the hash of this file. Tags of the
OCI layout: "two", and "other": the same first layer with another small one above it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path

from peers import sh

CACHE = Path("/var/tmp/minirt-bench-images")
PACKAGES = "python3 nginx git"
INSTALL = f"""
mount -t proc proc "$1/proc"
cp /etc/resolv.conf "$1/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' >"$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
chroot "$1" sh -ec 'export DEBIAN_FRONTEND=noninteractive
    apt-get -q update; apt-get -q install -y --no-install-recommends {PACKAGES}; apt-get clean'
umount "$1/proc"
rm -rf "$1/etc/resolv.conf" "$1/usr/sbin/policy-rc.d" "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin
"""
OTHER_BYTES = 4 << 20


class Debian:
    """`layout`: the OCI layout; `archive`: "two" as a docker archive."""

    def __init__(self, folder: Path) -> None:
        self.layout = folder / "oci"
        self.archive = folder / "docker.tar"

    def blobs(self, tag: str) -> set[str]:
        """The digests of a tag's layers and configuration."""
        listed = json.loads((self.layout / "index.json").read_bytes())["manifests"]
        found = next(one for one in listed if one["annotations"]["org.opencontainers.image.ref.name"] == tag)
        manifest = json.loads((self.layout / "blobs/sha256" / found["digest"][7:]).read_bytes())
        return {blob["digest"] for blob in [manifest["config"], *manifest["layers"]]}

    def own_blobs(self, tag: str, beside: str) -> set[str]:
        """What one tag has and the other has not."""
        return self.blobs(tag) - self.blobs(beside)


def debian() -> Debian:
    """The image, made if it is not there."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    folder = CACHE / key
    if not folder.exists():
        work = CACHE / f"{key}.{os.getpid()}"
        work.mkdir(parents=True)
        try:
            make(work)
            for older in CACHE.iterdir():
                if older.suffix == "":
                    shutil.rmtree(older, ignore_errors=True)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Debian(folder)


def make(work: Path) -> None:
    print(f"  making the image of Debian 12 with {PACKAGES}: a minute", flush=True)
    sh("mmdebstrap", "--variant=minbase", "bookworm", work / "root.tar")
    layout = work / "oci"
    sh("umoci", "init", "--layout", layout)
    for tag in ("two", "other"):
        sh("umoci", "new", "--image", f"{layout}:{tag}")
        sh("umoci", "raw", "add-layer", "--image", f"{layout}:{tag}", work / "root.tar")
        sh("umoci", "unpack", "--image", f"{layout}:{tag}", work / tag)
        sh("umoci", "config", "--image", f"{layout}:{tag}", "--config.cmd", "bash")
    sh("unshare", "--mount", "sh", "-ec", INSTALL, "sh", work / "two/rootfs")
    (work / "other/rootfs/opt/other").write_bytes(random.Random(1).randbytes(OTHER_BYTES))
    for tag in ("two", "other"):
        sh("umoci", "repack", "--image", f"{layout}:{tag}", work / tag)
        shutil.rmtree(work / tag)
    (work / "root.tar").unlink()
    sh("umoci", "gc", "--layout", layout)
    archive = f"docker-archive:{work}/docker.tar:localhost/debian:two"
    sh("skopeo", "copy", "--quiet", "--insecure-policy", f"oci:{layout}:two", archive)
