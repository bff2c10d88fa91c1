# SPDX-License-Identifier: Apache-2.0
"""load, images and image inspect as scripts use them; the archives themselves are the image room's tests."""

from __future__ import annotations

import json
import subprocess

import pytest

from runner import Minirt


@pytest.fixture
def stocked(minirt: Minirt) -> Minirt:
    """A store with the embedded image."""
    minirt.ok("run", "--rm", "localhost/busybox", "true")
    return minirt


def test_columns(stocked: Minirt) -> None:
    lines = stocked.ok("images").splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert lines[1].split()[:2] == ["localhost/busybox", "latest"]
    assert len(lines[1].split()[2]) == 12
    assert stocked.ok("image", "ls") == stocked.ok("images", "-a") == "\n".join(lines)


def test_formats(stocked: Minirt) -> None:
    identity, size = stocked.ok("images", "--format", "{{.ID}} {{.Size}}").split()
    assert identity == stocked.ok("images", "-q") and size.endswith("B")
    assert stocked.ok("images", "-q", "--no-trunc").startswith(f"sha256:{identity}")
    assert stocked.ok("images", "localhost/busybox:latest", "-q") == identity
    assert stocked.ok("images", "nginx", "-q") == ""
    assert json.loads(stocked.ok("images", "--format", "json"))["Repository"] == "localhost/busybox"


def test_inspect(stocked: Minirt) -> None:
    found = json.loads(stocked.ok("image", "inspect", "localhost/busybox"))[0]
    assert found["RepoTags"] == ["localhost/busybox:latest"] and found["Os"] == "linux"
    assert stocked.ok("inspect", "localhost/busybox", "--format", "{{.Config.Cmd}}") == "[sh]"
    identity = stocked.ok("images", "-q")
    assert stocked.ok("inspect", "-f", "{{.Id}}", identity) == found["Id"]
    stocked.fails("image", "inspect", "nginx", code=1, says="no such image: nginx")


def test_load_from_a_file_and_from_standard_input(stocked: Minirt) -> None:
    """What skopeo copies out of the store comes back in."""
    archive = stocked.root.parent / "image.tar"
    source = f"oci:{stocked.root}/images:localhost/busybox:latest"
    done = subprocess.run(
        ["skopeo", "copy", "-q", source, f"oci-archive:{archive}:localhost/copy:1"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert stocked.ok("load", "-i", archive) == "Loaded image: localhost/copy:1"
    with open(archive, "rb") as file:
        assert stocked.ok("load", stdin=file) == "Loaded image: localhost/copy:1"
    assert stocked.ok("run", "--rm", "localhost/copy:1", "echo", "hi") == "hi"


def test_what_is_no_image(minirt: Minirt) -> None:
    junk = minirt.root.parent / "junk"
    junk.write_bytes(b"no archive at all\n" * 100)
    errors = minirt.fails("load", "-i", junk, code=1)
    assert errors.startswith("minirt: ") and len(errors.splitlines()) <= 2
    minirt.fails("load", code=1, input=b"")
    assert minirt.ok("images", "-q") == ""


def test_filters(stocked: Minirt) -> None:
    """As docker images -f: by label, by name, by age, and those without a name."""
    stocked.ok("tag", "localhost/busybox", "far.example/group/copy:1")
    names = ("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert stocked.ok(*names, "-f", "reference=far.example/*/*") == "far.example/group/copy:1"
    assert stocked.ok(*names, "far.example/group/copy") == "far.example/group/copy:1"
    assert len(stocked.ok(*names, "--filter", "dangling=false").splitlines()) == 2
    assert stocked.ok(*names, "--filter", "label=nobody=has") == ""
    assert stocked.ok(*names, "--filter", "since=far.example/group/copy:1") == ""
    stocked.fails("images", "--filter", "dangling=maybe", code=1, says="invalid filter 'dangling=maybe'")
    stocked.fails("images", "--filter", "colour=red", code=1, says="invalid filter 'colour'")
    stocked.fails("images", "--filter", "before=nobody", code=1, says="no such image: nobody")
    stocked.fails("images", "--filter", "dangling", code=125, says="bad format of filter")


def test_inspect_has_what_docker_prints(stocked: Minirt) -> None:
    found = json.loads(stocked.ok("inspect", "localhost/busybox"))[0]
    assert list(found) == [
        "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "DockerVersion", "Author", "Config",
        "Architecture", "Os", "Size", "GraphDriver", "RootFS", "Metadata",
    ]  # fmt: skip
    assert found["RepoDigests"] == [] and found["Size"] > 0
    assert {"Env", "Cmd", "Labels", "WorkingDir", "Entrypoint"} <= found["Config"].keys()
    assert found["RootFS"]["Type"] == "layers" and len(found["RootFS"]["Layers"]) == 1
    top = found["GraphDriver"]["Data"]["UpperDir"]
    assert top.endswith(f"/layers/{found['RootFS']['Layers'][0][7:]}") and found["GraphDriver"]["Name"] == "overlay"
    assert stocked.ok("image", "inspect", "-f", "{{len .RootFS.Layers}} {{.Metadata.LastTagTime}}", found["Id"]) == (
        "1 0001-01-01T00:00:00Z"
    )
    errors = stocked("image", "inspect", "nothing")
    assert (errors.code, errors.out) == (1, "[]") and "no such image: nothing" in errors.stderr
