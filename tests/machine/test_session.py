# SPDX-License-Identifier: Apache-2.0
"""vagrant/vm_test.py from outside, with a QEMU that is a script: what goes in, what comes back, what stays.

The stub finds the second and third disk among its arguments, as the real one does, and answers as session.sh would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import runner

VAGRANT = runner.SOURCE / "vagrant"
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
import vm_disk, vm_machine, vm_root, vm_test
vm_machine.PROBE_S = 1
vm_root.portable = lambda venv: True
vm_disk.TREE = Path(sys.argv.pop(1))
vm_test.FOLDER = vm_disk.TREE / "build/vm"
sys.exit(vm_test.main())
"""
STUB = """#!{python}
import io, os, subprocess, sys, tarfile, time
if "-smp" not in sys.argv:
    time.sleep(60)  # asked whether KVM works: never says a word
drives = [word.split(",")[0][5:] for word in sys.argv if word.startswith("file=") and "format" in word]
def answer(**files):
    with open(drives[2], "r+b") as disk, tarfile.open(fileobj=disk, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo("./" + name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
def inside(path):
    words = ["debugfs", "-R", "cat " + path, drives[1]]
    return subprocess.run(words, capture_output=True, text=True, close_fds=False).stdout
{body}
"""
SERIAL = "next(w for w in sys.argv if w.startswith('file:'))[5:]"


class Machine:
    """vm_test.py on a small tree, with a cache of its own whose root was made long ago."""

    def __init__(self, folder: Path, stub: str) -> None:
        self.tree, self.cache, self.programs = folder / "a tree", folder / "cache", folder / "bin"
        self.tree.mkdir()
        (self.tree / "file").write_text("of the tree\n")
        self.programs.mkdir()
        program = self.programs / "qemu-system-x86_64"
        program.write_text(STUB.format(python=sys.executable, body=stub))
        program.chmod(0o755)
        words = [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import vm_root; "]
        words[-1] += "print(vm_root.key([], []))"
        key = subprocess.run([*words, str(VAGRANT)], capture_output=True, text=True, check=True).stdout.strip()
        self.root = self.cache / "minirt/vm" / key
        self.root.mkdir(parents=True)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        (self.root / "accelerator").write_text(f"{boot} tcg\n")

    def start(self, *words: str) -> subprocess.Popen[str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(VAGRANT), str(self.tree), "--python", "", *words],
            env={**os.environ, "PATH": path, "XDG_CACHE_HOME": str(self.cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        child = self.start(*words)
        stdout, stderr = child.communicate(timeout=120)
        return child.returncode, stdout, stderr

    def left(self) -> list[str]:
        """What lies in the cache beside the root and the lock."""
        return sorted(entry.name for entry in self.root.parent.iterdir() if entry.name not in ("lock", self.root.name))


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    return lambda stub: Machine(tmp_path, stub)


def test_the_exit_code_the_output_and_the_results_come_back(machine: Callable[[str], Machine]) -> None:
    stub = "print('in the machine', flush=True)\nanswer(**{'exit': '3\\n', 'junit.xml': '<testsuites/>'})"
    here = machine(stub)
    code, stdout, stderr = here.run("--", "tests/some")
    assert code == 3, stderr
    assert "in the machine\n" in stdout
    assert (here.tree / "build/vm/junit.xml").read_text() == "<testsuites/>"
    assert f"exit 3; what the machine said on its way: {here.tree}/build/vm/serial.log" in stderr
    assert not here.left()


def test_the_tree_and_the_command_go_in(machine: Callable[[str], Machine]) -> None:
    stub = "print(inside('/tree/file'), inside('/settings'), inside('/command'), inside('/session'))\nanswer(exit='0')"
    here = machine(stub)
    code, stdout, stderr = here.run("--minutes", "10", "--", "tests/some", "-k", "two words")
    assert code == 0, stderr
    assert "of the tree\n" in stdout
    assert f"tree='{here.tree}'\nseconds=510\n" in stdout
    assert "tests/some -k 'two words'\n" in stdout
    assert (VAGRANT / "session.sh").read_text() in stdout


def test_a_serial_log_is_kept_after_a_failure_only(machine: Callable[[str], Machine]) -> None:
    stub = f"open({SERIAL}, 'w').write('kernel panic')\nanswer(exit=inside('/command').strip())"
    here = machine(stub)
    log = here.tree / "build/vm/serial.log"
    assert here.run("--command", "1")[0] == 1
    assert log.read_text() == "kernel panic"
    assert here.run("--command", "0")[0] == 0
    assert not log.exists()


def test_a_machine_that_ends_without_an_answer_has_failed(machine: Callable[[str], Machine]) -> None:
    code, _, stderr = machine("").run("--command", "true")
    assert code == 1
    assert "vm-test: no result;" in stderr


def test_a_qemu_that_fails_is_named(machine: Callable[[str], Machine]) -> None:
    code, _, stderr = machine("sys.exit(7)").run("--command", "true")
    assert code == 1
    assert "vm-test: qemu-system-x86_64 exited 7" in stderr


def test_a_machine_that_hangs_is_ended_when_its_time_is_over(machine: Callable[[str], Machine]) -> None:
    here = machine("print(os.getpid(), flush=True)\ntime.sleep(300)")
    code, stdout, stderr = here.run("--minutes", "0.05", "--command", "true")
    assert code == 1
    assert "vm-test: not done after 3 s;" in stderr
    assert not Path(f"/proc/{stdout.splitlines()[-1]}").exists()
    assert not here.left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interruption_leaves_nothing(machine: Callable[[str], Machine], number: signal.Signals) -> None:
    """Neither QEMU nor a disk; after SIGKILL the kernel sees to it: disks without names, a signal at the end."""
    here = machine("print(os.getpid(), flush=True)\ntime.sleep(300)")
    with here.start("--command", "true") as child:
        assert child.stdout
        while not (line := child.stdout.readline()).strip().isdigit():
            assert line, child.communicate()[1]
        child.send_signal(number)
        assert child.wait(timeout=60) == (-9 if number == signal.SIGKILL else 130)
    runner.eventually(lambda: not Path(f"/proc/{line.strip()}").exists())
    assert not here.left()


def test_a_kvm_that_executes_nothing_is_not_used(machine: Callable[[str], Machine]) -> None:
    """Asked once for each boot of the host: the stub never answers, so the CPU is emulated."""
    here = machine("print(sys.argv[sys.argv.index('-accel') + 1], flush=True)\nanswer(exit='0')")
    (here.root / "accelerator").unlink()
    _, stdout, stderr = here.run("--command", "true")
    assert "tcg" in stdout.splitlines()[-1], stderr
    assert (here.root / "accelerator").read_text().endswith(" tcg\n")
