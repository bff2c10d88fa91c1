# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for: a minirt of its own, a root filesystem, a probe inside; and what is checked after.

Fixtures: `minirt` (tests/runner.py: the command line with its own --root and --state; no network unless a test says
--network), `networked` (the same on a host of its own, with the default network), `rootfs` (a busybox directory with
/bin/probe), `probe_program` (tests/probe.c, built once), `registry` and `make_registry`
(tests/registries.py). Tests outside PURE are marked `kernel`. Whoever runs tests has left the machine's network
(tests/namespaces.py).
After each test that used `minirt`, tests/invariants.py looks for what it left behind. With CI=true a skip is a
failure. Must not import minirt: these tests see it from outside, as its users do.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
# What tests share lies beside them, in modules that are not tests themselves.
sys.path[:0] = sorted({str(path.parent) for path in TESTS.rglob("*.py") if path.stem[:5] not in ("test_", "conft")})

import boxes  # noqa: E402
import invariants  # noqa: E402  (needs the path above)
import namespaces  # noqa: E402
import runner  # noqa: E402
import traces  # noqa: E402
import world as worlds  # noqa: E402
from registries import Registry  # noqa: E402

PURE = {"style", "model", "plan", "pure"}
"""Folders of tests that need neither root nor a kernel of any particular kind."""

CONTROLLERS = {"cpu", "cpuset", "io", "memory", "pids"}
"""What tests marked `vm` need from cgroup v2."""

BEFORE = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kernel: makes system calls or containers; needs root")
    config.addinivalue_line("markers", "slow: takes more than ten seconds")
    config.addinivalue_line(
        "markers", "vm: needs cgroup v2's controllers; left to `make vm-test` on hosts without them"
    )
    if os.geteuid() == 0:
        own_mounts()
        if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
            namespaces.settle()


def own_mounts() -> None:
    """A mount namespace for each worker: what one test mounts is not seen by the others, which compare tables of
    mounts, and ends with the worker. Python 3.11 has no os.unshare."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, recursive_private = 0x20000, 0x4000 | 1 << 18  # sched.h, sys/mount.h
    if libc.unshare(clone_newns) or libc.mount(b"none", b"/", None, ctypes.c_ulong(recursive_private), None):
        raise OSError(ctypes.get_errno(), "a mount namespace for the tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what makes system calls, and takes away what this host's cgroups can't show."""
    for item in items:
        folder = Path(item.path).relative_to(TESTS).parts[0]
        if folder not in PURE:
            item.add_marker(pytest.mark.kernel)
    elsewhere = [] if controllers() >= CONTROLLERS else [item for item in items if item.get_closest_marker("vm")]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def controllers() -> set[str]:
    """The controllers of cgroup v2 on this host: none of them where v1 has them."""
    listed = Path("/sys/fs/cgroup/cgroup.controllers")
    return set(listed.read_text().split()) if listed.exists() else set()


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[BEFORE] = set(invariants.everyones())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, where nobody else uses the machine: what no single test could be accused of leaving behind."""
    if hasattr(session.config, "workerinput") or os.environ.get("CI") != "true":
        return
    before = session.config.stash[BEFORE]
    invariants.wait(lambda: set(invariants.everyones()) - before)
    left = set(invariants.everyones()) - before
    if left:
        sys.stderr.write("left behind by the whole run:\n" + "\n".join(sorted(left)) + "\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With CI=true a test that is skipped has failed: CI's machine has everything that a test may need."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI a skip is a failure: {report.longrepr}"


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One directory for all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The name of this xdist worker; "master" where there is one process only."""
    workerinput = getattr(request.config, "workerinput", None)
    return str(workerinput["workerid"]) if workerinput else "master"


def write_syscalls(folder: Path) -> None:
    """syscalls.h for tests/probe.c: the table of system calls that this compiler knows."""
    names = subprocess.run(
        ["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    calls = [line.split()[1] for line in names.splitlines() if line.startswith("#define __NR_")]
    rows = "".join(f'{{"{call[5:]}", {call}}},\n' for call in calls)
    head = "static const struct { const char *name; long number; } syscalls[] = {\n"
    (folder / "syscalls.h").write_text(head + rows + "};\n")


@pytest.fixture(scope="session")
def probe_program(shared_dir: Path) -> Path:
    """The static probe."""
    return runner.static_program(shared_dir / "probe", TESTS / "probe.c", write_syscalls)


@pytest.fixture
def make_rootfs(short_dir: Path, probe_program: Path) -> Callable[[str], Path]:
    """make_rootfs(name) -> a new busybox root filesystem of this test's own, with /bin/probe."""

    def make(name: str = "rootfs") -> Path:
        root = short_dir / name
        for folder in ("bin", "dev", "etc", "proc", "sys", "tmp", "root", "run", "home", "var"):
            (root / folder).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        shutil.copy2("/bin/busybox", root / "bin/busybox")
        shutil.copy2(probe_program, root / "bin/probe")
        applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
        for applet in applets.stdout.split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n"
            "ann:x:1000:1000::/home/ann:/bin/sh\n"
        )
        (root / "etc/group").write_text("root:x:0:\naudio:x:29:ann\nann:x:1000:\nnogroup:x:65534:\n")
        return root

    return make


@pytest.fixture
def rootfs(make_rootfs: Callable[[str], Path]) -> Path:
    """A busybox root filesystem of this test's own, with /bin/probe."""
    return make_rootfs("rootfs")


def remove(folder: Path) -> None:
    """A directory with all that is in it, however deep: shutil.rmtree calls itself once for each level."""
    try:
        shutil.rmtree(folder)
    except RecursionError:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory with a short path (unix socket names have 108 bytes), gone after the test."""
    folder = Path(tempfile.mkdtemp(prefix="mrt-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    remove(folder)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """pytest's own, but gone after the test, so that no later run stumbles over what a hostile layer left."""
    folder = tmp_path_factory.mktemp("t", numbered=True)
    yield folder
    remove(folder)


@pytest.fixture
def minirt(short_dir: Path, rootfs: Path, request: pytest.FixtureRequest) -> Iterator[runner.Minirt]:
    """minirt with its own root and state; afterwards every container is removed and nothing may be left."""
    with runner.tidy(runner.Minirt(short_dir / "root", short_dir / "state", rootfs)) as mine:
        yield mine


@pytest.fixture
def networked(short_dir: Path, rootfs: Path) -> Iterator[runner.Minirt]:
    """minirt with its default network, on a host that has only just started: the test itself runs in a network
    namespace of its own. Afterwards, with every container gone, what made up their networks must be gone too."""
    with namespaces.host():
        mine = runner.Minirt(short_dir / "root", short_dir / "state", rootfs)
        del mine.environment["MINIRT_NETWORK"]
        with runner.tidy(mine, traces.left_behind):
            yield mine


@pytest.fixture
def world(networked: runner.Minirt) -> Iterator[worlds.World]:
    """A wire, a router, a hostile neighbour and somebody outside round `networked` (tests/network/world.py)."""
    with worlds.around(namespaces.current()) as built:
        yield built


@pytest.fixture
def start(networked: runner.Minirt) -> Iterator[Callable[..., boxes.Box]]:
    """start(name, *options, ports=(80,)) -> a container of `networked` that answers there (tests/network/boxes.py)."""
    with boxes.starter(networked) as starter:
        yield starter


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """One plain registry for all tests of this worker. Others use it too: take repository names of your own."""
    with Registry() as plain:
        yield plain


@pytest.fixture
def make_registry() -> Iterator[Callable[..., Registry]]:
    """make_registry(**keywords of Registry) -> a registry of this test's own, gone after it."""
    with runner.maker(Registry) as make:
        yield make
