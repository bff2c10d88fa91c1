# SPDX-License-Identifier: Apache-2.0
"""Archives and documents made to deceive `load` (IMG-19 to IMG-22, IMG-30, IMG-31): refused, and nothing comes
in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forge
from forge import CHARACTER, LINK, SYMLINK, Forged, entry, tar
from minirt.errors import ImageError, InvalidValue, MinirtError, NotFound
from minirt.image import find, load, manifest

LAYER = tar(entry("f", data=b"x"))


@pytest.fixture
def scene(tmp_path: Path) -> forge.Scene:
    return forge.Scene(tmp_path)


def refused(scene: forge.Scene, data: bytes | Path, match: str = ".") -> MinirtError:
    """Loads it, as an archive or as a directory, and checks that nothing of it came in."""
    source = data if isinstance(data, Path) else scene.folder / "archive.tar"
    if isinstance(data, bytes):
        source.write_bytes(data)
    with pytest.raises(ImageError, match=match) as caught:
        load.load(str(scene.root), str(source))
    scene.nothing_came_in()
    return caught.value


def docker_archive(layers: list[str], config: str = "config.json", tags: list[str] | None = None) -> dict[str, bytes]:
    """What `docker save` would write, but for the names in manifest.json."""
    forged = Forged(LAYER)
    listed = [{"Config": config, "RepoTags": tags or ["x:y"], "Layers": layers}]
    return {
        "config.json": json.dumps(forged.config).encode(),
        "layer.tar": LAYER,
        "manifest.json": json.dumps(listed).encode(),
    }


def test_honest_archives_come_in(scene: forge.Scene) -> None:
    """The positive control of all below: the same documents, nothing changed."""
    (scene.folder / "archive1.tar").write_bytes(forge.archive(Forged(LAYER).files()))
    (scene.folder / "archive2.tar").write_bytes(forge.archive(docker_archive(["layer.tar"])))
    forge.write_directory(Forged(LAYER).files(), scene.folder / "directory")
    for name, known in (("archive1.tar", "forged"), ("archive2.tar", "x:y"), ("directory", "forged")):
        load.load(str(scene.root), str(scene.folder / name))
        image = find.find(str(scene.root), known)
        assert image.config == {"Cmd": ["sh"], "Env": ["A=b"]}
        assert (Path(image.layers[0]) / "f").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../../etc/shadow", "/etc/shadow", "./layer.tar/../layer.tar", "", ".", "nothing"])
def test_img_19_layer_that_is_no_member(scene: forge.Scene, name: str) -> None:
    """IMG-19 (CVE-2014-9356)."""
    refused(scene, forge.archive(docker_archive([name])))


@pytest.mark.parametrize("name", ["../../../../../etc/passwd", "/etc/passwd", "layer.tar"])
def test_img_19_config_that_is_no_member(scene: forge.Scene, name: str) -> None:
    """IMG-19: or that is no JSON."""
    refused(scene, forge.archive(docker_archive(["layer.tar"], config=name)))


@pytest.mark.parametrize("name", ["layer.tar", "config.json", "manifest.json"])
@pytest.mark.parametrize("kind", [SYMLINK, LINK])
@pytest.mark.parametrize("target", ["/etc/shadow", "../../../../../../../etc/shadow", "{victim}/hello"])
def test_img_19_member_that_is_a_link_to_the_host(scene: forge.Scene, name: str, kind: bytes, target: str) -> None:
    """IMG-19 (CVE-2014-9358): also manifest.json itself. A link means another member or nothing."""
    files = docker_archive(["layer.tar"])
    link = entry(name, kind, link=target.format(victim=scene.victim))
    refused(scene, tar(link, *(entry(other, data=data) for other, data in files.items() if other != name)))


def test_link_to_another_member_is_followed(scene: forge.Scene) -> None:
    """Docker's older archives: a layer that occurs twice is a symlink to ../<id>/layer.tar."""
    files = docker_archive(["b/layer.tar"])
    data = tar(
        entry("a/layer.tar", data=LAYER),
        entry("b/layer.tar", SYMLINK, link="../a/layer.tar"),
        *(entry(name, data=files[name]) for name in ("config.json", "manifest.json")),
    )
    (scene.folder / "archive.tar").write_bytes(data)
    assert load.load(str(scene.root), str(scene.folder / "archive.tar"))[0].names == ["docker.io/library/x:y"]


@pytest.mark.parametrize(
    "second", [entry("layer.tar", data=b"evil"), entry("./layer.tar", SYMLINK, link="config.json")]
)
def test_img_19_name_that_occurs_twice(scene: forge.Scene, second: bytes) -> None:
    files = docker_archive(["layer.tar"])
    data = tar(*(entry(name, data=content) for name, content in files.items()), second)
    refused(scene, data, "occurs twice")


@pytest.mark.parametrize("member", [entry("../x"), entry("/x"), entry("a//b"), entry("a/./b"), entry("x", CHARACTER)])
def test_img_19_member_of_an_odd_name_or_kind(scene: forge.Scene, member: bytes) -> None:
    files = docker_archive(["layer.tar"])
    refused(scene, tar(member, *(entry(name, data=content) for name, content in files.items())), "hostile archive")


@pytest.mark.parametrize(
    "tag", ["../../x:y", "x:../y", "X:y", "x:", "/x", "x@sha256:1", "a" * 300, "x y", "\x1b[31m", "x\n"]
)
def test_img_19_tag_that_is_no_reference(scene: forge.Scene, tag: str) -> None:
    """IMG-19: refused in both kinds of archive; control bytes do not reach the message."""
    for data in (docker_archive(["layer.tar"], tags=[tag]), Forged(LAYER, name=tag).files()):
        error = refused(scene, forge.archive(data), "name")
        assert error.message.isprintable()


@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blobs", "blobs/sha256", "manifest.json"])
def test_img_19_directory_with_a_symlink_in_it(scene: forge.Scene, name: str) -> None:
    """An OCI directory whose parts lead outside: not one symlink is followed."""
    elsewhere = forge.write_directory(Forged(LAYER).files(), scene.folder / "archive.elsewhere")
    path = forge.write_directory(Forged(LAYER).files(), scene.folder / "archive.directory")
    if name == "manifest.json":
        (elsewhere / name).write_bytes(b"[]")
    else:
        (path / name).rename(path / "moved")
    (path / name).symlink_to(elsewhere / name)
    if name == "manifest.json":
        load.load(str(scene.root), str(path))
    else:
        refused(scene, path)


def test_img_19_fifo_in_a_directory_does_not_block(scene: forge.Scene) -> None:
    path = forge.write_directory(Forged(LAYER).files(), scene.folder / "archive.directory")
    (path / "index.json").unlink()
    os.mkfifo(path / "index.json")
    refused(scene, path)


DIGESTS: list[Any] = [
    "sha256:../../../../tmp/x",
    "sha256:ABC",
    "sha256:" + "A" * 64,
    "sha256:" + "a" * 63,
    "sha256:" + "a" * 65,
    "sha256:" + "a" * 63 + "\n",
    "md5:" + "a" * 32,
    "sha512:" + "a" * 128,
    "",
    ":",
    "sha256",
    "sha256:",
    "sha256:" + "a" * (10 << 20),
    "sha256:" + "٣" * 64,
    None,
    7,
    ["sha256:" + "a" * 64],
]


def in_index(forged: Forged, digest: Any) -> None:
    forged.descriptor["digest"] = digest


def in_config(forged: Forged, digest: Any) -> None:
    forged.manifest["config"] = {
        "mediaType": manifest.OCI_CONFIG,
        "digest": digest,
        "size": 100,
    }


def in_layer(forged: Forged, digest: Any) -> None:
    forged.manifest["layers"][0]["digest"] = digest


def in_diff_ids(forged: Forged, digest: Any) -> None:
    forged.config["rootfs"]["diff_ids"][0] = digest


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda value: ascii(value)[:30])
@pytest.mark.parametrize("place", [in_index, in_config, in_layer, in_diff_ids])
def test_img_20_malformed_digest(scene: forge.Scene, place: Callable[[Forged, Any], None], digest: Any) -> None:
    """IMG-20 (CVE-2024-3727): in index, manifest, config and diff_ids, before a path is built from it."""
    forged = Forged(LAYER)
    place(forged, digest)
    refused(scene, forge.archive(forged.files()))


@pytest.mark.parametrize("digest", [digest for digest in DIGESTS if isinstance(digest, str) and digest])
def test_img_20_malformed_digest_on_the_command_line(scene: forge.Scene, digest: str) -> None:
    for text in (digest, f"busybox@{digest}"):
        with pytest.raises((InvalidValue, NotFound)):
            find.find(str(scene.root), text)
    scene.check()


def wrong_diff_id(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"][1] = forge.digest(b"other")


def swapped(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"].reverse()


def one_too_few(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"].pop()


def one_too_many(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"].append(forge.digest(b"other"))


def doubled(config: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"][1] = config["rootfs"]["diff_ids"][0]


@pytest.mark.parametrize("change", [wrong_diff_id, swapped, one_too_few, one_too_many, doubled])
def test_img_21_diff_ids_that_do_not_match(scene: forge.Scene, change: Callable[[dict[str, Any]], None]) -> None:
    """IMG-21 (CVE-2024-24557): in an OCI archive and in docker's."""
    forged = Forged(LAYER, tar(entry("g", data=b"y")))
    change(forged.config)
    refused(scene, forge.archive(forged.files()), "diff_id")
    files = docker_archive(["layer.tar", "second.tar"])
    files |= {"config.json": json.dumps(forged.config).encode(), "second.tar": tar(entry("g", data=b"y"))}
    refused(scene, forge.archive(files), "diff_id")


def test_img_21_poisoned_cache(scene: forge.Scene) -> None:
    """IMG-21: an image that claims a diff_id which the store has, for a blob of other content."""
    source = scene.folder / "archive.tar"
    source.write_bytes(forge.archive(Forged(LAYER, name="good:1").files()))
    load.load(str(scene.root), str(source))
    evil = Forged(tar(entry("f", data=b"evil")), name="evil:1")
    evil.config["rootfs"]["diff_ids"] = [forge.digest(LAYER)]
    source.write_bytes(forge.archive(evil.files()))
    with pytest.raises(ImageError, match="digest mismatch"):
        load.load(str(scene.root), str(source))
    assert [one.name for one in find.images(str(scene.root))] == ["docker.io/library/good:1"]
    scene.check()


def test_same_layer_twice_is_mounted_once(scene: forge.Scene) -> None:
    """What builders do with empty layers; overlayfs refuses one directory twice."""
    other = tar(entry("g", data=b"y"))
    (scene.folder / "archive.tar").write_bytes(forge.archive(Forged(LAYER, other, LAYER).files()))
    load.load(str(scene.root), str(scene.folder / "archive.tar"))
    found = [Path(path).name for path in find.find(str(scene.root), "forged").layers]
    assert found == [forge.digest(other)[7:], forge.digest(LAYER)[7:]]


def test_img_22_document_that_is_manifest_and_index(scene: forge.Scene) -> None:
    """IMG-22 (CVE-2021-41190)."""
    forged = Forged(LAYER)
    forged.manifest["manifests"] = []
    refused(scene, forge.archive(forged.files()), "at once")


@pytest.mark.parametrize("media_type", [manifest.OCI_INDEX, "text/plain", manifest.MANIFESTS[1]])
def test_img_22_media_type_that_contradicts(scene: forge.Scene, media_type: str) -> None:
    forged = Forged(LAYER)
    forged.manifest["mediaType"] = media_type
    refused(scene, forge.archive(forged.files()))
    forged = Forged(LAYER)
    forged.descriptor["mediaType"] = media_type
    refused(scene, forge.archive(forged.files()))


def test_img_22_indexes_without_end(scene: forge.Scene) -> None:
    """REG-14's twin for archives: an index in an index, five deep."""
    files = Forged(LAYER).files()
    inner: dict[str, Any] = json.loads(files["index.json"])["manifests"][0]
    for _ in range(5):
        data = json.dumps({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": [inner]}).encode()
        files["blobs/sha256/" + forge.digest(data)[7:]] = data
        inner = {"mediaType": manifest.OCI_INDEX, "digest": forge.digest(data), "size": len(data)}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode()
    refused(scene, forge.archive(files), "nested")


JSON = {
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"manifests":[],"schemaVersion":NaN}',
    "doubled key": b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}',
    "number of 5000 digits": b'{"schemaVersion":' + b"2" * 5000 + b"}",
    "lone surrogate": b'{"schemaVersion":2,"manifests":[],"x":"\\ud800"}',
    "byte-order mark": b"\xef\xbb\xbf{}",
    "not UTF-8": b'{"x":"\xff"}',
    "UTF-16": '{"schemaVersion":2}'.encode("utf-16"),
    "empty": b"",
    "a list": b"[]",
    "two values": b"{}{}",
    "5 MiB": b'{"x":"' + b"x" * (5 << 20) + b'"}',
    "cut short": b'{"schemaVersion":2,"manif',
    "manifests that is a string": b'{"schemaVersion":2,"manifests":"x"}',
    "ten thousand manifests": b'{"schemaVersion":2,"manifests":[' + b"{}," * 9999 + b"{}]}",
}


@pytest.mark.parametrize("case", JSON)
def test_img_30_hostile_json(scene: forge.Scene, case: str) -> None:
    """IMG-30 (CVE-2021-21285): as index.json, as manifest.json, as a config."""
    files = Forged(LAYER).files()
    refused(scene, forge.archive({**files, "index.json": JSON[case]}))
    refused(scene, forge.archive({**docker_archive(["layer.tar"]), "manifest.json": JSON[case]}))
    refused(scene, forge.archive({**docker_archive(["layer.tar"]), "config.json": JSON[case]}))


CONFIGS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no rootfs": lambda config: config.pop("rootfs"),
    "diff_ids is an object": lambda config: config["rootfs"].update(diff_ids={}),
    "501 layers": lambda config: config["rootfs"].update(diff_ids=["sha256:" + "a" * 64] * 501),
    "another os": lambda config: config.update(os="../../x"),
    "windows": lambda config: config.update(os="windows"),
    "Env is a string": lambda config: config["config"].update(Env="A=b"),
    "Env without a name": lambda config: config["config"].update(Env=["=x"]),
    "NUL in Cmd": lambda config: config["config"].update(Cmd=["a\0b"]),
    "NUL in User": lambda config: config["config"].update(User="0\0"),
    "Cmd of numbers": lambda config: config["config"].update(Cmd=[1]),
    "Labels of lists": lambda config: config["config"].update(Labels={"a": []}),
    "Volumes is a list": lambda config: config["config"].update(Volumes=["/"]),
    "config is a list": lambda config: config.update(config=[]),
    "created is a number": lambda config: config.update(created=7),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_img_30_config_of_the_wrong_shape(scene: forge.Scene, case: str) -> None:
    forged = Forged(LAYER)
    CONFIGS[case](forged.config)
    refused(scene, forge.archive(forged.files()), "image config")


def test_null_is_no_word(scene: forge.Scene) -> None:
    """Go, and so Docker, reads null as a member that is not there."""
    forged = Forged(LAYER)
    forged.config.update(created=None, author=None, variant=None)
    (scene.folder / "archive.tar").write_bytes(forge.archive(forged.files()))
    loaded = load.load(str(scene.root), str(scene.folder / "archive.tar"))
    assert [one.created for one in find.images(str(scene.root)) if one.id == loaded[0].id] == [""]


def test_img_31_image_for_another_machine_is_not_chosen(scene: forge.Scene) -> None:
    """Where there is a choice. A single one can be looked at, or sent on: tests/cli/test_save.py."""
    forged = Forged(LAYER)
    files = forged.files()
    whole = json.loads(files["index.json"])
    whole["manifests"] = [
        {**whole["manifests"][0], "platform": {"os": "linux", "architecture": name}} for name in ("s390x", "ppc64le")
    ]
    refused(scene, forge.archive({**files, "index.json": json.dumps(whole).encode()}), "no image for linux/")


@pytest.mark.parametrize("data", [b"", b"x", bytes(10_000), b"\x1f\x8b", os.urandom(2000), b"PK\3\4" + bytes(600)])
def test_not_an_archive(scene: forge.Scene, data: bytes) -> None:
    refused(scene, data)


def test_no_such_file(scene: forge.Scene) -> None:
    with pytest.raises(NotFound, match="no such file"):
        load.load(str(scene.root), str(scene.folder / "absent.tar"))
    scene.check()


@pytest.mark.parametrize("keep", [100, 600, 2000, -1100])
def test_truncated_archive(scene: forge.Scene, keep: int) -> None:
    refused(scene, forge.archive(Forged(LAYER, tar(entry("g", data=os.urandom(9000)))).files())[:keep])
