# SPDX-License-Identifier: Apache-2.0
"""Which proxy leads to a host: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as curl(1) reads them.

Both spellings count, the lower-case one first. HTTP_PROXY is not believed inside of a CGI program, where the client
of the web server wrote it (httpoxy). Loopback never goes by a proxy (Docker). Pure: the environment is an argument.
"""

from __future__ import annotations

from minirt.errors import InvalidValue
from minirt.image.registry import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_UNSUPPORTED = ("https", "socks", "socks4", "socks4a", "socks5", "socks5h", "ftp")


def find(scheme: str, host: str, environ: Mapping[str, str]) -> str:
    """The proxy's address with its user and password, "" for none. `host` may end in a port."""
    names = (f"{scheme}_proxy", "all_proxy")
    value = next((value for name in names if (value := _get(name, environ))), "")
    if not value:
        return ""
    default = 443 if scheme == "https" else 80
    name, port = address.authority(host, default)
    if address.is_loopback(name) or is_exempt(name, port, _get("no_proxy", environ)):
        return ""
    return _checked(value, f"{scheme.upper()}_PROXY")


def is_exempt(host: str, port: int, rules: str) -> bool:
    """Whether NO_PROXY names `host` (lower case, without brackets).

    "*" is everybody; "example.com" and ".example.com" are that domain and all below it; an address is itself;
    "10.0.0.0/8" all that lie in it; with ":port" only that port. Separated by commas or spaces.
    """
    host = host.rstrip(".")
    number = _number(host)
    for rule in rules.lower().replace(",", " ").split():
        if rule == "*":
            return True
        name, wanted = _split(rule)
        if wanted and wanted != str(port):
            continue
        if number is not None:
            if _covers(name, number):
                return True
            continue
        name = name.strip(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _get(name: str, environ: Mapping[str, str]) -> str:
    found = environ.get(name)
    if found is None and not (name == "http_proxy" and "REQUEST_METHOD" in environ):
        found = environ.get(name.upper())
    return (found or "").strip()


def _checked(value: str, variable: str) -> str:
    """http://[user[:password]@]host[:port]; a bare host is one that is reached by http. Errors show nothing of the
    value: where it is malformed, nobody can tell which part is the password."""
    whole = value if "://" in value else f"http://{value}"
    remedy = f"set {variable} to http://[USER:PASSWORD@]HOST:PORT, what is no letter or digit in them as %XX"
    scheme, _, rest = whole.partition("://")
    if scheme.lower() in _UNSUPPORTED:
        raise InvalidValue(f"{variable}: a proxy that is reached by {scheme.lower()} is not supported", remedy)
    words, at, place = rest.partition("/")[0].rpartition("@")
    try:
        host, port = address.authority(place, 1080)
    except InvalidValue:
        host, port = "", 0
    if scheme.lower() != "http" or not host or not all("!" <= letter <= "~" for letter in words):
        raise InvalidValue(f"{variable} is not the address of a proxy", remedy)
    shown = f"[{host}]" if ":" in host else host
    return f"http://{words}{at}{shown}:{port}"


def _split(rule: str) -> tuple[str, str]:
    """Name and port; "::1" has none, "[::1]:80" has."""
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        return name + (rest if rest.startswith("/") else ""), rest.removeprefix(":") if rest.startswith(":") else ""
    if rule.count(":") == 1:
        name, _, port = rule.partition(":")
        return name, port
    return rule, ""


def _number(host: str) -> tuple[int, int] | None:
    """(bits, value) of an address, None for a name."""
    import _socket

    for family, bits in ((_socket.AF_INET, 32), (_socket.AF_INET6, 128)):
        try:
            return bits, int.from_bytes(_socket.inet_pton(family, host), "big")
        except (OSError, ValueError):
            continue
    return None


def _covers(rule: str, number: tuple[int, int]) -> bool:
    """Whether an address or a CIDR block covers another address of the same family."""
    text, slash, prefix = rule.partition("/")
    block = _number(text)
    if block is None or block[0] != number[0]:
        return False
    bits = block[0]
    if not slash:
        return block[1] == number[1]
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3 and int(prefix) <= bits):
        return False
    shift = bits - int(prefix)
    return block[1] >> shift == number[1] >> shift
