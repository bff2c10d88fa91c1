# SPDX-License-Identifier: Apache-2.0
"""Limits of the process: rlimits, the out-of-memory score, execution domain, session keyring (getrlimit(2),
proc(5) oom_score_adj, personality(2), session-keyring(7); runtime-spec config.md "rlimits", "oomScoreAdj").

A limit above the caller's own hard limit is clamped to it: raising one needs CAP_SYS_RESOURCE. Pure; must not
import kernel.
"""

from __future__ import annotations

from minirt.plan import mounts
from minirt.plan.build import BENEATH, NONE, Build
from minirt.plan.facts import Host
from minirt.plan.step import CWD, Blob, Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PERSONALITIES = {"LINUX": "PER_LINUX", "LINUX32": "PER_LINUX32"}


def clamped(rlimit: dict[str, Any], host: Host) -> tuple[int, int]:
    """(soft, hard) as this caller can set them."""
    soft, hard = int(rlimit["soft"]), int(rlimit["hard"])
    most = host.hard_limits.get(str(rlimit["type"]))
    if most is not None and "CAP_SYS_RESOURCE" not in host.capabilities:
        soft, hard = min(soft, most), min(hard, most)
    return soft, hard


def set_rlimits(build: Build) -> None:
    """Init, after everything that opens descriptors."""
    for index, rlimit in enumerate(build.process.get("rlimits") or ()):
        soft, hard = clamped(rlimit, build.host)
        pointer = f"/process/rlimits/{index}"
        build.add("prlimit64", Flags(rlimit["type"]), soft, hard, pointer=pointer, kind="limit")


def set_oom_score(build: Build, entering: bool = False) -> None:
    """Init: through a procfs of our own, before it is attached anywhere. entering: an exec has none, and the
    container's may be anything; it goes through the host's, which it still sees."""
    score = build.process.get("oomScoreAdj")
    if score is None:
        return
    about: dict[str, Any] = {"pointer": "/process/oomScoreAdj", "kind": "limit"}
    flags = Flags("O_WRONLY|O_CLOEXEC")
    if entering:
        build.add("openat2", CWD, "/proc/self/oom_score_adj", flags, NONE, NONE, out="oom-score", **about)
    else:
        proc = mounts.private_proc(build)
        build.add("openat2", proc, "self/oom_score_adj", flags, NONE, BENEATH, out="oom-score", **about)
    build.add("write", Fd("oom-score"), Blob(str(score).encode(), str(score)), **about)


def set_personality(build: Build) -> None:
    domain = (build.linux.get("personality") or {}).get("domain")
    if domain:
        build.add("personality", Flags(_PERSONALITIES[domain]), pointer="/linux/personality", kind="limit")


def join_keyring(build: Build) -> None:
    """A session keyring of its own, so that the caller's keys cannot be found; a kernel without keyrings, a full
    quota or an outer filter leave nothing to protect or nothing to be done."""
    build.add(
        "keyctl", Flags("KEYCTL_JOIN_SESSION_KEYRING"), build.context.id or "minirt", kind="identity",
        tolerate=("ENOSYS", "EDQUOT", "EACCES", "EPERM"),
    )  # fmt: skip
