# SPDX-License-Identifier: Apache-2.0
"""Credential helpers: programs docker-credential-NAME, spoken to on standard input and output (docker-login(1)).

    get    "HOST"                                → {"ServerURL", "Username", "Secret"}, or a message and exit 1
    store  {"ServerURL", "Username", "Secret"}   → nothing
    erase  "HOST"                                → nothing

Looked up in fixed directories and not in PATH, for minirt runs as root; bounded in time and output. A secret is
in no argument, and cut out of a message that repeats it.
"""

from __future__ import annotations

import os
import stat

from minirt.errors import HostError, InvalidValue
from minirt.image.registry.authfile import TOKEN_USER, AuthFile, Credentials
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
TIMEOUT_S = 60.0
OUTPUT_LIMIT = 1 << 16
MESSAGE_LIMIT = 200
_ABSENT = "credentials not found in native keychain"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Keychain:
    """One helper. `host`: what it knows the registry as. `source`: the member and file that name it, for errors.
    MINIRT_KEYCHAIN_DIR and MINIRT_KEYCHAIN_TIMEOUT_S replace the directories and the time."""

    __slots__ = ("name", "host", "source", "_environ")

    def __init__(self, name: str, host: str, source: str, environ: Mapping[str, str]) -> None:
        if not name or not _NAME.issuperset(name):
            raise InvalidValue(f"{source} names no credential helper: {name[:80]!a}", "write the NAME alone")
        self.name = f"docker-credential-{name}"
        self.host = host
        self.source = source
        self._environ = environ

    def get(self) -> Credentials | None:
        """None where it knows nothing about the host."""
        status, output = self._run("get", self.host.encode())
        if status:
            if _text(output, "").startswith(_ABSENT):
                return None
            raise self._failed("get", status, output)
        try:
            answer = json.loads(output)
        except InvalidValue:
            answer = None
        user = answer.get("Username") if isinstance(answer, dict) else None
        secret = answer.get("Secret") if isinstance(answer, dict) else None
        if not isinstance(user, str) or not isinstance(secret, str):
            raise HostError(f'credential helper "{self.name}" does not answer with a user and a secret', self._check())
        if not user and not secret:
            return None
        return Credentials("", "", secret) if user == TOKEN_USER else Credentials(user, secret)

    def store(self, known: Credentials) -> None:
        secret = known.identity_token or known.password
        user = TOKEN_USER if known.identity_token else known.user
        document = json.dumps({"ServerURL": self.host, "Username": user, "Secret": secret})
        status, output = self._run("store", document.encode())
        if status:
            raise self._failed("store", status, output, secret)

    def erase(self) -> None:
        status, output = self._run("erase", self.host.encode())
        if status and not _text(output, "").startswith(_ABSENT):
            raise self._failed("erase", status, output)

    def _program(self) -> str:
        chosen = self._environ.get("MINIRT_KEYCHAIN_DIR")
        for folder in [chosen] if chosen else FOLDERS:
            path = f"{folder}/{self.name}"
            try:
                status = os.stat(path)
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o111:
                continue
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
                raise HostError(
                    f'credential helper "{path}" can be changed by others: it is not started',
                    f"chown root {path}; chmod 755 {path}",
                )
            return path
        raise HostError(
            f'credential helper "{self.name}" is not installed, but {self.source} names it',
            f"install it in /usr/local/bin, or remove it from {self.source}",
        )

    def _run(self, verb: str, request: bytes) -> tuple[int, bytes]:
        """(exit status, standard output). Its own complaints (standard error) reach the terminal."""
        import subprocess

        path = self._program()
        seconds = self._environ.get("MINIRT_KEYCHAIN_TIMEOUT_S", "")
        timeout_s = float(seconds) if seconds.isdigit() else TIMEOUT_S
        try:
            process = subprocess.Popen(
                [path, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(self._environ), close_fds=True
            )
        except OSError as error:
            raise HostError(
                f'cannot start credential helper "{path}": {os.strerror(error.errno or 0)}', self._check()
            ) from None
        try:
            return self._exchange(process, verb, request, timeout_s)
        finally:
            process.kill()
            process.wait()
            assert process.stdin and process.stdout
            for stream in (process.stdin, process.stdout):
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def _exchange(
        self, process: subprocess.Popen[bytes], verb: str, request: bytes, timeout_s: float
    ) -> tuple[int, bytes]:
        import select
        import time

        assert process.stdin and process.stdout
        until = time.monotonic() + timeout_s
        source, sink = process.stdout.fileno(), process.stdin.fileno()
        os.set_blocking(sink, False)
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(sink, select.POLLOUT)
        output = bytearray()
        while True:
            ready = poll.poll(max(until - time.monotonic(), 0) * 1000)
            if not ready:
                raise HostError(
                    f'credential helper "{self.name}" does not answer "{verb}" within {timeout_s:.0f} s', self._check()
                )
            for fd, _ in ready:
                if fd == sink:
                    request = _feed(sink, request)
                    if not request:
                        poll.unregister(sink)
                        process.stdin.close()
                elif part := os.read(source, OUTPUT_LIMIT):
                    output += part
                    if len(output) > OUTPUT_LIMIT:
                        raise HostError(f'credential helper "{self.name}" writes without end', self._check())
                else:
                    return self._ended(process, verb, until), bytes(output)

    def _ended(self, process: subprocess.Popen[bytes], verb: str, until: float) -> int:
        import subprocess
        import time

        try:
            return process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            raise HostError(f'credential helper "{self.name}" does not end after "{verb}"', self._check()) from None

    def _failed(self, verb: str, status: int, output: bytes, secret: str = "") -> HostError:
        said = _text(output, secret) or (f"exit status {status}" if status > 0 else f"killed by signal {-status}")
        return HostError(f'credential helper "{self.name}" failed to {verb}: {said}', self._check())

    def _check(self) -> str:
        return f"it is named by {self.source}; try it: echo HOST | {self.name} get"


def named_by(file: AuthFile, host: str, environ: Mapping[str, str]) -> Keychain | None:
    """The helper that an auth file names for a host."""
    name, known_as, member = file.helper(host)
    return Keychain(name, known_as, f'{member} of "{file.path}"', environ) if name else None


def _feed(sink: int, request: bytes) -> bytes:
    """What is left to write; nothing where nobody reads."""
    try:
        return request[os.write(sink, request) :]
    except BlockingIOError:
        return request
    except BrokenPipeError:
        return b""


def _text(output: bytes, secret: str) -> str:
    """A helper's message, its first line, printable, short and without the secret."""
    text = output[: 4 * MESSAGE_LIMIT].decode("utf-8", "replace").strip().partition("\n")[0]
    if secret:
        text = text.replace(secret, "***").replace(json.dumps(secret)[1:-1], "***")
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:MESSAGE_LIMIT]
