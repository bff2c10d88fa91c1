# SPDX-License-Identifier: Apache-2.0
"""`minirt login`: show a registry a user name and a password, and keep them where it takes them (docker-login(1))."""

from __future__ import annotations

import os

from minirt.cli import output
from minirt.cli.parse import STRING, Command, Option, Parsed
from minirt.cli.session import Session
from minirt.engine.login import Login
from minirt.errors import InvalidValue, MinirtError, RegistryError
from minirt.image.registry.authfile import Credentials

COMMAND = Command(
    "login",
    "[OPTIONS] [SERVER]",
    "Authenticate to a registry",
    (
        Option("authfile", "", STRING, "Keep the credentials in this file"),
        Option("password", "p", STRING, "Password or Personal Access Token (PAT)"),
        Option("password-stdin", help="Take the Password or Personal Access Token (PAT) from stdin"),
        Option("username", "u", STRING, "Username"),
    ),
    maximum=1,
    notes="Defaults to Docker Hub if no server is specified.",
)
LIMIT = 1 << 16
UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{path}'.
Configure a credential helper to remove this warning.

"""


def run(session: Session, parsed: Parsed) -> int:
    del session
    user, password = parsed.text("username"), parsed.text("password")
    _check(parsed)
    login = Login(parsed.arguments[0] if parsed.arguments else "", parsed.text("authfile"), _warn)
    if parsed.flag("password-stdin"):
        password = _line(_stdin(), "password")
        if not password:
            raise InvalidValue("password is empty", "write the password to standard input")
    elif "password" in parsed.given:
        _warn("Using --password via the CLI is insecure. Use --password-stdin.")
    if not user and not password and _again(login):
        return 0
    if not user or not password:
        user, password = _prompt(login, user, password)
    known = Credentials(user, password)
    if not login.check(known):
        _warn(f"{login.shown} lets everybody in here: whether the password is right is not known")
    _saved(login, login.save(known))
    return 0


def _check(parsed: Parsed) -> None:
    if parsed.flag("password-stdin"):
        if "password" in parsed.given:
            raise InvalidValue(
                "conflicting options: cannot specify both --password and --password-stdin", "leave out --password"
            )
        if not parsed.text("username"):
            raise InvalidValue("the --password-stdin option requires --username to be set", "add --username USER")
    if "password" in parsed.given and not parsed.text("password"):
        raise InvalidValue("password is empty", "leave out --password, and type it when it is asked for")


def _again(login: Login) -> bool:
    """Docker's first try, where an earlier login has left something."""
    known = login.known()
    if known is None:
        return False
    output.line("Authenticating with existing credentials...")
    try:
        login.check(known)
    except RegistryError as error:
        output.complain(f"login did not succeed: {error.message}", error.remedy)
        return False
    output.line("Login Succeeded")
    return True


def _saved(login: Login, helper: str) -> None:
    if not helper:
        output.hint(UNENCRYPTED.format(path=output.safe(login.target)))
    if other := login.elsewhere():
        _warn(
            f'"{other}" has credentials for {login.shown} as well and is read first: minirt logout --authfile {other}'
        )
    output.line("Login Succeeded")


def _prompt(login: Login, user: str, password: str) -> tuple[str, str]:
    if not os.isatty(0):
        error = MinirtError(
            "cannot perform an interactive login from a non TTY device", "use --username and --password-stdin"
        )
        error.exit_code = 1
        raise error
    if not user:
        if login.host == "docker.io":
            output.line("Log in with your Docker ID or email address to push and pull images from Docker Hub.")
        output.raw(b"Username: ")
        user = _line(_typed(), "user name")
        if not user:
            raise InvalidValue("user name is empty", "give one: --username USER")
    if not password:
        output.raw(b"Password: ")
        password = _line(_hidden(), "password")
        if not password:
            raise InvalidValue("password is empty", "type it when it is asked for")
    return user, password


def _hidden() -> bytes:
    """A line of the terminal that is not echoed; the terminal is put back on every way out."""
    import termios

    before = termios.tcgetattr(0)
    silent = [*before]
    silent[3] = silent[3] & ~termios.ECHO | termios.ECHONL | termios.ICANON
    try:
        termios.tcsetattr(0, termios.TCSAFLUSH, silent)
        return _typed()
    finally:
        termios.tcsetattr(0, termios.TCSANOW, before)


def _typed() -> bytes:
    """One line of the terminal (canonical mode: read(2) ends at its end)."""
    line = b""
    while not line.endswith(b"\n") and len(line) < LIMIT and (part := os.read(0, LIMIT)):
        line += part
    return line


def _stdin() -> bytes:
    whole = b""
    while part := os.read(0, LIMIT):
        whole += part
        if len(whole) > LIMIT:
            raise InvalidValue(f"standard input is longer than {LIMIT} bytes: no password", "write the password only")
    return whole


def _line(data: bytes, what: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidValue(f"the {what} is not UTF-8", "write it in UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if "\n" in text or "\0" in text:
        raise InvalidValue(f"the {what} is more than one line", f"write the {what} only")
    return text


def _warn(text: str) -> None:
    output.hint(f"WARNING! {output.safe(text)}\n")
