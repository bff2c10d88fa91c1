# SPDX-License-Identifier: Apache-2.0
"""What the everyday commands may import: every module costs each `run` its milliseconds (python -X importtime).

The list names what was measured to be dear. The commands run for real, in an interpreter that is isolated as
the installed launcher's is (-I -S).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import runner
import source

DEAR = """argparse ast asyncio calendar collections contextlib copy dataclasses datetime decimal dis email enum
functools getopt gettext hashlib heapq http importlib.metadata inspect ipaddress json json.decoder linecache locale
logging math operator pathlib pickle platform prctl pyroute2 queue random re reprlib rich selectors shlex shutil signal
socket sqlite3 ssl string subprocess tarfile tempfile textwrap threading tokenize traceback types typing unittest
urllib urllib.parse urllib3 uuid warnings weakref zipfile zlib""".split()

COMMANDS = (
    ("run", "--rm", "localhost/busybox", "true"),
    ("run", "--rm", "--network", "none", "localhost/busybox", "true"),
    ("run", "--rm", "--network", "own", "localhost/busybox", "true"),
    ("run", "-d", "--name", "hot", "-p", "127.0.0.1:8080:80", "localhost/busybox", "sleep", "1000"),
    ("ps",),
    ("port", "hot"),
    ("ps", "-a", "-q"),
    ("exec", "hot", "true"),
    ("stop", "-t", "0", "hot"),
    ("start", "hot"),
    ("kill", "hot"),
    ("create", "--name", "cold", "localhost/busybox", "true"),
    ("rm", "-f", "hot", "cold"),
)

MAIN = "import sys; sys.path[:0] = {path!r}; from minirt.cli.main import main; sys.exit(main(sys.argv[1:]))"


def package_path() -> list[str]:
    """Where minirt and its cffi come from: the source tree in development, site-packages when installed."""
    in_development = len(runner.program()) > 1 or "MINIRT_PROGRAM" in os.environ
    places = [str(source.TOP)] if in_development else []
    return places + [place for place in sys.path if "site-packages" in place]


def imported(minirt: runner.Minirt, argv: tuple[str, ...]) -> set[str]:
    """Every module that `minirt *argv` imports in its own process."""
    code = MAIN.format(path=package_path())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", code, *argv],
        env=minirt.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    minirt.look()
    assert done.returncode == 0, f"{argv}: {done.stderr[-3000:]}"
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.fixture
def warm(networked: runner.Minirt) -> runner.Minirt:
    """A minirt whose embedded image, caches, default network and a user network exist."""
    networked.ok("network", "create", "own")
    networked.ok("run", "--rm", "localhost/busybox", "true")
    return networked


@pytest.mark.kernel
def test_everyday_commands_import_nothing_dear(warm: runner.Minirt) -> None:
    wrong = []
    for argv in COMMANDS:
        dear = imported(warm, argv).intersection(DEAR)
        if dear:
            wrong.append(f"minirt {' '.join(argv)} imports {', '.join(sorted(dear))}")
    assert not wrong, "\n".join(wrong)


def test_list_is_not_empty() -> None:
    """The positive control: an import of something dear is seen."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", "import typing"], capture_output=True, text=True
    )
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typing" in names.intersection(DEAR)
