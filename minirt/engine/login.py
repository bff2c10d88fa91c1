# SPDX-License-Identifier: Apache-2.0
"""`login` and `logout`: a password is shown to the registry first and kept only if it was taken (docker-login(1)).

The password is in no argument of a program, in no error and in no log; where it is kept is settings' matter
(image/registry/passwords.py). Prints nothing.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue, NotFound, RegistryError
from minirt.image.registry import address, passwords
from minirt.image.registry.authfile import HUB_HOSTS, Credentials, key_of
from minirt.image.registry.refusal import Refusal
from minirt.image.registry.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "docker.io"


class Login:
    """One registry and the files that count for it. server: as the person wrote it, "" for Docker Hub."""

    __slots__ = ("host", "settings", "target", "_authfile")

    def __init__(self, server: str, authfile: str = "", warn: Callable[[str], None] | None = None) -> None:
        self.host = host_of(server)
        self._authfile = authfile
        self.settings = Settings(authfile=authfile, warn=warn)
        self.target = passwords.target(os.environ, authfile)

    @property
    def shown(self) -> str:
        """What Docker calls it in its messages."""
        return key_of(self.host)

    def known(self) -> Credentials | None:
        """What an earlier login has left."""
        return self.settings.credentials(self.host)

    def check(self, known: Credentials) -> bool:
        """Shows the credentials to the registry: RegistryError where it does not take them; False where it asks
        for none, so that nobody knows whether they are right."""
        from minirt.image.registry.session import Ask, Door, Session

        endpoint = self.settings.server(self.host)
        self.settings.offer(endpoint.host, known)
        session, door = Session(self.settings), Door(endpoint)
        try:
            session.expect(door, Ask("GET", "/v2/", "its API", ()), 200).discard()
        except NotFound:
            fault = f"login to {self.shown} failed: what answers there is no registry (404 at /v2/)"
            raise RegistryError(fault, "check the server's name and port") from None
        except RegistryError as error:
            raise self._refused(error) from None
        finally:
            session.close()
        if door.asked == "withheld":
            raise RegistryError(
                f"login to {self.shown} failed: its token server is another host, which was not shown the password",
                f"if it belongs to {door.url.host}: MINIRT_TOKEN_HOSTS={door.url.host}=HOST",
            )
        return door.asked == "shown"

    def save(self, known: Credentials) -> str:
        """The credential helper that keeps them now, "" for the file `target`."""
        return passwords.save(self.target, self.host, known, os.environ)

    def forget(self) -> bool:
        """Whether there was anything to forget."""
        return passwords.forget(self.target, self.host, os.environ)

    def elsewhere(self) -> str:
        """The file besides `target` that has credentials for the registry and is read first, "" for none."""
        for path, known in Settings(authfile=self._authfile).holders(self.host):
            if os.path.realpath(path) == os.path.realpath(self.target):
                break
            if known:
                return path
        return ""

    def _refused(self, error: RegistryError) -> RegistryError:
        remedy = error.remedy
        if "minirt login" in remedy:
            remedy = "check the user name and the password"
        said = error.message
        if isinstance(error, Refusal) and error.status in (401, 403):
            words = said.partition("its API")[2].removeprefix(": ").removeprefix("UNAUTHORIZED: ")
            said = f"unauthorized: {words or 'incorrect username or password'}"
        message = f"login to {self.shown} failed: {said}"
        return RegistryError(message, remedy)


def host_of(server: str) -> str:
    """HOST[:PORT] of what was given: Docker takes addresses as well and drops what is not the host."""
    if not server:
        return DEFAULT
    text = (server.partition("://")[2] if "://" in server else server).partition("/")[0]
    try:
        if "@" in text:
            raise InvalidValue("a user and password do not belong into the server's name")
        address.authority(text, 443)
    except InvalidValue as error:
        raise InvalidValue(f"invalid registry: {error.message}", "write HOST[:PORT]") from None
    host = text.lower()
    return DEFAULT if host in HUB_HOSTS else host
