# SPDX-License-Identifier: Apache-2.0
"""login as a person meets it: Docker's words, servers that are none, prompts on a terminal (REG-07, REG-16, REG-17)."""

from __future__ import annotations

import json
import os
import select
import signal
import termios
import time
from collections.abc import Callable

import pytest

from distribution import Reply
from hostile_registry import Hostile
from logins import AUTH, USERS, config, kept, login, refused
from registries import Registry
from runner import Minirt

pytestmark = pytest.mark.kernel
Make = Callable[..., Registry]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-p", "x", "--password-stdin"), "conflicting options: cannot specify both --password and --password-stdin"),
        (("--password-stdin",), "the --password-stdin option requires --username to be set"),
        (("-u", "ann", "-p", ""), "password is empty"),
        (("-u", "ann", "--password-stdin"), "password is empty"),
        ((), "cannot perform an interactive login from a non TTY device"),
        (("-u", "ann"), "cannot perform an interactive login from a non TTY device"),
    ],
)
def test_words_of_a_refusal(person: Minirt, words: tuple[str, ...], says: str) -> None:
    """Docker's; nothing is asked of any server, for none is there."""
    person.fails("login", *words, "127.0.0.1:1", input="", code=1, says=says)


@pytest.mark.parametrize("server", ["ann:s3cret@h", "h:port", "h h", "[::1", "http://"])
def test_malformed_server(person: Minirt, server: str) -> None:
    message = person.fails("login", "-u", "ann", "-p", "x", "--", server, code=1, says="invalid registry: ")
    assert "s3cret" not in message


def test_server_as_an_address(person: Minirt, make_registry: Make) -> None:
    registry = make_registry(htpasswd=USERS)
    login(person, f"http://{registry.host}/v1/")
    assert set(kept(person)["auths"]) == {registry.host}


def test_password_on_the_command_line_is_warned_of(person: Minirt, make_registry: Make) -> None:
    registry = make_registry(htpasswd=USERS)
    done = person("login", "-u", "ann", "-p", "s3cret-word", registry.host)
    assert done.out == "Login Succeeded"
    assert done.stderr.startswith("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    assert f"WARNING! Your credentials are stored unencrypted in '{config(person)}'." in done.stderr
    assert "s3cret" not in done.stderr


def test_nobody_there_and_no_registry(person: Minirt) -> None:
    refused(person, "127.0.0.1:1", "login to 127.0.0.1:1 failed: cannot connect to '127.0.0.1:1': Connection refused")
    with Hostile() as server:
        server.on("GET /v2/", lambda _: Reply(404, b"nothing"))
        refused(person, server.host, f"login to {server.host} failed: what answers there is no registry")


def test_reg_16_registry_that_asks_nobody(person: Minirt, registry: Registry) -> None:
    """REG-16: /v2/ answers 200, so that the password is unchecked: it is kept, and said."""
    done = person("login", "-u", "ann", "--password-stdin", registry.host, input="s3cret-word")
    assert done.code == 0, repr(done)
    assert "lets everybody in here: whether the password is right is not known" in done.stderr
    assert kept(person)["auths"] == {registry.host: {"auth": AUTH}}


def test_reg_07_password_is_not_shown_to_a_foreign_token_server(person: Minirt) -> None:
    """REG-07: a realm on another host gives a token to anybody: no login is made of that."""
    with Hostile(users=USERS, bearer=True) as server, Hostile() as foreign:
        foreign.on("(GET|POST) /token", lambda _: Reply(200, b'{"token": "anybody"}'))
        server.realm = f"http://localhost:{foreign.port}/token"
        server.on("GET /v2/", lambda it: Reply(200, b"{}") if it.seen.headers.get("authorization") else it.honest())
        refused(person, server.host, "its token server is another host")
        assert foreign.asked("GET /token")
        assert not [one for one in foreign.seen if "authorization" in one.headers or "s3cret" in str(one)]


# --- on a terminal ---------------------------------------------------------------------------------------------------


class Terminal:
    """minirt on a terminal: what it showed, and what is typed."""

    def __init__(self, person: Minirt, *argv: str) -> None:
        self.child, self.fd = person.terminal(*argv)
        self.shown = ""

    def until(self, words: str) -> None:
        deadline = time.monotonic() + 20
        while words not in self.shown:
            assert time.monotonic() < deadline, f"{words!r} is not in {self.shown!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.fd, 4096).decode()
                except OSError:
                    break
        assert words in self.shown, self.shown

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def silent(self) -> bool:
        return not termios.tcgetattr(self.fd)[3] & termios.ECHO

    def end(self) -> int:
        code = self.child.wait(20)
        os.close(self.fd)
        return code


def test_prompts_show_no_password(person: Minirt, make_registry: Make) -> None:
    """REG-17: what is typed at "Password: " is not echoed, and the terminal is as before afterwards."""
    registry = make_registry(htpasswd=USERS)
    terminal = Terminal(person, "login", registry.host)
    terminal.until("Username: ")
    terminal.type("ann\n")
    terminal.until("Password: ")
    while not terminal.silent():
        time.sleep(0.01)
    terminal.type("s3cret-word\n")
    terminal.until("Login Succeeded")
    assert "s3cret" not in terminal.shown
    assert not terminal.silent()
    assert terminal.end() == 0
    assert kept(person)["auths"] == {registry.host: {"auth": AUTH}}


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_interrupted_prompt_puts_the_terminal_back(person: Minirt, signo: signal.Signals) -> None:
    terminal = Terminal(person, "login", "-u", "ann", "127.0.0.1:1")
    terminal.until("Password: ")
    while not terminal.silent():
        time.sleep(0.01)
    terminal.child.send_signal(signo)
    assert terminal.child.wait(20) == 128 + signo
    assert not terminal.silent()
    assert not config(person).exists()
    os.close(terminal.fd)


def test_old_credentials_that_are_refused_are_asked_for_again(person: Minirt, make_registry: Make) -> None:
    registry = make_registry(htpasswd=USERS)
    config(person).parent.mkdir()
    config(person).write_text(json.dumps({"auths": {registry.host: {"auth": "YW5uOm9sZA=="}}}))
    config(person).chmod(0o600)
    terminal = Terminal(person, "login", registry.host)
    terminal.until("login did not succeed")
    terminal.until("Username: ")
    terminal.type("ann\n")
    terminal.until("Password: ")
    while not terminal.silent():
        time.sleep(0.01)
    terminal.type("s3cret-word\n")
    terminal.until("Login Succeeded")
    assert terminal.end() == 0
    assert kept(person)["auths"] == {registry.host: {"auth": AUTH}}
