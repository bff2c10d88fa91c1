# SPDX-License-Identifier: Apache-2.0
"""The kernel's own doors from inside: procfs, sysfs, cgroups, devices, system calls (proc(5), cgroups(7), mknod(2),
seccomp(2)). Only paths that this host has are tried; with --privileged each is seen to be open.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

import runner

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware", "/sys/fs/selinux", "/sys/devices/system/cpu/cpu0/thermal_throttle",
)  # fmt: skip
HERE = [path for path in MASKED if os.path.exists(path)]
X86 = platform.machine() == "x86_64"


def shell(minirt: runner.Minirt, script: str, *options: str) -> runner.Result:
    return minirt("run", "--rm", *options, "--rootfs", minirt.rootfs, "sh", "-c", script)


def test_run_03_nothing_of_the_kernel_can_be_written(minirt: runner.Minirt, attacker: Path) -> None:
    """RUN-03: of all files below /proc and /sys only those of processes can be opened for writing."""
    trees = [f"/proc/{name}" for name in ("sys", "irq", "bus", "fs", "acpi", "scsi", "sysrq-trigger")] + ["/sys"]
    words = ["--rootfs", str(minirt.rootfs), "/bin/attacker", "writable", *filter(os.path.exists, trees)]
    assert minirt.ok("run", "--rm", *words) == ""
    found = minirt.ok("run", "--rm", "--privileged", *words).split()
    assert len(found) > 100 and any(path.startswith("/proc/sys/kernel/") for path in found), "the control"
    script = "for file in $(find /proc -maxdepth 1 -type f -perm /222); do echo $file $(probe write $file x); done"
    others = dict(line.split() for line in shell(minirt, script).lines)
    assert {answer for path, answer in others.items() if path not in HERE} <= {"EPERM", "EACCES"}, others


def test_run_03_masked_paths_say_nothing(minirt: runner.Minirt) -> None:
    """RUN-03: what is masked reads as empty, in run and in exec; the mask cannot be taken off."""
    assert len(HERE) >= 3, "the control: this host has some of them"
    script = "".join(f"cat {path} 2>/dev/null | wc -c; ls -A {path}/ 2>/dev/null | wc -l; " for path in HERE)
    assert set(shell(minirt, script).lines) == {"0"}
    shown = shell(minirt, script, "--privileged").lines
    assert sum(line != "0" for line in shown) >= 3, f"the control: {dict(zip(HERE, shown[::2], strict=False))}"
    calls = [f"umount2:@{path},2" for path in HERE] + [f"mount:@none,@{path},@none,0x1020,0" for path in HERE]
    calls += ["mount:@none,@/proc/sys,@none,0x1020,0"]
    calls += ["mount:@proc,@/tmp,@proc,0,0", "mount:@sysfs,@/tmp,@sysfs,0,0"]
    calls += ["move_mount:-100,@/proc/keys,-100,@/tmp/x,0", "unshare:0x20000"]
    assert set(minirt.calls(*calls).values()) == {"EPERM"}
    unfiltered = minirt.calls(*calls, options=("--security-opt", "seccomp=unconfined"))
    assert set(unfiltered.values()) == {"EPERM"}, f"capabilities refuse it as well: {unfiltered}"


SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/ksm/run",
    "/sys/power/state",
)
PROGRAMS_OF_THE_KERNEL = [path for path in SETTINGS if os.access(path, os.W_OK)]


def test_run_04_programs_that_the_kernel_starts(minirt: runner.Minirt) -> None:
    """RUN-04 (CVE-2022-0492): core_pattern, modprobe and their like keep the host's values; release_agent is out of
    reach, because no cgroup tree can be mounted."""
    assert len(PROGRAMS_OF_THE_KERNEL) >= 2, "the control: this host has some, and root may write them"
    before = {path: Path(path).read_text() for path in PROGRAMS_OF_THE_KERNEL if os.access(path, os.R_OK)}
    script = "; ".join(f"probe write {path} '|/evil'" for path in PROGRAMS_OF_THE_KERNEL)
    answers = shell(minirt, script + "; true").lines
    assert len(answers) == len(PROGRAMS_OF_THE_KERNEL) and set(answers) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}
    assert {path: Path(path).read_text() for path in before} == before
    mounts = [
        f"mount:@none,@/tmp,@{kind},0,0" for kind in ("cgroup", "cgroup2", "binfmt_misc", "debugfs", "securityfs")
    ]
    unfiltered = minirt.calls(*mounts, options=("--security-opt", "seccomp=unconfined"))
    assert set(unfiltered.values()) == {"EPERM"}, unfiltered


def test_run_05_cgroup(minirt: runner.Minirt) -> None:
    """RUN-05 (CVE-2023-25809): the cgroup is the root of what is seen, and nothing of it can be changed."""
    files = [f"/sys/fs/cgroup/cgroup.{name}" for name in ("procs", "subtree_control", "kill", "freeze")]
    script = "cat /proc/self/cgroup; " + "".join(f"probe write {path} 0; " for path in files)
    result = shell(minirt, script + "probe open /sys/fs/cgroup/new wc; echo processes; cat /sys/fs/cgroup/cgroup.procs")
    assert "0::/" in result.lines and result.lines.count("EROFS") == len(files) + 1, repr(result)
    inside = [int(pid) for pid in result.lines[result.lines.index("processes") + 1 :]]
    assert inside[0] == 1 and max(inside) < 20, "only its own processes"
    assert set(minirt.calls("unshare:0x2000000", "mount:@none,@/tmp,@cgroup2,0,0").values()) == {"EPERM"}
    control = shell(minirt, "probe write /sys/fs/cgroup/cgroup.procs 0", "--privileged")
    assert control.out == "0", "the control: where it is not read-only"


NEVER = (
    "add_key io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl migrate_pages "
    "move_pages pivot_root request_key swapoff swapon sysfs userfaultfd ustat vserver uselib nfsservctl "
    "create_module query_module get_kernel_syms _sysctl afs_syscall getpmsg putpmsg security tuxcall bpf "
    "perf_event_open mount umount2 setns unshare fsopen fsmount open_tree init_module finit_module delete_module "
    "reboot syslog acct settimeofday iopl ioperm open_by_handle_at lookup_dcookie quotactl fanotify_init"
).split()


def test_run_06_system_calls_that_are_denied(minirt: runner.Minirt) -> None:
    """RUN-06, RUN-18: every call of the list is EPERM; without the filter the kernel itself answers most of them."""
    denied = {name: answer for name, answer in minirt.calls(*NEVER).items() if answer != "unknown"}
    assert len(denied) > 35 and set(denied.values()) == {"EPERM"}, denied
    harmless = ["add_key", "keyctl", "request_key", "io_uring_setup", "userfaultfd", "move_pages", "uselib", "ustat"]
    plain = minirt.calls(*harmless, options=("--security-opt", "seccomp=unconfined"))
    assert sum(answer != "EPERM" for answer in plain.values()) >= 6, f"the control: {plain}"


FAMILIES = ("socket:38,5,0", "socket:40,1,0", "socket:0x100000026,5,0")  # AF_ALG, AF_VSOCK, AF_ALG to an int
REFUSED = {"EPERM", "ENOSYS"}  # EPERM by the profile; libseccomp loses it where i386 is filtered as well


def test_run_06_arguments_that_are_denied(minirt: runner.Minirt) -> None:
    """RUN-06 (CVE-2026-31431): AF_ALG and AF_VSOCK, also with other upper halves; clone with new namespaces; clone3
    and what is not known do not exist."""
    flags = (0x20000, 0x2000000, 0x10000000, 0x20000000, 0x40000000, 0x7E020000)
    expected = {f"clone:{flag:#x}": "EPERM" for flag in flags}
    expected |= {"clone3:0,0": "ENOSYS", "clone3": "ENOSYS", "9999": "ENOSYS"}
    assert minirt.calls(*expected) == expected
    assert set(minirt.calls(*FAMILIES).values()) <= REFUSED
    allowed = minirt.calls("socket:2,1,0", "socket:1,1,0", "socket:16,3,0", "getpid")
    assert all(answer.isdecimal() for answer in allowed.values()), f"the control: {allowed}"
    plain = minirt.calls("socket:38,5,0", "clone3:0,0", options=("--security-opt", "seccomp=unconfined"))
    assert plain["clone3:0,0"] == "EINVAL" and plain["socket:38,5,0"] not in REFUSED, f"the control: {plain}"


def test_run_07_the_other_doors(minirt: runner.Minirt) -> None:
    """RUN-07: int 0x80 and x32 numbers are filtered too; socketcall(2), whose arguments a filter cannot see, is not
    there for any of its calls. A kernel or machine without these doors refuses them itself."""
    doors = {f"int80/102:{call},0": "ENOSYS" for call in range(1, 21)}
    doors |= {
        "int80/288": "EPERM",  # keyctl
        "int80/21": "EPERM",  # mount
        "int80/310": "EPERM",  # unshare
        "int80/120:0x10000000": "EPERM",  # clone
        "int80/435": "ENOSYS",  # clone3
        "int80/425": "EPERM",  # io_uring_setup
    }
    others = ["x32/keyctl", "x32/io_uring_setup", "x32/socket:38,5,0", "x32/mount"]
    others += ["int80/359:38,5,0", "int80/359:40,1,0"]
    found = minirt.calls(*doors, *others, "int80/20")
    getpid = found["int80/20"]
    if not getpid.isdecimal():
        assert getpid == "killed 11" or not X86, found
        doors = dict.fromkeys(doors, getpid)
    assert {door: found[door] for door in doors} == doors
    assert {found[door] for door in others} <= {*REFUSED, "killed 11"}
    plain = minirt.calls("int80/102:1,0", "int80/288:0,0", options=("--security-opt", "seccomp=unconfined"))
    assert not getpid.isdecimal() or "ENOSYS" not in plain.values(), f"the control: {plain}"


DEVICES = {"mem": ("c", 1, 1), "kmsg": ("c", 1, 11), "disk": ("b", 259, 0), "zero": ("c", 1, 5)}


def test_run_10_devices_cannot_be_made(minirt: runner.Minirt) -> None:
    """RUN-10: mknod of a host's disk, /dev/mem and /dev/kmsg is EPERM; a fifo and a file are not."""
    makes = "; ".join(f"mknod /tmp/{name} {kind} {major} {minor}" for name, (kind, major, minor) in DEVICES.items())
    result = shell(minirt, f"{makes}; mknod /tmp/fifo p; ls /tmp")
    assert result.out == "fifo" and result.stderr.count("Operation not permitted") == len(DEVICES), repr(result)
    control = shell(minirt, "mknod /tmp/zero c 1 5 && probe open /tmp/zero r", "--privileged")
    assert control.out == "0", "the control: where the capability is"


def test_run_10_with_the_capability_they_can_be_made_and_not_opened(minirt: runner.Minirt) -> None:
    """RUN-10: the program on the cgroup answers EPERM, for exec as well; tests/cgroup/test_device_rules.py has more."""
    script = "; ".join(
        f"mknod /{name} {kind} {major} {minor}; probe open /{name} r" for name, (kind, major, minor) in DEVICES.items()
    )
    result = shell(minirt, script, "--cap-add", "MKNOD", "--cap-add", "SYS_RAWIO", "--cap-add", "SYSLOG")
    assert result.lines == ["EPERM", "EPERM", "EPERM", "0"], repr(result)


@pytest.mark.parametrize("form", ["directory", "overlay", "volume"])
def test_run_11_devices_of_the_image_cannot_be_opened(minirt: runner.Minirt, rootfs: Path, form: str) -> None:
    """RUN-10, RUN-11, IMG-11: nodes that an image or a neighbour brings; and a mount is not remounted with them."""
    for name, (kind, major, minor) in DEVICES.items():
        mode = 0o666 | (0o20000 if kind == "c" else 0o60000)
        os.mknod(rootfs / "var" / name, mode, os.makedev(major, minor))
        os.chmod(rootfs / "var" / name, 0o666)
    where = "/var" if form != "volume" else "/data"
    options = ["-v", f"{rootfs}/var:/data"] if form == "volume" else []
    root = f"{rootfs}:O" if form == "overlay" else str(rootfs)
    script = "; ".join(f"probe open {where}/{name} r" for name in DEVICES)
    result = minirt("run", "--rm", *options, "--rootfs", root, "sh", "-c", script)
    assert result.lines == ["EACCES"] * len(DEVICES), repr(result)
    assert minirt("run", "--rm", "--rootfs", root, "probe", "open", "/dev/zero", "r").out == "0", "its own can be"
    control = minirt("run", "--rm", "--privileged", *options, "--rootfs", root, "probe", "open", f"{where}/zero", "r")
    assert control.out == "0", "the control: with --privileged they can be"
    remount = minirt.calls(f"mount:@none,@{where},@none,0x1020,0", "mount:@none,@/,@none,0x1020,0")
    assert set(remount.values()) == {"EPERM"}


@pytest.mark.parametrize(
    "sysctl",
    [
        "kernel.shm_rmid_forced=1+kernel.core_pattern=x",
        "net.ipv4/../../kernel/core_pattern=x",
        "net.ipv4....kernel.core_pattern=x",
        "net/../kernel/panic=9",
        "kernel/core_pattern=x",
        "kernel.core_pattern=x",
        "vm.overcommit_memory=1",
    ],
)
def test_run_19_sysctls_of_the_host(minirt: runner.Minirt, sysctl: str) -> None:
    """RUN-19 (CVE-2022-0811): only names of namespaced sysctls, and none with the host's network."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    minirt.fails("run", "--rm", "--sysctl", sysctl, "--rootfs", minirt.rootfs, "true", code=125)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    ok = ["--sysctl", "net.ipv4.ip_forward=1", "--rootfs", str(minirt.rootfs)]
    assert minirt.ok("run", "--rm", *ok, "cat", "/proc/sys/net/ipv4/ip_forward") == "1", "the control"
    minirt.fails("run", "--rm", "--network", "host", *ok, "true", code=125, says="net.ipv4.ip_forward")
