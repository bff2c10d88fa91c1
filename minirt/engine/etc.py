# SPDX-License-Identifier: Apache-2.0
"""The three files below /etc that are the container's own: hosts(5), hostname(5), resolv.conf(5).

They are written into the bundle and bound over whatever the image has there, so the image's own, be they symbolic
links, pipes or directories, are never opened. `write` makes them at creation, `join` says at each start which addresses
and name servers there are now. A container's bundle may be written to by it through these files, so no link is followed
and they are changed in place: another file would not be seen inside. Must not import runtime or kernel.
"""

from __future__ import annotations

import os

from minirt.engine import flags
from minirt.errors import InvalidValue
from minirt.model.network import BRIDGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from minirt.engine.options import RunOptions
    from minirt.model.network import Endpoint, Network

    Place = tuple[Network, Endpoint]
    Look = Callable[[], Mapping[str, Sequence[str]]]

_LIMIT_BYTES = 1 << 20  # of the host's own files, and of what a container may have made of its own
HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
RESOLVERS = "/etc/resolv.conf"
BEHIND_STUB = "/run/systemd/resolve/resolv.conf"  # systemd-resolved(8): whom its stub at 127.0.0.53 asks
_STUB = "127.0.0.53"
_PUBLIC = ("8.8.8.8", "8.8.4.4")  # Docker's, for a host that names only itself
_BEGIN, _END = "# neighbours, kept by minirt", "# end of neighbours"
NEIGHBOURS = "neighbours"  # this file in the bundle says that hosts has their block, and is the lock on it


def write(directory: int, hostname: str, wanted: RunOptions) -> None:
    """Make the three in the bundle `directory`, as they are for a container without addresses of its own.

    No rename and no fsync: nobody knows the bundle yet, and one that a crash left unfinished is removed. Raises
    InvalidValue for host-gateway where there is none.
    """
    on_host = wanted.network == ["host"]
    hosts = _read(None, "/etc/hosts") if on_host else ""
    if not hosts:
        hosts = HOSTS + f"127.0.0.1\t{_own_names(hostname, wanted)}\n"
    gateway = "" if wanted.network == ["none"] else "127.0.0.1"  # on others than the host's own, `join` knows better
    _put(directory, "hosts", hosts + _extra(wanted, gateway))
    _put(directory, "hostname", hostname + "\n")
    _put(directory, "resolv.conf", resolvers(wanted, (), on_host))


def join(directory: str, hostname: str, wanted: RunOptions, places: Sequence[Place], look: Look) -> None:
    """hosts and resolv.conf of a container that is in these networks. `look` tells its neighbours (address → names),
    and is asked only where it takes hosts to find them: see `needs_neighbours`."""
    networks = [network for network, _ in places]
    names = _own_names(hostname, wanted)
    own = [address for _, one in places for address in (one.address4, one.address6) if address]
    hosts = HOSTS + "".join(f"{address}\t{names}\n" for address in own) + _extra(wanted, _gateway(networks))
    bundle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _put(bundle, "resolv.conf", resolvers(wanted, networks, False))
        if not needs_neighbours(wanted, networks):
            _put(bundle, "hosts", hosts)
            _remove(bundle, NEIGHBOURS)
            return
        with _Block(bundle, make=True):
            _put(bundle, "hosts", hosts + _block(look(), own))
    finally:
        os.close(bundle)


def neighbours(directory: str, look: Look) -> None:
    """Somebody came or left: the block in hosts is made anew, all else in it stays. Nothing happens for containers that
    find their neighbours through a resolver. `look` is asked under a lock, so the last to write knew the most."""
    try:
        bundle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        with _Block(bundle, make=False) as block:
            if block.exists:
                old = _read(bundle, "hosts")
                before, begin, rest = old.partition(_BEGIN + "\n")
                after = rest.partition(_END + "\n")[2] if begin else ""
                _put(bundle, "hosts", before + _block(look(), _addresses(before)) + after)
    finally:
        os.close(bundle)


def needs_neighbours(wanted: RunOptions, networks: Sequence[Network]) -> bool:
    """Whether no single resolver knows all its neighbours: it is on several user networks, on one that has no resolver
    (macvlan), or asks the servers of --dns."""
    named = [network for network in networks if not network.is_default]
    return bool(named) and named != [_answering(wanted, networks)]


def resolvers(wanted: RunOptions, networks: Sequence[Network], on_host: bool) -> str:
    """resolv.conf(5): Docker's rules. --dns, --dns-search and --dns-option each take the place of what the host has.

    The name server is the gateway of the first user network that leads out; without one --dns, else the host's, less
    those at 127.* and ::1, where nobody answers in a namespace of the container's own, and less IPv6 ones where there
    is no way to them; Docker's public ones where none is left. Who is on internal networks only asks their resolver.
    """
    text = _read(None, RESOLVERS)
    answering = _answering(wanted, networks)
    if answering is not None:
        servers = [answering.gateway4 or answering.gateway6]
    elif wanted.dns:
        servers = wanted.dns
    elif on_host:
        servers = _words(text, "nameserver", each=True)
    else:
        has_ipv6 = any(network.gateway6 and not network.internal and not network.is_default for network in networks)
        servers = usable(text, has_ipv6 or not networks)
    if on_host and not (wanted.dns or wanted.dns_search or wanted.dns_option):
        return text
    search = [word for word in wanted.dns_search if word != "."] if wanted.dns_search else _searched(text)
    options = list(wanted.dns_option) or _words(text, "options", each=True)
    if answering is not None and not any(word.startswith("ndots:") for word in options):
        options.append("ndots:0")  # a container's name is asked for as it is, before any search domain: nobody outside
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"{word} {' '.join(given)}" for word, given in (("search", search), ("options", options)) if given]
    return "\n".join(lines) + "\n"


def usable(text: str, ipv6: bool) -> list[str]:
    """The host's name servers as far as a container with addresses of its own can ask them."""
    servers = _words(text, "nameserver", each=True)
    if servers == [_STUB]:
        servers = _words(_read(None, BEHIND_STUB), "nameserver", each=True)
    reached = [
        server
        for server in servers
        if not server.startswith(("127.", "::1", "fe80:", "FE80:")) and (ipv6 or ":" not in server)
    ]
    return reached or list(_PUBLIC)


def _answering(wanted: RunOptions, networks: Sequence[Network]) -> Network | None:
    """The user network whose resolver a container asks."""
    served = [network for network in networks if network.driver == BRIDGE and not network.is_default]
    if all(network.internal for network in networks):
        return served[0] if served else None
    open_ones = [network for network in served if not network.internal]
    return open_ones[0] if open_ones and not wanted.dns else None


def _gateway(networks: Sequence[Network]) -> str:
    """The host as the container reaches it."""
    for network in networks:
        if network.driver == BRIDGE:
            return network.gateway4 or network.gateway6
    return ""


def _extra(wanted: RunOptions, gateway: str) -> str:
    """The lines of --add-host."""
    lines = []
    for text in wanted.add_host:
        address, name = flags.extra_host(text)
        if address == flags.HOST_GATEWAY:
            if not gateway:
                raise InvalidValue(
                    f'--add-host "{text}": the host is not reached from this container\'s networks',
                    "put it on a network with a bridge",
                )
            address = gateway
        lines.append(f"{address}\t{name}\n")
    return "".join(lines)


def _own_names(hostname: str, wanted: RunOptions) -> str:
    return f"{hostname}.{wanted.domainname} {hostname}" if wanted.domainname else hostname


def _block(names: Mapping[str, Sequence[str]], own: Iterable[str]) -> str:
    mine = set(own)
    lines = [f"{address}\t{' '.join(known)}\n" for address, known in names.items() if known and address not in mine]
    return f"{_BEGIN}\n{''.join(lines)}{_END}\n"


def _addresses(hosts: str) -> list[str]:
    return [line.split()[0] for line in hosts.splitlines() if line.split()]


def _searched(text: str) -> list[str]:
    return _words(text, "search") or _words(text, "domain")


def _words(text: str, key: str, each: bool = False) -> list[str]:
    """What follows `key` in resolv.conf(5): of the last such line, or of each of them."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == [key]:
            found = found + words[1:] if each else words[1:]
    return found


class _Block:
    """The lock on the neighbours' block of one bundle; a context manager. exists: whether hosts has one. It is a file
    that the container never sees: what it could lock itself would make others wait for it."""

    __slots__ = ("exists", "fd")

    def __init__(self, bundle: int, make: bool) -> None:
        import fcntl

        try:
            self.fd = os.open(NEIGHBOURS, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600, dir_fd=bundle)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except FileNotFoundError:
            self.fd = -1
        self.exists = self.fd >= 0

    def __enter__(self) -> _Block:
        return self

    def __exit__(self, *_: object) -> None:
        if self.exists:
            os.close(self.fd)


def _put(bundle: int, name: str, text: str) -> None:
    """Write first and cut then: a reader inside never finds it empty."""
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=bundle)
    try:
        os.fchmod(file, 0o644)  # whatever the umask says: every user inside reads them
        data = text.encode("utf-8", "surrogateescape")
        os.write(file, data)
        os.ftruncate(file, len(data))
    finally:
        os.close(file)


def _remove(bundle: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=bundle)
    except FileNotFoundError:
        pass


def _read(bundle: int | None, path: str) -> str:
    """A file of the host's (links are followed) or of a bundle; "" where it is not there."""
    nofollow = os.O_NOFOLLOW if bundle is not None else 0
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | nofollow, dir_fd=bundle)
    except OSError:
        return ""
    try:
        return os.read(file, _LIMIT_BYTES).decode("utf-8", "surrogateescape")
    finally:
        os.close(file)
