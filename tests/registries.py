# SPDX-License-Identifier: Apache-2.0
"""Real registries: Debian's docker-registry (distribution 2.8) on a free port of 127.0.0.1. Fixtures in conftest.py.

def test_pull(registry):                         one plain registry for all tests of a worker: use your own repository
    name = f"{registry.host}/mine:1"             names. Its process, port and storage are gone after the run
    registry.put(sample_images.image(layer), "mine:1")   an OCI layout as {file name: bytes}: straight, fast
    registry.push("oci:/layout:tag", "mine:2")           by skopeo: any of its transports
def test_special(make_registry):                 registries of this test's own; keywords as of Registry
    private = make_registry(tls="ca", htpasswd={"ann": "secret"})
    private.ca, private.host, private.log        …
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import http.client
import json
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from certificates import Authority
from tokens import ISSUER, SERVICE, TokenServer

START_S = 20.0
INDEX = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ACCEPT = ", ".join([MANIFEST, "application/vnd.docker.distribution.manifest.v2+json", *INDEX])
LINE = re.compile(r'\S+ \S+ .* \[[^]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+) "[^"]*" "([^"]*)"')


class Request(NamedTuple):
    """One request as the registry's access log has it; `sent` counts the bytes of the answer's body."""

    method: str
    path: str
    status: int
    sent: int
    agent: str


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    data: bytes


def bcrypt(password: str) -> str:
    """A hash as htpasswd -B writes it, by libcrypt's crypt(3), cost 5."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed: bytes = crypt(password.encode(), b"$2y$05$abcdefghijklmnopqrstuu")
    assert hashed.startswith(b"$2y$05$")
    return hashed.decode()


def split(name: str) -> tuple[str, str]:
    """ "a/b:1" -> ("a/b", "1")"""
    repository, _, tag = name.partition(":")
    return repository, tag or "latest"


class Registry:
    """A docker-registry of one's own while the context lasts. Keywords:

    tls        "" (plain HTTP), "ca" (signed by `.ca`), "self-signed", "expired", "wrong-name"
    clients    with tls: only clients with a certificate are let in; `.client` is one: (certificate, key)
    htpasswd   {user: password}: Basic
    token      {user: password}: Bearer, from `.tokens` (tests/tokens.py); {}: a token for everybody
    settings   more of the registry's own settings, by section: {"storage": {"redirect": …}}

    `.host` is "127.0.0.1:PORT". Start it in the main thread: it dies with the thread that started it.
    """

    def __init__(
        self,
        *,
        tls: str = "",
        clients: bool = False,
        htpasswd: dict[str, str] | None = None,
        token: dict[str, str] | None = None,
        settings: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        assert tls in ("", "ca", "self-signed", "expired", "wrong-name")
        self.tls, self.clients, self.users, self.token_users = tls, clients, htpasswd, token
        self.settings = settings or {}
        self.port = 0
        self.tokens: TokenServer | None = None
        self.client: tuple[Path, Path] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.skipped = 0

    def __enter__(self) -> Registry:
        self.folder = Path(tempfile.mkdtemp(prefix="mrt-registry-", dir="/tmp"))
        try:
            (self.folder / "config.json").write_text(json.dumps(self._settings()))  # YAML 1.2 holds JSON
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.tokens:
            self.tokens.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- the process ---------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        web: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "tests"}
        auth: dict[str, Any] = {}
        files = None
        if self.tls:
            files = self._certificates()
            web["tls"] = {"certificate": str(files[0]), "key": str(files[1])}
            if self.clients:
                web["tls"]["clientcas"] = [str(self.ca)]
        if self.users is not None:
            table = self.folder / "htpasswd"
            table.write_text("".join(f"{user}:{bcrypt(word)}\n" for user, word in self.users.items()))
            auth = {"htpasswd": {"realm": "tests", "path": str(table)}}
        if self.token_users is not None:
            self.tokens = TokenServer(self.folder, self.token_users)
            realm = self.tokens.start(files)
            trusted = str(self.tokens.certificate)
            auth = {"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": trusted}}
        whole: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "storage")}, "delete": {"enabled": True}},
            "http": web,
            **({"auth": auth} if auth else {}),
        }
        for section, values in self.settings.items():
            whole[section] = {**whole.get(section, {}), **values}
        return whole

    def _certificates(self) -> tuple[Path, Path]:
        authority = Authority(self.folder)
        self.ca = authority.certificate
        self.client = authority.client() if self.clients else None
        if self.tls == "wrong-name":
            return authority.server(names=["other.example"])
        return authority.server(days=-1 if self.tls == "expired" else 2, own=self.tls == "self-signed")

    def start(self) -> None:
        """Starts the program; after `stop` on the same port and storage."""
        errors = self.folder / "stderr"
        environment = {"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"}
        if self.port:
            environment["REGISTRY_HTTP_ADDR"] = self.host
        with open(errors, "wb") as stderr, open(self.folder / "stdout", "ab") as stdout:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", str(self.folder / "config.json")],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
            )
        deadline = time.monotonic() + START_S
        while not (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", errors.read_text())):
            assert self.process.poll() is None, f"docker-registry ended\n{errors.read_text()}"
            assert time.monotonic() < deadline, f"docker-registry does not start\n{errors.read_text()}"
            time.sleep(0.01)
        self.port = int(found[1])

    def stop(self) -> None:
        """Kills the program; what it stored stays."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    # --- what was asked --------------------------------------------------------------------------------------

    def _lines(self) -> list[Request]:
        found = LINE.findall((self.folder / "stdout").read_text())
        return [Request(method, path, int(code), int(sent), agent) for method, path, code, sent, agent in found]

    @property
    def log(self) -> list[Request]:
        """Every request since the start or the last `forget`, once all that are answered have been written down."""
        mark = f"/v2/?mark={time.monotonic_ns()}"
        self.request("GET", mark, anonymous=True)
        deadline, before = time.monotonic() + START_S, -1
        while True:
            lines = self._lines()
            if len(lines) == before and any(line.path == mark for line in lines):
                break
            assert time.monotonic() < deadline, "the registry's log stands still"
            before = len(lines)
            time.sleep(0.03)
        return [line for line in lines[self.skipped :] if "/v2/?mark=" not in line.path]

    def forget(self) -> None:
        """`log` begins anew."""
        assert self.log is not None
        self.skipped = len(self._lines())

    # --- what it holds ---------------------------------------------------------------------------------------

    def _authorization(self, path: str) -> dict[str, str]:
        if self.users:
            words = ":".join(next(iter(self.users.items())))
            return {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}
        if self.tokens:
            found = re.match(r"/v2/(.+)/(?:manifests|blobs|tags)/", path)
            scopes = (f"repository:{found[1]}:pull,push,delete",) if found else ()
            return {"Authorization": "Bearer " + self.tokens.token(scopes, next(iter(self.tokens.users), None))}
        return {}

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
    ) -> Response:
        """One request of the test's own, as the first user unless `anonymous`."""
        if self.tls:
            context = ssl._create_unverified_context()
            if self.client:
                context.load_cert_chain(*self.client)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            own = {} if anonymous else self._authorization(path)
            connection.request(method, path, body, {"Accept": ACCEPT, **own, **(headers or {})})
            answer = connection.getresponse()
            return Response(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def put_blob(self, repository: str, data: bytes) -> str:
        """Uploads one blob; its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        begun = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202, begun
        place = re.sub(r"^https?://[^/]+", "", begun.headers["location"])
        octets = {"Content-Type": "application/octet-stream"}
        done = self.request("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", data, octets)
        assert done.status == 201, done
        return digest

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str = MANIFEST) -> str:
        """Uploads one manifest or index under a tag or its digest; its digest."""
        done = self.request("PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": media_type})
        assert done.status == 201, done
        return done.headers["docker-content-digest"]

    def put(self, files: dict[str, bytes], name: str) -> str:
        """An OCI layout, given as {file name: content}, as "repository:tag"; the digest that the tag has then. If the
        layout's index.json names one manifest, that is tagged, else index.json itself, as an index."""
        repository, tag = split(name)

        def send(data: bytes, media_type: str, reference: str) -> str:
            whole = json.loads(data)
            for inner in whole.get("manifests", ()):
                send(files[f"blobs/sha256/{inner['digest'][7:]}"], inner["mediaType"], inner["digest"])
            if media_type not in INDEX:
                for blob in [whole["config"], *whole["layers"]]:
                    self.put_blob(repository, files[f"blobs/sha256/{blob['digest'][7:]}"])
            return self.put_manifest(repository, reference, data, media_type)

        listed = json.loads(files["index.json"])["manifests"]
        if len(listed) > 1:
            return send(files["index.json"], INDEX[0], tag)
        return send(files[f"blobs/sha256/{listed[0]['digest'][7:]}"], listed[0]["mediaType"], tag)

    def push(self, source: str, name: str, *options: str) -> str:
        """skopeo copy `source` ("oci:DIR:TAG", "docker-archive:FILE", …) here as "repository:tag", with every platform
        and digest as it is unless `options` say otherwise; the digest that the tag has then."""
        words = ["skopeo", "copy", "--quiet", "--insecure-policy", "--all", "--dest-tls-verify=false", *options]
        if self.users or self.token_users:
            user, password = next(iter((self.users or self.token_users or {}).items()))
            words.append(f"--dest-creds={user}:{password}")
        done = subprocess.run([*words, source, f"docker://{self.host}/{name}"], capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
        return self.digest(name)

    def digest(self, name: str) -> str:
        """What a tag of this registry stands for."""
        repository, tag = split(name)
        answer = self.request("HEAD", f"/v2/{repository}/manifests/{tag}")
        assert answer.status == 200, answer
        return answer.headers["docker-content-digest"]

    def blob_path(self, digest: str) -> Path:
        """Where the registry keeps a blob's bytes: a test may change them."""
        algorithm, _, hexadecimal = digest.partition(":")
        place = self.folder / "storage/docker/registry/v2/blobs" / algorithm / hexadecimal[:2] / hexadecimal / "data"
        assert place.exists(), f"the registry has no blob {digest}"
        return place
