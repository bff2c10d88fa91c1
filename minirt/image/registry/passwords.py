# SPDX-License-Identifier: Apache-2.0
"""Logging in and out as files see it: an entry of an auth file made or removed, or a credential helper told.

The file is written beside itself and renamed (0600), everything else that is in it stays; writers take turns by flock
on its directory. A symbolic link is followed where it is our own; one that somebody else made could choose the file.
"""

from __future__ import annotations

import os
import stat

from minirt.errors import HostError, InvalidValue, StoreError
from minirt.image.registry import authfile
from minirt.image.registry.authfile import HUB_HOSTS, TOKEN_USER, AuthFile, Credentials, bare, key_of
from minirt.image.stream import write_all
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from minirt.image.registry.keychain import Keychain


def save(path: str, host: str, known: Credentials, environ: Mapping[str, str]) -> str:
    """Keeps the credentials in `path`, or with the helper that it names: its name then, "" for the file itself."""
    folder, path = _folder(path)
    try:
        file = _read(path, folder)
        keychain = _keychain(file, host, environ)
        if keychain:
            keychain.store(known)
        _drop(file, host)
        file.auths[key_of(host)] = {} if keychain else _entry(known)
        _write(folder, path, file)
        return keychain.name if keychain else ""
    finally:
        os.close(folder)


def forget(path: str, host: str, environ: Mapping[str, str]) -> bool:
    """Whether there was anything to remove."""
    if not os.path.lexists(path):
        return False
    folder, path = _folder(path)
    try:
        file = _read(path, folder)
        known = False
        if keychain := _keychain(file, host, environ):
            known = keychain.get() is not None
            keychain.erase()
        if _drop(file, host):
            known = True
            _write(folder, path, file)
        return known
    finally:
        os.close(folder)


def target(environ: Mapping[str, str], chosen: str = "") -> str:
    """The file that login writes: --authfile, REGISTRY_AUTH_FILE, or Docker's."""
    return chosen or environ.get("REGISTRY_AUTH_FILE", "") or authfile.docker(environ)


def _keychain(file: AuthFile, host: str, environ: Mapping[str, str]) -> Keychain | None:
    if not file.helper(host)[0]:
        return None
    from minirt.image.registry import keychain

    return keychain.named_by(file, host, environ)


def _entry(known: Credentials) -> dict[str, str]:
    from binascii import b2a_base64

    if ":" in known.user:
        raise InvalidValue("a user name cannot hold a colon", "the file keeps USER:PASSWORD")
    user = known.user or TOKEN_USER
    entry = {"auth": b2a_base64(f"{user}:{known.password}".encode(), newline=False).decode()}
    return {**entry, "identitytoken": known.identity_token} if known.identity_token else entry


def _drop(file: AuthFile, host: str) -> bool:
    """Removes the host's entries in every spelling; those of single repositories (HOST/PATH) stay."""
    hosts = HUB_HOSTS if host in HUB_HOSTS else (host,)
    keys = [key for key in file.auths if key in hosts or (_is_address(key) and bare(key) in hosts)]
    for key in keys:
        del file.auths[key]
    return bool(keys)


def _is_address(key: str) -> bool:
    return "://" in key or key.endswith(("/v1/", "/v2/"))


def _read(path: str, folder: int) -> AuthFile:
    return authfile.read(path, _silent, folder) or AuthFile(path, {})


def _folder(path: str) -> tuple[int, str]:
    """The directory of the file, made where it is missing, locked; and the file's path when links are followed."""
    path = _followed(path)
    place = os.path.dirname(path)
    try:
        os.makedirs(place, 0o700, exist_ok=True)
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(path, error) from None
    import fcntl

    fcntl.flock(folder, fcntl.LOCK_EX)
    return folder, path


def _followed(path: str) -> str:
    path = os.path.abspath(path)
    for _ in range(10):
        try:
            status = os.lstat(path)
        except OSError:
            return path
        if not stat.S_ISLNK(status.st_mode):
            return path
        if status.st_uid != os.geteuid():
            raise HostError(
                f'auth file "{path}" is a symbolic link of another user: nothing is written through it',
                f"look where it leads, and remove it: ls -l {path}",
            )
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise HostError(f'auth file "{path}" is a symbolic link without end', f"remove it: rm {path}")


def _write(folder: int, path: str, file: AuthFile) -> None:
    """The new file appears complete or not at all; it belongs to whom the old one belonged."""
    document = {**file.document, "auths": file.auths}
    if not file.auths:
        del document["auths"]
    name = os.path.basename(path)
    temporary = f"{name}.{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, 0o600, dir_fd=folder)
        try:
            if file.owner and file.owner[0] != os.geteuid():
                os.fchown(fd, *file.owner)
            os.fchmod(fd, 0o600)
            write_all(fd, json.pretty(document, "\t").encode() + b"\n")
            os.fsync(fd)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            _remove(temporary, folder)
            raise
        finally:
            os.close(fd)
    except OSError as error:
        raise _unwritable(path, error) from None


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass


def _unwritable(path: str, error: OSError) -> StoreError:
    reason = os.strerror(error.errno or 0)
    return StoreError(f'cannot write {authfile.WHAT} "{path}": {reason}', "choose another one: --authfile FILE")


def _silent(message: str) -> None:
    """What is unsafe about the file is repaired by writing it."""
