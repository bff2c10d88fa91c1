# SPDX-License-Identifier: Apache-2.0
"""export gives what the container sees, import makes an image of it; neither is fooled, and neither leaves a mess."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

import runner
from departure import change, comparable, make_base, on_terminal, seen
from runner import Minirt
from test_unpack import described

LISTING = """cd /; find bin etc/passwd home root tmp tree usr var -xdev | sort | while read -r name; do
stat -c '%A %u %g %Y %h %N' "$name"; test -f "$name" && test ! -L "$name" && sha256sum "$name"; done; true"""


@pytest.fixture
def changed(minirt: Minirt) -> Minirt:
    """A running container "changed"; see change()."""
    make_base(minirt)
    words = ["run", "-d", "--cap-add", "MKNOD", "--name", "changed", "-v", "/tree/volume", "base:1", "sleep", "1000"]
    minirt.ok(*words)
    change(minirt, "changed")
    minirt.ok("exec", "changed", "sh", "-c", "echo x >/tree/volume/not-exported")
    return minirt


def extracted(archive: Path, target: Path) -> Path:
    target.mkdir()
    words = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", archive, "-C", target]
    subprocess.run([str(word) for word in words], check=True)
    return target


def test_archive_is_what_the_container_sees(changed: Minirt, tmp_path: Path) -> None:
    """Running and stopped alike: every entry by owner, mode, time, links and hash, as find and sha256sum inside say;
    volumes, /proc and /dev are empty."""
    inside = changed.ok("exec", "changed", "sh", "-c", LISTING)
    changed.ok("export", "-o", tmp_path / "running.tar", "changed")
    data = subprocess.run(
        [*runner.program(), "export", "changed"], env=changed.environment, capture_output=True, check=True
    ).stdout
    assert data == (tmp_path / "running.tar").read_bytes(), "a file and a pipe get the same bytes"
    changed.ok("kill", "changed")
    changed.ok("export", "-o", tmp_path / "stopped.tar", "changed")
    assert data == (tmp_path / "stopped.tar").read_bytes(), "running and stopped are the same"
    tree = extracted(tmp_path / "stopped.tar", tmp_path / "out")
    with seen(changed, "changed", tmp_path / "merged") as merged:
        found = comparable(described(tree))
        wanted = comparable(merged)
    for both in (found, wanted):  # of two links one was removed: on a stack of layers the inode below keeps two
        both[b"tree/hard-2"] = both[b"tree/hard-2"][:4]
    assert found == wanted
    assert [list((tree / name).iterdir()) for name in ("proc", "dev", "sys", "tree/volume")] == [[], [], [], []]
    assert "tree/renewed/c" in inside and inside.count("\n") > 100
    for line in inside.splitlines():
        if len(line) > 66 and line[64:66] == "  " and "/" in line:
            name = line[66:]
            assert hashlib.sha256((tree / name).read_bytes()).hexdigest() == line[:64], name


def test_import_runs(changed: Minirt) -> None:
    """What was exported runs again with the configuration that -c gives it, under the name and with the message."""
    program = runner.program()
    export = subprocess.Popen([*program, "export", "changed"], env=changed.environment, stdout=subprocess.PIPE)
    words = ["-m", "moved", "-c", 'CMD ["cat", "/tree/renewed/c"]', "-c", "ENV X=1", "-", "back:1"]
    identity = changed.ok("import", *words, stdin=export.stdout)
    assert export.stdout is not None
    export.stdout.close()
    assert export.wait() == 0
    assert changed.ok("run", "--rm", "back:1") == "c"
    about = json.loads(changed.ok("image", "inspect", "back:1"))[0]
    assert about["Id"] == identity and about["Config"]["Env"] == ["X=1"] and len(about["RootFS"]["Layers"]) == 1
    assert changed.ok("run", "--rm", "back:1", "sh", "-c", "stat -c %a /tree/renewed").endswith("2750")


COMPRESSORS = {
    "plain": ["cat"],
    "gzip": ["gzip", "-c"],
    "zstd": ["zstd", "-qc"],
    "xz": ["xz", "-c"],
    "bzip2": ["bzip2", "-c"],
}


def test_import_of_every_compression(minirt: Minirt, tmp_path: Path) -> None:
    """The same tree however it is packed; what OCI allows as a layer is kept byte for byte."""
    subprocess.run(["tar", "-C", str(minirt.rootfs), "-cf", str(tmp_path / "plain"), "."], check=True)
    plain = (tmp_path / "plain").read_bytes()
    layers = set()
    for name, words in COMPRESSORS.items():
        data = subprocess.run(words, input=plain, capture_output=True, check=True).stdout
        (tmp_path / f"x.{name}").write_bytes(data)
        minirt.ok("import", tmp_path / f"x.{name}", f"from-{name}")
        layers.add(json.dumps(json.loads(minirt.ok("image", "inspect", f"from-{name}"))[0]["RootFS"]))
        if name in ("gzip", "zstd"):
            assert (minirt.root / "images/blobs/sha256" / hashlib.sha256(data).hexdigest()).read_bytes() == data
    assert len(layers) == 1
    assert minirt.ok("run", "--rm", "from-xz", "/bin/busybox", "echo", "runs") == "runs"
    minirt.ok("import", "--platform", "linux/arm64/v8", tmp_path / "x.gzip", "other")
    assert json.loads(minirt.ok("image", "inspect", "other"))[0]["Architecture"] == "arm64"


@pytest.mark.parametrize(
    ("argv", "data", "code", "says"),
    [
        (["/nowhere"], b"", 1, "open /nowhere: no such file or directory"),
        (["/"], b"", 1, "Is a directory"),
        (["https://example.com/x.tar", "x"], b"", 1, "import does not fetch a URL"),
        (["-"], b"", 1, "the archive is empty"),
        (["-"], b"no archive at all " * 100, 1, "not a tar archive"),
        (["-"], gzip.compress(b"no archive at all " * 100, mtime=0), 1, "header"),
        (["-"], gzip.compress(bytes(10240), mtime=0)[:-9], 1, "truncated"),
        (["-", "Upper"], b"", 1, "must be lower case"),
        (["-", "a@sha256:" + "0" * 64], b"", 1, "digest reference"),
        (["-c", "COPY a b", "-"], b"", 1, "'COPY' is not a valid change command"),
        (["--platform", "windows/amd64", "-"], b"", 1, "unknown platform"),
        (["--platform", "../x", "-"], b"", 1, "unknown platform"),
        ([], b"", 1, "requires at least 1 argument"),
    ],
)
def test_import_misuse(minirt: Minirt, argv: list[str], data: bytes, code: int, says: str) -> None:
    errors = minirt.fails("import", *argv, code=code, says=says, input=data)
    assert len(errors.splitlines()) <= 2
    assert minirt.ok("images", "-q") == ""
    for name in ("staging", "layers", "images/blobs/sha256"):
        assert not (minirt.root / name).exists() or list((minirt.root / name).iterdir()) == []


def test_export_misuse(minirt: Minirt, tmp_path: Path) -> None:
    minirt.ok("create", "--name", "one", "localhost/busybox", "true")
    before = sorted(tmp_path.iterdir())
    minirt.fails("export", "nobody", code=1, says="No such container: nobody")
    minirt.fails("export", "-o", tmp_path / "no/such/x.tar", "one", code=1, says="does not exist")
    minirt.fails("export", "-o", tmp_path, "one", code=1, says="is a directory")
    minirt.fails("export", "-o", "/dev/null", "one", code=1, says="must be a regular file")
    minirt.fails("export", "-o", "/proc/x", "one", code=1, says="cannot write")
    minirt.fails("export", "-o", tmp_path / "x.tar", "nobody", code=1, says="No such container")
    minirt.fails("export", code=1, says="requires 1 argument")
    code, shown = on_terminal(minirt, "export", "one")
    assert code == 1 and "cowardly refusing to save to a terminal. Use the -o flag or redirect" in shown
    with open("/dev/full", "wb") as full:
        minirt.fails("export", "one", code=1, says="No space left on device", stdout=full)
    child = minirt.start("export", "one")
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait() == 141
    assert sorted(tmp_path.iterdir()) == before, "nothing half-written"


@pytest.mark.parametrize("option", ["", ":O"])
def test_root_directory_of_the_users(minirt: Minirt, tmp_path: Path, option: str) -> None:
    """--rootfs DIR and DIR:O, running and stopped: what the container sees, and nothing that is mounted in it."""
    minirt.ok(
        "run", "-d", "--name", "bare", "--rootfs", f"{minirt.rootfs}{option}", "sh", "-c", "echo x >/made; sleep 1000"
    )
    runner.eventually(lambda: minirt("exec", "bare", "test", "-s", "/made").code == 0)
    for state in ("running", "stopped"):
        minirt.ok("export", "-o", tmp_path / state, "bare")
        with tarfile.open(tmp_path / state) as archive:
            names = archive.getnames()
        assert "made" in names and "bin/busybox" in names and not any(name.startswith("proc/") for name in names)
        if state == "running":
            minirt.ok("kill", "bare")


def test_killed_in_the_middle_leaves_no_file(minirt: Minirt, tmp_path: Path) -> None:
    """Not even SIGKILL leaves half an archive behind; what was there before stays as it was."""
    minirt.ok("run", "--name", "large", "localhost/busybox", "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=200")
    (tmp_path / "x.tar").write_bytes(b"before")
    child = minirt.start("export", "-o", tmp_path / "x.tar", "large")
    time.sleep(0.1)
    child.kill()
    child.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]
    minirt.ok("export", "-o", tmp_path / "x.tar", "large")
    assert tarfile.is_tarfile(tmp_path / "x.tar") and [path.name for path in tmp_path.iterdir()] == ["x.tar"]
