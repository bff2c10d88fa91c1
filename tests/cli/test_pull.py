# SPDX-License-Identifier: Apache-2.0
"""pull, and the pull that run begins, from a real registry: Docker's lines, what crosses the wire, what is refused."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import sample_images
from forge import entry
from registries import Registry
from runner import Minirt, program
from sample_images import busybox, index, layer

ALL = ("run", "--rm", "--pull", "never")


def note(text: str) -> bytes:
    """A layer with one file that says `text`."""
    return layer(entry("note", data=text.encode()))


def blobs(files: dict[str, bytes]) -> list[str]:
    """The first digits of each layer of a layout with one manifest, as Docker shows them."""
    listed = json.loads(files["index.json"])["manifests"][0]["digest"]
    manifest = json.loads(files[f"blobs/sha256/{listed[7:]}"])
    return [one["digest"][7:19] for one in manifest["layers"]]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("oci", {}),
        ("docker", {"docker": True}),
        ("zstd", {"compression": "zstd"}),
        ("plain", {"compression": "none"}),
    ],
)
def test_lines_of_a_pull(minirt: Minirt, registry: Registry, kind: str, options: dict[str, object]) -> None:
    """Docker's lines on a pipe, for every form of an image; the image runs; the second pull is up to date."""
    image = busybox(note(kind), **options)
    digest = registry.put(image, f"pull/{kind}:latest")
    name = f"{registry.host}/pull/{kind}"
    lines = minirt.ok("pull", name).splitlines()
    first, second = blobs(image)
    assert lines[:2] == ["Using default tag: latest", f"latest: Pulling from pull/{kind}"]
    assert lines[-3:] == [
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {name}:latest",
        f"{name}:latest",
    ]
    for one in (first, second):
        told = [line.partition(": ")[2] for line in lines if line.startswith(one)]
        assert told == ["Pulling fs layer", "Download complete", "Pull complete"], lines
    assert minirt.ok(*ALL, name, "cat", "/note") == kind
    assert minirt.ok("image", "pull", f"{name}:latest").splitlines() == [
        f"latest: Pulling from pull/{kind}",
        f"Digest: {digest}",
        f"Status: Image is up to date for {name}:latest",
        f"{name}:latest",
    ]
    assert minirt.ok("pull", "-q", name) == f"{name}:latest"


def test_only_the_new_layer_crosses_the_wire(minirt: Minirt, registry: Registry) -> None:
    """A second image on the same base: counted at the registry."""
    base, derived = busybox(note("base")), busybox(note("base"), note("derived"))
    registry.put(base, "shared/base:1")
    registry.put(derived, "shared/derived:1")
    minirt.ok("pull", f"{registry.host}/shared/base:1")
    registry.forget()
    lines = minirt.ok("pull", f"{registry.host}/shared/derived:1").splitlines()
    asked = [one for one in registry.log if "/blobs/" in one.path]
    first, second, third = blobs(derived)
    listed = json.loads(derived["index.json"])["manifests"][0]
    manifest = json.loads(derived[f"blobs/sha256/{listed['digest'][7:]}"])
    assert {one.path.rpartition(":")[2][:12] for one in asked} == {third, manifest["config"]["digest"][7:19]}
    assert sum(one.sent for one in asked) == manifest["layers"][2]["size"] + manifest["config"]["size"]
    assert f"{first}: Already exists" in lines and f"{second}: Already exists" in lines
    assert minirt.ok(*ALL, f"{registry.host}/shared/derived:1", "cat", "/note") == "derived"


def test_nothing_changed(minirt: Minirt, registry: Registry, tmp_path: Path) -> None:
    """One HEAD; no blob is opened, nothing is written or locked, and nothing that unpacks is imported."""
    registry.put(index(busybox(note("still")), busybox(platform="linux/s390x")), "still:1")
    name = f"{registry.host}/still:1"
    minirt.ok("pull", name)
    registry.forget()
    trace = tmp_path / "trace"
    words = ["strace", "-f", "-e", "trace=%file,flock,write,pwrite64,connect", "-o", str(trace)]
    done = subprocess.run(
        [*words, *program(), "pull", "-q", name], env=minirt.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [(one.method, one.path) for one in registry.log] == [("HEAD", "/v2/still/manifests/1")]
    calls = trace.read_text().splitlines()
    touched = [line for line in calls if str(minirt.root) in line and "ENOENT" not in line]
    assert touched, "strace saw nothing"
    assert not [line for line in touched if "/blobs/" in line or "O_WRONLY" in line or "O_RDWR" in line], touched
    assert not [line for line in calls if "flock(" in line]
    loaded = "\n".join(line for line in calls if "openat" in line and "ENOENT" not in line)
    assert "/pull." in loaded, "the trace does not show imports"
    for heavy in ("staging", "unpack", "commit", "expand", "flow", "records", "urllib3", "ssl", "json/__init__"):
        assert f"/{heavy}.cpython" not in loaded and f"/{heavy}.py" not in loaded, heavy


def test_a_tag_that_moved(minirt: Minirt, registry: Registry) -> None:
    """The new image takes the name; the old one stays under its digest alone, as Docker shows it; its id runs it."""
    name = f"{registry.host}/moved:1"
    old = registry.put(busybox(note("old")), "moved:1")
    minirt.ok("pull", name)
    identity = minirt.ok("images", "-q", name)
    new = registry.put(busybox(note("new")), "moved:1")
    assert f"Status: Downloaded newer image for {name}" in minirt.ok("pull", name)
    assert minirt.ok(*ALL, name, "cat", "/note") == "new"
    assert minirt.ok(*ALL, identity, "cat", "/note") == "old"
    rows = minirt.ok("images", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}} {{.ID}}").splitlines()
    repository = f"{registry.host}/moved"
    assert f"{repository}:<none>@{old} {identity}" in rows
    assert [row for row in rows if row.startswith(f"{repository}:1@{new} ")]


def test_by_digest(minirt: Minirt, registry: Registry) -> None:
    """The digest of an index, and of a manifest; images shows no tag; run finds it without asking the registry."""
    digest = registry.put(index(busybox(note("one")), busybox(platform="linux/arm64")), "digested:1")
    name = f"{registry.host}/digested@{digest}"
    lines = minirt.ok("pull", name).splitlines()
    assert lines[0] == f"{name}: Pulling from digested"
    assert lines[-3:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}", name]
    assert f"Status: Image is up to date for {name}" in minirt.ok("pull", name)
    assert minirt.ok("images", "--format", "{{.Repository}} {{.Tag}}") == f"{registry.host}/digested <none>"
    assert json.loads(minirt.ok("inspect", name))[0]["RepoDigests"] == [name]
    assert minirt.ok(*ALL, name, "cat", "/note") == "one"
    assert minirt.ok(*ALL, f"{registry.host}/digested:1@{digest}", "cat", "/note") == "one"
    minirt.ok("pull", "-q", f"{registry.host}/digested:1")
    assert f"Status: Image is up to date for {name}" in minirt.ok("pull", name)
    assert minirt.ok("images", "--format", "{{.Tag}}") == "1"
    wrong = f"{registry.host}/digested@sha256:{'0' * 64}"
    minirt.fails("pull", wrong, code=1, says="not found")


def test_all_tags(minirt: Minirt, registry: Registry) -> None:
    for tag in ("1", "2", "latest"):
        registry.put(busybox(note(tag)), f"tags/many:{tag}")
    name = f"{registry.host}/tags/many"
    lines = minirt.ok("pull", "-a", name).splitlines()
    assert [line for line in lines if "Pulling from" in line] == [
        f"{tag}: Pulling from tags/many" for tag in ("1", "2", "latest")
    ]
    assert len([line for line in lines if line.startswith("Digest: ")]) == 3
    assert lines[-2:] == [f"Status: Downloaded newer image for {name}", name]
    assert sorted(minirt.ok("images", "--format", "{{.Tag}}").split()) == ["1", "2", "latest"]
    assert minirt.ok(*ALL, f"{name}:2", "cat", "/note") == "2"
    minirt.fails("pull", "-a", f"{name}:2", code=1, says="tag can't be used with --all-tags/-a")
    assert minirt.ok("pull", "-q", f"{name}:1", f"{name}:2").splitlines() == [f"{name}:1", f"{name}:2"]


def test_platforms(minirt: Minirt, registry: Registry) -> None:
    """The variant that suits best; the machine's own without --platform; what the index has not is said."""
    offered = ("linux/arm/v6", "linux/arm/v7", "linux/s390x", f"linux/{sample_images.HERE}")
    registry.put(index(*(busybox(note(one), platform=one) for one in offered)), "platforms:1")
    name = f"{registry.host}/platforms:1"
    shown = "{{.Architecture}}{{.Variant}}"
    for asked, found in (("linux/arm64", "armv7"), ("linux/arm/v6", "armv6"), ("s390x", "s390x")):
        minirt.ok("pull", "--platform", asked, name)
        one = json.loads(minirt.ok("inspect", name))[0]
        assert one["Architecture"] + one.get("Variant", "") == found, shown
    errors = minirt.fails("pull", "--platform", "linux/riscv64", name, code=1)
    assert "no matching manifest for linux/riscv64 in the manifest list entries" in errors
    assert "linux/arm/v7" in errors
    minirt.fails("pull", "--platform", "a/b/c/d", name, code=1, says="invalid OS-architecture-variant specifier")
    minirt.ok("pull", name)
    assert minirt.ok(*ALL, name, "cat", "/note") == f"linux/{sample_images.HERE}"
    registry.put(busybox(platform="linux/s390x"), "platforms:single")
    minirt.fails(
        "pull", "--platform", "linux/riscv64", f"{registry.host}/platforms:single", code=1, says="does not provide"
    )
    minirt.ok("pull", f"{registry.host}/platforms:single")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_names_that_cannot_be_pulled(minirt: Minirt, registry: Registry) -> None:
    """Unknown name, unknown tag, no registry there, no registry meant, a malformed name: a line each, and no store."""
    registry.put(busybox(), "known:1")
    host = registry.host
    for name, says in (
        (f"{host}/nobody/has:this", f"manifest for {host}/nobody/has:this not found"),
        (f"{host}/known:2", f"manifest for {host}/known:2 not found: manifest unknown"),
        (f"127.0.0.1:{free_port()}/x", "Connection refused"),
        ("localhost/known:1", "localhost without a port is no registry"),
        (f"{host}/Known", "invalid reference format"),
        (f"{host}/known@sha256:1", "invalid reference format"),
    ):
        errors = minirt.fails("pull", name, code=1, says=says)
        assert len(errors.splitlines()) <= 2, errors
    minirt.fails("pull", "-a", f"{host}/nobody/has", code=1, says="not")
    assert minirt.ok("images", "-q") == ""
    minirt.fails("pull", f"{host}/known:1", f"{host}/known:2", code=1, says="known:2 not found")
    assert minirt.ok("images", "--format", "{{.Tag}}") == "1"
    minirt.ok("pull", f"localhost:{registry.port}/known:1")  # with a port it is one


def test_a_registry_that_asks_who_is_there(minirt: Minirt, make_registry: Callable[..., Registry]) -> None:
    """Without a password the pull is refused in Docker's words; with the one of an auth file it works."""
    private = make_registry(htpasswd={"ann": "secret"})
    private.put(busybox(note("private")), "mine:1")
    name = f"{private.host}/mine:1"
    says = f"pull access denied for {private.host}/mine, repository does not exist or may require 'minirt login'"
    minirt.fails("pull", name, code=1, says=says)
    minirt.fails("run", "--rm", name, "true", code=125, says=says)
    word = base64.b64encode(b"ann:secret").decode()
    authfile = minirt.root.parent / "auth.json"
    authfile.write_text(json.dumps({"auths": {private.host: {"auth": word}}}))
    minirt.environment["REGISTRY_AUTH_FILE"] = str(authfile)
    minirt.ok("pull", name)
    assert minirt.ok(*ALL, name, "cat", "/note") == "private"


def test_mirrors_in_their_order(minirt: Minirt, registry: Registry, make_registry: Callable[..., Registry]) -> None:
    """The first mirror is dead, the second has not the image, the third has it; the name stays what was asked for."""
    empty = make_registry()
    registry.put(busybox(note("mirrored")), "copy/of/x:1")
    conf = minirt.root.parent / "registries.conf"
    locations = (f"127.0.0.1:{free_port()}", f"{empty.host}/copy", f"{registry.host}/copy")
    mirrors = "".join(f'[[registry.mirror]]\nlocation = "{place}"\ninsecure = true\n' for place in locations)
    conf.write_text(f'[[registry]]\nprefix = "far.example"\nlocation = "127.0.0.1:{free_port()}"\n{mirrors}')
    minirt.environment["CONTAINERS_REGISTRIES_CONF"] = str(conf)
    minirt.environment["MINIRT_HTTP_RETRY_S"] = "0.01"
    lines = minirt.ok("pull", "far.example/of/x:1").splitlines()
    assert lines[0] == "1: Pulling from of/x" and lines[-1] == "far.example/of/x:1"
    assert minirt.ok(*ALL, "far.example/of/x:1", "cat", "/note") == "mirrored"
    assert [one.method for one in empty.log if "/manifests/" in one.path]
    minirt.fails("pull", "far.example/of/y:1", code=1, says="127.0.0.1")


def test_run_pulls_what_is_missing(minirt: Minirt, registry: Registry) -> None:
    """On standard error, so that standard output is the workload's alone; the second run asks nobody."""
    name = f"{registry.host}/runs"
    digest = registry.put(busybox(note("runs")), "runs:latest")
    result = minirt("run", "--rm", name, "cat", "/note")
    assert (result.code, result.out) == (0, "runs")
    lines = result.stderr.splitlines()
    assert lines[:2] == [f"Unable to find image '{name}:latest' locally", "latest: Pulling from runs"]
    assert lines[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}:latest"]
    registry.forget()
    again = minirt("run", "--rm", name, "cat", "/note")
    assert (again.code, again.out, again.stderr) == (0, "runs", "")
    assert registry.log == []


def test_policies_of_run(minirt: Minirt, registry: Registry) -> None:
    name = f"{registry.host}/policy:1"
    registry.put(busybox(note("first")), "policy:1")
    minirt.fails("run", "--pull=never", name, "true", code=125, says=f"no such image: {name}")
    assert minirt("create", "-q", name, "cat", "/note").stderr == f"Unable to find image '{name}' locally\n"
    registry.put(busybox(note("second")), "policy:1")
    assert minirt.ok("run", "--rm", name, "cat", "/note") == "first"
    always = minirt("run", "--rm", "--pull=always", name, "cat", "/note")
    assert always.out == "second" and "Unable to find" not in always.stderr
    assert f"Status: Downloaded newer image for {name}" in always.stderr
    assert minirt("run", "--rm", "-q", "--pull=always", name, "cat", "/note").stderr == ""
    minirt.fails("run", "--pull=often", name, "true", code=125, says="must be one of")


def test_images_that_run_cannot_have(minirt: Minirt, registry: Registry) -> None:
    """Docker's text and exit code 125; ids and names at localhost are asked of nobody."""
    host = registry.host
    errors = minirt.fails("run", "--rm", f"{host}/no:body", "true", code=125)
    assert errors.splitlines()[:2] == [
        f"Unable to find image '{host}/no:body' locally",
        f"minirt: manifest for {host}/no:body not found: manifest unknown",
    ]
    for name in ("localhost/nobody", f"sha256:{'1' * 64}", "2" * 64):
        errors = minirt.fails("create", name, "true", code=125, says=f"no such image: {name}")
        assert "Unable to find" not in errors
    registry.put(busybox(platform="linux/s390x"), "other:1")
    minirt.ok("pull", f"{host}/other:1")
    native = f"linux/{sample_images.HERE}"
    minirt.fails(
        "run", "--platform", native, "--pull", "never", f"{host}/other:1", "true", code=125, says="does not provide"
    )
    assert minirt.ok("ps", "-aq") == ""


def test_a_terminal_sees_bars_and_gets_its_cursor_back(minirt: Minirt, registry: Registry) -> None:
    registry.put(busybox(note("seen")), "seen:1")
    child, ours = minirt.terminal("pull", f"{registry.host}/seen:1")
    seen = b""
    while True:
        try:
            seen += os.read(ours, 1 << 16)
        except OSError:
            break
    os.close(ours)
    assert child.wait() == 0
    assert b"\x1b[?25l" in seen and seen.rindex(b"\x1b[?25h") > seen.rindex(b"Pull complete")
    assert seen.endswith(f"{registry.host}/seen:1\r\n".encode())
