# SPDX-License-Identifier: Apache-2.0
"""save: what it writes is read by skopeo, umoci and podman, and comes back with the same digests; load's words."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge
import runner
import sample_images
from departure import change, command, comparable, digests, make_base, on_terminal, seen
from runner import Minirt
from test_unpack import described

FORMATS = ("docker-archive", "oci-archive", "oci-dir")


@pytest.fixture
def stocked(minirt: Minirt) -> Minirt:
    """Images base:1 and made:1 (one layer more, from the container "changed", which is stopped), made:2 the same."""
    make_base(minirt)
    minirt.ok("run", "-d", "--cap-add", "MKNOD", "--name", "changed", "base:1", "sleep", "1000")
    change(minirt, "changed")
    minirt.ok("kill", "changed")
    minirt.ok("commit", "-c", 'CMD ["cat", "/tree/renewed/c"]', "changed", "made:1")
    minirt.ok("commit", "-c", 'CMD ["true"]', "changed", "localhost:5000/made:2")
    return minirt


@pytest.fixture
def podman(short_dir: Path) -> Iterator[list[str]]:
    """podman with a store of its own that is gone afterwards."""
    words = ["podman", "--root", str(short_dir / "p"), "--runroot", str(short_dir / "pr"), "--storage-driver", "vfs",
             "--tmpdir", str(short_dir / "pt")]  # fmt: skip
    yield words
    subprocess.run([*words, "rmi", "-af"], capture_output=True)


@pytest.fixture
def docker(short_dir: Path) -> Iterator[list[str]]:
    """A dockerd of this test's own, without a network and with mounts that nobody else sees."""
    home = short_dir / "d"
    home.mkdir()
    options = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid", "--bridge=none"]
    options += [f"--host=unix://{home}/sock", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    with open(home / "log", "w") as log:
        daemon = subprocess.Popen(
            ["unshare", "-m", "-n", "/usr/sbin/dockerd", *options, "--storage-driver=overlay2"], stdout=log, stderr=log
        )
    client = ["docker", "--config", str(home), "-H", f"unix://{home}/sock"]
    try:
        runner.eventually(lambda: subprocess.run([*client, "version"], capture_output=True).returncode == 0, 60)
        yield client
    finally:
        daemon.terminate()
        daemon.wait(30)


def test_docker_loads_it_and_we_load_dockers(stocked: Minirt, docker: list[str], short_dir: Path) -> None:
    """There and back: the ids are the same, and the tree that docker exports is the container's."""
    archive = short_dir / "x.tar"
    stocked.ok("save", "-o", archive, "base:1", "made:1", "localhost:5000/made:2")
    loaded = command(*docker, "load", "-i", archive)
    assert loaded.split() == "Loaded image: base:1 Loaded image: made:1 Loaded image: localhost:5000/made:2".split()
    container = command(*docker, "create", "made:1").strip()
    command(*docker, "export", "-o", short_dir / "tree.tar", container)
    (short_dir / "tree").mkdir()
    command(
        "tar",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "-xpf",
        short_dir / "tree.tar",
        "-C",
        short_dir / "tree",
    )
    with seen(stocked, "changed", short_dir / "merged") as merged:
        found = described(short_dir / "tree")
        for path, (mode, uid, gid, _, content, xattrs) in merged.items():
            if path.startswith(b"tree/"):
                size = 1 if path == b"tree/hard-2" else 3
                kept = {key: value for key, value in xattrs.items() if key == "security.capability"}
                theirs = found[path]
                assert theirs[:3] == (mode, uid, gid), path
                assert theirs[5] == kept, path
                assert theirs[4] == content or theirs[4][:size] == content[:size], path
    command(*docker, "save", "-o", archive, "made:1", "base:1")
    other = ("--root", short_dir / "other", "--state", short_dir / "other-state")
    ours_now = stocked.ok(*other, "load", "-i", archive).splitlines()  # docker writes them in no certain order
    assert sorted(ours_now) == [
        "Loaded image: base:1",
        "Loaded image: made:1",
    ]
    for name in ("made:1", "base:1"):
        listing = ("images", "-q", "--no-trunc", name)
        ours = stocked.ok(*listing)
        assert stocked.ok(*other, *listing) == ours == command(*docker, "images", "-q", "--no-trunc", name).strip()


def test_podman_loads_it(stocked: Minirt, podman: list[str], short_dir: Path) -> None:
    """Several images and names in one archive; the tree that podman mounts is the container's."""
    archive = short_dir / "x.tar"
    stocked.ok("save", "-o", archive, "base:1", "made:1", "localhost:5000/made:2")
    loaded = command(*podman, "load", "-i", archive)
    for name in ("docker.io/library/base:1", "docker.io/library/made:1", "localhost:5000/made:2"):
        assert name in loaded, loaded
        theirs = command(*podman, "inspect", "--type", "image", "--format", "{{.Id}}", name).strip()
        assert stocked.ok("images", "-q", "--no-trunc", name) == f"sha256:{theirs}"
    where = Path(command(*podman, "image", "mount", "made:1").strip())
    found = comparable(described(where))
    command(*podman, "image", "unmount", "made:1")
    with seen(stocked, "changed", short_dir / "merged") as merged:
        wanted = comparable(merged)
    for path in (b"tree", b"tree/kept", b"tree/kept/below", b"tree/dir-to-link"):  # it touches them after a whiteout
        found[path], wanted[path] = found[path][:3], wanted[path][:3]
    for both in (found, wanted):
        both[b"tree/hard-2"] = both[b"tree/hard-2"][:4]
    assert found == wanted
    stocked.ok("save", "--format", "oci-archive", "-o", archive, "made:1")
    assert "made:1" in command(*podman, "load", "-i", archive)


def test_skopeo_and_umoci_read_it(stocked: Minirt, tmp_path: Path) -> None:
    """One file is a docker archive and an OCI archive at once; digests are the store's in each form."""
    archive, folder = tmp_path / "x.tar", tmp_path / "oci"
    stocked.ok("save", "-o", archive, "made:1", "base:1", "localhost:5000/made:2")
    stocked.ok("save", "--format", "oci-dir", "-o", folder, "made:1", "base:1")
    for source in (f"docker-archive:{archive}:made:1", f"docker-archive:{archive}:localhost:5000/made:2",
                   f"oci-archive:{archive}:2", f"oci:{folder}:docker.io/library/made:1"):  # fmt: skip
        about = json.loads(command("skopeo", "inspect", source))
        assert len(about["Layers"]) == 3
    assert about["Digest"] == digests(stocked.root)["docker.io/library/made:1"]
    command("skopeo", "copy", "-q", f"docker-archive:{archive}:made:1", f"dir:{tmp_path}/dir")
    ours = stocked.ok("images", "-q", "--no-trunc", "made:1").removeprefix("sha256:")
    assert (tmp_path / "dir" / ours).exists(), "the configuration, and so the image's id, is the same"
    command("skopeo", "copy", "-q", f"docker-archive:{archive}:made:1", f"oci:{tmp_path}/copy:x")
    command("umoci", "raw", "unpack", "--image", f"{tmp_path}/copy:x", tmp_path / "tree")
    assert (tmp_path / "tree/tree/renewed/c").read_text() == "c\n"
    assert command("umoci", "stat", "--image", f"{tmp_path}/copy:x", "--json")


@pytest.mark.parametrize("form", FORMATS)
def test_save_and_load_keep_every_digest(stocked: Minirt, tmp_path: Path, form: str) -> None:
    target = tmp_path / "x"
    stocked.ok("save", "--format", form, "-o", target, "made:1", "localhost:5000/made:2", "made")
    other = ("--root", tmp_path / "root", "--state", tmp_path / "state")
    assert stocked.ok(*other, "load", "-i", target).splitlines() == [
        "Loaded image: made:1", "Loaded image: localhost:5000/made:2",
    ]  # fmt: skip
    ours, theirs = digests(stocked.root), digests(tmp_path / "root")
    assert theirs == {name: digest for name, digest in ours.items() if "made" in name} and len(theirs) == 2
    listing = ("images", "-q", "--no-trunc", "made:1")
    assert stocked.ok(*listing) == stocked.ok(*other, *listing) != ""
    for blob in (tmp_path / "root/images/blobs/sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    again = tmp_path / "again"
    stocked.ok(*other, "save", "--format", form, "-o", again, "made:1", "localhost:5000/made:2")
    if form != "oci-dir":
        assert again.read_bytes() == target.read_bytes()


def test_what_is_in_a_docker_archive(stocked: Minirt, tmp_path: Path) -> None:
    """Each blob once, by its digest; a name for what was asked for by name, none for what was asked for by id."""
    identity = stocked.ok("images", "-q", "--no-trunc", "base:1")
    data = subprocess.run(
        [*runner.program(), "save", identity, "made"], env=stocked.environment, capture_output=True, check=True
    ).stdout
    (tmp_path / "x.tar").write_bytes(data)
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = archive.getnames()
        files = {name: archive.extractfile(name) for name in names if archive.getmember(name).isfile()}
        read = {name: file.read() for name, file in files.items() if file is not None}
    assert len(names) == len(set(names))
    for name in read:
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(read[name]).hexdigest() == name.rpartition("/")[2]
    first, second = json.loads(read["manifest.json"])
    assert first["RepoTags"] is None and second["RepoTags"] == ["docker.io/library/made:1"]
    assert {*first["Layers"], *second["Layers"], first["Config"], second["Config"]} <= set(names)
    annotations = [one.get("annotations") for one in json.loads(read["index.json"])["manifests"]]
    assert annotations == [
        None,
        {"io.containerd.image.name": "docker.io/library/made:1", "org.opencontainers.image.ref.name": "1"},
    ]


def test_misuse(minirt: Minirt, tmp_path: Path) -> None:
    minirt.ok("create", "--name", "x1", "localhost/busybox", "true")
    name, out = "localhost/busybox", tmp_path / "out"
    out.mkdir()
    minirt.fails("save", "nobody", code=1, says="no such image: nobody")
    minirt.fails("save", "-o", out / "x", name, "nobody", code=1, says="no such image: nobody")
    minirt.fails("save", "--format", "zip", "-o", out / "x", name, code=125, says='unsupported format "zip"')
    minirt.fails("save", "--format", "oci-dir", name, code=125, says="needs -o")
    minirt.fails("save", "-o", out, name, code=1, says="is a directory")
    minirt.fails("save", "-o", out / "a/b", name, code=1, says="does not exist")
    minirt.fails("save", "-o", "/dev/null", name, code=1, says="must be a regular file")
    minirt.fails("save", code=1, says="requires at least 1 argument")
    (out / "full").mkdir()
    (out / "full/x").touch()
    minirt.fails("save", "--format", "oci-dir", "-o", out / "full", name, code=1, says="is not an empty directory")
    (out / "full/x").unlink()
    code, shown = on_terminal(minirt, "save", name)
    assert code == 1 and "cowardly refusing to save to a terminal. Use the -o flag or redirect" in shown
    with open("/dev/full", "wb") as full:
        minirt.fails("save", name, code=1, says="No space left on device", stdout=full)
    child = minirt.start("save", name)
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait() == 141
    assert [path.name for path in out.iterdir()] == ["full"] and not list((out / "full").iterdir())
    minirt.ok("save", "--format", "oci-dir", "-o", out / "full", name)
    minirt.ok("save", "-o", out / "x.tar", name)
    assert stat.S_IMODE((out / "x.tar").stat().st_mode) == 0o600
    minirt.fails("image", "save", "-o", "", name, "nobody", code=1)


def test_full_disk(minirt: Minirt, tmp_path: Path) -> None:
    """ENOSPC in the middle: one line, and what was there before is still there, alone."""
    small = tmp_path / "small"
    small.mkdir()
    minirt.ok("create", "--name", "x1", "localhost/busybox", "true")
    command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small)
    try:
        (small / "x.tar").write_bytes(b"before")
        attempts: list[list[str | Path]] = [
            ["save", "-o", small / "x.tar", "localhost/busybox"],
            ["export", "-o", small / "x.tar", "x1"],
            ["save", "--format", "oci-dir", "-o", small / "dir", "localhost/busybox"],
        ]
        for words in attempts:
            errors = minirt.fails(*words, code=1, says="No space left on device")
            assert len(errors.splitlines()) <= 2
            assert [path.name for path in small.iterdir()] == ["x.tar"]
            assert (small / "x.tar").read_bytes() == b"before"
    finally:
        command("umount", small)


def test_damaged_blob_is_not_passed_on(stocked: Minirt, tmp_path: Path) -> None:
    """REG-01 turned round: a bit that flipped in the store is found out by save, and nothing is written."""
    folder = stocked.root / "images/blobs/sha256"
    largest = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    stocked.fails("save", "-o", tmp_path / "x.tar", "made:1", code=1, says="digest mismatch")
    largest.unlink()
    stocked.fails("save", "-o", tmp_path / "x.tar", "made:1", code=1, says="the store has no blob")
    assert list(tmp_path.iterdir()) == []


def test_load_says_what_it_loaded(stocked: Minirt, tmp_path: Path) -> None:
    """Docker's words: a name, an id for what has none, and what became of another image of that name."""
    identity = stocked.ok("images", "-q", "--no-trunc", "made:1")
    stocked.ok("save", "-o", tmp_path / "x.tar", identity)
    other = ("--root", tmp_path / "root", "--state", tmp_path / "state")
    assert stocked.ok(*other, "load", "-i", tmp_path / "x.tar") == f"Loaded image ID: {identity}"
    stocked.fails("load", "-i", tmp_path / "none.tar", code=1, says="no such file")
    stocked.ok("save", "-o", tmp_path / "named.tar", "made:1")
    stocked.ok("commit", "-m", "another", "changed", "made:1")
    other_id = stocked.ok("images", "-q", "--no-trunc", "made:1")
    assert stocked.ok("load", "-q", "-i", tmp_path / "named.tar").splitlines() == [
        f"The image made:1 already exists, renaming the old one with ID {other_id} to empty string",
        "Loaded image: made:1",
    ]
    assert stocked.ok("load", "-i", tmp_path / "named.tar") == "Loaded image: made:1"


def test_load_of_another_platform(minirt: Minirt, tmp_path: Path) -> None:
    """One name, two platforms: this machine's by default, the other when it is asked for, none where there is none."""
    here, other = (
        sample_images.image(forge.tar(forge.entry(name)), platform=f"linux/{name}") for name in ("amd64", "arm64")
    )
    files = sample_images.index(here, other)
    whole = json.loads(files["index.json"])
    for one in whole["manifests"]:
        one["annotations"] = {"org.opencontainers.image.ref.name": "both:1"}
    (tmp_path / "x.tar").write_bytes(forge.archive({**files, "index.json": json.dumps(whole).encode()}))
    for words, architecture in (
        ([], sample_images.HERE),
        (["--platform", "linux/arm64/v8"], "arm64"),
        (["--platform", "amd64"], "amd64"),
    ):
        assert minirt.ok("load", *words, "-i", tmp_path / "x.tar").splitlines()[-1] == "Loaded image: both:1"
        assert json.loads(minirt.ok("image", "inspect", "both:1"))[0]["Architecture"] == architecture
    minirt.fails("load", "--platform", "linux/s390x", "-i", tmp_path / "x.tar", code=1, says="no image for linux/s390x")
    minirt.fails("load", "--platform", "a/b/c/d", "-i", tmp_path / "x.tar", code=1, says="invalid OS-architecture")
    (tmp_path / "d.tar").write_bytes(forge.archive({
        "manifest.json": b'[{"Config": "c", "RepoTags": ["old:1"], "Layers": []}]',
        "c": b'{"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}',
    }))  # fmt: skip
    says = "does not provide the specified platform (linux/amd64)"
    minirt.fails("load", "--platform", "linux/amd64", "-i", tmp_path / "d.tar", code=1, says=says)
    assert minirt.ok("load", "-i", tmp_path / "d.tar") == "Loaded image: old:1"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_image_for_another_machine_comes_back(minirt: Minirt, tmp_path: Path, form: str) -> None:
    """It was pulled without a word of its platform, so a save and a load must not lose it, alone or beside another."""
    for name in ("amd64", "arm64"):
        made = sample_images.image(forge.tar(forge.entry(name)), platform=f"linux/{name}")
        whole = json.loads(made["index.json"])
        whole["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": f"of-{name}:1"}
        (tmp_path / "x.tar").write_bytes(forge.archive({**made, "index.json": json.dumps(whole).encode()}))
        assert minirt.ok("load", "-i", tmp_path / "x.tar") == f"Loaded image: of-{name}:1"
    saved = {"one": ["of-arm64:1"], "both": ["of-amd64:1", "of-arm64:1"]}
    for name, images in saved.items():
        minirt.ok("save", "--format", form, "-o", tmp_path / f"{name}.tar", *images)
    minirt.ok("rmi", "of-amd64:1", "of-arm64:1")
    for name, images in saved.items():
        loaded = minirt.ok("load", "-i", tmp_path / f"{name}.tar").splitlines()
        assert sorted(loaded) == [f"Loaded image: {image}" for image in images]
        assert json.loads(minirt.ok("image", "inspect", "of-arm64:1"))[0]["Architecture"] == "arm64"
        minirt.ok("rmi", *images)
