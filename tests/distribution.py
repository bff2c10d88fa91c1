# SPDX-License-Identifier: Apache-2.0
"""The OCI distribution specification 1.1 as an honest registry answers it, without sockets: requests in, replies out.

hostile_registry.py puts it on a port, and lets a test replace any answer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REASONS = {200: "OK", 201: "Created", 202: "Accepted", 206: "Partial Content", 307: "Temporary Redirect"}


class Seen(NamedTuple):
    """One request. `query` parsed; headers by lower-case name."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


class Reply:
    """`cut_at`: the connection is closed after so many bytes of the body. `length`: Content-Length, if not the
    truth; -1: none is sent. A body that is an iterator ends with the connection."""

    def __init__(self, status: int, body: bytes | Iterator[bytes] = b"", headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.cut_at: int | None = None
        self.length = self.told = len(body) if isinstance(body, bytes) else -1

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.length != -1:
            lines.append(f"Content-Length: {self.length}")
        else:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode()


def refuse(status: int, code: str, headers: dict[str, str] | None = None, message: str = "no") -> Reply:
    """An error as the specification wants it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, body, {"Content-Type": "application/json", **(headers or {})})


class Distribution:
    """`users`: {name: password} it wants; `bearer`: by tokens of `realm` (its own /token by default), else by
    Basic. `url` and `host` are what it calls itself."""

    url = host = ""

    def __init__(self, users: dict[str, str] | None = None, bearer: bool = False, realm: str = "") -> None:
        self.users, self.bearer, self.realm = users, bearer, realm
        self.blobs: dict[str, bytes] = {}
        self.held: set[tuple[str, str]] = set()  # (repository, digest of a blob)
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}

    def put(self, files: dict[str, bytes], name: str) -> str:
        """An OCI layout under "repository:tag", as tests/registries.py takes it; the digest of what is tagged."""
        repository, _, tag = name.partition(":")
        listed = json.loads(files["index.json"])["manifests"]
        types = {one["digest"]: one["mediaType"] for one in listed}
        for path, data in files.items():
            if path.startswith("blobs/"):
                self.put_blob(data, repository)
        for found, media_type in types.items():
            self.put_manifest(repository, found, files[f"blobs/sha256/{found[7:]}"], media_type)
        if len(listed) > 1:
            return self.put_manifest(repository, tag, files["index.json"], INDEX)
        first = listed[0]
        return self.put_manifest(repository, tag, files[f"blobs/sha256/{first['digest'][7:]}"], first["mediaType"])

    def put_blob(self, data: bytes, repository: str) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        self.held.add((repository, digest))
        return digest

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str = MANIFEST) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.manifests[repository, reference] = self.manifests[repository, digest] = (media_type, data)
        return digest

    # --- the specification -------------------------------------------------------------------------------------

    def honest(self, seen: Seen) -> Reply:
        if seen.path == "/token":
            return self._token(seen)
        if self.users is not None and not self._known(seen):
            return self.challenge(seen)
        if seen.path in ("/v2/", "/v2"):
            return Reply(200, b"{}", {"Content-Type": "application/json"})
        if found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", seen.path):
            return self._manifest(seen, found[1], found[2])
        if found := re.fullmatch(r"/v2/(.+)/blobs/uploads/([^/]*)", seen.path):
            return self._upload(seen, found[1], found[2])
        if found := re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", seen.path):
            return self._blob(seen, found[1], found[2])
        if found := re.fullmatch(r"/v2/(.+)/tags/list", seen.path):
            tags = sorted(tag for name, tag in self.manifests if name == found[1] and ":" not in tag)
            return Reply(200, json.dumps({"name": found[1], "tags": tags}).encode())
        return refuse(404, "NOT_FOUND")

    def scope(self, path: str) -> str:
        found = re.match(r"/v2/(.+)/(?:manifests|blobs|tags)/", path)
        return f"repository:{found[1]}" if found else ""

    def challenge(self, seen: Seen) -> Reply:
        if not self.bearer:
            return refuse(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="here"'})
        scope = self.scope(seen.path)
        actions = ":pull" if seen.method in ("GET", "HEAD") else ":pull,push"
        asks = f'Bearer realm="{self.realm or self.url + "/token"}",service="{self.host}"'
        return refuse(401, "UNAUTHORIZED", {"WWW-Authenticate": asks + (f',scope="{scope}{actions}"' if scope else "")})

    def _known(self, seen: Seen) -> bool:
        word = seen.authorization or ""
        if not self.bearer:
            return self._password(word)
        scope = self.scope(seen.path)
        needed = scope and scope + (":pull" if seen.method in ("GET", "HEAD") else ":pull,push")
        return word.startswith("Bearer token-for-") and needed in word

    def _password(self, word: str) -> bool:
        pairs = [f"{user}:{password}" for user, password in (self.users or {}).items()]
        return word in ["Basic " + base64.b64encode(pair.encode()).decode() for pair in pairs]

    def _token(self, seen: Seen) -> Reply:
        if self.users and not self._password(seen.authorization or ""):
            return refuse(401, "UNAUTHORIZED")
        scope = ";".join(seen.query.get("scope", []))
        return Reply(200, json.dumps({"token": f"token-for-{scope}", "expires_in": 300}).encode())

    def _manifest(self, seen: Seen, repository: str, reference: str) -> Reply:
        if seen.method == "PUT":
            digest = self.put_manifest(repository, reference, seen.body, seen.headers.get("content-type", ""))
            place = f"/v2/{repository}/manifests/{digest}"
            return Reply(201, b"", {"Docker-Content-Digest": digest, "Location": place})
        if (repository, reference) not in self.manifests:
            return refuse(404, "MANIFEST_UNKNOWN")
        media_type, data = self.manifests[repository, reference]
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        return Reply(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _blob(self, seen: Seen, repository: str, digest: str) -> Reply:
        if (repository, digest) not in self.held:
            return refuse(404, "BLOB_UNKNOWN")
        data = self.blobs[digest]
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        if (ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))) is None:
            return Reply(200, data, headers)
        start, end = int(ranged[1]), min(int(ranged[2] or len(data) - 1), len(data) - 1)
        if start >= len(data):
            return Reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        return Reply(206, data[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def _upload(self, seen: Seen, repository: str, identity: str) -> Reply:
        if seen.method == "POST":
            wanted = seen.query.get("mount", [""])[0]
            if (seen.query.get("from", [""])[0], wanted) in self.held:
                self.held.add((repository, wanted))
                return Reply(201, b"", {"Location": f"/v2/{repository}/blobs/{wanted}"})
            identity = f"{len(self.uploads)}-{time.monotonic_ns()}"
            self.uploads[identity] = b""
        if identity not in self.uploads:
            return refuse(404, "BLOB_UPLOAD_UNKNOWN")
        self.uploads[identity] += seen.body
        place = f"/v2/{repository}/blobs/uploads/{identity}"
        if digest := seen.query.get("digest", [""])[0]:
            data = self.uploads.pop(identity)
            if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
                return refuse(400, "DIGEST_INVALID")
            self.put_blob(data, repository)
            return Reply(201, b"", {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})
        last = max(len(self.uploads[identity]) - 1, 0)
        status = 204 if seen.method == "GET" else 202
        return Reply(status, b"", {"Location": place, "Range": f"0-{last}", "Docker-Upload-UUID": identity})
