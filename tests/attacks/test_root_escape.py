# SPDX-License-Identifier: Apache-2.0
"""Ways out that are not paths of the root filesystem: the runtime's own program and descriptors, the old root, hooks,
and what /proc shows of a process that is about to enter (pivot_root(2), proc(5), ptrace(2)).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

import invariants
import runner
from victim import SECRET, Victim


def own_programs(minirt: runner.Minirt) -> dict[str, str]:
    """Path → digest of what minirt executes: the monitor, the interpreter."""
    table = minirt("doctor").lines
    monitor = next(line.split()[-1] for line in table if line.split()[1:2] == ["minirt-monitor"])
    paths = [monitor, os.path.realpath("/usr/bin/python3"), *runner.program()[:1]]
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}


def test_root_10_the_runtimes_program_as_entrypoint(minirt: runner.Minirt, rootfs: Path) -> None:
    """ROOT-10 (CVE-2019-5736): /proc/self/exe as the program or as its interpreter: an error or a harmless end."""
    before = own_programs(minirt)
    (rootfs / "link").symlink_to("/proc/self/exe")
    (rootfs / "script").write_text("#!/proc/self/exe\n")
    (rootfs / "script").chmod(0o755)
    for program in ("/link", "/script", "/proc/self/exe"):
        for words in (["run", "--rm"], ["run", "--rm", "--init"], ["run", "--rm", "--privileged"]):
            result = minirt(*words, "--rootfs", rootfs, program, timeout_s=20)
            assert result.code != 0 and "Traceback" not in result.stderr, repr(result)
    assert own_programs(minirt) == before


def test_root_10_pid_1_of_init_cannot_be_written(minirt: runner.Minirt) -> None:
    """ROOT-10: with --init the runtime's own program runs inside; nobody there can open it for writing."""
    before = own_programs(minirt)
    script = "for how in w rw wa; do probe open /proc/1/exe $how; done; readlink /proc/1/exe"
    for options in ([], ["--privileged"], ["--cap-add", "SYS_PTRACE"]):
        result = minirt("run", "--rm", "--init", *options, "--rootfs", minirt.rootfs, "sh", "-c", script)
        assert set(result.lines[:3]) <= {"EROFS", "ETXTBSY", "EACCES", "EPERM"}, repr(result)
    own = minirt("run", "--rm", "--rootfs", minirt.rootfs, "sh", "-c", "cp /bin/probe /tmp/x; probe open /tmp/x w")
    assert own.out == "0", "the control: a program that does not run can be opened"
    assert own_programs(minirt) == before


def test_run_13_what_enters_cannot_be_looked_into(minirt: runner.Minirt, attacker: Path, victim: Victim) -> None:
    """RUN-13 (CVE-2016-9962), ROOT-10: while processes enter by exec, one inside opens whatever /proc shows of them. It
    opens nothing of the runtime's and never reaches the host's files."""
    before = own_programs(minirt)
    spy = ["/bin/attacker", "spy", "4", str(victim.path / "hello")]
    minirt.ok("run", "-d", "--name", "spy", "--rootfs", minirt.rootfs, *spy)
    deadline = time.monotonic() + 3.5
    while time.monotonic() < deadline:
        minirt("exec", "-w", "/tmp", "spy", "/bin/busybox", "usleep", "20000")
    minirt.ok("wait", "spy")
    seen = set(minirt.ok("logs", "spy").splitlines())
    assert {"busybox root", "busybox mem", "busybox cwd"} <= seen, f"the control: what has entered is its own: {seen}"
    assert not [line for line in seen if " sees " in line or line.startswith("minirt")], seen
    assert own_programs(minirt) == before


def test_root_11_descriptors_of_the_caller(minirt: runner.Minirt, rootfs: Path) -> None:
    """ROOT-11, RUN-17: a caller that holds directories of the host passes none of them on."""
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    held = fcntl.fcntl(top, fcntl.F_DUPFD, 60)
    try:
        passed = {"pass_fds": (top, held)}
        control = subprocess.run([rootfs / "bin/probe", "facts"], capture_output=True, pass_fds=(top, held))
        assert str(held) in json.loads(control.stdout)["fds"], "the control: they are inherited"
        minirt.ok("run", "-d", "--name", "one", "--rootfs", rootfs, "sleep", "1000", **passed)
        for words in (
            ["exec", "one"],
            ["exec", "-i", "one"],
            ["run", "--rm", "--rootfs", rootfs],
            ["run", "--rm", "-i", "--init", "--rootfs", rootfs],
            ["run", "--rm", "-t", "--rootfs", rootfs],
        ):
            facts = json.loads(minirt.ok(*words, "/bin/probe", "facts", **passed))
            assert set(facts["fds"]) == {"0", "1", "2"}, facts["fds"]
        assert minirt.ok("exec", "one", "ls", "/proc/1/fd").split() == ["0", "1", "2"]
    finally:
        os.close(top)
        os.close(held)


def test_root_20_no_way_back_to_the_old_root(minirt: runner.Minirt, attacker: Path, victim: Victim) -> None:
    """ROOT-20: chroot, "..", /proc/1/root and the mount table lead nowhere but into the container."""
    hello = str(victim.path / "hello")
    control = subprocess.run(
        ["chroot", minirt.rootfs, "/bin/attacker", "breakout", hello], capture_output=True, text=True
    )
    assert control.stdout == SECRET + "\n", "the control: out of a mere chroot(2) it leads to the host"
    for options in ([], ["--privileged"]):
        words: list[str] = ["run", "--rm", *options, "--rootfs", str(minirt.rootfs)]
        assert minirt(*words, "/bin/attacker", "breakout", hello).out == "ENOENT"
        up = "/.." * 30
        script = (
            f"cat {up}{hello} /proc/1/root{up}{hello} /proc/self/cwd{up}{hello}; cut -d' ' -f5 /proc/self/mountinfo"
        )
        result = minirt(*words, "sh", "-c", script)
        assert SECRET not in result.stdout and result.stderr.count("No such file") == 3, repr(result)
        assert result.lines.count("/") == 1, "one root, nothing below or above it"
    assert minirt.ok("run", "--rm", "--rootfs", f"{minirt.rootfs}:O", "cat", "/proc/1/root/etc/passwd")


def test_root_21_hooks_are_refused_by_name(minirt: runner.Minirt, short_dir: Path) -> None:
    """ROOT-21 (CVE-2025-23266): there are no hooks, so none sees an environment or directory of an image's choice."""
    name = minirt.ok("create", "--rootfs", minirt.rootfs, "true")
    bundle = short_dir / "bundle"
    bundle.mkdir()
    spec = json.loads((minirt.root / "containers" / name / "config.json").read_text())
    spec["root"]["path"] = str(minirt.rootfs)
    (bundle / "config.json").write_text(json.dumps(spec))
    minirt.ok("plan", "--bundle", bundle)
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        (bundle / "config.json").write_text(json.dumps({**spec, "hooks": {kind: [{"path": "/bin/true"}]}}))
        minirt.fails("plan", "--bundle", bundle, code=125, says="/hooks")


def test_run_16_no_abstract_sockets(minirt: runner.Minirt, attacker: Path) -> None:
    """RUN-16 (CVE-2020-15257): with the host's network a container sees every abstract socket there is; none is
    minirt's, and those with a path lie where only root comes, with mode 0600."""
    before = set(subprocess.run([attacker, "list-abstract"], capture_output=True, text=True).stdout.splitlines())
    name = minirt.ok("run", "-d", "-i", "--network", "host", "--rootfs", minirt.rootfs, "sleep", "1000")
    held = {}
    for pid in invariants.processes(minirt.root, minirt.state, [name]):
        for link in invariants._descriptors(Path(f"/proc/{pid}")):
            if link.startswith("socket:["):
                held[link[8:-1]] = pid
    table = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    mine = [row[7] for row in table if row[6] in held and len(row) > 7]
    assert mine and all(path.startswith("/") for path in mine), mine
    inside = set(minirt.ok("exec", name, "/bin/attacker", "list-abstract").splitlines())
    assert not [line for line in inside - before if "minirt" in line or name in line]
    socket = minirt.state / name / "attach"
    assert socket.is_socket() and socket.stat().st_mode & 0o777 == 0o600
    assert minirt.state.stat().st_mode & 0o077 == 0 and minirt.root.stat().st_mode & 0o077 == 0


def test_run_17_nothing_grows(minirt: runner.Minirt) -> None:
    """RUN-17: after many execs the monitor holds as many descriptors as before, and each saw three."""
    name = minirt.ok("run", "-d", "--rootfs", minirt.rootfs, "sleep", "1000")

    def held() -> dict[int, int]:
        pids = invariants.processes(minirt.root, minirt.state, [name])
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in pids}

    before = runner.eventually(held)
    for _ in range(25):
        assert minirt.ok("exec", name, "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]  # 3 is ls's own
    runner.eventually(lambda: held() == before)
