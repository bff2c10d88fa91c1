# SPDX-License-Identifier: Apache-2.0
"""What of this host helps or hinders: one finding for each thing that containers need, with its remedy.

Nothing is guessed from a version number that can be tried: each probe is a short plan (plan/step.py), executed in
a child of its own, so that what it unshares or mounts ends with it. "fail": no container can run here. "warn":
containers run, something named does not. Must not be imported on the way to a container; it prints nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator

from minirt.cgroup import home, owners, tree
from minirt.engine import doctor_network
from minirt.engine.finding import FAIL, OK, WARN, Finding
from minirt.engine.paths import Roots
from minirt.errors import HostError, MinirtError
from minirt.model import capabilities
from minirt.plan import devices_program, rootfs
from minirt.plan.facts import Host
from minirt.plan.step import CWD, HOST, Blob, Fd, Flags, Plan, Step

__all__ = ["FAIL", "OK", "WARN", "Finding", "attempt", "can_run", "examine", "release"]
FLOOR = (5, 14)
"""cgroup.kill is the newest thing that minirt needs."""
ARCHITECTURES = ("x86_64", "aarch64")
NEEDED = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETGID CAP_SETUID CAP_SETPCAP CAP_NET_ADMIN CAP_SYS_CHROOT "
    "CAP_SYS_ADMIN CAP_MKNOD CAP_KILL"
).split()
"""What a birth itself uses; others only matter to workloads that ask for them."""
NAMESPACES = (
    ("mount", "CLONE_NEWNS", FAIL),
    ("pid", "CLONE_NEWPID", FAIL),
    ("network", "CLONE_NEWNET", FAIL),
    ("uts", "CLONE_NEWUTS", FAIL),
    ("ipc", "CLONE_NEWIPC", FAIL),
    ("cgroup", "CLONE_NEWCGROUP", FAIL),
    ("time", "CLONE_NEWTIME", WARN),
    ("user", "CLONE_NEWUSER", WARN),
)
CONTROLLERS = ("cpu", "cpuset", "hugetlb", "io", "memory", "pids")
"""Those that some flag limits by."""
KERNEL_REMEDY = "run a distribution's kernel of Linux 5.14 or later; an outer sandbox may also forbid it"


def examine(roots: Roots) -> list[Finding]:
    """Everything, in the order in which a container needs it. A container can run if none of them is "fail"."""
    found: list[Finding] = []
    for look in (_root, _kernel, _program, _calls, _namespaces, _cgroups, _overlay, _seccomp, _capabilities, _tools):
        found += look(roots)
    found += doctor_network.examine(roots)
    return found


def can_run(findings: list[Finding]) -> bool:
    return all(finding.status != FAIL for finding in findings)


def attempt(plan: Plan) -> int:
    """Executes a plan's host steps in a child that then ends; 0, or the errno of the step that failed."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            from minirt.kernel import execute, flat

            execute.run(flat.encode(plan))
            code = 0
        except OSError as error:
            code = min(error.errno or 255, 254)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _probe(name: str, steps: tuple[Step, ...], bad: str = FAIL, remedy: str = KERNEL_REMEDY) -> Finding:
    """One finding for a few steps that must work."""
    error = attempt(Plan(steps))
    if error == 0:
        return Finding(name, OK, "works")
    return Finding(name, bad, "crashes" if error < 0 or error == 255 else os.strerror(error), remedy)


def _host(op: str, *args: object, out: str | tuple[str, str] = ()) -> Step:  # type: ignore[assignment]
    return Step(op, *args, out=out, actor=HOST)


def _root(roots: Roots) -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding("user", OK, "root")
    else:
        yield Finding("user", FAIL, f"user {os.geteuid()}, not root", "run it with sudo")
    for flag, path in (("--root", roots.root), ("--state", roots.state)):
        place = _existing(path)
        if os.access(place, os.W_OK):
            yield Finding(flag, OK, path)
        else:
            yield Finding(flag, FAIL, f'"{place}" is not writable', f"choose another place: minirt {flag} DIR …")


def _existing(path: str) -> str:
    """The nearest directory at or above `path` that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _kernel(roots: Roots) -> Iterator[Finding]:
    about = os.uname()
    if release(about.release) >= FLOOR:
        yield Finding("kernel", OK, f"Linux {about.release}")
    else:
        yield Finding("kernel", FAIL, f"Linux {about.release} is older than 5.14", KERNEL_REMEDY)
    if about.machine in ARCHITECTURES:
        yield Finding("architecture", OK, about.machine)
    else:
        yield Finding("architecture", FAIL, about.machine, "minirt runs on x86-64 and aarch64")
    version = ".".join(str(number) for number in sys.version_info[:3])
    yield Finding("python", OK, f"CPython {version}")


def release(text: str) -> tuple[int, int]:
    """(6, 1) of "6.1.0-13-amd64"; (0, 0) of what is no release."""
    parts = text.split("-")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return 0, 0


def _program(roots: Roots) -> Iterator[Finding]:
    """The C parts that this installation was built with."""
    remedy = "build and install minirt again: make install"
    try:
        from minirt.kernel import execute  # noqa: F401
    except ImportError as error:
        yield Finding("extension", FAIL, f"cannot be loaded: {error}", remedy)
        return
    yield Finding("extension", OK, "loaded")
    from minirt import kernel

    monitor = os.path.join(os.path.dirname(kernel.__file__), "minirt-monitor")
    if os.access(monitor, os.X_OK):
        yield Finding("minirt-monitor", OK, monitor)
    else:
        yield Finding("minirt-monitor", FAIL, f'"{monitor}" is missing or not executable', remedy)


def _calls(roots: Roots) -> Iterator[Finding]:
    """The calls younger than most sandboxes' filters."""
    none, clone = Flags("0"), Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")
    path = Flags("O_PATH|O_CLOEXEC")
    yield _probe("openat2", (_host("openat2", CWD, "/", path, none, Flags("RESOLVE_IN_ROOT"), out="root"),))
    yield _probe(
        "mount API",
        (
            _host("fsopen", "tmpfs", Flags("FSOPEN_CLOEXEC"), out="context"),
            _host("fsconfig", Fd("context"), Flags("FSCONFIG_CMD_CREATE")),
            _host("fsmount", Fd("context"), Flags("FSMOUNT_CLOEXEC"), none, out="mount"),
            _host("open_tree", CWD, "/", clone, out="tree"),
        ),
    )
    readonly = Flags("MOUNT_ATTR_RDONLY")
    yield _probe(
        "mount_setattr",
        (
            _host("open_tree", CWD, "/", clone, out="tree"),
            _host("mount_setattr", Fd("tree"), "", Flags("AT_EMPTY_PATH"), readonly, none, none),
        ),
    )


def _namespaces(roots: Roots) -> Iterator[Finding]:
    for kind, flag, bad in NAMESPACES:
        remedy = KERNEL_REMEDY
        if kind == "user":
            remedy = "see sysctl user.max_user_namespaces; only --userns needs it"
        elif kind == "time":
            remedy = "only time namespaces are left out; a distribution's kernel has them"
        yield _probe(f"{kind} namespace", (_host("unshare", Flags(flag)),), bad, remedy)


def _cgroups(roots: Roots) -> Iterator[Finding]:
    try:
        mount = tree.mount_point()
    except HostError as error:
        yield Finding("cgroup v2", FAIL, error.message, error.remedy)
        return
    yield _cgroup_tree(mount)
    yield _device_rules()
    for name, owner in owners.owners().items():
        if name in CONTROLLERS:
            yield _controller(name, owner)


def _controller(name: str, owner: owners.Owner) -> Finding:
    """Who has a controller, and the boot option that gives it to the v2 tree."""
    if owner.kind == owners.V2:
        place = home.home()
        if name in home.available(place):
            return Finding(f"cgroup {name}", OK, "owned by the v2 tree")
        told = home.missing(name, "a limit", place)
        return Finding(f"cgroup {name}", WARN, f"owned by the v2 tree, not handed on to {place}", told.remedy)
    what = {
        owners.V1: f"owned by the v1 hierarchy{' at ' + owner.mount if owner.mount else ''}",
        owners.DISABLED: "disabled by this boot",
        owners.ABSENT: "not in this kernel",
    }[owner.kind]
    try:
        owners.require(name, "a limit")
    except HostError as error:
        return Finding(f"cgroup {name}", WARN, f"{what}; its limits are refused", error.remedy)
    return Finding(f"cgroup {name}", OK, what)


def _cgroup_tree(mount: str) -> Finding:
    """Makes a cgroup, looks for what minirt uses in it, removes it."""
    name = f"doctor-{os.getpid()}"
    try:
        path = home.create(home.home(mount), name, {})
    except (OSError, MinirtError) as error:
        return Finding("cgroup v2", FAIL, f"{mount}: cannot make a cgroup: {error}", "mount it writable")
    try:
        missing = [file for file in ("cgroup.kill", "cgroup.freeze") if not os.path.exists(f"{path}/{file}")]
    finally:
        tree.remove(path)
    if missing:
        return Finding("cgroup v2", FAIL, f"{mount}: no {', '.join(missing)}", KERNEL_REMEDY)
    owner = f"; containers below {home.home(mount)}, which systemd delegates" if home.by_systemd() else ""
    return Finding("cgroup v2", OK, f"mounted at {mount}, groups, freezes and kills{owner}")


def _device_rules() -> Finding:
    """An eBPF program that allows nothing, loaded and let go."""
    code = Blob(devices_program.program([]), "no device")
    kind = Flags("BPF_CGROUP_DEVICE")
    step = _host("bpf_prog_load", Flags("BPF_PROG_TYPE_CGROUP_DEVICE"), kind, code, out="devices")
    remedy = "a kernel with CONFIG_CGROUP_BPF, and CAP_BPF or CAP_SYS_ADMIN; --device and CAP_MKNOD are refused without"
    return _probe("device rules", (step,), WARN, remedy)


def _overlay(roots: Roots) -> Iterator[Finding]:
    """An overlay on the very file system that will hold the layers."""
    place = _existing(roots.root)
    try:
        scratch = tempfile.mkdtemp(prefix=".minirt-doctor-", dir=place)
    except OSError as error:
        yield Finding("overlay", FAIL, f'"{place}": {error.strerror}', "choose another place: minirt --root DIR …")
        return
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{scratch}/{name}")
        overlay = rootfs.Overlay((f"{scratch}/lower",), f"{scratch}/upper", f"{scratch}/work")
        host = Host(release(os.uname().release), "", (), (), {}, None, False)
        code = attempt(rootfs.compile(overlay, host))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if code == 0:
        yield Finding("overlay", OK, f"works on {place}")
    else:
        remedy = f"modprobe overlay; and {place} must be ext4, xfs, btrfs or tmpfs, not itself an overlay"
        yield Finding("overlay", FAIL, os.strerror(code) if 0 < code < 255 else "crashes", remedy)


def _seccomp(roots: Roots) -> Iterator[Finding]:
    try:
        with open("/proc/sys/kernel/seccomp/actions_avail") as file:
            actions = file.read().split()
    except FileNotFoundError:
        yield Finding("seccomp", FAIL, "not in this kernel", KERNEL_REMEDY + "; or --security-opt seccomp=unconfined")
        return
    if "errno" not in actions:
        yield Finding("seccomp", FAIL, f"has no errno action: {' '.join(actions)}", KERNEL_REMEDY)
        return
    try:
        from minirt.kernel import seccomp  # noqa: F401
    except ImportError as error:
        yield Finding("seccomp", FAIL, f"libseccomp cannot be loaded: {error}", "apt-get install libseccomp2")
        return
    yield Finding("seccomp", OK, "filters, and libseccomp compiles them")


def _capabilities(roots: Roots) -> Iterator[Finding]:
    """The bounding set: what is not in it can be given to nobody."""
    with open("/proc/self/status") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    known = capabilities.NAMES[: last + 1]
    missing = [name for name in known if name not in capabilities.from_mask(bounding)]
    needed = [name for name in missing if name in NEEDED]
    remedy = "the host gives no more: an outer container or a virtual machine's start-up took them away"
    if needed:
        yield Finding("capabilities", FAIL, f"missing: {', '.join(missing)}", remedy)
    elif missing:
        what = f"missing: {', '.join(missing)}; left out of containers, refused if asked for by name"
        yield Finding("capabilities", WARN, what, remedy)
    else:
        yield Finding("capabilities", OK, f"all {len(known)}")


def _static(path: str) -> bool:
    """Whether an ELF file names no interpreter: PT_INTERP's usual contents are absent."""
    with open(path, "rb") as file:
        return b"/ld-linux" not in file.read(4096)


def _tools(roots: Roots) -> Iterator[Finding]:
    """Programs of the host that some commands call."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    wanted: tuple[tuple[str, str, str, Callable[[str], bool]], ...] = (
        ("busybox", "busybox-static", "localhost/busybox cannot be made", _static),
        ("nft", "nftables", "needed for every network but none and host", lambda _: True),
        ("dnsmasq", "dnsmasq-base", "needed for names on user networks", lambda _: True),
    )
    for name, package, loss, suits in wanted:
        found = shutil.which(name, path=path)
        if found and suits(found):
            yield Finding(name, OK, found)
        else:
            what = f"{found} is not static" if found else "not installed"
            yield Finding(name, WARN, f"{what}; {loss}", f"apt-get install {package}")
