# SPDX-License-Identifier: Apache-2.0
"""Manifests, indexes and configs made to deceive a pull (REG-14, IMG-20 to IMG-22, IMG-18, IMG-31): the twins of
tests/image/test_hostile_archives.py, by a registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from misbehaviour import body, headers
from pulling import SMALL, one, pulled, refused
from store import Store, names_in

import forge
import sample_images
from distribution import INDEX, MANIFEST
from hostile_registry import Hostile
from runner import Minirt, program

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OTHER = forge.tar(forge.entry("other", data=b"two"))
HERE = {"os": "linux", "architecture": sample_images.HERE}


def index(*listed: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(listed), **more}).encode()


def described(data: bytes, media_type: str = MANIFEST, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": forge.digest(data), "size": len(data), **more}


def test_reg_14_index_nested_a_thousand_deep(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-14: an index in an index …: refused after a few; one in one is as the specification allows."""
    one(hostile)
    manifest = hostile.manifests["mine", "1"][1]
    data, media_type = manifest, MANIFEST
    for depth in range(1000):
        data = index(described(data, media_type, platform=HERE))
        media_type = INDEX
        hostile.put_manifest("mine", f"deep{depth}", data, INDEX)
    refused(pulls, "pull", f"{hostile.host}/mine:deep999", says="index|nested|deep")
    store.empty()
    assert len(hostile.asked("GET /v2/mine/manifests/")) < 10
    pulled(pulls, f"{hostile.host}/mine:deep0")


def test_reg_14_index_that_points_to_itself(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-14: the index lists a digest under which the registry answers with that index again."""
    one(hostile)
    target = "sha256:" + "5" * 64
    loop = index({"mediaType": INDEX, "digest": target, "size": 500, "platform": HERE})
    loop += b" " * (500 - len(loop))
    hostile.put_manifest("mine", "loop", loop, INDEX)
    hostile.manifests["mine", target] = (INDEX, loop)
    refused(pulls, "pull", f"{hostile.host}/mine:loop", says="digest mismatch|index|nested|not sha256")
    store.empty()
    assert len(hostile.asked("GET /v2/mine/manifests/")) < 10
    pulled(pulls, f"{hostile.host}/mine:1")


def test_reg_14_index_of_very_many_platforms(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-14: 10^5 platforms are beyond the limit of a document's size; as many as fit are searched in order."""
    one(hostile)
    manifest = hostile.manifests["mine", "1"][1]
    other = {
        "mediaType": MANIFEST,
        "digest": "sha256:" + "1" * 64,
        "size": 2,
        "platform": {"os": "x", "architecture": "y"},
    }
    hostile.put_manifest("mine", "many", index(*[other] * 100_000), INDEX)
    refused(pulls, "pull", f"{hostile.host}/mine:many", says="limit")
    store.empty()
    hostile.put_manifest("mine", "some", index(*[other] * 20_000), INDEX)
    refused(pulls, "pull", f"{hostile.host}/mine:some", says="platform|limit|at most")
    store.empty()
    hostile.put_manifest("mine", "few", index(*[other] * 100, described(manifest, platform=HERE)), INDEX)
    pulled(pulls, f"{hostile.host}/mine:few")


def test_reg_14_manifest_of_very_many_layers(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-14's kin: ten thousand layers of nothing are refused before one of them is fetched."""
    one(hostile)
    manifest = json.loads(hostile.manifests["mine", "1"][1])
    manifest["layers"] = manifest["layers"] * 10_000
    hostile.put_manifest("mine", "1", json.dumps(manifest).encode())
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="layers|diff_ids|limit")
    store.empty()


DIGESTS = {
    "traversal": "sha256:../../../../../../tmp/x",
    "short": "sha256:ABC",
    "63 digits": "sha256:" + "a" * 63,
    "upper case": "sha256:" + "A" * 64,
    "md5": "md5:" + "a" * 32,
    "empty": "",
    "number": 7,
    "null": None,
    "newline": "sha256:" + "a" * 64 + "\n",
    "query": "sha256:" + "a" * 64 + "?x=",
    "a mebibyte": "sha256:" + "a" * (1 << 20),
}
PLACES = ("layer", "config", "diff_id", "index")


def with_digest(server: Hostile, place: str, value: Any) -> None:
    """Puts mine:1 with this digest in this place; everything else about it is true."""
    manifest_type, data = server.manifests["mine", "1"]
    manifest = json.loads(data)
    if place == "layer":
        manifest["layers"][0]["digest"] = value
    elif place == "config":
        manifest["config"]["digest"] = value
    elif place == "diff_id":
        config = json.loads(server.blobs[manifest["config"]["digest"]])
        config["rootfs"]["diff_ids"] = [value]
        changed = json.dumps(config).encode()
        manifest["config"] = described(changed, manifest["config"]["mediaType"])
        server.put_blob(changed, "mine")
    else:
        listed = {**described(data, platform=HERE), "digest": value}
        server.put_manifest("mine", "1", index(listed), INDEX)
        return
    server.put_manifest("mine", "1", json.dumps(manifest).encode(), manifest_type)


@pytest.mark.parametrize("value", DIGESTS.values(), ids=DIGESTS)
@pytest.mark.parametrize("place", PLACES)
def test_img_20_digests_that_are_none(pulls: Minirt, store: Store, hostile: Hostile, place: str, value: Any) -> None:
    """IMG-20 (CVE-2024-3727): refused before a path or a request is built from it."""
    files = one(hostile)
    with_digest(hostile, place, value)
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="digest|diff_id|sha256")
    store.empty()
    assert not [seen for seen in hostile.seen if ".." in seen.path or len(seen.path) > 300 or "\n" in seen.path]
    hostile.put(files, "mine:1")
    if place == "layer" and value == "":  # one control for each kind of place would be eleven times the same
        pulled(pulls, f"{hostile.host}/mine:1")


LIES: dict[str, Callable[[list[str]], list[str]]] = {
    "another": lambda found: ["sha256:" + "7" * 64, *found[1:]],
    "swapped": lambda found: found[::-1],
    "one too few": lambda found: found[:1],
    "one too many": lambda found: [*found, found[0]],
    "twice the first": lambda found: [found[0], found[0]],
    "none": lambda found: [],
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_img_21_diff_ids_that_lie(
    pulls: Minirt, store: Store, hostile: Hostile, lie: Callable[[list[str]], list[str]]
) -> None:
    """IMG-21 (CVE-2024-24557): refused, and no layer is kept under an id that it does not have."""
    files = one(hostile, SMALL, OTHER)
    manifest = json.loads(hostile.manifests["mine", "1"][1])
    config = json.loads(hostile.blobs[manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = lie(config["rootfs"]["diff_ids"])
    changed = json.dumps(config).encode()
    hostile.put_blob(changed, "mine")
    manifest["config"] = described(changed, manifest["config"]["mediaType"])
    hostile.put_manifest("mine", "1", json.dumps(manifest).encode())
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="diff_id|layers")
    store.empty()
    hostile.put(files, "mine:1")
    pulled(pulls, f"{hostile.host}/mine:1")


def test_img_21_a_stored_diff_id_claimed_for_other_content(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """IMG-21: the store has the layer whose id an image claims for another blob: the blob's own content decides."""
    one(hostile, SMALL)
    pulled(pulls, f"{hostile.host}/mine:1")
    before = store.snapshot()
    one(hostile, OTHER, name="evil:1")
    manifest = json.loads(hostile.manifests["evil", "1"][1])
    config = json.loads(hostile.blobs[manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = [forge.digest(SMALL)]
    config["config"]["Labels"] = {"another": "image"}
    changed = json.dumps(config).encode()
    hostile.put_blob(changed, "evil")
    manifest["config"] = described(changed, manifest["config"]["mediaType"])
    hostile.put_manifest("evil", "1", json.dumps(manifest).encode())
    refused(pulls, "pull", f"{hostile.host}/evil:1", says="digest mismatch|diff_id")
    assert store.snapshot() == before
    store.true()


AMBIGUOUS: dict[str, Any] = {
    "manifest with manifests": lambda found: {**found, "manifests": []},
    "manifest that says index": lambda found: {**found, "mediaType": INDEX},
    "manifest that says schema 1": lambda found: {**found, "schemaVersion": 1},
    "manifest that says nothing": lambda found: {"schemaVersion": 2},
    "twice the same key": lambda found: json.dumps(found)[:-1] + ', "layers": []}',
    "a list": lambda found: [found],
    "text": lambda found: "sha256:" + "a" * 64,
    "nothing": lambda found: None,
}


@pytest.mark.parametrize("change", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_img_22_documents_that_are_two_things(pulls: Minirt, store: Store, hostile: Hostile, change: Any) -> None:
    """IMG-22 (CVE-2021-41190): manifest and index at once, or neither: refused."""
    files = one(hostile)
    changed = change(json.loads(hostile.manifests["mine", "1"][1]))
    text = changed if isinstance(changed, str) and changed.startswith("{") else json.dumps(changed)
    hostile.put_manifest("mine", "1", text.encode())
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=".")
    store.empty()
    hostile.put(files, "mine:1")
    pulled(pulls, f"{hostile.host}/mine:1")


@pytest.mark.parametrize("told", [INDEX, DOCKER_LIST, "application/vnd.docker.distribution.manifest.v1+prettyjws"])
def test_img_22_content_type_that_contradicts(pulls: Minirt, store: Store, hostile: Hostile, told: str) -> None:
    """IMG-22: Content-Type and the document's own mediaType say different things: refused."""
    one(hostile)
    hostile.on("(GET|HEAD) /v2/mine/manifests/1", headers(Content_Type=told))
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="media type|mediaType|says that it is|schema")
    store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


def test_img_22_listed_as_one_answered_as_another(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """IMG-22: the index lists an index, what comes is a manifest."""
    one(hostile)
    data = hostile.manifests["mine", "1"][1]
    hostile.put_manifest("mine", "2", index(described(data, INDEX, platform=HERE)), INDEX)
    refused(pulls, "pull", f"{hostile.host}/mine:2", says="media type|mediaType|index|manifest")
    store.empty()


@pytest.mark.parametrize(
    "platform", [{"os": "linux", "architecture": "s390x"}, {"os": "../../x", "architecture": "\x1b[31m"}]
)
def test_img_31_other_platforms(pulls: Minirt, store: Store, hostile: Hostile, platform: dict[str, str]) -> None:
    """IMG-31: nothing here is for this machine: an error that says so, and no path or escape from its words."""
    one(hostile)
    data = hostile.manifests["mine", "1"][1]
    hostile.put_manifest("mine", "2", index(described(data, platform=platform)), INDEX)
    refused(pulls, "pull", f"{hostile.host}/mine:2", says="platform")
    store.empty()


def test_img_18_nothing_that_an_image_brings_is_executed(pulls: Minirt, hostile: Hostile) -> None:
    """IMG-18 (CVE-2014-9357): the layer has gzip, xz, tar, python3, sitecustomize.py and ld.so.preload; a pull starts
    no program and opens nothing of it for execution."""
    planted = ("bin/gzip", "bin/xz", "bin/tar", "bin/zstd", "usr/bin/python3", "bin/unpigz")
    layer = forge.tar(
        *(forge.entry(name, data=b"#!/bin/sh\ntouch /tmp/owned\n", mode=0o755) for name in planted),
        forge.entry("etc/ld.so.preload", data=b"/evil.so\n"),
        forge.entry("sitecustomize.py", data=b"open('/tmp/owned', 'w')\n"),
    )
    one(hostile, layer)
    note = Path(pulls.environment["HOME"]) / "calls"
    words = ["strace", "-f", "-qq", "-o", str(note), "-e", "trace=execve,execveat"]
    done = subprocess.run(
        [*words, *program(), "pull", f"{hostile.host}/mine:1"],
        env=pulls.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        cwd=pulls.environment["HOME"],
    )
    assert done.returncode == 0, done
    calls = [line for line in note.read_text().splitlines() if "exec" in line and " = 0" in line]
    assert calls, "the control: minirt itself was started"
    assert not [line for line in calls if str(pulls.root) in line.split("[")[0]]
    assert not [
        line for line in calls if line.split('"')[1].rpartition("/")[2] in ("gzip", "xz", "tar", "zstd", "unpigz")
    ]
    store = Store(pulls.root)
    assert names_in(pulls.root / "layers" / store.layers[0]) == ["bin", "etc", "sitecustomize.py", "usr"]


def test_a_manifest_replaced_by_anothers_config(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """IMG-22: the bytes of a config where a manifest is wanted."""
    one(hostile)
    manifest = json.loads(hostile.manifests["mine", "1"][1])
    hostile.on("(GET|HEAD) /v2/mine/manifests/1", body(hostile.blobs[manifest["config"]["digest"]]))
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=".")
    store.empty()
