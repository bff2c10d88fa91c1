# SPDX-License-Identifier: Apache-2.0
"""The grammar of the flags about networks: --network, --ip, --mac-address, --network-alias, -p, -P, --expose, --dns …

Docker's rules and Docker's words (docker-run(1); opts/network.go of docker/cli; ParsePortSpec of go-connections/nat).
Text in, values out: no file, no kernel, no database. Must not import anything but errors.
"""

from __future__ import annotations

from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minirt.engine.options import RunOptions

NONE, HOST, CONTAINER, BRIDGE = "none", "host", "container", "bridge"
PROTOCOLS = ("tcp", "udp")
MOST_PORT = 65535
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_HEX = frozenset("0123456789abcdefABCDEF")
PUBLISH_REMEDY = "write -p [ADDRESS:][HOST_PORT:]CONTAINER_PORT[/udp], each port a number or a range"
ALIAS_FAULT = "network-scoped aliases are only supported for user-defined networks"
ALIAS_REMEDY = "make one: minirt network create NAME"
NETWORK_REMEDY = "write --network NAME, or name=NAME[,alias=…][,ip=…][,ip6=…][,mac-address=…]"


class Wanted:
    """One --network: its name or id as written, and what is asked for there; "" for what is left to minirt."""

    __slots__ = ("address4", "address6", "aliases", "mac", "network")

    def __init__(self, network: str) -> None:
        self.network = network
        self.address4 = ""
        self.address6 = ""
        self.mac = ""
        self.aliases: list[str] = []


class WantedPort:
    """One container port and where it is to be reached. host_address: "" for every address of the host, of both
    families; "0.0.0.0" and "::" for those of one. host_port 0: any free one; host_last > host_port: the first that is
    free of that range."""

    __slots__ = ("container_port", "host_address", "host_last", "host_port", "protocol")

    def __init__(
        self, protocol: str, host_address: str, host_port: int, container_port: int, host_last: int = 0
    ) -> None:
        self.protocol = protocol
        self.host_address = host_address
        self.host_port = host_port
        self.container_port = container_port
        self.host_last = host_last or host_port

    def key(self) -> tuple[str, str, int, int, int]:
        return self.protocol, self.host_address, self.host_port, self.host_last, self.container_port


def mode(options: RunOptions) -> tuple[str, str]:
    """(none, host, container or bridge, the other container of container:X). bridge: see `wanted`.

    No word at all is none: creation settles a word, so this container was made before there were networks.
    """
    words = options.network or [NONE]
    word = words[0]
    if word in (NONE, HOST):
        return word, ""
    if word.startswith("container:"):
        if word == "container:":
            raise InvalidValue("--network: invalid NETWORK mode: container:", "write --network container:NAME")
        return CONTAINER, word.partition(":")[2]
    return BRIDGE, ""


def wanted(options: RunOptions) -> list[Wanted]:
    """The networks to be on, in the order of their interfaces; none for --network none, host and container:X.

    --ip, --ip6, --mac-address and --network-alias are for the first one. Raises InvalidValue.
    """
    found = [_attachment(text) for text in options.network or [NONE]]
    special = [one.network for one in found if one.network in (NONE, HOST) or one.network.startswith("container:")]
    if special and len(found) > 1:
        raise InvalidValue(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            f"leave out --network {special[0]}",
        )
    _apply(found[0], options)
    for place, one in enumerate(found):
        if any(one.network == other.network for other in found[:place]):
            raise InvalidValue(f'network "{one.network}" is specified multiple times', "name each network once")
    if any(one.aliases and (special or one.network == BRIDGE) for one in found):
        raise InvalidValue(ALIAS_FAULT, ALIAS_REMEDY)
    if not special:
        return found
    mode(options)  # its complaint about "container:"
    first = found[0]
    if first.address4 or first.address6:
        raise InvalidValue("user specified IP address is supported on user defined networks only", ALIAS_REMEDY)
    if first.mac and first.network != NONE:
        raise InvalidValue("conflicting options: mac-address and the network mode", "leave out --mac-address")
    return []


def names(options: RunOptions) -> list[str]:
    """What `ps` calls the container's networks."""
    kind, _ = mode(options)
    return [one.network for one in wanted(options)] if kind == BRIDGE else [kind]


def check(options: RunOptions) -> None:
    """What the flags ask for together. Raises InvalidValue before anything is made."""
    kind, _ = mode(options)
    wanted(options)
    ports(options.publish, False, ())
    exposed(options.expose, {})
    for flag, texts in (("--dns", options.dns), ("--dns-search", options.dns_search)):
        for text in texts:
            try:
                (check_address if flag == "--dns" else check_domain)(text)
            except ValueError as error:
                raise InvalidValue(f'invalid argument "{text}" for "{flag}" flag: {error}') from None
    for text in options.dns_option:
        if not text or not text.isprintable() or " " in text:
            raise InvalidValue(f'invalid argument "{text}" for "--dns-option" flag: not an option of resolv.conf(5)')
    if kind != CONTAINER:
        return
    for values, words in (
        (options.hostname, "hostname and the network mode"),
        (options.dns, "dns and the network mode"),
        (options.add_host, "custom host-to-IP mapping and the network mode"),
        (options.publish or options.publish_all, "port publishing and the container type network mode"),
        (options.expose, "port exposing and the container type network mode"),
    ):
        if values:
            raise InvalidValue(f"conflicting options: {words}", "the other container has its own")


def check_network(text: str) -> None:
    """For --network: ValueError with the reason where its form is wrong."""
    try:
        _attachment(text)
    except InvalidValue as error:
        if error.message.startswith(("invalid field", "network name/id")):
            raise ValueError(error.message) from None


def _attachment(text: str) -> Wanted:
    """NAME, or name=NAME,alias=…,ip=…,ip6=…,mac-address=… in any order (opts/network.go)."""
    if "=" not in text:
        name = text.strip()
        if not name:
            raise InvalidValue("no name set for network", NETWORK_REMEDY)
        return Wanted(BRIDGE if name == "default" else _name(name))
    found = Wanted("")
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or not key:
            raise InvalidValue(f"invalid field {field}", NETWORK_REMEDY)
        if key == "name":
            found.network = BRIDGE if value == "default" else _name(value)
        elif key == "alias":
            found.aliases.append(alias(value))
        elif key == "ip":
            found.address4 = address4(value)
        elif key == "ip6":
            found.address6 = address6(value)
        elif key == "mac-address":
            found.mac = mac(value)
        elif key in ("driver-opt", "gw-priority", "link-local-ip"):
            raise InvalidValue(f"--network: {key} is not supported yet", "leave it out")
        else:
            raise InvalidValue(f"invalid field key {key}", NETWORK_REMEDY)
    if not found.network:
        raise InvalidValue("network name/id is not specified", NETWORK_REMEDY)
    return found


def written(one: Wanted) -> str:
    """As --network would take it: the inverse of reading it."""
    fields = [f"alias={name}" for name in one.aliases]
    fields += [
        f"{key}={value}"
        for key, value in (("ip", one.address4), ("ip6", one.address6), ("mac-address", one.mac))
        if value
    ]
    return ",".join([f"name={one.network}", *fields]) if fields else one.network


def _name(text: str) -> str:
    """A network's name or id, or container:X; that there is one is looked up later."""
    plain = text.removeprefix("container:")
    if not _NAME_CHARACTERS.issuperset(plain) or len(plain) > 255:
        raise InvalidValue(f"network {ascii(text[:255])[1:-1]} not found", "see which there are: minirt network ls")
    return text


def _apply(first: Wanted, options: RunOptions) -> None:
    """The flags that are not part of --network's own text."""
    for given, own, flag, words in (
        (options.network_alias, first.aliases, "--network-alias", "per-network alias"),
        (options.ip, first.address4, "--ip", "per-network IPv4 address"),
        (options.ip6, first.address6, "--ip6", "per-network IPv6 address"),
        (options.mac_address, first.mac, "--mac-address", "per-network MAC address"),
    ):
        if given and own:
            raise InvalidValue(f"conflicting options: cannot specify both {flag} and {words}", "leave one of them out")
    first.aliases = first.aliases or [alias(text) for text in options.network_alias]
    first.address4 = first.address4 or (address4(options.ip) if options.ip else "")
    first.address6 = first.address6 or (address6(options.ip6) if options.ip6 else "")
    first.mac = first.mac or (mac(options.mac_address) if options.mac_address else "")


def alias(text: str) -> str:
    """A further name: what a resolver can be asked for, so nothing that could mean more in its files."""
    if not text or len(text) > 253 or not _NAME_CHARACTERS.issuperset(text) or text[0] in ".-":
        raise InvalidValue(
            f"invalid network alias: {ascii(text[:255])[1:-1]}", "letters, digits, dots, hyphens and underscores"
        )
    return text


def canonical(text: str) -> tuple[int, str]:
    """(4 or 6, the address as inet_ntop(3) writes it); (0, "") for what is no address."""
    import _socket  # the accelerator alone: socket itself costs 4 ms

    for version, family in ((4, _socket.AF_INET), (6, _socket.AF_INET6)):
        try:
            return version, _socket.inet_ntop(family, _socket.inet_pton(family, text))
        except (OSError, ValueError):
            continue
    return 0, ""


def address4(text: str) -> str:
    version, plain = canonical(text)
    if version != 4 or plain == "0.0.0.0" or plain.startswith("127."):
        raise InvalidValue(f"invalid IPv4 address: {ascii(text)[1:-1]}", "write it like 172.20.0.7")
    return plain


def address6(text: str) -> str:
    version, plain = canonical(text)
    if version != 6 or plain in ("::", "::1"):
        raise InvalidValue(f"invalid IPv6 address: {ascii(text)[1:-1]}", "write it like fd00::7")
    return plain


def mac(text: str) -> str:
    """Six bytes with : or - between them, or xxxx.xxxx.xxxx (Go's net.ParseMAC); one interface's, not a group's."""
    separator = next((one for one in ":-." if one in text), ":")
    parts = text.strip().split(separator)
    digits = 4 if separator == "." else 2
    plain = "".join(parts)
    sound = all(len(part) == digits for part in parts) and len(plain) == 12 and _HEX.issuperset(plain)
    if not sound or int(plain[:2], 16) & 1 or not int(plain, 16):
        raise InvalidValue(f"{ascii(text)[1:-1]} is not a valid mac address", "write it like 02:42:ac:14:00:07")
    return ":".join([plain[at : at + 2] for at in range(0, 12, 2)]).lower()


def check_address(text: str) -> None:
    """For --dns: ValueError with the reason."""
    if not canonical(text)[0]:
        raise ValueError(f"IP address is not correctly formatted: {text}")


def check_domain(text: str) -> None:
    """For --dns-search; "." means no search list."""
    labels = text.rstrip(".").split(".")
    sound = _NAME_CHARACTERS.issuperset(text) and len(text) <= 255 and all(0 < len(label) <= 63 for label in labels)
    if text != "." and not sound:
        raise ValueError(f"{text} is not a valid domain")


def ports(publish: Sequence[str], publish_all: bool, open_ports: Sequence[str]) -> list[WantedPort]:
    """What -p asks for and, with -P, each of `open_ports` ("80/tcp") that -p leaves out. The same twice is once."""
    found: dict[tuple[str, str, int, int, int], WantedPort] = {}
    for text in publish:
        for one in publication(text):
            found.setdefault(one.key(), one)
    published = {(one.protocol, one.container_port) for one in found.values()}
    for text in open_ports if publish_all else ():
        number, _, protocol = text.partition("/")
        if (protocol, int(number)) not in published and protocol in PROTOCOLS:
            one = WantedPort(protocol, "", 0, int(number))
            found.setdefault(one.key(), one)
    return list(found.values())


def publication(text: str) -> list[WantedPort]:
    """One -p: [address:][host port or range:]container port or range[/protocol], or target=80,published=8080,…"""
    spec = _standard(text) if "=" in text else text
    parts = spec.split(":")
    inner, host = parts[-1], parts[-2] if len(parts) > 1 else ""
    address = _host_address(":".join(parts[:-2]))
    number, _, protocol = inner.partition("/")
    if not number:
        raise InvalidValue(f"no port specified: {text}<empty>", PUBLISH_REMEDY)
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidValue(f"invalid proto: {protocol}", "tcp or udp")
    first, last = _range(number, 1, f"invalid containerPort: {number}")
    if not host:
        return [WantedPort(protocol, address, 0, port) for port in range(first, last + 1)]
    begin, end = _range(host, 0, f"invalid hostPort: {host}")
    if last - first != end - begin and first != last:
        raise InvalidValue(
            f"invalid ranges specified for container and host Ports: {number} and {host}",
            "both ranges must be of one length",
        )
    if first == last:
        return [WantedPort(protocol, address, begin, first, end)]
    return [WantedPort(protocol, address, begin + port - first, port) for port in range(first, last + 1)]


def _standard(text: str) -> str:
    """target=80,published=8080,protocol=udp as 8080:80/udp (docker/cli, convertToStandardNotation)."""
    values = {"protocol": "tcp", "published": "", "target": ""}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals or not key:
            raise InvalidValue(f"invalid publish opts format (should be name=value but got '{field}')", PUBLISH_REMEDY)
        if key not in (*values, "mode"):
            raise InvalidValue(f"invalid publish opts: unknown field '{key}'", "target, published and protocol")
        values[key] = value
    return f"{values['published']}:{values['target']}/{values['protocol']}"


def _host_address(text: str) -> str:
    if not text:
        return ""
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    plain = canonical(inside)[1]
    if not plain:
        raise InvalidValue(f"invalid IP address: {ascii(inside)[1:-1]}", PUBLISH_REMEDY)
    return plain


def _range(text: str, least: int, message: str) -> tuple[int, int]:
    """80 or 8000-8010: (first, last)."""
    begin, dash, end = text.partition("-")
    numbers = [_number(word) for word in ((begin, end) if dash else (begin, begin))]
    if not all(least <= number <= MOST_PORT for number in numbers) or numbers[0] > numbers[1]:
        raise InvalidValue(ascii(message)[1:-1], PUBLISH_REMEDY)
    return numbers[0], numbers[1]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 else -1


def exposed(expose: Sequence[str], config: Mapping[str, object]) -> list[str]:
    """What --expose and the image's ExposedPorts name, as "80/tcp", by number; an image's odd words are left out."""
    found: set[tuple[int, str]] = set()
    for text in expose:
        if ":" in text:
            raise InvalidValue(f"invalid port format for --expose: {text}", "write --expose 80, 80/udp or 7000-7010")
        number, _, protocol = text.partition("/")
        first, last = _range(number, 1, f"invalid range format for --expose: {text}")
        if (protocol.lower() or "tcp") not in (*PROTOCOLS, "sctp"):
            raise InvalidValue(f"invalid proto: {protocol}", "tcp or udp")
        found.update((port, protocol.lower() or "tcp") for port in range(first, last + 1))
    image = config.get("ExposedPorts")
    for text in image if isinstance(image, dict) else ():
        number, _, protocol = str(text).partition("/")
        if 1 <= _number(number) <= MOST_PORT and (protocol.lower() or "tcp") in (*PROTOCOLS, "sctp"):
            found.add((int(number), protocol.lower() or "tcp"))
    return [f"{number}/{protocol}" for number, protocol in sorted(found)]
