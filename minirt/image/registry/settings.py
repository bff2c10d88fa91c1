# SPDX-License-Identifier: Apache-2.0
"""What the person and the host have set about registries: where a name comes from, whom TLS trusts, passwords, proxies.

One value for all of it, for any number of threads; each file is read when it is first asked about, and once. The
formats are in the files beside: hosts.py (registries.conf), certificates.py (certs.d), authfile.py and keychain.py
(passwords), proxy.py.
"""

from __future__ import annotations

import _thread
import os

from minirt.errors import InvalidValue
from minirt.image.registry import address, authfile
from minirt.image.registry.authfile import HUB_HOSTS, Credentials
from minirt.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from minirt.image.registry.authfile import AuthFile
    from minirt.image.registry.hosts import Hosts
    from minirt.model.reference import Reference

__all__ = ["Credentials", "Endpoint", "Settings"]
HUB_SERVER = "registry-1.docker.io"


class Endpoint:
    """One server to speak to: `host` ("127.0.0.1:5000"), the repository's `path` there ("" for none).

    scheme    "https", or what a foreign address says
    insecure  registries.conf says so: certificates are not checked and plain http may be spoken
    mirror    whether it is one, and not the registry that the name means
    home      for a foreign server: the registry that named it
    """

    __slots__ = ("host", "path", "scheme", "insecure", "mirror", "home", "_settings")

    def __init__(
        self, host: str, path: str, insecure: bool, mirror: bool, settings: Settings, scheme: str = "https"
    ) -> None:
        self.host = host
        self.path = path
        self.scheme = scheme
        self.insecure = insecure
        self.mirror = mirror
        self.home = ""
        self._settings = settings

    @property
    def verify(self) -> bool:
        return not self.insecure

    @property
    def proxy(self) -> str:
        """ "http://[user:password@]host:port", "" for none."""
        return self._settings.proxy(self.scheme, self.host)

    def tls(self) -> ssl.SSLContext:
        """Made on the first call, then the same for the host."""
        return self._settings.tls(self.host, self.verify, self.home)

    def __repr__(self) -> str:
        return f"Endpoint({self.host!r}, {self.path!r}, insecure={self.insecure}, mirror={self.mirror})"


class Settings:
    """environ: for os.environ. authfile: the only auth file (--authfile). warn: told, in a line, what is unsafe."""

    __slots__ = (
        "_environ",
        "_authfile",
        "_warn",
        "_hosts",
        "_auths",
        "_known",
        "_offered",
        "_contexts",
        "_proxies",
        "_lock",
    )

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        authfile: str = "",
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._authfile = authfile
        self._warn = warn or _silent
        self._hosts: Hosts | None = None
        self._auths: list[AuthFile] | None = None
        self._known: dict[tuple[str, str], Credentials | None] = {}
        self._offered: dict[str, Credentials] = {}
        self._contexts: dict[tuple[str, bool, str], ssl.SSLContext] = {}
        self._proxies: dict[tuple[str, str], str] = {}
        self._lock = _thread.allocate_lock()

    # --- where a name comes from -------------------------------------------------------------------------------

    def reference(self, text: str) -> Reference:
        """The name that the person means: what [aliases] says of a short one, else Docker's normalisation."""
        named = reference.parse(text)
        if named.domain != reference.DEFAULT_DOMAIN:
            return named
        short = text.partition("@")[0]
        if ":" in short.rpartition("/")[2]:
            short = short.rpartition(":")[0]
        if short.partition("/")[0] in HUB_HOSTS or short not in self._conf().aliases:
            return named
        value, path = self._conf().aliases[short]
        try:
            meant = reference.parse(value)
        except InvalidValue as error:
            raise InvalidValue(f'malformed registries.conf "{path}": alias: {error.message}', error.remedy) from None
        if meant.tag or meant.digest:
            raise InvalidValue(
                f'malformed registries.conf "{path}": the alias {short!a} stands for more than a repository',
                "write HOST/REPOSITORY without tag and digest",
            )
        return reference.Reference(meant.domain, meant.path, named.tag, named.digest)

    def endpoints(self, name: Reference, push: bool = False) -> list[Endpoint]:
        """Mirrors (for a pull), then the registry itself. HostError where registries.conf blocks it."""
        from minirt.image.registry import hosts

        repository = name.name.lower()  # a host's case does not matter, a path has none
        found = self._conf().find(repository)
        if found is None:
            return [self._endpoint(repository, False, False)]
        rule, size = found
        listed = hosts.places(rule, repository, size, name.digest is not None, push)
        last = len(listed) - 1
        return [
            self._endpoint(repository, insecure, number < last) for number, (repository, insecure) in enumerate(listed)
        ]

    def server(self, host: str) -> Endpoint:
        """The registry at `host` as login means it: no mirror, no repository. HostError where it is blocked."""
        from minirt.image.registry import hosts

        found = self._conf().find(host)
        if found:
            hosts.check(found[0])
        insecure = found is not None and found[0].registry.insecure
        return Endpoint(HUB_SERVER if host in HUB_HOSTS else host, "", insecure, False, self)

    def foreign(self, host: str, scheme: str, home: Endpoint | None = None) -> Endpoint:
        """Another server that the registry `home` names: where it stores blobs, or makes tokens. On the same host, with
        another port, it may be as insecure; everywhere it may have a certificate of the same authorities (Docker)."""
        found = self._conf().find(host)
        insecure = found is not None and found[0].registry.insecure
        if home and home.insecure:
            insecure = insecure or address.authority(host, 0)[0] == address.authority(home.host, 0)[0]
        made = Endpoint(host, "", insecure, False, self, scheme)
        made.home = home.host if home else ""
        return made

    def _endpoint(self, repository: str, insecure: bool, mirror: bool) -> Endpoint:
        host, _, path = repository.partition("/")
        if not path:
            raise InvalidValue(
                f"registries.conf makes {repository!a} of a name: a host without a repository",
                "correct the location that it is made of",
            )
        return Endpoint(HUB_SERVER if host in HUB_HOSTS else host, path, insecure, mirror, self)

    def _conf(self) -> Hosts:
        if self._hosts is None:
            from minirt.image.registry import hosts

            self._hosts = hosts.load(self._environ)
        return self._hosts

    # --- how a server is spoken to -----------------------------------------------------------------------------

    def tls(self, host: str, verify: bool, home: str = "") -> ssl.SSLContext:
        """home: the registry whose authorities count where the host has no directory of its own."""
        key = (host, verify, home)
        if key not in self._contexts:
            from minirt.image.registry import certificates

            names = [host, *(name for name in HUB_HOSTS if host in HUB_HOSTS and name != host)]
            self._contexts[key] = certificates.context(names, verify, self._environ, home)
        return self._contexts[key]

    def proxy(self, scheme: str, host: str) -> str:
        key = (scheme, host)
        if key not in self._proxies:
            from minirt.image.registry import proxy

            self._proxies[key] = proxy.find(scheme, host, self._environ)
        return self._proxies[key]

    # --- who the person is there -------------------------------------------------------------------------------

    def credentials(self, host: str, path: str = "") -> Credentials | None:
        """What to log in with at `host`, for the repository `path` there. None: nothing is known."""
        if host in self._offered:
            return self._offered[host]
        key = (host, path)
        with self._lock:  # a credential helper may ask the person something: once
            if key not in self._known:
                self._known[key] = self._search(host, path)
            return self._known[key]

    def offer(self, host: str, known: Credentials) -> None:
        """From now on `known` and nothing else is what credentials() has for `host`: login tries them."""
        self._offered[host] = known

    def holders(self, host: str, path: str = "") -> Iterator[tuple[str, Credentials | None]]:
        """Each auth file in its order and what it, or the credential helper that it names, has for the host."""
        for file in self._files():
            yield file.path, self._stored(file, host) or file.find(host, path)

    def _search(self, host: str, path: str) -> Credentials | None:
        for _, known in self.holders(host, path):
            if known:
                return known
        for name in self._conf().helpers:
            if name != "containers-auth.json":
                from minirt.image.registry.keychain import Keychain

                source = "credential-helpers of registries.conf"
                if known := Keychain(name, authfile.key_of(host), source, self._environ).get():
                    return known
        return None

    def _stored(self, file: AuthFile, host: str) -> Credentials | None:
        """What the credential helper has that `file` names for the host."""
        if not file.helper(host)[0]:
            return None
        from minirt.image.registry import keychain

        named = keychain.named_by(file, host, self._environ)
        return named.get() if named else None

    def _files(self) -> list[AuthFile]:
        if self._auths is None:
            listed = authfile.paths(self._environ, self._authfile)
            self._auths = [file for path in listed if (file := authfile.read(path, self._warn))]
        return self._auths


def _silent(message: str) -> None:
    """For who has no terminal."""
