# SPDX-License-Identifier: Apache-2.0
"""QEMU (qemu-system-x86_64(1)): boots a root for one session and ends with it.

Direct boot of the kernel; the first two disks are snapshots, thrown away at the end; no network. KVM is used only if it
has shown on this host, since its boot, that it runs this very kernel: there are hosts whose /dev/kvm opens and then
executes nothing. Otherwise the CPU is emulated (TCG), one thread for each of two. QEMU dies with this process
(prctl(2) PR_SET_PDEATHSIG, by setpriv(1)) and with its time. Must not import minirt.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import vm_disk
from vm_root import Broken

QEMU = "qemu-system-x86_64"
MEMORY = "4G"
PROBE_S = 20
ACCELERATORS = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    "tcg": ("-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,la57=off,smap=off,smep=off,pku=off"),
}
KERNEL = "root=/dev/vda rw console=ttyS0 loglevel=4 systemd.show_status=0"
FASTER = "mitigations=off nokaslr init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off nowatchdog audit=0"
"""Hardening that an emulated CPU pays for; with -cpu above a tenth of the time."""


def accelerator(root: Path) -> str:
    """kvm or tcg. What was found is kept beside the root for as long as this boot of the host lasts."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = root / "accelerator"
    if known.exists() and known.read_text().split()[:1] == [boot]:
        return known.read_text().split()[1]
    found = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and boots(root) else "tcg"
    known.write_text(f"{boot} {found}\n")
    return found


def boots(root: Path) -> bool:
    """Whether the kernel says anything under KVM within some seconds: its line of version is the first."""
    words = [QEMU, *ACCELERATORS["kvm"], "-m", "512M", "-nic", "none", "-display", "none", "-no-reboot"]
    words += ["-kernel", str(root / "vmlinuz"), "-initrd", str(root / "initrd"), "-serial", "stdio"]
    words += ["-append", "console=ttyS0 panic=-1 earlyprintk=serial"]
    with running(words, ()) as child:
        assert child.stdout is not None
        seen = b""
        for data in output(child.stdout, time.monotonic() + PROBE_S):
            seen += data
            if b"Run /init" in seen or b"Loading, please wait" in seen:
                return True
    return False


def session(root: Path, disks: Sequence[IO[bytes]], timeout_s: float, serial: Path) -> bool:
    """Boots `root` with the second and third disk and copies what its session prints to standard output. The kernel's
    and systemd's own words go to the file `serial`. False if the time was over."""
    told, answer = vm_disk.paths(disks)
    words = [QEMU, *ACCELERATORS[accelerator(root)], "-smp", "2", "-m", MEMORY, "-nic", "none", "-display", "none"]
    words += ["-drive", f"file={root / 'root.ext4'},format=raw,if=virtio,snapshot=on,cache=unsafe"]
    words += ["-drive", f"file={told},format=raw,if=virtio,snapshot=on,cache=unsafe"]
    words += ["-drive", f"file={answer},format=raw,if=virtio"]
    words += ["-device", "virtio-rng-pci"]
    words += ["-kernel", str(root / "vmlinuz"), "-initrd", str(root / "initrd"), "-append", f"{KERNEL} {FASTER}"]
    words += ["-serial", f"file:{serial}", "-serial", "stdio"]
    deadline = time.monotonic() + timeout_s
    with running(words, [file.fileno() for file in disks]) as child:
        assert child.stdout is not None
        for data in output(child.stdout, deadline):
            sys.stdout.buffer.write(data.replace(b"\r\n", b"\n"))
            sys.stdout.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
        if child.returncode not in (None, 0):
            raise Broken(f"{QEMU} exited {child.returncode}")
        return child.returncode is not None


def output(stream: IO[bytes], deadline: float) -> Iterator[bytes]:
    """What comes out of a pipe, until its end or the deadline."""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([stream], [], [], left)[0]:
            data = os.read(stream.fileno(), 1 << 16)
            if not data:
                return
            yield data


@contextlib.contextmanager
def running(words: Sequence[str], inherited: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """QEMU for the time of this context, ended whatever happens; its temporary files have no names."""
    bound = ["setpriv", "--pdeathsig", "KILL", "nice", *words]
    child = subprocess.Popen(bound, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=inherited)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()
