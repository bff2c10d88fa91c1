# SPDX-License-Identifier: Apache-2.0
"""Files of passwords: Docker's config.json and containers' auth.json (containers-auth.json(5)), read.

    {"auths": {"HOST[/REPOSITORY]": {"auth": base64("user:password"), "identitytoken": "…"}},
     "credHelpers": {"HOST": "NAME"}, "credsStore": "NAME"}

Members that are not understood are let be. Nothing that a file holds is repeated in an error. Reading one that others
may read is told to `warn`.
"""

from __future__ import annotations

import stat

from minirt.errors import InvalidValue
from minirt.image.registry import files
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

HUB = "https://index.docker.io/v1/"
"""The key that Docker has for Docker Hub since its first days."""
HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
WHAT = "auth file"
TOKEN_USER = "<token>"
"""What a credential helper gives as name where the secret is an identity token."""


class Credentials:
    """A user and password, or an identity token (then `user` may be empty). Shown nowhere: no repr."""

    __slots__ = ("user", "password", "identity_token")

    def __init__(self, user: str, password: str, identity_token: str = "") -> None:
        self.user = user
        self.password = password
        self.identity_token = identity_token

    def __repr__(self) -> str:
        return "Credentials(…)"


class AuthFile:
    """One file's three tables, checked. `document` is all of it; `owner`: user and group, None for no file yet."""

    __slots__ = ("path", "document", "owner", "auths", "helpers", "store")

    def __init__(self, path: str, document: dict[str, Any], owner: tuple[int, int] | None = None) -> None:
        self.path = path
        self.document = document
        self.owner = owner
        self.auths: dict[str, Any] = _table(document, "auths", path)
        self.helpers: dict[str, str] = _table(document, "credHelpers", path)
        for host, name in self.helpers.items():
            if not isinstance(name, str):
                raise _malformed(path, f"credHelpers: {host!a} is not a string")
        self.store: str = document.get("credsStore") or ""
        if not isinstance(self.store, str):
            raise _malformed(path, "credsStore is not a string")

    def helper(self, host: str) -> tuple[str, str, str]:
        """The credential helper for a host ("" for none), what it knows the host as, the member that names it."""
        for key in [host] if host not in HUB_HOSTS else [HUB, *HUB_HOSTS]:
            if self.helpers.get(key):
                return self.helpers[key], key, "credHelpers"
        return self.store, key_of(host), "credsStore"

    def find(self, host: str, path: str) -> Credentials | None:
        """The entry of the longest HOST/PATH that holds `host`/`path`; then one that is written as an address."""
        hosts = HUB_HOSTS if host in HUB_HOSTS else (host,)
        for name in hosts:
            key = f"{name}/{path}" if path else name
            while True:
                if found := self._entry(key):
                    return found
                if key == name:
                    break
                key = key.rpartition("/")[0]
        written = (key for key in self.auths if bare(key) in hosts and ("://" in key or key.endswith(("/v1/", "/v2/"))))
        return next((found for key in written if (found := self._entry(key))), None)

    def _entry(self, key: str) -> Credentials | None:
        """None for no entry, and for an empty one: Docker leaves those where a credential store has the password."""
        entry = self.auths.get(key)
        if entry is None:
            return None
        if not isinstance(entry, dict):
            raise _malformed(self.path, f"auths: {key!a} is not an object")
        values = [entry.get(name, "") for name in ("auth", "identitytoken", "username", "password")]
        if not all(isinstance(value, str) for value in values):
            raise _malformed(self.path, f"auths: {key!a} holds something else than strings")
        auth, token, user, password = values
        if auth:
            user, password = self._decode(auth, key)
        if not token and not user:
            return None
        return Credentials(user, password, token)

    def _decode(self, auth: str, key: str) -> tuple[str, str]:
        import binascii

        try:
            data = binascii.a2b_base64(auth.encode("ascii"), strict_mode=True)
            user, colon, password = data.decode().rstrip("\0").partition(":")
        except ValueError:
            colon = user = password = ""
        if not colon:
            raise _malformed(self.path, f'auths: "auth" of {key!a} is not base64 of USER:PASSWORD')
        return user, password


def read(path: str, warn: Callable[[str], None], folder: int | None = None) -> AuthFile | None:
    """None where there is no such file; an empty one holds nothing. `folder` as in files.read()."""
    found = files.read(path, WHAT, folder)
    if found is None:
        return None
    data, status = found
    if stat.S_IMODE(status.st_mode) & 0o077:
        warn(f'{WHAT} "{path}" can be read or written by others: chmod 600 {path}')
    owner = status.st_uid, status.st_gid
    if not data.strip():
        return AuthFile(path, {}, owner)
    try:
        document = json.loads(data)
    except InvalidValue as error:
        raise _malformed(path, error.message) from None
    if not isinstance(document, dict):
        raise _malformed(path, "it is not a JSON object")
    return AuthFile(path, document, owner)


def paths(environ: Mapping[str, str], chosen: str = "") -> list[str]:
    """The files to look into, in order. One that was chosen (--authfile, REGISTRY_AUTH_FILE) is the only one."""
    if chosen := chosen or environ.get("REGISTRY_AUTH_FILE", ""):
        return [chosen]
    home = files.home(environ)
    run = environ.get("XDG_RUNTIME_DIR", "")
    own = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    found = [f"{run}/containers/auth.json"] if run else []
    return [*found, f"{own}/containers/auth.json", docker(environ)]


def docker(environ: Mapping[str, str]) -> str:
    return f"{environ.get('DOCKER_CONFIG') or files.home(environ) + '/.docker'}/config.json"


def key_of(host: str) -> str:
    """What Docker calls a registry in an auth file and before a credential helper."""
    return HUB if host in HUB_HOSTS else host


def bare(key: str) -> str:
    """The host of a key: Docker once wrote addresses, "https://quay.io/v1/"."""
    rest = key.partition("://")[2] or key
    return rest.partition("/")[0]


def _table(document: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    found = document.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _malformed(path, f"{name} is not an object")
    return found


def _malformed(path: str, why: str) -> InvalidValue:
    return InvalidValue(f'malformed {WHAT} "{path}": {why}', "correct it, or move it away and log in again")
