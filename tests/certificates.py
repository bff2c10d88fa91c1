# SPDX-License-Identifier: Apache-2.0
"""Certificates for the tests' servers, made by openssl(1): a CA of one's own, and what it signs, well or badly.

ca = Authority(folder)            folder/ca.crt, folder/ca.key
ca.server("good")                 folder/good.crt, folder/good.key for 127.0.0.1, ::1 and localhost
ca.server("late", days=-1)        expired;  names=["other.example"]: for somebody else
ca.client("ann")                  for mutual TLS
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def openssl(*words: str | Path, data: bytes = b"") -> bytes:
    """Runs openssl; its standard output."""
    done = subprocess.run(["openssl", *map(str, words)], input=data, capture_output=True)
    assert done.returncode == 0, f"openssl {' '.join(map(str, words))}\n{done.stderr.decode()}"
    return done.stdout


def alternative(name: str) -> str:
    """A name as subjectAltName writes it."""
    return ("IP:" if ":" in name or name.replace(".", "").isdigit() else "DNS:") + name


class Authority:
    """A CA in a directory, and the certificates that it signs there."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.key, self.certificate = folder / f"{name}.key", folder / f"{name}.crt"
        self.make_key(self.key)
        extension = "basicConstraints=critical,CA:TRUE"
        subject = ["-subj", f"/CN=test {name}", "-days", "2", "-addext", extension]
        openssl("req", "-x509", "-new", "-key", self.key, *subject, "-out", self.certificate)

    def make_key(self, path: Path) -> None:
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
        path.chmod(0o600)

    def sign(self, name: str, extensions: Sequence[str], days: int, own: bool) -> tuple[Path, Path]:
        """(certificate, key); `own`: signed by itself instead of this CA."""
        certificate, key, request = (self.folder / f"{name}.{suffix}" for suffix in ("crt", "key", "csr"))
        settings = self.folder / f"{name}.cnf"
        self.make_key(key)
        settings.write_text("\n".join(extensions) + "\n")
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        signer: list[str | Path] = ["-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial"]
        if own:
            signer = ["-signkey", key]
        options: list[str | Path] = ["-days", str(days), "-extfile", settings, "-out", certificate]
        openssl("x509", "-req", "-in", request, *signer, *options)
        return certificate, key

    def server(
        self, name: str = "server", names: Sequence[str] = LOOPBACK, days: int = 2, own: bool = False
    ) -> tuple[Path, Path]:
        """(certificate, key) of a server that is called `names`."""
        words = ",".join(alternative(one) for one in names)
        return self.sign(name, [f"subjectAltName={words}", "extendedKeyUsage=serverAuth"], days, own)

    def client(self, name: str = "client") -> tuple[Path, Path]:
        """(certificate, key) of a client."""
        return self.sign(name, ["extendedKeyUsage=clientAuth"], 2, own=False)
