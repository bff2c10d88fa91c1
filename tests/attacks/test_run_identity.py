# SPDX-License-Identifier: Apache-2.0
"""Who a process in a container is and what it inherits: capabilities, groups, privileges, signals, environment, keys
(capabilities(7), credentials(7), keyrings(7), signal(7)).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import runner

DEFAULT = 0x800405FB
"""CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP."""
USER = ["-u", "1000:1000"]


def sets(facts: dict[str, Any]) -> dict[str, int]:
    return {name: int(facts["status"][f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def start(minirt: runner.Minirt, *options: str | Path) -> str:
    return minirt.ok("run", "-d", *options, "--rootfs", minirt.rootfs, "sleep", "1000")


def facts_of_exec(minirt: runner.Minirt, name: str, *options: str) -> dict[str, Any]:
    return dict(json.loads(minirt.ok("exec", *options, name, "/bin/probe", "facts")))


def with_caller(minirt: runner.Minirt, *words: str | Path) -> list[str]:
    """The command line as a shell command would be given it: what a test puts in front is the caller."""
    return [*runner.program(), *(str(word) for word in words)]


def called_by(minirt: runner.Minirt, caller: list[str], *words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [*caller, *with_caller(minirt, *words)]
    done = subprocess.run(line, env=minirt.environment, capture_output=True, text=True, timeout=60)
    minirt.look()
    assert done.returncode == 0, done
    return done


CALLER = ["setpriv", "--inh-caps=+chown,+net_raw,+sys_admin", "--ambient-caps=+chown,+net_raw"]


def test_run_01_capabilities_of_root(minirt: runner.Minirt) -> None:
    """RUN-01 (CVE-2022-24769, CVE-2022-29162): the default set in bounding, permitted and effective; inheritable and
    ambient empty, whatever the caller's are; the same for exec."""
    words: list[str | Path] = ["run", "--rm", "--rootfs", minirt.rootfs, "/bin/probe", "facts"]
    expected = {"Inh": 0, "Prm": DEFAULT, "Eff": DEFAULT, "Bnd": DEFAULT, "Amb": 0}
    control = called_by_probe(minirt, CALLER)
    assert control["Inh"] and control["Amb"], "the control: this caller hands capabilities on"
    assert sets(json.loads(called_by(minirt, CALLER, *words).stdout)) == expected
    name = start(minirt)
    assert sets(facts_of_exec(minirt, name)) == expected
    line = called_by(minirt, CALLER, "exec", name, "/bin/probe", "facts")
    assert sets(json.loads(line.stdout)) == expected
    one = {
        key: int(value, 16)
        for key, value in re.findall(r"Cap(\w+):\s(\w+)", minirt.ok("exec", name, "cat", "/proc/1/status"))
    }
    assert one == expected


def called_by_probe(minirt: runner.Minirt, caller: list[str]) -> dict[str, int]:
    line = [*caller, str(minirt.rootfs / "bin/probe"), "facts"]
    return sets(json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout))


def test_run_01_capabilities_of_a_user(minirt: runner.Minirt) -> None:
    """RUN-01: a user that is not root has none, but the bounding set stays; --cap-add and --cap-drop change it."""
    expected = {"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": DEFAULT, "Amb": 0}
    assert sets(minirt.facts(*USER)) == expected
    name = start(minirt, *USER)
    assert sets(facts_of_exec(minirt, name)) == expected
    assert sets(facts_of_exec(minirt, start(minirt), *USER)) == expected
    net_raw = 1 << 13
    assert sets(minirt.facts("--cap-add", "NET_RAW"))["Eff"] == DEFAULT | net_raw, "the control: the set is not fixed"
    assert sets(minirt.facts("--cap-drop", "ALL")) == dict.fromkeys(expected, 0)


def test_run_02_groups(minirt: runner.Minirt) -> None:
    """RUN-02 (CVE-2022-36109, CVE-2022-2989): the user's own gid is in the list, the caller's groups are not."""
    caller = ["setpriv", "--groups", "4,24,1234"]
    for options, expected in (
        ([], [0]),
        (USER, [1000]),
        (["-u", "ann"], [1000, 29]),
        ([*USER, "--group-add", "audio"], [1000, 29]),
        (["-u", "1000:65534"], [65534]),
    ):
        line = called_by(minirt, caller, "run", "--rm", *options, "--rootfs", minirt.rootfs, "/bin/probe", "facts")
        facts = json.loads(line.stdout)
        assert sorted(facts["groups"]) == sorted(expected), (options, facts["groups"])
        assert facts["gid"][0] in facts["groups"]
    control = subprocess.run([*caller, minirt.rootfs / "bin/probe", "facts"], capture_output=True, check=True)
    assert 1234 in json.loads(control.stdout)["groups"], "the control: this caller has groups"
    name = start(minirt, *USER, "--group-add", "audio")
    line = called_by(minirt, caller, "exec", name, "/bin/probe", "facts")
    assert sorted(json.loads(line.stdout)["groups"]) == [29, 1000]
    facts = facts_of_exec(minirt, start(minirt), "-u", "ann")
    assert (facts["uid"], facts["gid"], sorted(facts["groups"])) == ([1000] * 3, [1000] * 3, [29, 1000])


@pytest.mark.parametrize("nnp", [False, True], ids=["", "no-new-privileges"])
@pytest.mark.parametrize("user", [[], USER], ids=["root", "user"])
def test_run_08_the_filter_is_there_first(minirt: runner.Minirt, nnp: bool, user: list[str]) -> None:
    """RUN-08: before its first instruction the program is filtered, as root and as a user, with and without
    no_new_privs; pid 1 as exec sees it, too."""
    options = [*user, *(["--security-opt", "no-new-privileges"] if nnp else [])]
    facts = minirt.facts(*options)
    assert (facts["seccomp"], facts["no_new_privs"]) == (2, int(nnp))
    name = start(minirt, *options)
    inside = facts_of_exec(minirt, name)
    assert (inside["seccomp"], inside["no_new_privs"]) == (2, int(nnp))
    assert re.search(r"^Seccomp:\s2$", minirt.ok("exec", name, "cat", "/proc/1/status"), re.M)
    assert minirt.facts(*options, "--security-opt", "seccomp=unconfined")["seccomp"] == 0, "the control"


def test_run_09_keys_of_the_caller(minirt: runner.Minirt, attacker: Path) -> None:
    """RUN-09: the container has a session keyring of its own; the caller's key is not found even without a filter, and
    with the default one keyctl(2) is denied."""
    caller = [str(attacker), "with-key", "a-callers-key"]
    control = subprocess.run([*caller, attacker, "find-key"], capture_output=True, text=True)
    assert control.stdout == "a-callers-key\n", "the control: what the caller starts finds it"
    find = ["--rootfs", str(minirt.rootfs), "/bin/attacker", "find-key"]
    caller.append("/usr/bin/env")
    unconfined = ["--security-opt", "seccomp=unconfined"]
    assert called_by(minirt, caller, "run", "--rm", *unconfined, *find).stdout in ("ENOKEY\n", "EACCES\n")
    assert called_by(minirt, caller, "run", "--rm", *find).stdout == "EPERM\n"
    name = start(minirt, *unconfined)
    found = called_by(minirt, caller, "exec", name, "/bin/attacker", "find-key").stdout
    assert found in ("ENOKEY\n", "EACCES\n")
    assert minirt.ok("exec", name, "cat", "/proc/keys") == ""


def test_run_14_setuid_programs(minirt: runner.Minirt, rootfs: Path) -> None:
    """RUN-14: a setuid program makes a user root by default, as Docker has it, and not with no-new-privileges."""
    program = rootfs / "bin/setuid-probe"
    program.write_bytes((rootfs / "bin/probe").read_bytes())
    program.chmod(0o4755)
    words = ["--rootfs", str(rootfs), "/bin/setuid-probe", "facts"]
    assert json.loads(minirt.ok("run", "--rm", *USER, *words))["uid"] == [1000, 0, 0], "the control"
    refused = ["--security-opt", "no-new-privileges"]
    facts = json.loads(minirt.ok("run", "--rm", *USER, *refused, *words))
    assert facts["uid"] == [1000] * 3 and sets(facts)["Eff"] == 0
    name = start(minirt, *USER, *refused)
    assert json.loads(minirt.ok("exec", name, "/bin/setuid-probe", "facts"))["uid"] == [1000] * 3


def test_run_15_what_the_callers_environment_tells(minirt: runner.Minirt) -> None:
    """RUN-15: no variable of the caller's reaches the container, the monitor or an exec, but by -e."""
    secret = {"MINIRT_SECRET": "callers-secret", "AWS_KEY": "callers-secret", "LD_LIBRARY_PATH": "/callers-secret"}
    words = ["run", "-d", "-e", "AWS_KEY", "--rootfs", str(minirt.rootfs), "sleep", "1000"]
    name = minirt.ok(*words, environment=secret)
    own = minirt.ok("exec", name, "cat", "/proc/1/environ").split("\0")
    assert "AWS_KEY=callers-secret" in own, "the control: what is asked for is passed on"
    assert sorted(word.partition("=")[0] for word in own if word) == ["AWS_KEY", "HOME", "HOSTNAME", "PATH"]
    entered = json.loads(minirt.ok("exec", name, "/bin/probe", "facts", environment=secret))["env"]
    assert sorted(word.partition("=")[0] for word in entered) == ["AWS_KEY", "HOME", "HOSTNAME", "PATH"]
    state = json.loads(minirt.ok("inspect", name))[0]["State"]
    monitor = int(re.findall(r"PPid:\s(\d+)", Path(f"/proc/{state['Pid']}/status").read_text())[0])
    assert Path(f"/proc/{monitor}/environ").read_bytes().strip(b"\0") == b""
    assert "callers-secret" not in Path("/proc/self/mountinfo").read_text()


def test_run_21_privileged_is_what_the_caller_has(minirt: runner.Minirt) -> None:
    """RUN-21: --privileged gives the caller's bounding set and starts where that is not everything."""
    bounding = int(re.findall(r"CapBnd:\s(\w+)", Path("/proc/self/status").read_text())[0], 16)
    found = sets(minirt.facts("--privileged"))
    assert (found["Eff"], found["Bnd"], found["Amb"]) == (bounding, bounding, 0)
    caller = ["setpriv", "--bounding-set=-net_raw,-sys_time"]
    line = called_by(minirt, caller, "run", "--rm", "--privileged", "--rootfs", minirt.rootfs, "/bin/probe", "facts")
    assert sets(json.loads(line.stdout))["Bnd"] == bounding & ~(1 << 13) & ~(1 << 25)


def test_run_22_dispositions(minirt: runner.Minirt, attacker: Path) -> None:
    """RUN-22: signals that the caller ignores or blocks, its umask, its priority for the out-of-memory killer."""
    program = " ".join(runner.program())
    script = f"trap '' INT QUIT HUP PIPE USR1; umask 077; exec {program} \"$@\""
    minirt.rootfs.chmod(0o755)
    control = subprocess.run(
        ["sh", "-c", f"trap '' INT PIPE; exec {attacker} dispositions"], capture_output=True, text=True
    )
    assert "ignored 2\n" in control.stdout and "ignored 13\n" in control.stdout, "the control: ignored signals survive"
    for words in (["/bin/attacker", "dispositions"], ["/bin/probe", "facts"]):
        line = ["sh", "-c", script, "sh", "run", "--rm", "--rootfs", str(minirt.rootfs), *words]
        done = subprocess.run(line, env=minirt.environment, capture_output=True, text=True)
        assert done.returncode == 0, done
        if words[1] == "facts":
            facts = json.loads(done.stdout)
            assert facts["umask"] == 0o022 and facts["dumpable"] == 1
            assert facts["oom_score_adj"] == [Path("/proc/self/oom_score_adj").read_text().strip()]
        else:
            assert "ignored" not in done.stdout and "blocked" not in done.stdout, done
            assert f"cpus {len(os.sched_getaffinity(0))}\nscheduler 0\ntimer slack 50000\n" in done.stdout
