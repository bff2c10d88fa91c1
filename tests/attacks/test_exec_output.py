# SPDX-License-Identifier: Apache-2.0
"""What a hostile workload prints, and who looks at it: logs, attach, top, inspect (CRI log format, proc_pid_stat(5)).

EXE-09: output that forges, floods or breaks off. EXE-10: the log file is replaced or rotated under its reader.
EXE-11: a hundred who attach and never read. EXE-14: processes with hostile names, and very many of them. Single
attached clients are in tests/cli/test_attach.py, one process with a hostile name in tests/engine/test_verbs.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import Minirt, eventually, program

FLOOD_BYTES = 96 << 20
MONITOR_KIB = 2048
READER_KIB = 65536
FORGED = "2016-10-06T00:17:09.669794202Z stderr F forged"


def directory(minirt: Minirt, name: str) -> Path:
    return minirt.root / "containers" / minirt.ok("inspect", "-f", "{{.Id}}", name)


def monitor(minirt: Minirt, name: str) -> Path:
    return Path("/proc") / minirt.ok("inspect", "-f", "{{.Minirt.MonitorPid}}", name)


def peak_kib(process: Path) -> int:
    text = (process / "status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])


def test_exe_09_a_flood_without_a_newline(minirt: Minirt, rootfs: Path) -> None:
    """EXE-09: neither the monitor nor `logs` holds the line in memory, and every byte of it is there."""
    options = ["--log-opt", "max-size=1g", "--rootfs", str(rootfs)]
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", f"/bin/probe print {FLOOD_BYTES}; sleep 1000")
    eventually(lambda: (directory(minirt, "box") / "log").stat().st_size > FLOOD_BYTES, 60)
    assert peak_kib(monitor(minirt, "box")) < MONITOR_KIB
    output = minirt.root.parent / "output"
    limited = ["sh", "-c", f'ulimit -d {READER_KIB}; exec "$@"', "sh", *program(), "logs", "box"]
    with open(output, "wb") as file:
        reader = subprocess.run(limited, env=minirt.environment, stdout=file, stderr=subprocess.PIPE, timeout=120)
    assert reader.returncode == 0, reader.stderr
    assert output.stat().st_size == FLOOD_BYTES and output.read_bytes().strip(b"x") == b""
    tail = minirt("logs", "--tail", "1", "box")
    assert len(tail.raw_stdout) <= FLOOD_BYTES and tail.raw_stdout.strip(b"x") == b""


def test_exe_09_a_flood_is_rotated_away(minirt: Minirt, rootfs: Path) -> None:
    """EXE-09: with a limit the log stays below it on disk, whatever is printed."""
    options = ["--log-opt", "max-size=1m", "--log-opt", "max-file=2", "--rootfs", str(rootfs)]
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", f"/bin/probe print {FLOOD_BYTES}; touch /tmp/done")
    assert minirt.ok("wait", "box") == "0" and (rootfs / "tmp/done").exists()
    files = sorted(path.name for path in directory(minirt, "box").glob("log*"))
    assert files == ["log", "log.1"]
    sizes = [(directory(minirt, "box") / name).stat().st_size for name in files]
    assert sum(sizes) < 2 * (1 << 20) + 65536
    kept = minirt("logs", "box").raw_stdout
    assert 1 << 19 < len(kept) < 2 << 20 and kept.strip(b"x") == b"", "the control: the youngest part is there"


def test_exe_09_any_bytes_come_back(minirt: Minirt, rootfs: Path) -> None:
    """EXE-09: NUL, CR, ESC, what is no UTF-8: byte for byte, on their own stream."""
    script = (
        "head -c 3000000 /dev/urandom >/tmp/o; head -c 300000 /dev/urandom >/tmp/e; cat /tmp/o & cat /tmp/e >&2; wait"
    )
    minirt.ok("run", "--name", "box", "--rootfs", rootfs, "sh", "-c", script)
    found = minirt("logs", "box")
    for name, data in (("o", found.raw_stdout), ("e", found.raw_stderr)):
        assert hashlib.sha256(data).digest() == hashlib.sha256((rootfs / "tmp" / name).read_bytes()).digest()


def test_exe_09_records_cannot_be_forged(minirt: Minirt, rootfs: Path) -> None:
    """EXE-09: what looks like a record of another stream or time is the text of an honest one."""
    script = (
        f"echo '{FORGED}'; printf 'a\\r{FORGED}\\n'; printf '\\n{FORGED}\\n'; printf 'part'; sleep 0.1;"
        f"printf '{FORGED}\\n' >&2; sleep 0.1; printf ' rest\\n'; printf 'P {FORGED}'"
    )
    began = time.time()
    minirt.ok("run", "--name", "box", "--rootfs", rootfs, "sh", "-c", script)
    found = minirt("logs", "box")
    assert found.stdout == f"{FORGED}\na\r{FORGED}\n\n{FORGED}\npart rest\nP {FORGED}"
    assert found.stderr == f"{FORGED}\n"
    assert minirt("logs", "--since", f"{began - 60:.0f}", "box").stdout == found.stdout, "no moment of 2016"
    assert minirt("logs", "--until", "2017-01-01T00:00:00Z", "box").stdout == ""
    assert minirt("logs", "--tail", "2", "box").stdout.endswith(f"part rest\nP {FORGED}")
    for line in minirt("logs", "-t", "box").stdout.replace("\r", "").splitlines():
        assert not line.startswith("2016-") or line == FORGED, line


def test_exe_09_a_partial_line_when_the_monitor_dies(minirt: Minirt, rootfs: Path) -> None:
    """EXE-09: a line that broke off is given as far as it came, and what comes after it is a line of its own."""
    minirt.ok("run", "-d", "--name", "box", "--rootfs", rootfs, "sh", "-c", "echo whole; printf partial; sleep 1000")
    eventually(lambda: minirt("logs", "box").stdout == "whole\npartial")
    os.kill(int(monitor(minirt, "box").name), signal.SIGKILL)
    eventually(lambda: minirt.ok("inspect", "-f", "{{.State.Status}}", "box") == "exited")
    assert minirt("logs", "box").stdout == "whole\npartial"
    log = directory(minirt, "box") / "log"
    with open(log, "ab") as file:
        file.write(b"2026-01-01T00:00:00.0000")  # torn by a loss of power
    result = minirt("logs", "box")
    assert result.code == 0 and result.stdout.startswith("whole\npartial") and "Traceback" not in result.stderr
    minirt.ok("start", "box")
    eventually(lambda: minirt("logs", "box").stdout.count("whole") == 2)


@pytest.mark.parametrize("kind", ["link", "link to a device", "pipe", "directory"])
def test_exe_10_the_log_is_replaced(minirt: Minirt, rootfs: Path, short_dir: Path, kind: str) -> None:
    """EXE-10: where the log was, now lies something else: it is neither read nor written, rotated or not, by this
    monitor or by the next start's; nobody hangs and the container goes on."""
    secret = short_dir / "secret"
    secret.write_text("secret of the host\n")
    script = "i=0; while :; do i=$((i+1)); echo line $i; echo $i >/tmp/count; sleep 0.01; done"
    options = ["--log-opt", "max-size=2k", "--log-opt", "max-file=3", "--rootfs", str(rootfs)]
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", script)
    log = directory(minirt, "box") / "log"
    eventually(lambda: "line 5" in minirt("logs", "box").stdout)  # the control: before, they are read
    moved = log.with_name("old")
    log.rename(moved)
    if kind == "pipe":
        os.mkfifo(log)
    elif kind == "directory":
        log.mkdir()
    else:
        log.symlink_to("/dev/zero" if kind == "link to a device" else secret)
    result = minirt("logs", "box", timeout_s=10)
    assert "secret" not in result.stdout + result.stderr and "Traceback" not in result.stderr, repr(result)
    before = int(eventually((rootfs / "tmp/count").read_text))
    eventually(lambda: int((rootfs / "tmp/count").read_text() or 0) > before + 300, 30)  # several rotations
    minirt.ok("restart", "-t", "0", "box")
    eventually(lambda: int((rootfs / "tmp/count").read_text() or 0) > 100, 30)
    result = minirt("logs", "box", timeout_s=10)
    assert "secret" not in result.stdout + result.stderr and "Traceback" not in result.stderr, repr(result)
    assert secret.read_text() == "secret of the host\n"
    minirt.ok("rm", "-f", "box")
    assert secret.exists() and not log.parent.exists()


@pytest.mark.parametrize("files", ["2", "200"])
def test_exe_10_a_follower_survives_rotation(minirt: Minirt, rootfs: Path, files: str) -> None:
    """EXE-10: `logs -f` of a log that is rotated under it: in order and nothing twice; nothing lost where the files
    are kept long enough; and it ends with the container."""
    script = (
        "while [ ! -e /tmp/go ]; do sleep 0.05; done; i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo line $i; done"
    )
    options = ["--log-opt", "max-size=2k", "--log-opt", f"max-file={files}", "--rootfs", str(rootfs)]
    minirt.ok("run", "-d", "--name", "box", *options, "sh", "-c", script)
    follower = minirt.start("logs", "-f", "box")
    time.sleep(0.5)
    (rootfs / "tmp/go").touch()
    output, errors = follower.communicate(timeout=60)
    assert follower.returncode == 0 and errors == b""
    lines = output.decode().splitlines()
    numbers = [int(line.removeprefix("line ")) for line in lines]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 4000
    if files == "200":
        assert numbers == list(range(1, 4001))


@pytest.fixture
def noisy(minirt: Minirt, rootfs: Path) -> Minirt:
    """A container that prints for as long as it runs, and counts what it printed."""
    script = "i=0; while :; do i=$((i+1)); echo line $i of many; echo $i >/tmp/count; done"
    minirt.ok("run", "-d", "--name", "box", "--rootfs", rootfs, "sh", "-c", script)
    eventually((rootfs / "tmp/count").exists)
    return minirt


def crowd(minirt: Minirt, wanted: int = 100) -> Iterator[socket.socket]:
    """So many clients of the monitor, connected as `minirt attach` does, that do nothing; as many as it takes."""
    folder = os.open(minirt.state / minirt.ok("inspect", "-f", "{{.Id}}", "box"), os.O_PATH | os.O_DIRECTORY)
    try:
        for _ in range(wanted):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            client.settimeout(0.2)
            try:
                client.connect(f"/proc/self/fd/{folder}/attach")
            except OSError:
                client.close()
                return  # a bound is as good as a drop
            yield client
    finally:
        os.close(folder)


def test_exe_11_a_hundred_who_never_read(noisy: Minirt, rootfs: Path) -> None:
    """EXE-11 (CVE-2025-64329): the container goes on, the monitor's memory and descriptors are bounded and come back,
    and one who does read hears everything that is printed."""
    process = monitor(noisy, "box")
    before = len(list((process / "fd").iterdir()))

    def goes_on() -> None:
        begun = int(eventually(lambda: (rootfs / "tmp/count").read_text().strip()))
        eventually(lambda: int((rootfs / "tmp/count").read_text().strip() or 0) > begun + 200)

    for _ in range(3):
        clients = list(crowd(noisy))
        assert len(clients) > 10, "the control: one can attach"
        goes_on()
        time.sleep(1.5)  # the first places are free again
        reader = noisy.start("attach", "--sig-proxy=false", "box")
        assert reader.stdout is not None
        reader.stdout.readline()  # begins anywhere in a line
        numbers = [int(reader.stdout.readline().split()[1]) for _ in range(500)]
        assert numbers == list(range(numbers[0], numbers[0] + 500))
        reader.kill()
        for client in clients:
            client.close()
        goes_on()
        eventually(lambda: len(list((process / "fd").iterdir())) == before)
    assert peak_kib(process) < 2 * MONITOR_KIB


@pytest.mark.parametrize("wait_s", [0.2, 0.6, 1.0])
def test_exe_11_nobody_who_never_reads_keeps_the_monitor(noisy: Minirt, wait_s: float) -> None:
    """EXE-11: the container ends while a hundred are behind: so does its monitor, a few seconds later at most."""
    process = monitor(noisy, "box")
    clients = list(crowd(noisy))
    time.sleep(wait_s)
    noisy.ok("rm", "-f", "box")
    eventually(lambda: not process.exists())
    for client in clients:
        client.close()


def test_exe_14_hostile_words_everywhere(minirt: Minirt, rootfs: Path) -> None:
    """EXE-14 (CVE-2022-1227): command, arguments, variables, label and host name of process with ESC and newlines:
    ps, top and inspect show them without a control byte; the container's own `ps` is never run."""
    (rootfs / "bin/ps").unlink()
    (rootfs / "bin/ps").write_text("#!/bin/sh\ntouch /tmp/ran\n")
    (rootfs / "bin/ps").chmod(0o755)
    evil = "\x1b[2J\x1b]0;owned\x07\nforged\r) R 1 ("
    options = ["--name", "box", "-e", f"A={evil}", "--label", f"l={evil}", "--rootfs", str(rootfs)]
    minirt.ok("run", "-d", *options, "sh", "-c", "trap : TERM; while :; do sleep 1; done", evil)
    for argv in (["ps"], ["ps", "--no-trunc", "-a"], ["top", "box"], ["top", "box", "-o", "pid,comm,args"]):
        shown = minirt.ok(*argv)
        assert not [byte for byte in shown if byte < " " and byte != "\n"], (argv, shown)
        assert "forged\n" not in shown and len(shown.splitlines()) <= 4, (argv, shown)
    shown = minirt.ok("inspect", "box")
    assert "\x1b" not in shown and json.loads(shown)[0]["Args"][-1] == evil
    assert not (rootfs / "tmp/ran").exists()
    minirt.ok("exec", "box", "ps")
    assert (rootfs / "tmp/ran").exists(), "the control: that is what the container's ps would have done"


def test_exe_14_very_many_processes(minirt: Minirt, rootfs: Path) -> None:
    """EXE-14: two thousand processes that come and go: top, inspect, pause and rm -f answer in bounded time."""
    script = (
        "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); sleep 1000 & done; touch /tmp/up;"
        "while :; do sleep 0.01 & sleep 0.01; done"
    )
    minirt.ok("run", "-d", "--name", "box", "--rootfs", rootfs, "sh", "-c", script)
    eventually((rootfs / "tmp/up").exists, 30)
    shown = minirt("top", "box", timeout_s=20)
    assert shown.code == 0 and len(shown.lines) > 1000
    for argv in (["inspect", "box"], ["ps"], ["pause", "box"], ["top", "box"], ["unpause", "box"], ["rm", "-f", "box"]):
        result = minirt(*argv, timeout_s=20)
        assert result.code == 0, repr(result)


def test_exe_14_control_a_careless_reader_is_fooled(minirt: Minirt, rootfs: Path) -> None:
    """The control: such a name does break a reader that splits /proc/PID/stat at blanks; top's state column holds."""
    name = "/tmp/) R 1 ("
    script = f"printf '#!/bin/sh\\nsleep 1000; :\\n' >'{name}'; chmod 755 '{name}'; exec '{name}'"
    minirt.ok("run", "-d", "--name", "box", "--rootfs", rootfs, "sh", "-c", script)
    pid = minirt.ok("inspect", "-f", "{{.State.Pid}}", "box")
    eventually(lambda: ") R 1 (" in Path(f"/proc/{pid}/stat").read_text())
    fields = Path(f"/proc/{pid}/stat").read_text().split()
    assert fields[3] != Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1], fields
    parents = [line.split()[:2] for line in minirt.ok("top", "box", "-o", "pid,ppid,comm").splitlines()[1:]]
    assert [pid, monitor(minirt, "box").name] in parents
