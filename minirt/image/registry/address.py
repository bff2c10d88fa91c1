# SPDX-License-Identifier: Apache-2.0
"""Addresses of registries: the http and https part of RFC 3986, read strictly.

A name and a password before the host are dropped on reading, and what is shown ends before the query, for signed
addresses carry their secret there. By hand: urllib.parse costs 6 ms at import. Pure.
"""

from __future__ import annotations

from minirt.errors import InvalidValue

_PORTS = {"http": 80, "https": 443}
_LIMIT = 8192
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
_IPV6 = frozenset("abcdef0123456789:.")


class Url:
    """`host` in lower case and without brackets; `target` is path and query as a request line has them."""

    __slots__ = ("scheme", "host", "port", "target")

    def __init__(self, scheme: str, host: str, port: int, target: str) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target

    @property
    def origin(self) -> tuple[str, str, int]:
        """What decides whether two addresses are the same server: RFC 6454."""
        return (self.scheme, self.host, self.port)

    @property
    def netloc(self) -> str:
        """The value of the Host field: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, target: str) -> Url:
        return Url(self.scheme, self.host, self.port, target)

    def with_query(self, query: str) -> Url:
        return self.at(f"{self.target}{'&' if '?' in self.target else '?'}{query}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target.partition('?')[0]}"

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"


def split(text: str) -> Url:
    """An absolute address; InvalidValue says what is wrong without repeating a password."""
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in _PORTS:
        raise InvalidValue(f"the address {_bare(text)!a} is not http or https")
    end = min((at for at in (rest.find("/"), rest.find("?"), rest.find("#")) if at >= 0), default=len(rest))
    host, port = authority(rest[:end], _PORTS[scheme])
    return Url(scheme, host, port, _target(rest[end:]))


def join(base: Url, location: str) -> Url:
    """What a Location or Link field of an answer from `base` means (RFC 3986, section 5.2, without dot segments)."""
    location = location.strip(" \t")
    colon, slash = location.find(":"), location.find("/")
    if colon > 0 and (slash < 0 or colon < slash) and "?" not in location[:colon]:
        return split(location)
    if location.startswith("//"):
        return split(f"{base.scheme}:{location}")
    if location.startswith("/"):
        return base.at(_target(location))
    path = base.target.partition("?")[0]
    if location.startswith("?"):
        return base.at(_target(path + location))
    return base.at(_target(path[: path.rfind("/") + 1] + location))


def authority(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of [userinfo@]host[:port]."""
    text = text.rpartition("@")[2].lower()
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        good = bool(bracket) and _IPV6.issuperset(host) and host.count(":") > 1 and port[:1] in ("", ":")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
        good = bool(host) and _HOST.issuperset(host) and len(host) <= 253
    if not good or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536 if port else True):
        raise InvalidValue(f"{text[:80]!a} is not a host with a port")
    return host, int(port) if port else default_port


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1 and localhost, as written: no name is resolved for it."""
    if host in ("localhost", "::1"):
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(_octet(part) for part in parts)


def quote(text: str) -> str:
    """Percent-encodes a query's value (RFC 3986, section 2.3)."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:,"
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode())


def _octet(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= 3 and int(part) < 256


def _target(text: str) -> str:
    """Path and query; a fragment is not sent. What would end a request line early is refused."""
    text = text.partition("#")[0]
    if not text.startswith("/"):
        text = "/" + text
    if len(text) > _LIMIT or not all("!" <= letter <= "~" for letter in text):
        raise InvalidValue(f"the address {text.partition('?')[0][:80]!a} is malformed or too long")
    return text


def _bare(text: str) -> str:
    """Text of an address that can be shown: neither userinfo nor query."""
    return text.partition("?")[0].rpartition("@")[2][:80]
