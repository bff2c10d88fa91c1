# SPDX-License-Identifier: Apache-2.0
"""The grammar of every flag that holds more than a word: what it means, and Docker's words for what is wrong."""

from __future__ import annotations

import os

import pytest

from minirt.engine import flags
from minirt.errors import InvalidValue


def test_volume_forms() -> None:
    plain = flags.volume("/a:/b")
    assert (plain.source, plain.destination, plain.read_only, plain.propagation) == ("/a", "/b", False, "rprivate")
    full = flags.volume("/a/../c:/b//d/:ro,Z,rslave")
    assert (full.source, full.destination, full.read_only, full.relabel) == ("/c", "/b/d", True, "Z")
    assert full.propagation == "rslave"
    named = flags.volume("data:/var/lib")
    assert (named.source, named.is_bind) == ("data", False)
    assert flags.volume("/only").source == ""
    assert flags.volume("./here:/x").source == os.path.join(os.getcwd(), "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        ("/a:/b:ro:x", "invalid volume specification"),
        ("/a::ro", "invalid volume specification"),
        ("/a:b", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/x/..", "destination can't be '/'"),
        ("/a:/b:rox", "invalid mode: rox"),
        ("a/b:/c", "includes invalid characters for a local volume name"),
        ("-x:/c", "includes invalid characters"),
        ("a:/c", "includes invalid characters"),
        ("%s\n:/c", "includes invalid characters"),
    ],
)
def test_bad_volumes(text: str, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        flags.volume(text)
    assert message in caught.value.message


def test_tmpfs() -> None:
    assert flags.tmpfs("/run") == ("/run", [])
    assert flags.tmpfs("/run:size=64m,mode=1777,exec") == ("/run", ["size=67108864", "mode=1777", "exec"])
    assert flags.tmpfs("/run:size=50%") == ("/run", ["size=50%"])
    for bad in ("run", "/run:lowerdir=/etc", "/run:size=", "/run:x", "/"):
        with pytest.raises(InvalidValue):
            flags.tmpfs(bad)


@pytest.mark.parametrize(
    ("text", "bytes_"), [("64m", 64 << 20), ("1g", 1 << 30), ("1.5G", 3 << 29), ("10", 10), ("7b", 7), ("2KiB", 2048)]
)
def test_sizes(text: str, bytes_: int) -> None:
    assert flags.size(text, "--shm-size") == bytes_


@pytest.mark.parametrize("text", ["", "m", "-1m", "1x", "1..2m", ".m", "1 m", "9" * 30 + "g", "0x10", "1.m"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(InvalidValue):
        flags.size(text, "--shm-size")


def test_ulimits() -> None:
    assert flags.ulimit("nofile=1024:2048") == ("RLIMIT_NOFILE", 1024, 2048)
    assert flags.ulimit("core=-1") == ("RLIMIT_CORE", flags.UNLIMITED, flags.UNLIMITED)
    for bad in ("nofile", "nofile=", "nofile=a", "nofile=2:1", "files=1", "=1", "nofile=1:2:3", "nofile=²"):
        with pytest.raises(InvalidValue):
            flags.ulimit(bad)


def test_run_19_sysctls_are_namespaced_ones_only() -> None:
    """RUN-19 (CVE-2022-0812): exact names, no `+` lists, no path tricks, nothing that is the host's."""
    own = frozenset(("network", "ipc"))
    assert flags.sysctl("net.ipv4.ip_forward=1", own) == ("net.ipv4.ip_forward", "1")
    assert flags.sysctl("kernel.shm_rmid_forced=1", own)[1] == "1"
    for bad in (
        "kernel.core_pattern=|/evil",
        "kernel.shm_rmid_forced+kernel.core_pattern=x",
        "net.ipv4/../../kernel/core_pattern=x",
        "net/../kernel/core_pattern=x",
        "vm.overcommit_memory=1",
        "kernel.msgmax=1\nx",
        "=1",
        "net.ipv4.ip_forward",
    ):
        with pytest.raises(InvalidValue):
            flags.sysctl(bad, own)
    with pytest.raises(InvalidValue, match="network"):
        flags.sysctl("net.ipv4.ip_forward=1", frozenset(("ipc",)))


def test_log_options() -> None:
    assert flags.log_options([]) == (10_000_000, 3)
    assert flags.log_options(["max-size=1k", "max-file=1"]) == (1024, 1)
    assert flags.log_options(["max-size=-1"])[0] == 0
    for bad in ("max-file=0", "max-file=x", "mode=x", "max-size=x"):
        with pytest.raises(InvalidValue):
            flags.log_options([bad])


def test_security() -> None:
    assert flags.security(["no-new-privileges"]).no_new_privileges
    assert flags.security(["no-new-privileges:true"]).no_new_privileges
    assert not flags.security(["no-new-privileges=false"]).no_new_privileges
    assert flags.security(["seccomp=unconfined"]).seccomp == "unconfined"
    assert flags.security(["seccomp=/a=b.json"]).seccomp == "/a=b.json"
    for bad in ("seccomp=", "apparmor=x", "nnp", "no-new-privileges=maybe"):
        with pytest.raises(InvalidValue, match="invalid --security-opt"):
            flags.security([bad])


def test_namespaces() -> None:
    assert flags.namespace("pid", "container:web", ("host", "container")) == ("container", "web")
    assert flags.namespace("pid", "", ("host",)) == ("", "")
    for bad in ("container:", "container", "hosts", "host:x"):
        with pytest.raises(InvalidValue, match="invalid PID mode"):
            flags.namespace("pid", bad, ("host", "container"))


@pytest.mark.parametrize("text", ["a" * 65, "-a", "a b", "a\n", "a/b", ".a", "ä"])
def test_bad_hostnames(text: str) -> None:
    with pytest.raises(InvalidValue, match="invalid hostname"):
        flags.hostname(text)


def test_extra_hosts() -> None:
    assert flags.extra_host("db:10.0.0.2") == ("10.0.0.2", "db")
    assert flags.extra_host("db=[fd00::1]") == ("fd00::1", "db")
    assert flags.extra_host("db:fd00::1") == ("fd00::1", "db")
    for bad in ("db", "db:", ":1.2.3.4", "a b:1.2.3.4", "db:1.2.3.4\nx 1"):
        with pytest.raises(InvalidValue):
            flags.extra_host(bad)
