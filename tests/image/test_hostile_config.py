# SPDX-License-Identifier: Apache-2.0
"""Images whose config or user files are hostile, as far as their containers are run (image-spec config.md).

IMG-23 and 24: User, passwd and group. IMG-26: WorkingDir. IMG-27: Labels. IMG-28: Env. Each image is made by hand,
loaded and run by the command line.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runner
from forge import Forged, archive
from runner import Minirt

Load = Callable[..., str]


@pytest.fixture
def load(minirt: Minirt, rootfs: Path) -> Load:
    """load(User="x", …) -> the name of an image of this test's root filesystem with that config."""

    def image(**config: Any) -> str:
        layer = subprocess.run(
            ["tar", "-C", str(rootfs), "--sparse", "--numeric-owner", "-cf", "-", "."], capture_output=True, check=True
        ).stdout
        forged = Forged(layer, name="localhost/hostile:latest")
        forged.config["config"] = {"Cmd": ["/bin/probe", "facts"], **config}
        path = minirt.root.parent / "image.tar"
        path.write_bytes(archive(forged.files()))
        minirt.ok("load", "-i", path)
        return "localhost/hostile"

    return image


def identity(result: runner.Result) -> tuple[int, int, list[int]]:
    assert result.code == 0, repr(result)
    facts = json.loads(result.stdout)
    assert facts["uid"] == [facts["uid"][0]] * 3 and facts["gid"] == [facts["gid"][0]] * 3
    return facts["uid"][0], facts["gid"][0], facts["groups"]


MALFORMED = (
    "4294967296", "4294967295", "2147483648", "-1", "+1", "0x0", "1e0", " 0", "0 ", "00000000000", "1000:", ":0", ":",
    "99999999999", "99999999999:0", "0:99999999999", "0:-1", "1:0x0", "u" * 100_000, "a\nroot:x:0:0", "٣", "root:x:0",
)  # fmt: skip


@pytest.mark.parametrize("user", MALFORMED, ids=lambda text: ascii(text[:20]))
def test_img_23_user_that_is_no_number(minirt: Minirt, load: Load, rootfs: Path, user: str) -> None:
    """IMG-23 (CVE-2024-40635, CVE-2026-46680, CVE-2026-30892): an error, in the image and on the command line of run
    and exec; a line of passwd that has the very name of such a number changes nothing."""
    with open(rootfs / "etc/passwd", "a") as file:
        file.write("".join(f"{name}:x:0:0::/:/bin/sh\n" for name in MALFORMED if ":" not in name and name.isascii()))
    for argv in (["--rootfs", str(rootfs)], [load(User=user)]):
        flag = ["-u", user] if argv[0] == "--rootfs" else []
        said = minirt.fails("run", "--rm", *flag, *argv, "/bin/probe", "facts", code=125)
        assert len(said) < 1000 and "passwd" not in said.splitlines()[0], said
    assert minirt.ok("ps", "-aq") == ""
    minirt.ok("run", "-d", "--name", "box", "--rootfs", rootfs, "sleep", "1000")
    minirt.fails("exec", "-u", user, "box", "/bin/probe", "facts", code=1)


@pytest.mark.parametrize(
    ("user", "expected"),
    [("1", (1, 0, [0])), ("2147483647", (2147483647, 0, [0])), ("1:7", (1, 7, [7])), ("0", (0, 0, [0])),
     ("ann", (1000, 1000, [29, 1000])), ("1000", (1000, 1000, [29, 1000])), ("ann:audio", (1000, 29, [29])),
     ("0001", (1, 0, [0]))],
)  # fmt: skip
def test_img_23_control_users_that_are(
    minirt: Minirt, load: Load, user: str, expected: tuple[int, int, list[int]]
) -> None:
    """The control: numbers are those numbers, names are looked up; from the image, from -u and by exec."""
    image = load(User=user)
    found = identity(minirt("run", "--rm", image))
    assert (found[0], found[1], sorted(found[2])) == expected
    assert identity(minirt("run", "--rm", "-u", user, "--rootfs", minirt.rootfs, "/bin/probe", "facts")) == found
    minirt.ok("run", "-d", "--name", "box", image, "/bin/probe", "sleep")
    assert identity(minirt("exec", "box", "/bin/probe", "facts")) == found
    minirt.ok("run", "-d", "--name", "root", "-u", "0", image, "/bin/probe", "sleep")
    assert identity(minirt("exec", "-u", user, "root", "/bin/probe", "facts")) == found


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(20 << 30)


def endless(path: Path) -> None:
    """One line that is longer than what is read of the file."""
    path.write_bytes(b"ann:x:1000:1000:" + b"x" * (12 << 20) + b"\n")


HOSTILE: dict[str, Callable[[Path], object]] = {
    "link to the host": lambda path: path.symlink_to("/etc/shadow"),
    "link upwards": lambda path: path.symlink_to("../../../../../../../../etc/" + path.name),
    "link to itself": lambda path: path.symlink_to(path.name),
    "magic link": lambda path: path.symlink_to("/proc/self/fd/0"),
    "pipe": os.mkfifo,
    "device": lambda path: os.mknod(path, 0o20666, os.makedev(1, 5)),
    "directory": os.mkdir,
    "endless line": endless,
}


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_img_24_hostile_user_files(minirt: Minirt, load: Load, rootfs: Path, name: str, kind: str) -> None:
    """IMG-24 (CVE-2026-47262): inside the root, regular, bounded; else a name cannot be found, quickly and in little
    memory, and a number does not need the file."""
    (rootfs / "etc" / name).unlink()
    HOSTILE[kind](rootfs / "etc" / name)
    user = "ann" if name == "passwd" else "1000:audio"
    quickly(minirt, ["run", "--rm", "-u", user, "--rootfs", str(rootfs), "/bin/probe", "facts"], 125)
    quickly(minirt, ["run", "--rm", load(User=user), "/bin/probe", "facts"], 125)
    number = quickly(minirt, ["run", "--rm", "-u", "1000:29", "--rootfs", str(rootfs), "/bin/probe", "facts"], 0)
    assert identity(number)[:2] == (1000, 29)


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_img_24_sparse_file(minirt: Minirt, rootfs: Path, name: str) -> None:
    """IMG-24: 20 GiB of nothing."""
    sparse(rootfs / "etc" / name)
    argv = ["run", "--rm", "-u", "ann:audio", "--rootfs", str(rootfs), "true"]
    assert "at most 10 MiB" in quickly(minirt, argv, 125).stderr


def test_img_24_a_million_groups(minirt: Minirt, rootfs: Path) -> None:
    """IMG-24: more memberships than the kernel takes: an error; as many as it takes: all of them."""
    lines = "".join(f"g{number}:x:{number}:ann\n" for number in range(100, 400_000))
    (rootfs / "etc/group").write_text(lines)
    assert len(lines) < 10 << 20
    argv = ["run", "--rm", "-u", "ann", "--rootfs", str(rootfs), "/bin/probe", "facts"]
    quickly(minirt, argv, 125)
    (rootfs / "etc/group").write_text(lines[: lines.index("g30100:")])
    assert len(identity(quickly(minirt, argv, 0))[2]) == 30_000, "the control"


def quickly(minirt: Minirt, argv: list[str], code: int) -> runner.Result:
    """A command that ends with this code in bounded time and, as far as minirt itself goes, little memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result = minirt(*argv, timeout_s=30)
    assert result.code == code and "Traceback" not in result.stderr, repr(result)
    assert result.seconds < 10, repr(result)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a child begins as a copy of us
    assert after <= max(before, own, 200_000), f"{after} KiB"
    return result


@pytest.mark.parametrize(
    "cwd", ["/proc/self/fd/8", "/proc/self/fd/9/../../..", "/proc/1/root/proc/self/fd/7", "/dev/fd/6", "/etc/passwd",
            "/loop", "/bin/probe/x", "/w" * 3000, "x" * (1 << 20)],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_img_26_working_directory(minirt: Minirt, load: Load, rootfs: Path, cwd: str) -> None:
    """IMG-26 (CVE-2024-21626): one line of error, or a directory inside; never one of the host."""
    (rootfs / "loop").symlink_to("loop")
    result = minirt("run", "--rm", load(WorkingDir=cwd), "sh", "-c", "/bin/probe facts; ls -a ../../../..")
    if result.code == 0:
        facts, _, listing = result.stdout.partition("\n}\n")
        assert "(unreachable)" not in json.loads(facts + "\n}")["cwd"]
        assert {"bin", "loop"} <= set(listing.split()), "the root of the container"
    else:
        assert result.code in (125, 126, 127) and result.stderr, repr(result)
        assert len(result.stderr) < 2000 and "Traceback" not in result.stderr, result.stderr[:3000]


@pytest.mark.parametrize(
    ("cwd", "inside"),
    [("../../..", "/"), ("relative/../../../up", "/up"), ("/new/made", "/new/made"), ("", "/"), ("/tmp//", "/tmp")],
)
def test_img_26_control_directories_inside(minirt: Minirt, load: Load, cwd: str, inside: str) -> None:
    """The control: what stays inside is entered, made if it is missing; ".." ends at the root."""
    assert minirt.ok("run", "--rm", load(WorkingDir=cwd), "pwd") == inside


LABELS = {
    "org.minirt.seccomp": "unconfined",
    "org.minirt.anything": "1",
    "run.oci.hooks.stdout": "/tmp/hook",
    "run.oci.keep_original_groups": "1",
    "run.oci.seccomp.receiver": "/tmp/socket",
    "io.podman.annotations.privileged": "TRUE",
    "io.podman.annotations.init": "TRUE",
    "io.kubernetes.cri-o.Devices": "/dev/kmsg",
    "module.wasm.image/variant": "compat",
    "com.example\n\x1b[2Jforged": "line\n\x1b]0;title\x07 {{.Id}}",
    "long": "x" * 100_000,
}


def test_img_27_labels_configure_nothing(minirt: Minirt, load: Load) -> None:
    """IMG-27 (CVE-2026-53488): a container of an image with such labels is the same container; the reserved prefix
    is dropped with a note; nothing raw reaches the terminal."""
    plain = facts(minirt, load())
    image = load(Labels=LABELS)
    labelled = facts(minirt, image)
    for key in ("status", "limits", "dev", "no_new_privs", "seccomp"):
        assert stable(labelled[key]) == stable(plain[key]), key
    assert labelled["processes"].count("1") == 1 and labelled["ppid"] == 0
    minirt.ok("run", "-d", "--name", "box", image, "/bin/probe", "sleep")
    shown = minirt.ok("inspect", "box")
    found = json.loads(shown)[0]["Config"]["Labels"]
    assert {key: value for key, value in LABELS.items() if not key.startswith("org.minirt.")} == found
    assert "\x1b" not in shown
    config = json.loads((minirt.root / "containers" / json.loads(shown)[0]["Id"] / "config.json").read_text())
    assert config.get("annotations", {}).get("org.minirt.seccomp") == "default" and "hooks" not in config
    assert not set(config["annotations"]) & set(LABELS) - {"org.minirt.seccomp"}
    for argv in (["ps"], ["ps", "--no-trunc"], ["inspect", "box"], ["images"]):
        assert "\x1b" not in minirt.ok(*argv), argv
    notes = json.loads(shown)[0]["Minirt"]["Notes"]
    assert [note for note in notes if "org.minirt.seccomp" in note and "reserved" in note], notes


def test_img_27_control_the_user_may_say_them(minirt: Minirt, load: Load) -> None:
    """The control: --label with the same prefix is kept as a label, and configures nothing either."""
    minirt.ok("run", "-d", "--name", "box", "--label", "org.minirt.seccomp=unconfined", load(), "/bin/probe", "sleep")
    found = json.loads(minirt.ok("inspect", "box"))[0]
    assert found["Config"]["Labels"] == {"org.minirt.seccomp": "unconfined"}
    status = minirt.ok("exec", "box", "/bin/busybox", "grep", "^Seccomp:", "/proc/self/status")
    assert status.split() == ["Seccomp:", "2"]


def facts(minirt: Minirt, image: str) -> dict[str, Any]:
    result = minirt("run", "--rm", image)
    assert result.code == 0, repr(result)
    return dict(json.loads(result.stdout))


def stable(value: Any) -> Any:
    """Without what differs from one process to the next."""
    if isinstance(value, dict):
        wanted = ("Cap", "NoNew", "Seccomp", "Uid", "Gid", "Groups", "NSpid", "Umask")
        return {key: text for key, text in value.items() if key.startswith(wanted)}
    return sorted(value) if isinstance(value, list) else value


EVIL = (
    "LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/evil", "LD_AUDIT=/evil.so", "GCONV_PATH=/evil", "LOCPATH=/evil",
    "PYTHONPATH=/evil", "PYTHONHOME=/evil", "PYTHONSTARTUP=/evil", "IFS=e", "BASH_ENV=/evil", "ENV=/evil",
    "_OCI_ATTACH=1", "_LIBCONTAINER_INITPIPE=3", "LISTEN_FDS=3", "LISTEN_PID=1", "NOTIFY_SOCKET=/evil",
    "MINIRT_ROOT=/evil", "MINIRT_STATE=/evil", "TMPDIR=/evil", "HOME=/evil", "PATH=/evil:/bin",
)  # fmt: skip
NAMES = {word.partition("=")[0] for word in EVIL}
OPENED = re.compile(r'^(\d+) .*"([^"]*evil[^"]*)"')


def test_img_28_environment_is_the_workloads_only(minirt: Minirt, load: Load, short_dir: Path) -> None:
    """IMG-28 (CVE-2025-23266): the workload has every variable, no process of the host has one, and no process
    looks for what they name before the program runs."""
    image = load(Env=list(EVIL))
    assert set(EVIL) <= set(facts(minirt, image)["env"]), "the control: inside they are there"
    minirt.ok("run", "-d", "--name", "box", image, "/bin/probe", "sleep")
    monitor = minirt.ok("inspect", "-f", "{{.Minirt.MonitorPid}}", "box")
    assert Path(f"/proc/{monitor}/environ").read_bytes() == b""
    assert "PATH=/evil:/bin" in json.loads(minirt.ok("exec", "box", "/bin/probe", "facts"))["env"]
    for number, argv in enumerate((["run", "-d", "--rm", image, "/bin/probe", "exit", "0"], ["exec", "box", "true"])):
        trace = short_dir / f"trace{number}"
        command = ["strace", "-f", "-qq", "-v", "-s", "4096", "-o", str(trace), "-e", "trace=%file,execveat"]
        subprocess.run([*command, *runner.program(), *argv], env=minirt.environment, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=60, check=True)  # fmt: skip
        minirt.look()
        touched = [line for line in trace.read_text().splitlines() if OPENED.match(line)]
        assert touched, "the control: strace saw the environment go into the container"
        for line in touched:
            call = line.split(None, 1)[1]
            program = call.partition('"')[2].partition('"')[0]
            assert call.startswith("execve(") and program in ("/bin/probe", "/bin/true", "/evil/true"), line


def test_img_28_the_clean_up_has_a_fixed_environment(minirt: Minirt, load: Load, short_dir: Path) -> None:
    """IMG-28: what the monitor starts on the host after the end, for --rm, has none of it either."""
    trace = short_dir / "trace"
    image = load(Env=list(EVIL))
    child = subprocess.Popen(
        ["strace", "-f", "-qq", "-v", "-s", "4096", "-o", str(trace), "-e", "trace=execve,execveat", *runner.program(),
         "run", "-d", "--rm", image, "/bin/busybox", "sleep", "1"],
        env=minirt.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    child.communicate(timeout=60)
    minirt.look()
    began = time.monotonic()
    while minirt.ok("ps", "-aq"):
        assert time.monotonic() < began + 20, "--rm did not remove it"
    cleaning = [line for line in trace.read_text().splitlines() if "internal-cleanup" in line]
    assert cleaning, "the control: the monitor did start the clean-up"
    for line in cleaning:
        environment = set(re.findall(r'"(\w+)=', line.rpartition("[")[2]))
        assert not environment & (NAMES - {"PATH"}) and "/evil" not in line, line
