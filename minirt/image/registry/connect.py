# SPDX-License-Identifier: Apache-2.0
"""Connections to a registry: names, addresses, proxies (RFC 9110, 9.3.6: CONNECT), TLS; and which scheme is spoken.

A connection is made as its address says; session.py decides between http and https. A certificate is checked before
a byte of a request is sent, and one that is refused ends the matter.
"""

from __future__ import annotations

import errno
import os
import time

from minirt.errors import InvalidValue, RegistryError
from minirt.image.registry import address
from minirt.image.registry.faults import Broken, PlainHttp, Refused
from minirt.image.registry.http import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    import ssl
    from collections.abc import Callable

    from minirt.image.registry.address import Url
else:
    import _socket  # `socket` makes enumerations and costs 5 ms

CONNECT_S = 10.0
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "HTTPS_PROXY_REQUEST")


def connect(url: Url, proxy: str, tls: Callable[[], ssl.SSLContext], timeout_s: float) -> Connection:
    """A connection for requests to `url`, by `proxy` ("http://[user:password@]host:port", "" for none). `tls` is
    called for https only."""
    until = time.monotonic() + min(CONNECT_S, timeout_s)
    by = _proxy(proxy) if proxy else None
    if by is None:
        plain = _tcp(url.host, url.port, repr(url.netloc), until)
    else:
        plain = _tcp(by.host, by.port, f"the proxy {by.netloc!r}", until)
    try:
        plain.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        plain.settimeout(timeout_s)
        permit = _permit(proxy)
        if url.scheme == "http":
            connection = Connection(plain, repr(url.netloc), timeout_s, tls=False)
            if by:
                connection.absolute, connection.extra = f"http://{url.netloc}", permit
            return connection
        if by:
            _tunnel(plain, url, by, permit, timeout_s)
        return Connection(_handshake(plain, url, tls()), repr(url.netloc), timeout_s, tls=True)
    except BaseException:
        plain.close()
        raise


def _tunnel(plain: _socket.socket, url: Url, by: Url, permit: dict[str, str], timeout_s: float) -> None:
    """CONNECT: from here on the proxy passes everything on."""
    tunnel = Connection(plain, f"the proxy {by.netloc!r}", timeout_s, tls=False)
    name = f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"
    answer = tunnel.ask("CONNECT", name, {"Host": name, **permit})
    if answer.status == 407:
        raise RegistryError(
            f"the proxy {by.netloc!r} wants a user and a password", "write http://USER:PASSWORD@HOST:PORT"
        )
    if answer.status != 200:
        raise RegistryError(f"the proxy {by.netloc!r} does not connect to {name!r}: {answer.status}")
    plain.settimeout(timeout_s)


def _handshake(plain: _socket.socket, url: Url, context: ssl.SSLContext) -> ssl.SSLSocket:
    import ssl

    try:
        return context.wrap_socket(plain, server_hostname=url.host)
    except ssl.SSLCertVerificationError as error:
        raise RegistryError(
            f"the certificate of {url.netloc!r} is refused: {error.verify_message.rstrip('.')}",
            f"trust its CA by /etc/containers/certs.d/{url.netloc}/ca.crt",
        ) from None
    except ssl.SSLError as error:
        if error.reason in _PLAIN:
            raise PlainHttp(
                f"{url.netloc!r} speaks plain http where https is asked for",
                "only loopback, and what registries.conf declares insecure, may do that",
            ) from None
        raise RegistryError(f"no TLS with {url.netloc!r}: {error.reason or 'the handshake failed'}") from None
    except TimeoutError:
        raise Broken(f"{url.netloc!r} does not finish the TLS handshake") from None
    except OSError as error:
        raise Broken(f"the TLS handshake with {url.netloc!r} breaks off: {_words(error)}") from None


def _tcp(host: str, port: int, where: str, until: float) -> _socket.socket:
    """The first address of `host` that takes the connection, while there is time."""
    fault: OSError = TimeoutError(errno.ETIMEDOUT, "timed out")
    for family, kind, protocol, _, place in _addresses(host, port, where, until):
        left = until - time.monotonic()
        if left <= 0:
            break
        made = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, protocol)
        try:
            made.settimeout(left)
            made.connect(place)
            return made
        except OSError as error:
            made.close()
            fault = error
        except BaseException:
            made.close()
            raise
    failure = Refused if fault.errno == errno.ECONNREFUSED else Broken
    raise failure(f"cannot connect to {where}: {_words(fault)}")


def _addresses(host: str, port: int, where: str, until: float) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """getaddrinfo(3). A name is looked up in a thread of its own, as nothing can interrupt the C library there."""
    try:
        return _lookup(host, port, _socket.AI_NUMERICHOST)
    except OSError:
        pass
    import _thread

    done = _thread.allocate_lock()
    done.acquire()
    found: list[object] = []

    def work() -> None:
        try:
            found.append(_lookup(host, port, 0))
        except OSError as error:
            found.append(error)
        finally:
            done.release()

    _thread.start_new_thread(work, ())
    if not done.acquire(timeout=max(until - time.monotonic(), 0.001)):
        raise Broken(f"no answer from the name servers about {where}")
    if isinstance(found[0], OSError):
        raise Broken(f"cannot find {where}: {_words(found[0])}")
    return found[0]  # type: ignore[return-value]


def _lookup(host: str, port: int, flags: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    return _socket.getaddrinfo(host.encode(), port, 0, _socket.SOCK_STREAM, 0, flags)  # type: ignore[return-value]


def _proxy(text: str) -> Url:
    try:
        url = address.split(text)
    except InvalidValue as error:
        raise RegistryError(f"the proxy: {error.message}", "set it to http://HOST:PORT") from None
    if url.scheme != "http":
        raise RegistryError(f"the proxy {url.netloc!r} is not reached by http", "set it to http://HOST:PORT")
    return url


def _permit(proxy: str) -> dict[str, str]:
    """What the proxy's address holds before the @."""
    words, at, _ = proxy.partition("://")[2].partition("/")[0].rpartition("@")
    return {"Proxy-Authorization": basic(_unquoted(words))} if at else {}


def basic(words: bytes) -> str:
    """RFC 7617."""
    from binascii import b2a_base64

    return "Basic " + b2a_base64(words, newline=False).decode()


def _unquoted(text: str) -> bytes:
    first, *rest = text.encode().split(b"%")
    try:
        return first + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest)
    except ValueError:
        raise RegistryError("the proxy's user and password are malformed", "write % as %25") from None


def _words(error: OSError) -> str:
    return error.strerror or (os.strerror(error.errno) if error.errno else "timed out")
