# SPDX-License-Identifier: Apache-2.0
"""A real Debian: mmdebstrap's root, made an image by umoci, packed by skopeo; here as umoci unpacks it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import namespaces
from minirt.image import find, load
from test_store import mounted
from test_unpack import described

CACHE = Path("/var/tmp/minirt-tests")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def debian() -> Path:
    """An OCI layout with two layers, tag "two"; kept between runs, because it takes the network and half a minute."""
    CACHE.mkdir(mode=0o700, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        layout = CACHE / "debian"
        if not layout.exists():
            work = CACHE / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            with namespaces.machine():
                run("mmdebstrap", "--variant=minbase", "bookworm", work / "root.tar")
            made = f"{work}/oci:two"
            run("umoci", "init", "--layout", work / "oci")
            run("umoci", "new", "--image", made)
            run("umoci", "raw", "add-layer", "--image", made, work / "root.tar")
            run("umoci", "config", "--image", made, "--config.cmd", "bash", "--config.env", "LANG=C.UTF-8")
            run("umoci", "unpack", "--image", made, work / "bundle")
            root = work / "bundle/rootfs"
            shutil.rmtree(root / "usr/share/doc")
            (root / "etc/motd").unlink(missing_ok=True)
            (root / "opt/one").mkdir()
            (root / "opt/one/file").write_text("one")
            os.link(root / "opt/one/file", root / "opt/one/same")
            shutil.rmtree(root / "usr/share/info", ignore_errors=True)
            (root / "usr/share/info").mkdir()
            run("umoci", "repack", "--image", made, work / "bundle")
            (work / "oci").rename(layout)
            shutil.rmtree(work)
        return layout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_debian_is_the_same_as_umoci_unpacks_it(debian: Path, tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "debian.tar"
    run("skopeo", "copy", "-q", f"oci:{debian}:two", f"{kind}:{archive}:debian:two")
    load.load(str(tmp_path / "root"), str(archive))
    image = find.find(str(tmp_path / "root"), "debian:two")
    assert image.config["Cmd"] == ["bash"]
    assert len(image.layers) == 2
    run("umoci", "raw", "unpack", "--image", f"{debian}:two", tmp_path / "reference")
    with mounted(image.layers, tmp_path / "mounted") as merged:
        mine, theirs = described(merged), described(tmp_path / "reference")
    assert len(mine) > 5000
    assert mine.pop(b".")[:3] == theirs.pop(b".")[:3]  # its time is that of the last change that umoci made
    assert mine == theirs
