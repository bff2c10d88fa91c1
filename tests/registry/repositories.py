# SPDX-License-Identifier: Apache-2.0
"""The client by itself, in the test's own process: a Repository with settings that come from the test alone.

with repository(registry, "mine:1", home) as there:     home: an empty directory; as `user` ("ann", "secret")
    there.manifest("1")
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Protocol

from minirt.image.manifest import Descriptor
from minirt.image.registry.client import Repository
from minirt.image.registry.settings import Settings
from minirt.model import reference


class Server(Protocol):
    @property
    def host(self) -> str: ...


def settings(home: Path, server: Server | None = None, user: tuple[str, str] | None = None, **more: str) -> Settings:
    """What a person with this home directory has set; trusts the server's CA where it has one; knows its `user`."""
    environ = {"HOME": str(home), "MINIRT_CERTS_DIR": str(home / "certs"), **more}
    environ["CONTAINERS_REGISTRIES_CONF"] = str(home / "registries.conf")
    (home / "registries.conf").touch()
    if server and (authority := getattr(server, "ca", None)):
        folder = home / "certs" / server.host
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_bytes(authority.read_bytes())
    if server and user:
        save(home, {server.host: {"auth": base64.b64encode(":".join(user).encode()).decode()}})
    return Settings(environ)


def save(home: Path, auths: dict[str, Any]) -> None:
    """Docker's config.json with these credentials."""
    (home / ".docker").mkdir(exist_ok=True)
    with open(home / ".docker/config.json", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        json.dump({"auths": auths}, stream)


def repository(
    server: Server,
    name: str,
    home: Path,
    actions: str = "pull",
    user: tuple[str, str] | None = None,
    given: Settings | None = None,
) -> Repository:
    """`given`: settings that are already made."""
    return Repository(reference.parse(f"{server.host}/{name}"), given or settings(home, server, user), actions)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data: bytes, size: int | None = None) -> Descriptor:
    """What a manifest would say about a blob."""
    return Descriptor({"digest": digest_of(data), "size": len(data) if size is None else size}, "test")


def manifest(config: bytes, *layers: bytes) -> bytes:
    """An OCI manifest of these blobs, which need not be there."""

    def described(data: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest_of(data), "size": len(data)}

    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(config, "config.v1+json"),
        "layers": [described(layer, "layer.v1.tar") for layer in layers],
    }
    return json.dumps(document).encode()
