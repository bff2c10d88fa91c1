# SPDX-License-Identifier: Apache-2.0
"""`minirt pull` and `push` as the attacks use them: refused with a reason in bounded memory, or done and true.

The peak of memory is what the kernel counted (getrusage(2)), asked by a small parent in between: a process that is
started by vfork(2) would inherit the peak of the test's own interpreter.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from store import Store

import forge
import sample_images
from hostile_registry import Hostile
from runner import Minirt, Result, program

PEAK_MIB = 100
"""What no answer of a registry may make a pull exceed (REG-11); the interpreter itself is 30."""

MEASURING = """
import os, sys
child = os.fork()
if not child:
    os.execv(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(child, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""

SMALL = forge.tar(forge.entry("small", data=b"one"))
UNPRESSED = forge.tar(forge.entry("data", data=bytes(index * 7919 >> 3 & 255 for index in range(1 << 18)) * 4))
"""A layer of 1 MiB that, uncompressed, has a size worth cutting."""


def measured(minirt: Minirt, *argv: str, timeout_s: float = 60) -> tuple[Result, float]:
    """What the command did, and the most memory it had, in MiB."""
    note = minirt.root.parent / "peak"
    words = [sys.executable, "-IS", "-c", MEASURING, str(note), *program(), *argv]
    began = time.monotonic()
    done = subprocess.run(
        words, env=minirt.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s
    )
    result = Result(list(argv), done.returncode, done.stdout, done.stderr, time.monotonic() - began)
    return result, int(note.read_text()) / 1024


def refused(minirt: Minirt, *argv: str, says: str, peak_mib: float = PEAK_MIB) -> Result:
    """The command fails with 1, in a few lines of which one matches `says`, in bounded memory, without a traceback."""
    result, peak = measured(minirt, *argv)
    assert result.code == 1, repr(result)
    assert "Traceback" not in result.stderr and "internal error" not in result.stderr, repr(result)
    assert re.search(says, result.stderr), f"expected {says!r} in\n{result!r}"
    assert len(result.stderr) < 4096, "an error as long as the attacker likes"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", result.stderr), f"control characters: {result.stderr!r}"
    assert peak < peak_mib, f"{peak} MiB\n{result!r}"
    return result


def pulled(minirt: Minirt, name: str, *options: str, tidy: bool = True) -> Store:
    """The control: this pull works, and what it stored is true. `tidy`: and nobody was killed here before."""
    minirt.ok("pull", *options, name, environment={"MINIRT_HTTP_TIMEOUT_S": "30"})
    store = Store(minirt.root)
    store.true()
    if tidy:
        store.tidy()
    assert store.images, "nothing was pulled"
    return store


def blob_of(files: dict[str, bytes], layer: int = 0) -> str:
    """The path of a layer's blob below /v2/<repository>/blobs/."""
    listed = json.loads(files["index.json"])["manifests"][0]["digest"]
    return str(json.loads(files[f"blobs/sha256/{listed[7:]}"])["layers"][layer]["digest"])


def one(server: Hostile, *layers: bytes, name: str = "mine:1", compression: str = "gzip") -> dict[str, bytes]:
    """Puts an image of these layers, or of SMALL, on the server."""
    files = sample_images.image(*(layers or (SMALL,)), compression=compression)
    server.put(files, name)
    return files


def seen_secrets(server: Hostile) -> list[str]:
    """Everything in requests that could be a credential."""
    return [
        f"{one.line}: {name}: {value}"
        for one in list(server.seen)
        for name, value in one.headers.items()
        if name in ("authorization", "cookie", "proxy-authorization")
    ]


def login(minirt: Minirt, host: str, user: str = "ann", password: str = "s3cret") -> None:
    """Credentials for a host, as `docker login` leaves them."""
    path = Path(minirt.environment["HOME"]) / ".docker/config.json"
    known = json.loads(path.read_text()) if path.exists() else {"auths": {}}
    known["auths"][host] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
    write(path, json.dumps(known))


def configure(minirt: Minirt, table: str) -> None:
    """This is the registries.conf that `minirt` reads."""
    path = write(Path(minirt.environment["HOME"]) / "registries.conf", table)
    minirt.environment["CONTAINERS_REGISTRIES_CONF"] = str(path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path
