# SPDX-License-Identifier: Apache-2.0
"""localhost/busybox: made on first use, the same every time, an image like any other; and `look`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from minirt.errors import HostError, NotFound, StoreError
from minirt.image import embedded, find

NAME = "localhost/busybox"


def test_made_on_first_use_and_the_same_every_time(tmp_path: Path) -> None:
    first = find.find(str(tmp_path / "one"), NAME)
    second = find.find(str(tmp_path / "two"), f"{NAME}:latest")
    assert first.id == second.id
    assert [Path(one).name for one in first.layers] == [Path(one).name for one in second.layers]
    for index in ("one", "two"):
        assert os.listdir(tmp_path / index / "staging") == []
    assert (tmp_path / "one/images/index.json").read_bytes() == (tmp_path / "two/images/index.json").read_bytes()
    before = os.stat(tmp_path / "one/images/index.json")
    assert find.find(str(tmp_path / "one"), NAME).id == first.id
    assert os.stat(tmp_path / "one/images/index.json") == before


def test_what_is_in_it(tmp_path: Path) -> None:
    image = find.find(str(tmp_path / "root"), NAME)
    assert image.config["Cmd"] == ["sh"]
    assert image.config["Env"][0].startswith("PATH=/usr/local/sbin:")
    assert image.name == "localhost/busybox:latest"
    root = Path(image.layers[0])
    done = subprocess.run(
        ["chroot", root, "/bin/sh", "-c", "env true && id -un nobody && which awk"], capture_output=True
    )
    assert done.stdout == b"nobody\n/usr/bin/awk\n"
    assert "nogroup:x:65534:" in (root / "etc/group").read_text()
    for path, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700), ("etc/shadow", 0o640), (".", 0o755)):
        assert stat.S_IMODE((root / path).stat().st_mode) == mode, path
    for path in ("etc", "home", "var", "proc", "sys", "dev", "run", "mnt"):
        assert (root / path).is_dir()


def test_other_tools_read_it(tmp_path: Path) -> None:
    find.find(str(tmp_path), NAME)
    place = f"oci:{tmp_path}/images:localhost/busybox:latest"
    shown = json.loads(subprocess.run(["skopeo", "inspect", "--config", place], check=True, capture_output=True).stdout)
    assert shown["config"] == embedded.configuration()


def test_missing_or_dynamic_busybox_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in (str(tmp_path / "none"), sys.executable, "/etc/passwd"):
        monkeypatch.setattr(embedded, "PROGRAM", program)
        with pytest.raises(HostError) as caught:
            find.find(str(tmp_path / "root"), NAME)
        assert "busybox" in caught.value.message
        assert caught.value.remedy == "apt-get install busybox-static"
        assert "\n" not in caught.value.message


def test_look_describes_it_without_writing(tmp_path: Path) -> None:
    """What `plan` shows is what `run` will use."""
    root = str(tmp_path / "root")
    seen = find.look(root, NAME)
    assert not os.path.exists(root)
    made = find.find(root, NAME)
    assert (seen.id, seen.name, seen.config, seen.layers, seen.root) == (
        (made.id, made.name, made.config, made.layers, made.root)
    )
    assert find.look(root, NAME).id == made.id
    assert find.look(root, made.id[7:19]).id == made.id


def test_look_without_privilege(tmp_path: Path) -> None:
    """Somebody who may not read the store can still plan the embedded image, and nothing else."""
    root = str(tmp_path / "root")
    find.find(root, NAME)
    os.chmod(tmp_path, 0o755)
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from minirt.image import embedded, find, restore  # before the interpreter's own files are out of reach
import minirt.image.commit
os.setgid(1000); os.setuid(1000)
print(find.look({root!r}, "localhost/busybox").name)
try:
    find.look({root!r}, "other")
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().split() == ["localhost/busybox:latest", StoreError.__name__]


def test_look_for_what_is_not_there(tmp_path: Path) -> None:
    for text in ("other", "f" * 64, "sha256:" + "f" * 64):
        with pytest.raises(NotFound):
            find.look(str(tmp_path), text)


def test_finding_imports_little(tmp_path: Path) -> None:
    """The hot path: nothing of this room but find, none of the dear modules."""
    find.find(str(tmp_path), NAME)
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
before = set(sys.modules)
from minirt.image import find
find.find({str(tmp_path)!r}, {NAME!r})
print("\\n".join(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True)
    found = done.stdout.decode().split()
    assert [name for name in found if name.startswith("minirt.image")] == ["minirt.image", "minirt.image.find"]
    assert not {"json", "re", "enum", "typing", "hashlib", "tarfile", "contextlib", "subprocess", "zlib"} & set(found)
