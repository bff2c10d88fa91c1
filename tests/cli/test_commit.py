# SPDX-License-Identifier: Apache-2.0
"""commit: what a container has changed becomes a layer that minirt, umoci, skopeo and podman read alike."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

import runner
from departure import change, command, comparable, make_base, seen
from runner import Minirt
from test_unpack import described


@pytest.fixture
def changed(minirt: Minirt) -> Minirt:
    """A running container "changed" of the image base:1, in which everything that can change has changed."""
    make_base(minirt)
    minirt.ok("run", "-d", "--cap-add", "MKNOD", "--name", "changed", "base:1", "sleep", "1000")
    change(minirt, "changed")
    return minirt


def test_comes_out_as_the_container_was(changed: Minirt, tmp_path: Path) -> None:
    """Whiteouts, opaque directories, replaced directories, hard links, capabilities, devices, times: as umoci unpacks
    the image, and as a container of it sees them."""
    identity = changed.ok("commit", "changed", "made:1")
    assert changed.ok("images", "-q", "--no-trunc", "made:1") == identity
    changed.ok("kill", "changed")
    with seen(changed, "changed", tmp_path / "merged") as found:
        wanted = comparable(found)
    assert b"tree/renewed/c" in wanted and b"tree/renewed/a" not in wanted, "the control: there is something to compare"
    changed.ok("create", "--name", "again", "made:1", "true")
    with seen(changed, "again", tmp_path / "again") as found:
        assert comparable(found) == wanted
    changed.ok("save", "--format", "oci-dir", "-o", tmp_path / "oci", "made:1")
    command("umoci", "raw", "unpack", "--image", f"{tmp_path}/oci:1", tmp_path / "umoci")
    touched = [b"tree", b"tree/kept", b"tree/kept/below", b"tree/dir-to-link"]
    theirs = comparable(described(tmp_path / "umoci"))
    for path in touched:  # umoci touches the parents of what it removes
        theirs[path], wanted[path] = theirs[path][:3], wanted[path][:3]
    for found in (theirs, wanted):  # of two links one was removed: on a stack of layers the inode below keeps two
        found[b"tree/hard-2"] = found[b"tree/hard-2"][:4]
    assert theirs == wanted


def test_layer_of_nothing_but_what_changed(changed: Minirt, tmp_path: Path) -> None:
    """No mount point, no /etc/hosts, no volume's content, no mark for what never was below; the layers below stay."""
    data = tmp_path / "volume"
    data.mkdir()
    (data / "secret").write_text("in the volume")
    words = ["-v", f"{data}:/data", "-v", "/anonymous", "--tmpfs", "/scratch", "base:1", "sh", "-c"]
    script = """for place in data anonymous scratch; do echo x >/$place/x; done
        mkdir /new; touch /new/temporary; rm /new/temporary /tree/gone; touch /tree/untouched/.wh.sub"""
    changed.ok("run", "--name", "small", *words, script)
    result = changed("commit", "small", "small:1")
    assert ".wh.sub' is left out: in a layer such a name would hide another file" in result.stderr
    changed.ok("save", "-o", tmp_path / "archive", "small:1", "base:1")
    with tarfile.open(tmp_path / "archive") as archive:
        made, base = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert made["Layers"][:-1] == base["Layers"]
        layer = archive.extractfile(made["Layers"][-1])
        assert layer is not None
        with tarfile.open(fileobj=BytesIO(layer.read())) as inner:
            names = set(inner.getnames())
    assert names == {"anonymous", "data", "scratch", "new", "tree", "tree/.wh.gone", "tree/untouched"}
    config = json.loads(changed.ok("image", "inspect", "small:1"))[0]["Config"]
    assert config["Volumes"] == {"/anonymous": {}}


def test_nothing_changed_is_no_layer(minirt: Minirt) -> None:
    minirt.ok("run", "--name", "idle", "localhost/busybox", "true")
    minirt.ok("commit", "-m", "only words", "idle", "idle:1")
    before, after = (
        json.loads(minirt.ok("image", "inspect", name))[0]["RootFS"] for name in ("localhost/busybox", "idle:1")
    )
    assert before == after


def test_configuration(minirt: Minirt, tmp_path: Path) -> None:
    """What the image said, what run said on top, what -c says last; author, message and history."""
    minirt.ok("run", "--name", "one", "-e", "A=1", "-e", "B=2", "-l", "who=me", "-w", "/tmp", "-u", "1:1",
              "--stop-signal", "USR1", "--entrypoint", "sh", "localhost/busybox", "-c", "true")  # fmt: skip
    changes = ["ENV B=3 C=$A", "EXPOSE 80", "VOLUME /data", "ONBUILD RUN x", "HEALTHCHECK CMD true", "LABEL x=y"]
    words = [word for text in changes for word in ("-c", text)]
    minirt.ok("commit", "-a", "Ann <ann@example>", "-m", "second step", *words, "one", "localhost:5000/a/b:c")
    minirt.ok("save", "-o", tmp_path / "archive", "localhost:5000/a/b:c")
    with tarfile.open(tmp_path / "archive") as archive:
        (listed,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        whole = json.load(archive.extractfile(listed["Config"]))  # type: ignore[arg-type]
    assert listed["RepoTags"] == ["localhost:5000/a/b:c"]
    config = whole["config"]
    assert config.pop("Env")[-3:] == ["A=1", "B=3", "C=1"]
    assert config == {
        "Cmd": ["-c", "true"], "Entrypoint": ["sh"], "Labels": {"who": "me", "x": "y"}, "User": "1:1",
        "WorkingDir": "/tmp", "StopSignal": "SIGUSR1", "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}},
        "OnBuild": ["RUN x"], "Healthcheck": {"Test": ["CMD-SHELL", "true"]},
    }  # fmt: skip
    assert whole["author"] == "Ann <ann@example>" and whole["os"] == "linux"
    event = whole["history"][-1]
    assert event["comment"] == "second step" and event["author"] == whole["author"]
    assert event["created"] == whole["created"] > "2024"


def test_frozen_while_it_is_read_and_only_then(minirt: Minirt) -> None:
    """--pause, as is the default: two files that always grow one after the other agree in the image, although a
    thousand others stand between them. The control: with --pause=false they do not. What was paused stays so."""
    loop = "mkdir /m; for i in $(seq 1000); do echo $i >/m/$i; done; while :; do echo >>/a; echo >>/z; done"
    minirt.ok("run", "-d", "--name", "busy", "localhost/busybox", "sh", "-c", loop)
    runner.eventually(lambda: minirt("exec", "busy", "test", "-s", "/z").code == 0, 60)

    def difference(*options: str) -> int:
        identity = minirt.ok("commit", *options, "busy")
        first, _, last, *_ = minirt.ok("run", "--rm", identity, "wc", "-c", "/a", "/z").split()
        minirt.ok("exec", "busy", "true")
        return int(last) - int(first)

    assert [number for number in (difference() for _ in range(3)) if number not in (0, -1)] == []
    runner.eventually(lambda: difference("--pause=false") > 0)
    minirt.ok("pause", "busy")
    minirt.ok("commit", "busy", "paused:1")
    assert json.loads(minirt.ok("inspect", "busy"))[0]["State"]["Status"] == "paused"


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["nobody"], 1, "No such container: nobody"),
        (["one", "Upper"], 1, "must be lower case"),
        (["one", "a@sha256:" + "0" * 64], 1, "refusing to create a tag with a digest reference"),
        (["-c", "RUN rm -rf /", "one"], 1, "'RUN' is not a valid change command"),
        (["-c", "EXPOSE x", "one"], 1, "invalid containerPort: x"),
        ([], 1, "requires at least 1 argument"),
        (["one", "a", "b"], 1, "requires at most 2 arguments"),
        (["--pause=maybe", "one"], 125, "invalid argument"),
        (["bare", "x"], 1, "was made with --rootfs: there is no image to put a layer on"),
    ],
)
def test_misuse(minirt: Minirt, argv: list[str], code: int, says: str) -> None:
    minirt.ok("create", "--name", "one", "localhost/busybox", "true")
    minirt.ok("create", "--name", "bare", "--rootfs", minirt.rootfs, "true")
    errors = minirt.fails("commit", *argv, code=code, says=says)
    assert len(errors.splitlines()) <= 2
    assert minirt.ok("images", "-q", "--no-trunc").count("sha256:") == 1
    assert list((minirt.root / "staging").iterdir()) == []


def test_files_are_gone(minirt: Minirt) -> None:
    """Somebody removed what the container had changed: the error names it, and what to do."""
    identity = minirt.ok("create", "--name", "one", "localhost/busybox", "true")
    minirt.ok("commit", "one", "control:1")
    shutil.rmtree(minirt.root / "containers" / identity / "upper")
    errors = minirt.fails("commit", "one", "x:1", code=1, says="the files of container one are gone")
    assert errors.splitlines()[1:] == ["minirt rm one"]
    minirt.ok("rm", "one")


def stop_while_packing(minirt: Minirt, child: subprocess.Popen[bytes]) -> None:
    """Stops a commit in the middle: some of the layer is written, not yet all of it."""

    def begun() -> bool:
        return any(path.stat().st_size for path in (minirt.root / "staging").glob("*/made"))

    while not begun():
        assert child.poll() is None
    child.send_signal(signal.SIGSTOP)


def test_interrupted_thaws_and_leaves_nothing(minirt: Minirt) -> None:
    """SIGINT in the middle of packing a file that is too large to be quick: nothing staged, the container runs on."""
    minirt.ok("run", "-d", "--name", "large", "localhost/busybox", "sh", "-c",
              "dd if=/dev/urandom of=/large bs=1M count=120 2>/dev/null; touch /done; sleep 1000")  # fmt: skip
    runner.eventually(lambda: minirt("exec", "large", "test", "-e", "/done").code == 0, 60)
    child = minirt.start("commit", "large", "large:1")
    stop_while_packing(minirt, child)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGCONT)
    assert child.wait() == 130
    assert list((minirt.root / "staging").iterdir()) == []
    assert minirt("exec", "large", "true").code == 0
    assert "large" not in minirt.ok("images")


def test_killed_in_the_middle(minirt: Minirt) -> None:
    """SIGKILL while the container is frozen: ps shows it paused, unpause helps, and the next commit clears up."""
    script = "dd if=/dev/urandom of=/large bs=1M count=120 2>/dev/null; touch /done; sleep 1000"
    minirt.ok("run", "-d", "--name", "large", "localhost/busybox", "sh", "-c", script)
    runner.eventually(lambda: minirt("exec", "large", "test", "-e", "/done").code == 0, 60)
    child = minirt.start("commit", "large", "large:1")
    stop_while_packing(minirt, child)
    assert "(Paused)" in minirt.ok("ps", "-a")
    child.kill()
    child.wait()
    minirt.ok("unpause", "large")
    assert minirt("exec", "large", "true").code == 0
    assert "large" not in minirt.ok("images")
    minirt.ok("commit", "large", "large:1")
    assert list((minirt.root / "staging").iterdir()) == []


def test_full_store(minirt: Minirt, short_dir: Path) -> None:
    """ENOSPC in the store: one line, nothing staged, the container runs on; once there is room it works."""
    small = short_dir / "small"
    small.mkdir()
    command("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", small)
    place = ("--root", small, "--state", short_dir / "state")
    try:
        minirt.ok(*place, "run", "-d", "--name", "full", "localhost/busybox", "sleep", "1000")
        minirt.ok(*place, "exec", "full", "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=9")
        errors = minirt.fails(*place, "commit", "full", "full:1", code=1, says="No space left on device")
        assert len(errors.splitlines()) <= 2
        assert list((small / "staging").iterdir()) == [] and "full" not in minirt.ok(*place, "images")
        minirt.ok(*place, "exec", "full", "rm", "/large")
        minirt.ok(*place, "commit", "full", "full:1")
        assert minirt.ok(*place, "run", "--rm", "full:1", "echo", "works") == "works"
    finally:
        minirt.ok(*place, "rm", "-f", "full")
        command("umount", small)
