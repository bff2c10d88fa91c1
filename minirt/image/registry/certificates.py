# SPDX-License-Identifier: Apache-2.0
"""Whom TLS trusts and what it shows: certs.d (containers-certs.d(5), the same layout as Docker's).

    <certs.d>/HOST[:PORT]/*.crt           certificates of authorities, trusted besides the system's
    <certs.d>/HOST[:PORT]/NAME.cert       what a registry that asks for it is shown, with its key NAME.key

The first of the places that has a directory for the host is the one that counts. Needs ssl, imported on the first use.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue
from minirt.image.registry import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

SYSTEM = ("/etc/containers/certs.d", "/etc/docker/certs.d")


def places(environ: Mapping[str, str]) -> list[str]:
    """$MINIRT_CERTS_DIR alone, or the user's and then the host's directories."""
    if chosen := environ.get("MINIRT_CERTS_DIR"):
        return [chosen]
    return [f"{files.home(environ)}/.config/containers/certs.d", *SYSTEM]


def context(hosts: list[str], verify: bool, environ: Mapping[str, str], home: str = "") -> ssl.SSLContext:
    """TLS 1.2 or later for a registry. `hosts`: the names that its directory may have; `home`: whose authorities, but
    not client certificates, count where it has none. A bad file is an error."""
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify:
        _system(made, environ)
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if folder := _directory(hosts, environ):
        _authorities(made, folder)
        _pairs(made, folder)
    elif home and (folder := _directory([home], environ)):
        _authorities(made, folder)
    return made


def _directory(hosts: list[str], environ: Mapping[str, str]) -> str:
    folders = (f"{place}/{host}" for place in places(environ) for host in hosts)
    return next((folder for folder in folders if os.path.isdir(folder)), "")


def _system(made: ssl.SSLContext, environ: Mapping[str, str]) -> None:
    """The authorities that the host trusts. Reading the bundle of all costs 30 ms, looking the needed one up in the
    hashed directory (openssl-rehash(1)) 1 ms: so that is used where it holds as many as the bundle."""
    import ssl

    paths = ssl.get_default_verify_paths()
    if not (paths.openssl_cafile_env in environ or paths.openssl_capath_env in environ):
        try:
            with open(paths.openssl_cafile, "rb") as bundle:
                listed = bundle.read(1 << 24).count(b"-----BEGIN CERTIFICATE-----")
            hashed = sum(name[8:9] == "." and name[9:].isdigit() for name in os.listdir(paths.openssl_capath))
        except OSError:
            listed = hashed = 0
        if 0 < listed == hashed:
            made.load_verify_locations(capath=paths.openssl_capath)
            return
    made.set_default_verify_paths()


def _authorities(made: ssl.SSLContext, folder: str) -> None:
    for name in files.names(folder, "certificate directory"):
        if name.endswith(".crt"):
            _authority(made, f"{folder}/{name}")


def _pairs(made: ssl.SSLContext, folder: str) -> None:
    entries = files.names(folder, "certificate directory")
    for name in reversed(entries):  # OpenSSL keeps the last of a kind: the first in order
        stem, _, end = name.rpartition(".")
        if end == "cert":
            if f"{stem}.key" not in entries:
                raise InvalidValue(
                    f'client certificate "{folder}/{name}" has no key "{stem}.key" beside it',
                    "put the key there; a certificate of an authority ends in .crt",
                )
            _pair(made, f"{folder}/{name}", f"{folder}/{stem}.key")
        elif end == "key" and f"{stem}.cert" not in entries:
            raise InvalidValue(
                f'key "{folder}/{name}" has no client certificate "{stem}.cert" beside it',
                "put the certificate there, its name ending in .cert",
            )


def _authority(made: ssl.SSLContext, path: str) -> None:
    import ssl

    found = files.read(path, "certificate")
    if found is None:
        raise InvalidValue(f'certificate "{path}" is not there', f"remove the dangling link: ls -l {path}")
    try:
        made.load_verify_locations(cadata=found[0].decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise InvalidValue(
            f'certificate "{path}" is not a PEM certificate', f"openssl x509 -in {path} -noout -text"
        ) from None


def _pair(made: ssl.SSLContext, certificate: str, key: str) -> None:
    """The files are read here first, so that one that cannot be read is named."""
    import ssl

    for path, what in ((certificate, "client certificate"), (key, "key")):
        if files.read(path, what) is None:
            raise InvalidValue(f'{what} "{path}" is not there', f"remove the dangling link: ls -l {path}")
    try:
        made.load_cert_chain(certificate, key, password=lambda: b"")  # never asks on the terminal
    except (ssl.SSLError, ValueError, OSError) as error:
        mismatch = getattr(error, "reason", "") == "KEY_VALUES_MISMATCH"
        fault = "do not belong together" if mismatch else "are not a PEM certificate and its key without a passphrase"
        raise InvalidValue(
            f'client certificate "{certificate}" and "{key}" {fault}',
            f"openssl x509 -in {certificate} -noout -pubkey; openssl pkey -in {key} -pubout",
        ) from None
