# SPDX-License-Identifier: Apache-2.0
"""Who hears which secret: basic authentication (RFC 7617) and bearer tokens (RFC 6750, distribution's token and oauth2
protocols).

A token is kept by registry, service and scopes, and sent to nobody but the registry that it was made for. The scopes
are those that the work needs, whatever the challenge says. Name and password go to the registry itself, and to a token
server only on the same host, or by https to the one that is known to belong to that registry (CVE-2020-15157).
"""

from __future__ import annotations

import os
import time

from minirt.errors import InvalidValue, RegistryError
from minirt.image.registry import address, challenge, refusal
from minirt.image.registry.connect import basic
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.image.registry.address import Url
    from minirt.image.registry.http import Response
    from minirt.image.registry.session import Door, Session
    from minirt.image.registry.settings import Credentials

TOKEN_LIMIT = 1 << 16
LIFETIME_S = 60
"""Where the answer does not say how long."""
CLIENT = "minirt"
_TOKEN_HOSTS = {
    "registry-1.docker.io": "auth.docker.io",
    "registry.gitlab.com": "gitlab.com",
    "docker.elastic.co": "docker-auth.elastic.co",
    "registry.digitalocean.com": "api.digitalocean.com",
}
"""Registries whose token server is another host. More of them: MINIRT_TOKEN_HOSTS=registry=tokens[,…]"""


class Tokens:
    """What one session knows. `known` and `offer` return a value for the Authorization field, or ""."""

    __slots__ = ("_session", "_kept", "_lock")

    def __init__(self, session: Session) -> None:
        import _thread

        self._session = session
        self._kept: dict[tuple[object, ...], tuple[str, float]] = {}
        self._lock = _thread.allocate_lock()

    def known(self, door: Door, scopes: tuple[str, ...]) -> str:
        """What is sent unasked: only what this server has asked for before."""
        if door.undecided:
            return ""
        if door.basic:
            return door.basic
        token, until = self._kept.get((door.url.origin, door.service, scopes), ("", 0.0))
        return token if time.monotonic() < until else ""

    def offer(self, door: Door, response: Response, scopes: tuple[str, ...], used: str) -> str:
        """The answer to a 401 that came to a request with `used`; "" where there is none but that."""
        asked = challenge.parse(response.headers.get("www-authenticate", ""))
        for one in asked:
            if one.scheme == "bearer" and one.parameters.get("realm"):
                with self._lock:
                    return self._bearer(door, one, scopes, used)
        for one in asked:
            if one.scheme == "basic":
                door.basic = self._basic(door)
                return door.basic if door.basic != used else ""
        return ""

    def _basic(self, door: Door) -> str:
        known = self._credentials(door)
        door.asked = "shown"
        return self._header(known) if known and known.user and known.password else ""

    def _header(self, known: Credentials) -> str:
        value = basic(f"{known.user}:{known.password}".encode())
        self._session.secrets |= {known.password, value.partition(" ")[2]}
        return value

    def _credentials(self, door: Door) -> Credentials | None:
        return self._session.settings.credentials(door.host, door.endpoint.path)

    # --- bearer ------------------------------------------------------------------------------------------------

    def _bearer(self, door: Door, one: challenge.Challenge, scopes: tuple[str, ...], used: str) -> str:
        service = one.parameters.get("service", "")
        door.service = service
        key = (door.url.origin, service, scopes)
        token, until = self._kept.get(key, ("", 0.0))
        if token and token != used and time.monotonic() < until:
            return token  # another thread has just fetched it
        self._kept.pop(key, None)
        realm = self._realm(door, one.parameters["realm"])
        known = self._credentials(door)
        withheld = known is not None and not _may_know(door, realm)
        door.asked = "withheld" if withheld else "shown"
        if withheld:
            token, lifetime = self._fetch(door, realm, service, scopes, None, withheld=True)
        else:
            token, lifetime = self._fetch(door, realm, service, scopes, known)
        header = f"Bearer {token}"
        self._session.secrets.add(token)
        self._kept[key] = (header, time.monotonic() + lifetime * 0.9)
        return header

    def _realm(self, door: Door, text: str) -> Url:
        try:
            realm = address.split(text)
        except InvalidValue as error:
            raise RegistryError(
                f"{door.host!r} names a malformed token server: {self._session.hidden(error.message)}"
            ) from None
        if realm.scheme == "http" and not door.may_be_plain(door.url, realm):
            raise RegistryError(
                f"{door.host!r} names a token server without https, {self._session.hidden(str(realm))!r}: refused",
                "only loopback, and what registries.conf declares insecure, may do that",
            )
        return realm

    def _fetch(
        self,
        door: Door,
        realm: Url,
        service: str,
        scopes: tuple[str, ...],
        known: Credentials | None,
        withheld: bool = False,
    ) -> tuple[str, float]:
        """One token and its lifetime in seconds."""
        fields = [("service", service)] if service else []
        fields += [("scope", scope) for scope in scopes] + [("client_id", CLIENT)]
        headers: dict[str, str] = {}
        if known and known.identity_token:
            fields = [(name, value) for name, value in fields if name != "scope"]
            fields += [("grant_type", "refresh_token"), ("scope", " ".join(scopes))]
            self._session.secrets.add(known.identity_token)
            form = _form([*fields, ("refresh_token", known.identity_token)])
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            response = self._session.foreign("POST", door, realm, headers, form.encode())
        else:
            if known and known.user and known.password:
                headers["Authorization"] = self._header(known)
                fields.append(("account", known.user))
            response = self._session.foreign("GET", door, realm.with_query(_form(fields)), headers)
        if response.status != 200:
            raise self._denied(door, realm, response, withheld)
        return _token(response, realm.netloc)

    def _denied(self, door: Door, realm: Url, response: Response, withheld: bool) -> RegistryError:
        error = self._session.refusal(response, f"a token for {door.host!r}", realm.netloc)
        remedy = refusal.login(door.host)
        if withheld:
            remedy = (
                f"the credentials of {door.host} were not sent to {realm.netloc}, which is not known to be its token "
                f"server; if it is: MINIRT_TOKEN_HOSTS={door.url.host}={realm.host}"
            )
        return RegistryError(error.message, remedy)


def _may_know(door: Door, realm: Url) -> bool:
    """Whether the token server may have this registry's credentials."""
    host = door.url.host
    if realm.host == host:
        return realm.scheme == "https" or door.url.scheme == "http"
    if realm.scheme != "https":
        return False
    if _TOKEN_HOSTS.get(host) == realm.host:
        return True
    stated = os.environ.get("MINIRT_TOKEN_HOSTS", "").lower().split(",")
    return f"{host}={realm.host}" in (pair.strip() for pair in stated)


def _token(response: Response, host: str) -> tuple[str, float]:
    """{"token": …} or {"access_token": …}, {"expires_in": seconds}"""
    data = response.read(refusal.BODY_LIMIT, f"the token of {host!r}")
    try:
        document = json.loads(data)
    except InvalidValue as error:
        raise RegistryError(f"malformed token of {host!r}: {error.message}") from None
    found = document if isinstance(document, dict) else {}
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str) or not 0 < len(token) <= TOKEN_LIMIT or not all("!" <= x <= "~" for x in token):
        raise RegistryError(f"malformed token of {host!r}: it is not a string of printable characters")
    lifetime = found.get("expires_in")
    if not isinstance(lifetime, int) or isinstance(lifetime, bool) or lifetime <= 0:
        lifetime = LIFETIME_S
    return token, float(min(lifetime, 86400))


def _form(fields: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={address.quote(value)}" for name, value in fields)
