# SPDX-License-Identifier: Apache-2.0
"""login and logout against real registries: what is shown to them, kept, and never shown (REG-10, REG-16, REG-17)."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
from collections.abc import Callable

import pytest

from forge import entry
from logins import AUTH, USERS, config, home, kept, login, refused, trust
from registries import Registry
from runner import Minirt
from sample_images import image, layer

pytestmark = pytest.mark.kernel

STORE = """#!/bin/sh
tr '\\0' ' ' < /proc/$$/cmdline >> "$KEPT/calls"; echo >> "$KEPT/calls"
case $1 in
get) cat > /dev/null; [ -e "$KEPT/secret" ] || { echo credentials not found in native keychain; exit 1; }
     cat "$KEPT/secret" ;;
store) cat > "$KEPT/secret" ;;
erase) cat > /dev/null; rm -f "$KEPT/secret" ;;
esac
"""
Make = Callable[..., Registry]


@pytest.mark.parametrize("kind", ["htpasswd", "token"])
@pytest.mark.parametrize("tls", ["", "ca"])
def test_login_pull_logout(person: Minirt, make_registry: Make, kind: str, tls: str) -> None:
    """REG-17: a wrong password is told and not kept; the right one is kept for oneself alone, and gone after logout."""
    registry = make_registry(tls=tls, **{kind: USERS})
    registry.put(image(layer(entry("f", data=b"x"))), "mine:1")
    if registry.tokens:
        registry.tokens.anonymous = False
    if tls:
        trust(person, registry)  # and by that the token server, which has another port
    name = f"{registry.host}/mine:1"
    refused(person, registry.host, "login to", word="wrong-w0rd")
    refused(person, registry.host, "login to", word="wrong-w0rd", debug=True)
    person.fails("pull", name, code=1, says="minirt login")
    assert login(person, registry.host) == "Login Succeeded"
    assert kept(person) == {"auths": {registry.host: {"auth": AUTH}}}
    assert [stat.S_IMODE(path.stat().st_mode) for path in (config(person), config(person).parent)] == [0o600, 0o700]
    person.ok("pull", "-q", name)
    assert person.ok("login", registry.host) == "Authenticating with existing credentials...\nLogin Succeeded"
    assert person.ok("logout", registry.host) == f"Removing login credentials for {registry.host}"
    assert kept(person) == {}
    assert person.ok("logout", registry.host) == f"Not logged in to {registry.host}"
    person.fails("pull", name, code=1, says="minirt login")


@pytest.mark.parametrize("tls", ["self-signed", "expired", "wrong-name", "ca"])
def test_reg_10_bad_certificate_hears_no_password(person: Minirt, make_registry: Make, tls: str) -> None:
    """REG-10: refused before anything is said; the same registry, trusted, is the control where it can be."""
    registry = make_registry(tls=tls, htpasswd=USERS)
    if tls not in ("ca", "self-signed"):
        trust(person, registry)
    message = refused(person, registry.host, f"the certificate of '{registry.host}' is refused")
    assert "certs.d" in message
    assert registry.log == []
    if tls == "ca":
        trust(person, registry)
        login(person, registry.host)
        assert [request for request in registry.log if request.status == 200]


def test_insecure_registry_by_registries_conf(person: Minirt, make_registry: Make) -> None:
    """What registries.conf declares insecure is not checked: the person has said so."""
    registry = make_registry(tls="expired", htpasswd=USERS)
    conf = home(person) / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    login(person, registry.host)


def test_client_certificate(person: Minirt, make_registry: Make) -> None:
    """certs.d/HOST/NAME.cert and NAME.key; without them the registry refuses the handshake."""
    registry = make_registry(tls="ca", clients=True, htpasswd=USERS)
    trust(person, registry)
    refused(person, registry.host, "login to")
    assert registry.client
    folder = home(person) / "certs.d" / registry.host
    (folder / "me.cert").write_bytes(registry.client[0].read_bytes())
    refused(person, registry.host, f'client certificate "{folder}/me.cert" has no key "me.key" beside it')
    (folder / "me.key").write_bytes(registry.client[1].read_bytes())
    login(person, registry.host)


def test_blocked_mirror_and_warning_of_an_open_file(person: Minirt, make_registry: Make) -> None:
    """A blocked registry is not asked; an auth file that others can read is told where it is used."""
    registry = make_registry(htpasswd=USERS)
    config(person).parent.mkdir()
    config(person).write_text(json.dumps({"auths": {registry.host: {"auth": AUTH}}}))
    config(person).chmod(0o644)
    done = person("login", registry.host)
    assert f'WARNING! auth file "{config(person)}" can be read or written by others: chmod 600' in done.stderr
    assert done.code == 0, repr(done)
    registry.put(image(layer(entry("f", data=b"x"))), "mine:1")
    for words in (["-q"], []):
        done = person("pull", *words, f"{registry.host}/mine:1")
        assert done.code == 0, repr(done)
        assert done.stderr == (
            f'WARNING! auth file "{config(person)}" can be read or written by others: chmod 600 {config(person)}\n'
        )
    conf = home(person) / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{registry.host}"\nblocked = true\n')
    registry.forget()
    person.fails("pull", f"{registry.host}/mine:1", code=1, says=f'is blocked by "{conf}"')
    person.fails("login", registry.host, code=1, says=f'is blocked by "{conf}"')
    assert registry.log == []
    person.ok("logout", registry.host)


def test_credential_store_keeps_it_and_no_argument_does(person: Minirt, make_registry: Make) -> None:
    """REG-17: the helper gets the password on its standard input; the file holds an empty entry, as Docker's does."""
    registry = make_registry(htpasswd=USERS)
    folder = home(person) / "programs"
    folder.mkdir()
    (folder / "docker-credential-files").write_text(STORE)
    (folder / "docker-credential-files").chmod(0o755)
    person.environment |= {"MINIRT_KEYCHAIN_DIR": str(folder), "KEPT": str(home(person))}
    config(person).parent.mkdir()
    config(person).write_text('{"credsStore": "files", "psFormat": "table"}')
    assert "stored unencrypted" not in person("login", "-u", "ann", "-p", "s3cret-word", registry.host).stderr
    assert kept(person) == {"credsStore": "files", "psFormat": "table", "auths": {registry.host: {}}}
    assert json.loads((home(person) / "secret").read_text()) == {
        "ServerURL": registry.host, "Username": "ann", "Secret": "s3cret-word",
    }  # fmt: skip
    assert "Login Succeeded" in person.ok("login", registry.host)
    person.ok("logout", registry.host)
    assert not (home(person) / "secret").exists()
    assert "s3cret" not in (home(person) / "calls").read_text()
    (folder / "docker-credential-files").unlink()
    message = person.fails("login", registry.host, code=1, says='"docker-credential-files" is not installed')
    assert str(config(person)) in message


def test_other_programs_read_it_and_are_read(person: Minirt, make_registry: Make) -> None:
    """skopeo uses what login wrote; pull uses what skopeo's and podman's login wrote."""
    registry = make_registry(htpasswd=USERS)
    registry.put(image(layer(entry("f", data=b"x"))), "mine:1")
    login(person, registry.host)
    look = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/mine:1"]
    done = subprocess.run([*look, "--authfile", str(config(person))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    person.ok("logout", registry.host)
    theirs = home(person) / "auth.json"
    for program in ("skopeo", "podman"):
        words = [program, "login", "--tls-verify=false", "--authfile", str(theirs), "-u", "ann", "--password-stdin"]
        done = subprocess.run([*words, registry.host], input="s3cret-word", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        own = {"REGISTRY_AUTH_FILE": str(theirs)}
        person.ok("pull", "-q", f"{registry.host}/mine:1", environment=own)
        person.ok("logout", registry.host, environment=own)
        assert "s3cret" not in theirs.read_text() and AUTH not in theirs.read_text()


def test_authfile_of_ones_choice(person: Minirt, make_registry: Make) -> None:
    registry = make_registry(htpasswd=USERS)
    chosen = home(person) / "elsewhere/auth.json"
    person.ok("login", "--authfile", chosen, "-u", "ann", "--password-stdin", registry.host, input="s3cret-word")
    assert json.loads(chosen.read_text()) == {"auths": {registry.host: {"auth": AUTH}}}
    assert not config(person).exists()
    person.ok("logout", "--authfile", chosen, registry.host)
    own = home(person) / ".config/containers/auth.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"auths": {registry.host: {"auth": base64.b64encode(b"old:word").decode()}}}))
    own.chmod(0o600)
    done = person("login", "-u", "ann", "--password-stdin", registry.host, input="s3cret-word")
    assert f'"{own}" has credentials for {registry.host} as well and is read first' in done.stderr


def test_link_of_another_user_is_not_written_through(person: Minirt, make_registry: Make) -> None:
    """Whoever can put a link there does not choose which file root writes, nor which one he gets to read."""
    registry = make_registry(htpasswd=USERS)
    config(person).parent.mkdir()
    target = home(person) / "target.json"
    target.write_text('{"root": "only"}')
    config(person).symlink_to(target)
    os.lchown(config(person), 65534, 65534)
    message = person.fails(
        "login", "-u", "ann", "--password-stdin", registry.host, input="s3cret-word", code=1, says="symbolic link"
    )
    assert "s3cret" not in message
    assert target.read_text() == '{"root": "only"}'
    os.lchown(config(person), 0, 0)
    login(person, registry.host)
    assert set(json.loads(target.read_text())) == {"root", "auths"}


def test_file_stays_its_owners(person: Minirt, make_registry: Make) -> None:
    """Under sudo with the user's HOME."""
    registry = make_registry(htpasswd=USERS)
    config(person).parent.mkdir()
    config(person).write_text("{}")
    os.chown(config(person), 65534, 65534)
    login(person, registry.host)
    status = config(person).stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (65534, 65534, 0o600)
