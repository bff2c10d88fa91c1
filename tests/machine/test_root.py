# SPDX-License-Identifier: Apache-2.0
"""vagrant/vm_root.py: the cache of roots, with a root.sh that only writes three files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import runner

DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import vm_root
vm_root.HERE = Path(sys.argv[2])
try:
    print(vm_root.ensure(sys.argv[3].split(), sys.argv[4].split()))
except vm_root.Broken as error:
    sys.exit(str(error))
"""
WHOLE = 'echo made >&2; folder=$1; shift; echo "$@" >$folder/root.ext4; touch $folder/vmlinuz $folder/initrd\n'


class Cache:
    """A cache of its own, and a root.sh to say."""

    def __init__(self, folder: Path) -> None:
        self.scripts, self.folder = folder / "scripts", folder / "cache/minirt/vm"
        self.scripts.mkdir()
        self.script(WHOLE)

    def script(self, text: str) -> None:
        (self.scripts / "root.sh").write_text(text)

    def start(self, packages: str = "one two", python: str = "") -> subprocess.Popen[str]:
        words = [sys.executable, "-c", DRIVER, str(runner.SOURCE / "vagrant"), str(self.scripts), packages, python]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder.parents[1])}
        return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ask(self, packages: str = "one two", python: str = "") -> tuple[int, Path, str]:
        child = self.start(packages, python)
        stdout, stderr = child.communicate(timeout=60)
        return child.returncode, Path(stdout.strip()), stderr

    def kept(self) -> list[str]:
        return sorted(entry.name for entry in self.folder.iterdir() if entry.name != "lock")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_a_root_is_made_once(cache: Cache) -> None:
    code, made, said = cache.ask()
    assert (code, made.parent, "made\n" in said) == (0, cache.folder, True), said
    assert (made / "root.ext4").read_text() == "one two\n"
    code, again, said = cache.ask("two one")
    assert (code, again, said) == (0, made, "")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda cache: cache.ask("one two three"), id="packages"),
        pytest.param(lambda cache: cache.ask(python="pytest"), id="python"),
        pytest.param(lambda cache: (cache.script(WHOLE + "# more\n"), cache.ask())[1], id="script"),
    ],
)
def test_it_is_made_anew_when_what_made_it_changes(
    cache: Cache, change: Callable[[Cache], tuple[int, Path, str]]
) -> None:
    first = cache.ask()[1]
    code, second, said = change(cache)
    assert (code, "made\n" in said) == (0, True), said
    assert cache.kept() == sorted((first.name, second.name))


def test_a_failure_leaves_nothing(cache: Cache) -> None:
    cache.script("touch $1/initrd; exit 9\n")
    code, _, said = cache.ask()
    assert code == 1
    assert "vagrant/root.sh exited 9" in said
    assert cache.kept() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_leaves_nothing_for_the_next(cache: Cache, number: signal.Signals) -> None:
    """After SIGKILL it is the next who clears up."""
    cache.script("echo begun >&2; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done; exit 1\n")
    with cache.start() as child:
        assert child.stderr
        while child.stderr.readline() != "begun\n":
            assert child.poll() is None
        child.send_signal(number)
        child.wait(timeout=60)
    cache.script(WHOLE)
    code, made, said = cache.ask()
    assert (code, cache.kept()) == (0, [made.name]), said


def test_what_nobody_used_for_two_weeks_goes(cache: Cache) -> None:
    old, recent = cache.ask("old")[1], cache.ask("recent")[1]
    for made, days in ((old, 15), (recent, 13)):
        then = time.time() - days * 24 * 3600
        os.utime(made, (then, then))
    cache.ask("new")
    assert not old.exists()
    assert recent.exists()
