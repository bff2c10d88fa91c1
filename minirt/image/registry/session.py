# SPDX-License-Identifier: Apache-2.0
"""Requests to registries as people mean them: kept connections, redirects, challenges answered, tries repeated.

Redirects are followed by hand, at most ten, never from https to http, and no Authorization field leaves the origin that
it is for (scheme, host and port). What fails for a moment (a connection, 429, 5xx) is tried again with growing pauses,
Retry-After is obeyed, all within bounds. Thread-safe; close() ends what other threads wait for.

    MINIRT_HTTP_TIMEOUT_S  how long a silence may last, and a small exchange in all: 60
    MINIRT_HTTP_RETRY_S    the first pause: 0.25; one Retry-After may be 240 times that, all pauses together 480 times
"""

from __future__ import annotations

import _thread
import os

from minirt import __version__
from minirt.errors import InvalidValue, MinirtError, RegistryError
from minirt.image.registry import address
from minirt.image.registry.connect import connect
from minirt.image.registry.faults import Broken, Foreign, PlainHttp, Refused, Silent
from minirt.image.registry.refusal import Refusal, refusal
from minirt.image.registry.tokens import Tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from minirt.image.registry.address import Url
    from minirt.image.registry.http import Connection, Part, Response
    from minirt.image.registry.settings import Endpoint, Settings

AGENT = f"minirt/{__version__}"
REDIRECTS = 10
TRIES = 5
STRANGER_TRIES = 3
"""Where a registry has not answered at all yet."""
PAUSE_LIMIT_S = 8.0
_REDIRECTED = (301, 302, 303, 307, 308)
_PASSING = (408, 429, 500, 502, 503, 504)


class Door:
    """One endpoint as a session has come to know it. `undecided`: whether http or https is not known yet. `asked`: what
    became of the credentials when they were asked for: "shown", "withheld" (from a foreign token server), "" (nobody
    asked). `dead`: a mirror that could not be reached."""

    __slots__ = ("endpoint", "host", "url", "undecided", "basic", "service", "heard", "dead", "asked")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.host = endpoint.host
        loopback = address.is_loopback(address.authority(endpoint.host, 0)[0])
        self.undecided = endpoint.scheme == "https" and (loopback or endpoint.insecure)
        self.url = self.by(endpoint.scheme)
        self.basic = ""
        self.service = ""
        self.heard = False
        self.asked = ""
        self.dead = False

    def by(self, scheme: str) -> Url:
        host, port = address.authority(self.endpoint.host, 443 if scheme == "https" else 80)
        return address.Url(scheme, host, port, "/")

    def decide(self, url: Url) -> None:
        self.url, self.undecided = url, False

    def may_be_plain(self, source: Url, target: Url) -> bool:
        """Whether an answer from `source` may send us to `target` in plain http."""
        return self.endpoint.insecure or (source.scheme == "http" and address.is_loopback(target.host))


class Ask:
    """One request: `target` is a path at the door; or `url`, an address from a Location. `body` makes its bytes."""

    __slots__ = ("method", "target", "what", "scopes", "headers", "body", "url", "follow")

    def __init__(
        self,
        method: str,
        target: str,
        what: str,
        scopes: tuple[str, ...],
        headers: dict[str, str] | None = None,
        body: Callable[[], Iterable[Part]] | None = None,
        url: Url | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.what = what
        self.scopes = scopes
        self.headers = headers or {}
        self.body = body
        self.url = url
        self.follow = method in ("GET", "HEAD")


class Session:
    """The connections, tokens and patience of one piece of work with registries."""

    __slots__ = ("settings", "tokens", "timeout_s", "pause_s", "secrets", "closed", "_connections", "_lock", "_alarm")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tokens = Tokens(self)
        self.timeout_s = _seconds("MINIRT_HTTP_TIMEOUT_S", 60.0)
        self.pause_s = _seconds("MINIRT_HTTP_RETRY_S", 0.25)
        self.secrets: set[str] = set()  # what was shown to somebody, and nobody may quote
        self.closed = False
        self._connections: list[tuple[tuple[str, str, int], Connection]] = []
        self._lock = _thread.allocate_lock()
        self._alarm = _thread.allocate_lock()  # held until close(): who sleeps waits for it
        self._alarm.acquire()

    def close(self) -> None:
        """No more requests; what other threads wait for fails at once."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            for _, connection in self._connections:
                if connection.idle:
                    connection.close()
                else:
                    connection.wake()
        self._alarm.release()

    def sleep(self, seconds: float) -> None:
        if self._alarm.acquire(timeout=seconds):
            self._alarm.release()

    # --- one request, however many exchanges it takes ------------------------------------------------------------

    def request(self, door: Door, ask: Ask) -> Response:
        """The answer, whatever its status, once nothing more can be done about it."""
        tries = Tries(self)
        while True:
            try:
                response = self._allowed(door, ask)
                door.heard = True
                if response.status not in _PASSING:
                    return response
                tries.again(self.refusal(response, ask.what, door.host))
            except Broken as fault:
                tries.again(fault, limit=TRIES if door.heard else STRANGER_TRIES)

    def once(self, door: Door, ask: Ask) -> Response:
        """As request(), without a second try: for what cannot simply be sent again."""
        return self._allowed(door, ask)

    def expect(self, door: Door, ask: Ask, *statuses: int) -> Response:
        """As request(); any other status is an error: NotFound for 404, RegistryError for the rest."""
        response = self.request(door, ask)
        if response.status not in statuses:
            raise self.refusal(response, ask.what, door.host)
        return response

    def refusal(self, response: Response, what: str, host: str) -> MinirtError:
        return refusal(response, what, host, self.hidden)

    def hidden(self, text: str) -> str:
        """A stranger's words without the secrets that we have told it."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def foreign(
        self, method: str, door: Door, url: Url, headers: dict[str, str], body: bytes | None = None
    ) -> Response:
        """A request to a token server. Redirected only where it carries no secret."""
        ask = Ask(method, "", "a token", (), headers, None if body is None else lambda: (body,), url)
        ask.follow = method == "GET" and "Authorization" not in headers
        if body is not None:
            headers["Content-Length"] = str(len(body))
        tries = Tries(self)
        while True:
            try:
                response = self._follow(door, ask, "")[0]
                if response.status not in _PASSING:
                    return response
                tries.again(self.refusal(response, ask.what, url.netloc))
            except Broken as fault:
                tries.again(fault)

    def _allowed(self, door: Door, ask: Ask) -> Response:
        """One challenge is answered, not two."""
        used = self.tokens.known(door, ask.scopes)
        response, at_home = self._follow(door, ask, used)
        if response.status == 401 and at_home:
            response.discard()
            if offered := self.tokens.offer(door, response, ask.scopes, used):
                response, _ = self._follow(door, ask, offered)
        return response

    def _follow(self, door: Door, ask: Ask, authorization: str) -> tuple[Response, bool]:
        """The first answer that is no redirect, and whether it came from the registry itself."""
        url = ask.url
        at_home = True
        for _ in range(REDIRECTS + 1):
            if url is None:
                response = self._at_home(door, ask, authorization)
                url = door.url.at(ask.target)
            else:
                at_home = at_home and url.origin == door.url.origin
                same = at_home or url.host == door.url.host  # another port: its certificates are the registry's
                route = door.endpoint if same else self.settings.foreign(url.netloc, url.scheme, door.endpoint)
                response = self._exchange(url, route, ask, authorization if at_home else "")
            location = response.headers.get("location")
            if response.status not in _REDIRECTED or not location or not ask.follow:
                return response, at_home
            response.discard()
            url = self.redirected(door, url, location)
        raise RegistryError(f"{door.host!r} sends the request for {ask.what} through more than {REDIRECTS} redirects")

    def redirected(self, door: Door, url: Url, location: str) -> Url:
        """Where an answer from `url` sends us, if we may go there."""
        try:
            target = address.join(url, location)
        except InvalidValue as error:
            raise RegistryError(f"malformed redirect of {url.netloc!r}: {self.hidden(error.message)}") from None
        if target.scheme == "http" and not door.may_be_plain(url, target):
            raise RegistryError(
                f"{url.netloc!r} redirects to {self.hidden(str(target))!r}, which is not https: refused",
                "only loopback, and what registries.conf declares insecure, may be spoken to without",
            )
        return target

    # --- http or https -----------------------------------------------------------------------------------------

    def _at_home(self, door: Door, ask: Ask, authorization: str) -> Response:
        if not door.undecided:
            return self._exchange(door.url.at(ask.target), door.endpoint, ask, authorization)
        if address.is_loopback(door.url.host):
            return self._plain_first(door, ask)
        try:
            response = self._exchange(door.by("https").at(ask.target), door.endpoint, ask, "")
            door.decide(door.by("https"))
        except (PlainHttp, Refused) as fault:
            if isinstance(fault, Refused) and door.by("http").port == door.by("https").port:
                raise
            response = self._exchange(door.by("http").at(ask.target), door.endpoint, ask, "")
            door.decide(door.by("http"))
        return response

    def _plain_first(self, door: Door, ask: Ask) -> Response:
        """On loopback, without credentials and before the TLS library is loaded. TLS follows where the answer is TLS,
        none, or the 400 by which web servers tell that they expect TLS; then its certificate decides."""
        plain, secure = door.by("http"), door.by("https")
        response, fault = None, None
        try:
            response = self._exchange(plain.at(ask.target), door.endpoint, ask, "")
            if response.status != 400:
                door.decide(plain)
                return response
            response.discard()
        except Refused:
            if plain.port == secure.port:
                raise
        except Silent:
            raise  # TLS would have been refused at once
        except (Foreign, Broken) as error:
            fault = error
        try:
            answer = self._exchange(secure.at(ask.target), door.endpoint, ask, "")
        except (PlainHttp, Broken):
            if fault:
                raise fault from None
            if response is None:
                raise
            door.decide(plain)
            return response
        door.decide(secure)
        return answer

    # --- one exchange ------------------------------------------------------------------------------------------

    def _exchange(self, url: Url, route: Endpoint, ask: Ask, authorization: str) -> Response:
        """One request, one answer. A kept connection that proves to be dead is replaced, unless a body went out."""
        headers = {"Host": url.netloc, "User-Agent": AGENT, "Accept-Encoding": "identity", **ask.headers}
        if authorization:
            headers["Authorization"] = authorization
        if connection := self._borrow(url):
            try:
                return connection.ask(ask.method, url.target, headers, ask.body() if ask.body else ())
            except Broken:
                if connection.heard or ask.body:
                    raise
        connection = connect(url, self.settings.proxy(url.scheme, url.netloc), route.tls, self.timeout_s)
        with self._lock:
            if self.closed:
                connection.close()
                raise RegistryError("interrupted")
            self._connections = [one for one in self._connections if one[1].socket.fileno() >= 0]
            self._connections.append((url.origin, connection))
        return connection.ask(ask.method, url.target, headers, ask.body() if ask.body else ())

    def _borrow(self, url: Url) -> Connection | None:
        with self._lock:
            if self.closed:
                raise RegistryError("interrupted")
            for origin, connection in self._connections:
                if origin == url.origin and connection.idle:
                    if not connection.is_stale():
                        connection.idle = False
                        return connection
                    connection.close()
        return None


class Tries:
    """How often, and for how long, the same is tried again."""

    __slots__ = ("_session", "_count", "_waited_s")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._count = 0
        self._waited_s = 0.0

    def progress(self) -> None:
        """Something came: what fails now fails for the first time."""
        self._count = 0

    def again(self, fault: MinirtError, limit: int = TRIES) -> None:
        """Returns after a pause, or raises `fault`."""
        session = self._session
        asked_s = fault.wait_s if isinstance(fault, Refusal) else 0.0
        self._count += 1
        if session.closed or self._count >= limit:
            raise fault
        pause = min(session.pause_s * 2 ** (self._count - 1), PAUSE_LIMIT_S) * (0.75 + os.urandom(1)[0] / 512)
        if asked_s > session.pause_s * 240:
            raise RegistryError(f"{fault.message}; it asks to wait {asked_s:.0f} s", "try again later")
        pause = max(pause, asked_s)
        self._waited_s += pause
        if self._waited_s > session.pause_s * 480:
            raise fault
        session.sleep(pause)
        if session.closed:
            raise fault


def _seconds(name: str, usual: float) -> float:
    text = os.environ.get(name, "")
    if not text:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 86400:
        raise InvalidValue(f"{name}={text[:40]!r} is not a number of seconds")
    return value
