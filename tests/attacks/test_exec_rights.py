# SPDX-License-Identifier: Apache-2.0
"""exec into a container that is hostile, dying, or somebody else by now (setns(2), pidfd_open(2), credentials(7)).

EXE-01: the files and programs of the container are looked up inside it. EXE-02: exec has pid 1's rights and no more.
EXE-03: who is entered is the container whose state was checked, or nobody.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import runner
from runner import Minirt, eventually

# What /bin/probe facts says about rights; dev, mountinfo and the like are the same namespace's anyway.
RIGHTS = ("uid", "gid", "groups", "umask", "no_new_privs", "seccomp", "namespaces", "limits", "oom_score_adj", "keys")
STATUS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Groups")


def rights(facts: dict[str, Any]) -> dict[str, Any]:
    found = {key: facts[key] for key in RIGHTS}
    found["cgroup"] = [line for line in facts["cgroup"] if line.startswith("0::")]
    return {**found, **{key: facts["status"][key] for key in STATUS}}


def first_and_second(minirt: Minirt, options: list[str], *exec_options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What pid 1 of a container made with `options` may do, and what a process that exec adds may."""
    words = ["sh", "-c", "umask 022; /bin/probe facts; exec /bin/probe sleep"]
    minirt.ok("run", "-d", "--name", "box", *options, "--rootfs", f"{minirt.rootfs}:O", *words)
    first = json.loads(eventually(lambda: whole(minirt("logs", "box").out)))  # not ok(): it takes every id for ours
    second = json.loads(minirt("exec", *exec_options, "box", "sh", "-c", "umask 022; /bin/probe facts").out)
    minirt.ok("rm", "-f", "box")
    return rights(first), rights(second)


def whole(text: str) -> str:
    return text if text.endswith("}") else ""


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--cap-drop", "ALL"],
        ["--cap-drop", "ALL", "--cap-add", "NET_RAW"],
        ["--user", "ann"],
        ["--user", "ann:audio", "--group-add", "77"],
        ["--security-opt", "no-new-privileges"],
        ["--security-opt", "seccomp=unconfined"],
        ["--ulimit", "nofile=77:88", "--ulimit", "core=0"],
        ["--oom-score-adj", "500"],
        ["--privileged"],
        ["--init"],
    ],
    ids=" ".join,
)
def test_exe_02_exec_has_the_rights_of_pid_1(minirt: Minirt, options: list[str]) -> None:
    """EXE-02 (CVE-2022-27650): who, all five capability sets, filter, no-new-privileges, limits, cgroup, keys."""
    first, second = first_and_second(minirt, options)
    if "--privileged" in options:
        del first["keys"], second["keys"]  # every key of the host is seen, those of other containers too
    assert second == first
    assert int(second["CapInh"], 16) == int(second["CapAmb"], 16) == 0


def test_exe_02_control_privileged_exec_has_more(minirt: Minirt) -> None:
    """The control: --privileged, which says so, is seen by the same comparison."""
    first, second = first_and_second(minirt, ["--cap-drop", "ALL"], "--privileged")
    assert int(first["CapEff"], 16) == 0 < int(second["CapEff"], 16)
    assert (first["Seccomp"], second["Seccomp"]) == ("2", "0")
    assert second["cgroup"] == first["cgroup"] and second["namespaces"] == first["namespaces"]


def test_exe_02_another_user_gets_no_capability(minirt: Minirt) -> None:
    """exec -u 0 into a container of another user: at most what the container was bounded by."""
    first, second = first_and_second(minirt, ["-u", "ann", "--cap-drop", "ALL", "--cap-add", "CHOWN"], "-u", "0")
    assert second["uid"] == [0, 0, 0] and second["CapEff"] == second["CapBnd"] == first["CapBnd"]
    first, second = first_and_second(minirt, [], "-u", "ann")
    assert second["uid"] == [1000] * 3 and int(second["CapEff"], 16) == int(second["CapPrm"], 16) == 0


def test_exe_02_descriptors_of_exec(minirt: Minirt) -> None:
    """Three descriptors, whatever the caller had open, and no environment of the caller's."""
    minirt.ok("run", "-d", "--name", "box", "--rootfs", f"{minirt.rootfs}:O", "sleep", "1000")
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        said = minirt.ok("exec", "box", "/bin/probe", "facts", pass_fds=[top], environment={"SECRET": "of the host"})
    finally:
        os.close(top)
    facts = json.loads(said)
    assert sorted(facts["fds"]) == ["0", "1", "2"]
    assert not [word for word in facts["env"] if word.startswith(("SECRET=", "MINIRT_"))]


SHADOW = "shadow-of-the-host"

REPLACED = {
    "passwd is a link to the host": "rm /etc/passwd; ln -s {secret} /etc/passwd",
    "passwd is a pipe": "rm /etc/passwd; mkfifo /etc/passwd",
    "passwd is a device": "rm /etc/passwd; ln -s /dev/zero /etc/passwd",
    "passwd is sparse": "truncate -s 20G /etc/passwd",
    "passwd is a directory": "rm /etc/passwd; mkdir /etc/passwd",
    "passwd is a magic link": "rm /etc/passwd; ln -s /proc/1/root{secret} /etc/passwd",
    "etc is a link to the host": "mv /etc /gone; ln -s {folder} /etc",
    "etc leads upwards": "mv /etc /gone; ln -s ../../../../../..{folder} /etc",
}


@pytest.mark.parametrize("name", REPLACED)
def test_exe_01_user_files_are_replaced(minirt: Minirt, short_dir: Path, name: str) -> None:
    """EXE-01: a name is looked up in the container's regular files or not at all, quickly; a number needs none."""
    folder = short_dir / "host"
    folder.mkdir()
    (folder / "passwd").write_text("eve:x:0:0::/:/bin/sh\n")
    script = REPLACED[name].format(secret=folder / "passwd", folder=folder)
    minirt.ok("run", "-d", "--name", "box", "--rootfs", f"{minirt.rootfs}:O", "sh", "-c", f"{script}; sleep 1000")
    eventually(lambda: "sleep" in minirt.ok("top", "box"))
    began = time.monotonic()
    said = minirt.fails("exec", "-u", "eve", "box", "true", code=1)
    assert "eve" in said or "/etc/passwd" in said, said
    for user, uid, gid in (("1", 1, 0), ("12:34", 12, 34)):
        facts = json.loads(minirt.ok("exec", "-u", user, "box", "/bin/probe", "facts"))
        assert (facts["uid"], facts["gid"]) == ([uid] * 3, [gid] * 3)
    assert time.monotonic() - began < 5


def test_exe_01_control_files_that_changed_inside(minirt: Minirt) -> None:
    """The control: an entry that pid 1 wrote is found, also through a link that stays inside."""
    script = "echo eve:x:77:78::/: >/tmp/users; ln -sf /tmp/users /etc/passwd; sleep 1000"
    minirt.ok("run", "-d", "--name", "box", "--rootfs", f"{minirt.rootfs}:O", "sh", "-c", script)
    eventually(lambda: "sleep" in minirt.ok("top", "box"))
    assert minirt.ok("exec", "-u", "eve", "box", "id", "-u") == "77"


def test_exe_01_programs_are_the_containers(minirt: Minirt, short_dir: Path) -> None:
    """EXE-01: /bin/sh and what PATH finds are replaced: no program of the host runs, none but the one that was asked
    for runs inside."""
    program = short_dir / "program"
    program.write_text("#!/bin/sh\necho escaped\n")
    program.chmod(0o755)
    script = (
        f"cp /bin/busybox /tmp/busybox; /tmp/busybox ln -sf {program} /bin/ls;"
        f"/tmp/busybox ln -sf ../../../../..{program} /bin/cat;"
        "printf '#!/tmp/busybox sh\\necho shell was run\\n' >/bin/sh.new; /tmp/busybox chmod 755 /bin/sh.new;"
        "/tmp/busybox mv /bin/sh.new /bin/sh; exec /tmp/busybox sleep 1000"
    )
    minirt.ok("run", "-d", "--name", "box", "--rootfs", f"{minirt.rootfs}:O", "sh", "-c", script)
    eventually(lambda: minirt("exec", "box", "/bin/sh").stdout == "shell was run\n")
    for name in ("ls", "/bin/ls", "cat", "/bin/cat"):
        assert "escaped" not in minirt.fails("exec", "box", name, code=127)
    assert minirt.ok("exec", "box", "/tmp/busybox", "echo", "$HOME; `id`") == "$HOME; `id`", "no shell in between"
    assert subprocess.run([program], capture_output=True).stdout == b"escaped\n", "the control: on the host it runs"


@pytest.mark.parametrize("what", ["proc", "proc is another's"])
def test_exe_01_proc_is_replaced(minirt: Minirt, what: str) -> None:
    """EXE-01: pid 1 has mounted something else on /proc, or a /proc that lies about pid 1: exec asks neither."""
    lie = {
        "proc": "mount -t tmpfs none /proc; mkdir -p /proc/self/fd /proc/1/ns; ln -s / /proc/self/root",
        "proc is another's": "mkdir -p /lie/self/attr /lie/thread-self/attr; mount --bind /lie /proc",
    }[what]
    options = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--rootfs", f"{minirt.rootfs}:O"]
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", f"{lie} && exec sleep 1000 || exit 9")
    eventually(lambda: "sleep" in minirt.ok("top", "box"))
    assert minirt.ok("exec", "box", "sh", "-c", "ls /proc; hostname").endswith(minirt.ok("ps", "-q"))
    assert minirt.ok("exec", "-u", "ann", "box", "id", "-u") == "1000"
    facts = json.loads(minirt.ok("exec", "box", "/bin/probe", "facts"))
    assert facts["cgroup"] is None, "the control: /proc is not procfs any more"
    terminal, ours = minirt.terminal("exec", "-it", "box", "sh", "-c", "test -t 0 && exit 7")
    assert terminal.wait(20) == 7
    os.close(ours)


def held(minirt: Minirt, name: str, when: int, *argv: str) -> subprocess.Popen[bytes]:
    """A command that is held up for two seconds in its `when`th call of `name`, each of its processes."""
    delay = f"inject={name}:delay_enter=2s:when={when}"
    child = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", delay, *runner.program(), *argv],
        env=minirt.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    minirt.children.append(child)
    return child


@pytest.mark.parametrize("point", ["setns:1", "clone3:1", "seccomp:1", "execve:2"])
def test_exe_03_the_container_dies_meanwhile(minirt: Minirt, point: str) -> None:
    """EXE-03: between the check of its state and execve: "is not running", and the program never runs."""
    name, _, when = point.partition(":")
    minirt.ok("run", "-d", "--name", "box", "--rootfs", minirt.rootfs, "sleep", "1000")
    minirt.ok("exec", "box", "true")
    child = held(minirt, name, int(when), "exec", "box", "touch", "/tmp/ran")
    time.sleep(1.5)
    minirt.ok("kill", "box")
    errors = child.communicate(timeout=60)[1]
    assert child.returncode in (1, 126, 137) and b"Traceback" not in errors, (child.returncode, errors)
    assert child.returncode == 137 or b"not running" in errors, errors
    assert not (minirt.rootfs / "tmp/ran").exists()
    minirt.ok("start", "box")
    minirt.ok("exec", "box", "touch", "/tmp/ran")
    assert (minirt.rootfs / "tmp/ran").exists(), "the control"


def test_exe_03_a_frozen_container(minirt: Minirt) -> None:
    """EXE-03: init is frozen: refused at once instead of hanging; freezing during exec only makes it wait."""
    minirt.ok("run", "-d", "--name", "box", "--rootfs", minirt.rootfs, "sleep", "1000")
    minirt.ok("pause", "box")
    minirt.fails("exec", "box", "true", code=1, says="paused")
    minirt.ok("unpause", "box")
    child = held(minirt, "clone3", 1, "exec", "box", "echo", "thawed")
    time.sleep(1.0)
    minirt.ok("pause", "box")
    time.sleep(3.0)
    minirt.ok("unpause", "box")
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, output) == (0, b"thawed\n"), errors


def test_exe_03_a_record_that_points_into_another_container(minirt: Minirt, make_rootfs: Any) -> None:
    """EXE-03, CRA-08: the recorded pid is pid 1 of another container by now: nothing is executed or killed there."""
    other = make_rootfs("other")
    minirt.ok("run", "-d", "--name", "one", "--rootfs", minirt.rootfs, "sleep", "1000")
    minirt.ok("run", "-d", "--name", "two", "--rootfs", other, "sleep", "1000")
    pid = {name: minirt.ok("inspect", "-f", "{{.State.Pid}}", name) for name in ("one", "two")}
    record = minirt.state / minirt.ok("inspect", "-f", "{{.Id}}", "one") / "state"
    truth = record.read_text()
    assert f"pid {pid['one']}\n" in truth
    assert minirt.ok("exec", "one", "sh", "-c", "touch /tmp/ran") == "" and (minirt.rootfs / "tmp/ran").exists()
    record.write_text(truth.replace(f"pid {pid['one']}\n", f"pid {pid['two']}\n", 1))
    minirt("exec", "one", "sh", "-c", "touch /tmp/ran")
    minirt("kill", "one")
    minirt("stop", "-t", "0", "one")
    assert not (other / "tmp/ran").exists()
    minirt("rm", "-f", "one")
    assert minirt.ok("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "two") == f"running {pid['two']}"
