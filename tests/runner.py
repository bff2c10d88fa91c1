# SPDX-License-Identifier: Apache-2.0
"""The command line as a test drives it: minirt with its own root and state, and its answers as values.

The program is MINIRT_PROGRAM, else the `minirt` beside this interpreter, else the source tree (`-m minirt`).
Must not import minirt.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import invariants

Made = TypeVar("Made")

SOURCE = Path(__file__).resolve().parents[1]
TIMEOUT_S = 60.0


def program() -> list[str]:
    """How minirt is started here."""
    if named := os.environ.get("MINIRT_PROGRAM"):
        return [named]
    beside = Path(sys.executable).with_name("minirt")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "minirt"]


class Result:
    """What one command did: its exit code and what it wrote."""

    def __init__(self, argv: list[str], code: int, stdout: bytes, stderr: bytes, seconds: float) -> None:
        self.argv = argv
        self.code = code
        self.raw_stdout, self.raw_stderr = stdout, stderr
        self.stdout = stdout.decode(errors="replace")
        self.stderr = stderr.decode(errors="replace")
        self.seconds = seconds

    @property
    def out(self) -> str:
        """Standard output without its last newline."""
        return self.stdout.rstrip("\n")

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def __repr__(self) -> str:
        return (
            f"minirt {' '.join(self.argv)}\nexit {self.code} after {self.seconds:.2f} s\n"
            f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"
        )


class Minirt:
    """minirt(*argv) runs a command; see ok, fails, start, terminal, probe, facts."""

    def __init__(self, root: Path, state: Path, rootfs: Path) -> None:
        self.root, self.state, self.rootfs = root, state, rootfs
        self.seen: set[str] = set()  # every container id that this test could have made
        self.children: list[subprocess.Popen[bytes]] = []
        self.environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(root.parent),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "MINIRT_ROOT": str(root),
            "MINIRT_STATE": str(state),
            "MINIRT_NETWORK": "none",  # what is not about networks does not pay for them
        }
        if len(program()) > 1:  # the source tree
            self.environment["PYTHONPATH"] = str(SOURCE)

    def __call__(
        self,
        *argv: str | Path,
        input: bytes | str | None = None,
        timeout_s: float = TIMEOUT_S,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> Result:
        """Runs `minirt *argv` to its end. `options` go to Popen. A command that hangs fails the test."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        child = self.start(*argv, environment=environment, **options)
        began = time.monotonic()
        data = input.encode() if isinstance(input, str) else input
        try:
            stdout, stderr = child.communicate(data, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            stdout, stderr = child.communicate()
            result = Result([str(word) for word in argv], -1, stdout or b"", stderr or b"", timeout_s)
            raise AssertionError(f"does not end within {timeout_s} s\n{result!r}") from None
        finally:
            self.children.remove(child)
            self.look()
        seconds = time.monotonic() - began
        return Result([str(word) for word in argv], child.returncode, stdout or b"", stderr or b"", seconds)

    def start(
        self, *argv: str | Path, environment: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Starts `minirt *argv` and leaves it running; killed after the test. Its pipes are unbuffered: what a
        readline() read ahead, communicate() would lose."""
        options.setdefault("bufsize", 0)
        options.setdefault("stdin", subprocess.DEVNULL)
        if options["stdin"] is None:
            options["stdin"] = subprocess.DEVNULL
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        env = {**self.environment, **(environment or {})}
        child = subprocess.Popen([*program(), *(str(word) for word in argv)], env=env, **options)
        self.children.append(child)
        return child

    def terminal(self, *argv: str | Path, **options: Any) -> tuple[subprocess.Popen[bytes], int]:
        """Starts `minirt *argv` on a terminal of its own: the process, and the terminal's other end."""
        ours, theirs = pty.openpty()
        child = self.start(*argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, **options)
        os.close(theirs)
        return child, ours

    def look(self) -> None:
        """Notes the ids of containers that exist now, so that their cgroups can be told from others'."""
        for folder in (self.root / "containers", self.state):
            if folder.is_dir():
                self.seen.update(name for name in os.listdir(folder) if re.fullmatch("[0-9a-f]{64}", name))

    def ok(self, *argv: str | Path, **options: Any) -> str:
        """Runs a command that must succeed; its standard output without the last newline."""
        result = self(*argv, **options)
        assert result.code == 0, repr(result)
        self.seen.update(re.findall(r"\b[0-9a-f]{64}\b", result.stdout))
        return result.out

    def fails(self, *argv: str | Path, code: int, says: str = "", **options: Any) -> str:
        """Runs a command that must fail with `code`, say `says` on stderr, and show no traceback."""
        result = self(*argv, **options)
        assert result.code == code, repr(result)
        assert "Traceback" not in result.stderr, repr(result)
        assert result.stderr.strip(), f"failed without a word\n{result!r}"
        assert says in result.stderr, f"expected {says!r} in\n{result!r}"
        return result.stderr

    def probe(self, *words: str, options: tuple[str | Path, ...] = ()) -> Result:
        """Runs /bin/probe `words` in a container of the test's root filesystem."""
        return self("run", "--rm", *options, "--rootfs", self.rootfs, "/bin/probe", *words)

    def facts(self, *options: str | Path) -> dict[str, Any]:
        """What a container made with `options` sees: probe facts."""
        result = self.probe("facts", options=options)
        assert result.code == 0, repr(result)
        return dict(json.loads(result.stdout))

    def calls(self, *specs: str, options: tuple[str | Path, ...] = ()) -> dict[str, str]:
        """What system calls answer inside: {"mount:0,0": "EPERM", …}; see probe.c for a spec's form."""
        result = self.probe("calls", *specs, options=options)
        assert result.code == 0, repr(result)
        return {spec: answer for spec, _, answer in (line.partition(" ") for line in result.lines)}

    def close(self) -> list[str]:
        """Ends what the test left running and removes every container; complaints, one line each."""
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream:
                    stream.close()
        self.children.clear()
        self.look()
        if not (self.root / "minirt.db").exists():
            return []
        names = self("ps", "-aq", "--no-trunc")
        if names.code != 0:
            return [f"ps after the test fails: {names!r}"]
        self.seen.update(names.out.split())
        if not names.out:
            return []
        removed = self("rm", "-f", "-v", *names.out.split())
        return [] if removed.code == 0 else [f"rm -f after the test fails: {removed!r}"]


def eventually(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Waits until `condition()` is true and returns what it returned."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s: {condition}"
        time.sleep(0.01)
    return value


def static_program(folder: Path, source: Path, prepare: Callable[[Path], None] = lambda folder: None) -> Path:
    """`source` as a static program below `folder`, built by the first worker that needs it. `prepare` may write
    headers there before."""
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = folder / source.stem
        if not program.exists():
            prepare(folder)
            words = ["gcc", "-std=gnu17", "-Os", "-static", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
            subprocess.run([*words, str(source), "-o", str(program)], check=True)
        return program


@contextlib.contextmanager
def tidy(mine: Minirt, look: Callable[[Minirt], list[str]] = lambda mine: []) -> Iterator[Minirt]:
    """Ends all of it afterwards; nothing may be left by it, and the host is as it was. `look` finds more."""
    before = invariants.host()
    try:
        yield mine
    finally:
        left = mine.close()
        left += invariants.left_behind(mine.root, mine.state, mine.seen)
        left += look(mine)
        left += invariants.compare(before, invariants.host())
        invariants.repair(before, mine.root, mine.state, mine.seen)
    assert not left, "left behind:\n" + "\n".join(left)


@contextlib.contextmanager
def maker(kind: Callable[..., contextlib.AbstractContextManager[Made]]) -> Iterator[Callable[..., Made]]:
    """A function that takes the keywords of `kind` and gives one that is entered, until the end of this context."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(kind(**options))
