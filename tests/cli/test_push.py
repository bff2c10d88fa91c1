# SPDX-License-Identifier: Apache-2.0
"""push and tag against a real registry: Docker's lines, what is sent and what is not, what others make of it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forge
import sample_images
from forge import entry
from registries import Registry
from runner import Minirt
from sample_images import busybox, index, layer


def note(text: str) -> bytes:
    """A layer with one file that says `text`."""
    return layer(entry("note", data=text.encode()))


def loaded(minirt: Minirt, image: dict[str, bytes], name: str) -> None:
    """The image of an OCI layout, in the store under `name`."""
    listed = json.loads(image["index.json"])
    listed["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": name}
    minirt.ok("load", input=forge.archive({**image, "index.json": json.dumps(listed).encode()}))


def at(registry: Registry, name: str) -> dict[str, Any]:
    """The manifest that a tag of the registry stands for."""
    repository, _, tag = name.partition(":")
    answer = registry.request("GET", f"/v2/{repository}/manifests/{tag}")
    assert answer.status == 200, answer
    return dict(json.loads(answer.data))


def sent(registry: Registry) -> list[str]:
    """The methods of the requests that sent bytes of blobs."""
    return [one.method for one in registry.log if "/blobs/uploads/" in one.path and one.method in ("PUT", "PATCH")]


def diff_ids(image: dict[str, bytes]) -> list[str]:
    """The first digits of each layer's diff_id, by which Docker shows it when it is pushed."""
    manifest = json.loads(image[f"blobs/sha256/{json.loads(image['index.json'])['manifests'][0]['digest'][7:]}"])
    config = json.loads(image[f"blobs/sha256/{manifest['config']['digest'][7:]}"])
    return [one[7:19] for one in config["rootfs"]["diff_ids"]]


def test_lines_of_a_push(minirt: Minirt, registry: Registry) -> None:
    """The blobs go as they are: the registry has the very manifest. The second push sends nothing."""
    image = busybox(note("pushed"), compression="zstd")
    digest = json.loads(image["index.json"])["manifests"][0]["digest"]
    size = json.loads(image["index.json"])["manifests"][0]["size"]
    name = f"{registry.host}/push/lines"
    loaded(minirt, image, f"{name}:latest")
    lines = minirt.ok("push", name).splitlines()
    first, second = diff_ids(image)
    assert lines[:2] == ["Using default tag: latest", f"The push refers to repository [{name}]"]
    assert lines[-1] == f"latest: digest: {digest} size: {size}"
    for one in (first, second):
        assert [line for line in lines if line.startswith(one)] == [f"{one}: Preparing", f"{one}: Pushed"]
    assert registry.digest("push/lines:latest") == digest
    registry.forget()
    lines = minirt.ok("image", "push", f"{name}:latest").splitlines()
    assert f"{first}: Layer already exists" in lines and f"{second}: Layer already exists" in lines
    assert sent(registry) == []
    assert minirt.ok("push", "-q", name) == f"{name}:latest"
    assert json.loads(minirt.ok("inspect", name))[0]["RepoDigests"] == [f"{name}@{digest}"]
    assert f"Status: Image is up to date for {name}:latest" in minirt.ok("pull", name)


def test_mounted_from_another_repository(minirt: Minirt, registry: Registry) -> None:
    """What another repository of that registry is known to have is not sent; to another registry everything is."""
    image = busybox(note("mounted"))
    registry.put(image, "mount/from:1")
    minirt.ok("pull", f"{registry.host}/mount/from:1")
    minirt.ok("tag", f"{registry.host}/mount/from:1", f"{registry.host}/mount/to:1")
    registry.forget()
    lines = minirt.ok("push", f"{registry.host}/mount/to:1").splitlines()
    for one in diff_ids(image):
        assert f"{one}: Mounted from mount/from" in lines
    assert len(sent(registry)) == 1, "the config alone is sent"
    assert at(registry, "mount/to:1") == at(registry, "mount/from:1")


def test_layers_of_a_docker_archive_go_as_gzip(
    minirt: Minirt, registry: Registry, make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    """As Docker sends them. The second push finds by its record that the registry has them, and a push to another
    registry makes the same bytes again."""
    image = busybox(note("archived"))
    forge.write_directory(image, tmp_path / "layout")
    archive, name = tmp_path / "docker.tar", f"{registry.host}/push/archived:1"
    words = ["skopeo", "copy", "-q", "--insecure-policy", f"oci:{tmp_path}/layout", f"docker-archive:{archive}:{name}"]
    subprocess.run(words, check=True, capture_output=True)
    minirt.ok("load", "-i", archive)
    minirt.ok("push", name)
    manifest = at(registry, "push/archived:1")
    assert [one["mediaType"].rpartition("+")[2] for one in manifest["layers"]] == ["gzip", "gzip"]
    registry.forget()
    assert minirt.ok("push", name).count("Layer already exists") == 2
    assert sent(registry) == []
    other = make_registry()
    minirt.ok("tag", name, f"{other.host}/again:1")
    assert minirt.ok("push", f"{other.host}/again:1").count("Pushed") == 2
    assert at(other, "again:1") == manifest
    assert minirt.ok("run", "--rm", name, "cat", "/note") == "archived"
    assert f"Status: Image is up to date for {name}" in minirt.ok("pull", name)


def test_there_and_back_and_others_read_it(minirt: Minirt, registry: Registry, tmp_path: Path) -> None:
    """pull, run, tag, push; skopeo inspects and copies it, umoci unpacks what was copied."""
    registry.put(index(busybox(note("round")), busybox(platform="linux/s390x")), "round/one:1")
    source, target = f"{registry.host}/round/one:1", f"{registry.host}/round/two:2"
    assert minirt.ok("run", "--rm", source, "cat", "/note") == "round"
    minirt.ok("tag", source, target)
    minirt.ok("push", target)
    seen = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{target}"], capture_output=True, text=True, check=True
    )
    found = json.loads(seen.stdout)
    assert found["Architecture"] == sample_images.HERE and found["RepoTags"] == ["2"]
    words = ["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", f"docker://{target}"]
    subprocess.run([*words, f"oci:{tmp_path}/oci:two"], check=True, capture_output=True)
    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path}/oci:two", f"{tmp_path}/bundle"], check=True)
    assert (tmp_path / "bundle/rootfs/note").read_text() == "round"
    assert found["Layers"] == [one["digest"] for one in at(registry, "round/two:2")["layers"]]


def test_all_tags(minirt: Minirt, registry: Registry) -> None:
    name = f"{registry.host}/push/all"
    loaded(minirt, busybox(note("all")), f"{name}:a")
    minirt.ok("tag", f"{name}:a", f"{name}:b")
    minirt.ok("tag", f"{name}:a", "elsewhere/all:c")
    lines = minirt.ok("push", "-a", name).splitlines()
    assert [line.partition(":")[0] for line in lines if "digest:" in line] == ["a", "b"]
    assert registry.digest("push/all:a") == registry.digest("push/all:b")
    assert minirt.ok("push", "-a", "-q", name) == name
    minirt.fails("push", "-a", f"{name}:a", code=1, says="tag can't be used with --all-tags/-a")


def test_tag(minirt: Minirt, registry: Registry) -> None:
    """By name and by id; a name that another image had is taken from it; run finds all of them."""
    loaded(minirt, busybox(note("one")), "one:1")
    loaded(minirt, busybox(note("two")), "two:1")
    identity = minirt.ok("images", "-q", "two")
    assert minirt.ok("tag", identity, "one:new") == ""
    minirt.ok("image", "tag", "two:1", "far.example:5000/a/b")
    minirt.ok("tag", "two:1", "two:1")
    for name in ("one:new", "far.example:5000/a/b:latest", "two:1"):
        assert minirt.ok("run", "--rm", "--pull=never", name, "cat", "/note") == "two"
    minirt.ok("tag", "two:1", "one:1")
    assert minirt.ok("run", "--rm", "--pull=never", "one:1", "cat", "/note") == "two"
    assert minirt.ok("images", "--filter", "dangling=true", "--format", "{{.Repository}}:{{.Tag}}") == "<none>:<none>"
    assert sorted(json.loads(minirt.ok("inspect", identity))[0]["RepoTags"]) == sorted(
        ["one:1", "one:new", "far.example:5000/a/b:latest", "two:1"]
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tag", "nothing", "new:1"), "no such image: nothing"),
        (("tag", "real:1", f"x@sha256:{'a' * 64}"), "refusing to create a tag with a digest reference"),
        (("tag", "real:1", "Upper"), "invalid reference format"),
        (("tag", "real:1", "a" * 64), "invalid reference format"),
        (("push", "nothing:1"), "An image does not exist locally with the tag: nothing"),
        (("push", "-a", "nothing"), "An image does not exist locally with the tag: nothing"),
        (("push", f"real@sha256:{'a' * 64}"), "cannot push a digest reference"),
        (("push", "localhost/real:1"), "names no registry"),
    ],
)
def test_what_cannot_be_tagged_or_pushed(minirt: Minirt, words: tuple[str, ...], says: str) -> None:
    loaded(minirt, busybox(), "real:1")
    minirt.fails(*words, code=1, says=says)
    assert minirt.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == "real:1"


def test_push_without_permission(minirt: Minirt, make_registry: Callable[..., Registry]) -> None:
    """A registry that wants a password, and one whose tokens are for reading only; nothing is noted on the image."""
    locked, reading = make_registry(htpasswd={"ann": "secret"}), make_registry(token={"ann": "x"})
    for registry in (locked, reading):
        name = f"{registry.host}/mine:1"
        loaded(minirt, busybox(), name)
        minirt.fails("push", name, code=1, says="denied: requested access to the resource is denied")
        assert json.loads(minirt.ok("inspect", name))[0]["RepoDigests"] == []


def test_push_to_nobody(minirt: Minirt) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{one.getsockname()[1]}/x:1"
        loaded(minirt, busybox(), name)
        minirt.fails("push", name, code=1, says="Connection refused", environment={"MINIRT_HTTP_RETRY_S": "0.01"})


def test_an_image_that_skopeo_put_into_the_store(minirt: Minirt, registry: Registry, tmp_path: Path) -> None:
    """Its name in the index is short, or anything: it is pushed, renamed and pulled anew like the others."""
    forge.write_directory(busybox(note("skopeo")), tmp_path / "layout")
    loaded(minirt, busybox(), "other:1")
    words = ["skopeo", "copy", "-q", "--insecure-policy", f"oci:{tmp_path}/layout"]
    for name in ("short:1", f"{registry.host}/skopeo/put:1"):
        subprocess.run([*words, f"oci:{minirt.root}/images:{name}"], check=True, capture_output=True)
    minirt.ok("push", f"{registry.host}/skopeo/put:1")
    minirt.ok("tag", "other:1", "short:1")
    assert minirt.ok("images", "-q", "short:1") == minirt.ok("images", "-q", "other:1")
    assert minirt.ok("images", "--format", "{{.Repository}}:{{.Tag}}", "short").splitlines() == ["short:1"]
    assert minirt.ok("run", "--rm", f"{registry.host}/skopeo/put:1", "cat", "/note") == "skopeo"
