# SPDX-License-Identifier: Apache-2.0
"""The three files below /etc that are the container's own: hosts(5), hostname(5), resolv.conf(5).

They are written into the bundle and bound over whatever the image has there, so the image's own, be they symbolic
links, pipes or directories, are never opened. Must not import runtime or kernel.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMIT_BYTES = 1 << 20  # of the host's own files
HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_NAMESERVERS = ("nameserver 8.8.8.8", "nameserver 8.8.4.4")  # Docker's, for a host that names only itself


def write(directory: int, hostname: str, host_network: bool, extra: Iterable[tuple[str, str]]) -> None:
    """Make hosts, hostname and resolv.conf in the bundle `directory`. `extra`: (address, name) of --add-host.

    No rename and no fsync: nobody knows the bundle yet, and one that a crash left unfinished is removed.
    """
    hosts = _host_file("/etc/hosts") if host_network else ""
    if not hosts:
        hosts = HOSTS + f"127.0.0.1\t{hostname}\n"
    hosts += "".join(f"{address}\t{name}\n" for address, name in extra)
    resolver = _host_file("/etc/resolv.conf")
    for name, text in (
        ("hosts", hosts),
        ("hostname", hostname + "\n"),
        ("resolv.conf", resolver if host_network else without_loopback(resolver)),
    ):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o644, dir_fd=directory)
        try:
            os.fchmod(file, 0o644)  # whatever the umask says: every user inside reads them
            os.write(file, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(file)


def without_loopback(resolver: str) -> str:
    """The host's resolv.conf less the servers at 127.* and ::1: in the container's own network namespace nobody
    answers there. Docker's public ones where none is left."""
    lines = [line for line in resolver.splitlines() if not _is_loopback(line)]
    if not any(line.split()[:1] == ["nameserver"] for line in lines):
        lines += _NAMESERVERS
    return "\n".join(lines) + "\n"


def _is_loopback(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver" and words[1].startswith(("127.", "::1", "[::1"))


def _host_file(path: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(file, _LIMIT_BYTES).decode("utf-8", "surrogateescape")
    finally:
        os.close(file)
