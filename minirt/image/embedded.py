# SPDX-License-Identifier: Apache-2.0
"""localhost/busybox: the image that needs no registry, made from Debian's busybox-static when first asked for.

A real OCI image with one layer: /bin/busybox, a symlink for each applet where Debian would have the program, the
users and groups that a container expects. The same busybox always becomes the same digests: no clock, no host
name. Must not be imported where the image is already in the store.
"""

from __future__ import annotations

import hashlib
import os
import subprocess

from minirt.errors import HostError
from minirt.image import document, manifest
from minirt.image.commit import Ready, commit
from minirt.image.layout import Layout
from minirt.image.staging import Staging
from minirt.image.write import member, trailer
from minirt.model.image import EMBEDDED, Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "/bin/busybox"
_SIZE_LIMIT = 64 << 20
_CREATED = "1970-01-01T00:00:00Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PT_INTERP = 3

_DIRECTORIES = (
    "bin", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "run", "sbin", "srv", "sys", "usr", "usr/bin",
    "usr/lib", "usr/local", "usr/local/bin", "usr/local/sbin", "usr/sbin", "usr/share", "var", "var/cache", "var/lib",
    "var/log", "var/spool",
)  # fmt: skip
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:65534:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
kmem:x:9:
wheel:x:10:root
cdrom:x:11:
dialout:x:18:
floppy:x:19:
video:x:28:
audio:x:29:
tape:x:32:
www-data:x:33:
operator:x:37:
utmp:x:43:
plugdev:x:46:
staff:x:50:
users:x:100:
nogroup:x:65534:
"""
_FILES = {
    "etc/group": _GROUP,
    "etc/hostname": "busybox\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n",
    "etc/passwd": _PASSWD,
    "etc/resolv.conf": "",
    "etc/shells": "/bin/sh\n/bin/ash\n",
}


def configuration() -> dict[str, Any]:
    """The `config` object of the image: what `plan` needs, without root, a store or a busybox."""
    return {"Env": [_PATH], "Cmd": ["sh"]}


def make(root: str) -> None:
    """Makes the image in the store below `root`. HostError where there is no static busybox."""
    layer = _layer()
    layout = Layout(root)
    layout.create()
    with Staging(layout) as staging:
        diff_id = hashlib.sha256(layer).hexdigest()
        blob = staging.add_unknown((layer,), diff_id)
        settings = staging.add_document(_config(diff_id))
        whole = {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": {"mediaType": manifest.OCI_CONFIG, "digest": settings.digest, "size": settings.size},
            "layers": [blob.document],
        }
        made = staging.add_document(document.write(whole))
        plain = {"mediaType": manifest.OCI_MANIFEST, "digest": made.digest, "size": made.size}
        descriptor = manifest.Descriptor(plain, "manifest")
        commit(staging, [Ready(descriptor, manifest.read(whole, "manifest"), [EMBEDDED], [diff_id])])


def describe(root: str) -> Image:
    """The image as it would be below `root`; nothing is written, no privilege is needed."""
    diff_id = hashlib.sha256(_layer()).hexdigest()
    identity = hashlib.sha256(_config(diff_id)).hexdigest()
    layers = (os.path.join(root, "layers", diff_id),)
    architecture = manifest.host_architecture()
    return Image(f"sha256:{identity}", EMBEDDED, configuration(), layers, (0o755, 0, 0), architecture)


def _config(diff_id: str) -> bytes:
    return document.write(
        {
            "created": _CREATED,
            "architecture": manifest.host_architecture(),
            "os": "linux",
            "config": configuration(),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created": _CREATED, "created_by": "minirt: busybox-static as an image"}],
        }
    )


def _layer() -> bytes:
    program = _program()
    parts = [member("./", b"5", mode=0o755)]
    for path in _DIRECTORIES:
        parts.append(member(f"{path}/", b"5", mode=0o755))
    for path, mode in (("root", 0o700), ("tmp", 0o1777), ("var/tmp", 0o1777)):
        parts.append(member(f"{path}/", b"5", mode=mode))
    parts.append(member("bin/busybox", b"0", mode=0o755, data=program))
    parts += [member(path, b"2", mode=0o777, link="/bin/busybox") for path in _applets()]
    parts.append(member("var/run", b"2", mode=0o777, link="/run"))
    parts += [member(path, b"0", mode=0o644, data=text.encode()) for path, text in _FILES.items()]
    parts.append(member("etc/shadow", b"0", mode=0o640, data=b"root:*:::::::\nnobody:*:::::::\n"))
    return b"".join(parts) + trailer()


def _program() -> bytes:
    """The host's busybox, if it needs no other file to run."""
    try:
        with open(PROGRAM, "rb") as file:
            data = file.read(_SIZE_LIMIT)
    except OSError:
        raise _missing("there is none") from None
    if data[:4] != b"\x7fELF" or _has_interpreter(data):
        raise _missing("this one is not a static program")
    return data


def _missing(why: str) -> HostError:
    return HostError(f"localhost/busybox is made from {PROGRAM}, and {why}", "apt-get install busybox-static")


def _has_interpreter(data: bytes) -> bool:
    """elf(5): whether a program header of a 64-bit little-endian file is of type PT_INTERP."""
    start = int.from_bytes(data[32:40], "little")
    size, count = int.from_bytes(data[54:56], "little"), int.from_bytes(data[56:58], "little")
    headers = (data[at : at + 4] for at in range(start, start + size * count, size or 1))
    return any(int.from_bytes(kind, "little") == _PT_INTERP for kind in headers)


def _applets() -> list[str]:
    """Where each applet belongs, "usr/bin/env", as busybox itself says it."""
    try:
        listed = subprocess.run([PROGRAM, "--list-full"], capture_output=True, check=True, env={}).stdout.decode()
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        raise _missing("this one does not list its applets") from None
    places = {f"{name}/" for name in _DIRECTORIES}
    kept = {line for line in listed.split() if line[: line.rfind("/") + 1] in places} | {"bin/sh"}
    return sorted(kept - {"bin/busybox"})
