# SPDX-License-Identifier: Apache-2.0
"""Credential helpers: docker-credential-NAME asked, told and bounded; and credentials saved into files."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from minirt.errors import HostError, InvalidValue, StoreError
from minirt.image.registry import authfile, passwords
from minirt.image.registry.authfile import Credentials
from minirt.image.registry.settings import Settings

HUB = "https://index.docker.io/v1/"
STORE = """#!/bin/sh
# A credential store of files; arguments and input are written down.
cd "$KEPT" || exit 9
input=$(cat)
printf '%s|%s\\n' "$*" "$input" >> calls
key=$(printf %s "$input" | tr -c 'a-z0-9.' _)
case $1 in
get) [ -e "$key" ] || { echo credentials not found in native keychain; exit 1; }; cat "$key" ;;
store) key=$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/' | tr -c 'a-z0-9.' _)
       printf %s "$input" > "$key" ;;
erase) rm -f "$key" ;;
esac
"""


def install(folder: Path, text: str = STORE, name: str = "test", mode: int = 0o755) -> dict[str, str]:
    """A helper in a directory of its own; the environment that finds it."""
    programs, kept, conf = folder / "programs", folder / "kept", folder / "registries.conf"
    for path in (programs, kept):
        path.mkdir(exist_ok=True)
    conf.touch()
    program = programs / f"docker-credential-{name}"
    program.write_text(text)
    program.chmod(mode)
    return {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "KEPT": str(kept),
        "MINIRT_KEYCHAIN_DIR": str(programs),
        "CONTAINERS_REGISTRIES_CONF": str(conf),
    }


def config(folder: Path, **members: Any) -> Path:
    path = folder / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(members))
    path.chmod(0o600)
    return path


def known(environ: Mapping[str, str], host: str) -> tuple[str, str, str] | None:
    one = Settings(environ).credentials(host)
    return (one.user, one.password, one.identity_token) if one else None


def test_stored_found_and_erased(tmp_path: Path) -> None:
    environ = install(tmp_path)
    path = config(tmp_path, credsStore="test", proxies={"default": {}}, auths={"other": {"auth": "YTpi"}})
    assert known(environ, "h:5000") is None
    assert passwords.save(str(path), "h:5000", Credentials("ann", 's"3\\cret'), environ) == "docker-credential-test"
    assert known(environ, "h:5000") == ("ann", 's"3\\cret', "")
    assert json.loads(path.read_text()) == {
        "credsStore": "test",
        "proxies": {"default": {}},
        "auths": {"other": {"auth": "YTpi"}, "h:5000": {}},
    }
    assert passwords.forget(str(path), "h:5000", environ)
    assert known(environ, "h:5000") is None
    assert not passwords.forget(str(path), "h:5000", environ)
    calls = (tmp_path / "kept/calls").read_text()
    assert {line.partition("|")[0] for line in calls.splitlines()} == {"get", "store", "erase"}  # REG-17: no argument


def test_threads_ask_it_once(tmp_path: Path) -> None:
    """A helper may ask the person for a passphrase."""
    environ = install(tmp_path)
    config(tmp_path, credsStore="test")
    found = Settings(environ)
    threads = [threading.Thread(target=found.credentials, args=("h",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "kept/calls").read_text().splitlines() == ["get|h"]


def test_docker_hub_is_called_by_its_old_name(tmp_path: Path) -> None:
    environ = install(tmp_path)
    path = config(tmp_path, credsStore="test")
    passwords.save(str(path), "docker.io", Credentials("ann", "pw"), environ)
    assert known(environ, "registry-1.docker.io") == ("ann", "pw", "")
    assert json.loads(path.read_text())["auths"] == {HUB: {}}
    config(tmp_path, credHelpers={"docker.io": "test"})
    assert known(environ, "registry-1.docker.io") is None  # asked by the name that the file has
    assert (tmp_path / "kept/calls").read_text().splitlines()[-1] == "get|docker.io"


def test_identity_token(tmp_path: Path) -> None:
    environ = install(tmp_path)
    path = config(tmp_path, credHelpers={"h": "test"})
    passwords.save(str(path), "h", Credentials("", "", "tok"), environ)
    assert json.loads((tmp_path / "kept/h").read_text()) == {"ServerURL": "h", "Username": "<token>", "Secret": "tok"}
    assert known(environ, "h") == ("", "", "tok")


def test_helper_of_a_host_comes_before_the_store_and_both_before_the_file(tmp_path: Path) -> None:
    environ = install(tmp_path, '#!/bin/sh\necho \'{"Username": "store", "Secret": "x"}\'\n', "all")
    install(tmp_path, '#!/bin/sh\necho \'{"Username": "own", "Secret": "x"}\'\n', "own")
    install(tmp_path, "#!/bin/sh\necho credentials not found in native keychain; exit 1\n", "none")
    auths = {name: {"auth": base64.b64encode(b"file:x").decode()} for name in ("h", "i", "j")}
    config(tmp_path, credsStore="all", credHelpers={"i": "own", "j": "none"}, auths=auths)
    assert [one and one[0] for one in (known(environ, host) for host in "hij")] == ["store", "own", "file"]


def test_helpers_of_registries_conf_come_last(tmp_path: Path) -> None:
    environ = install(tmp_path, '#!/bin/sh\necho \'{"Username": "conf", "Secret": "x"}\'\n')
    (tmp_path / "registries.conf").write_text('credential-helpers = ["containers-auth.json", "test"]\n')
    config(tmp_path, auths={"h": {"auth": base64.b64encode(b"file:x").decode()}})
    assert [one and one[0] for one in (known(environ, host) for host in "hi")] == ["file", "conf"]


BAD = {
    "echo boom: no such luck; exit 1": "failed to get: boom: no such luck",
    "exit 3": "failed to get: exit status 3",
    "kill -9 $$": "failed to get: killed by signal 9",
    "printf 'a\\033[31mb\\nsecond'; exit 1": "failed to get: a?[31mb",
    "echo '{'": "does not answer with a user and a secret",
    "echo '[]'": "does not answer with a user and a secret",
    'echo \'{"Username": "ann"}\'': "does not answer with a user and a secret",
    'echo \'{"Username": 1, "Secret": "x"}\'': "does not answer with a user and a secret",
    "yes": "writes without end",
}


@pytest.mark.parametrize(("text", "fault"), BAD.items(), ids=range(len(BAD)))
def test_bad_answer_is_one_line_with_the_files_name(tmp_path: Path, text: str, fault: str) -> None:
    environ = install(tmp_path, f"#!/bin/sh\ncat >/dev/null\n{text}\n")
    path = config(tmp_path, credsStore="test")
    with pytest.raises(HostError) as caught:
        known(environ, "h")
    assert fault in caught.value.message and '"docker-credential-test"' in caught.value.message
    assert caught.value.message.isprintable()
    assert f'credsStore of "{path}"' in caught.value.remedy


@pytest.mark.parametrize("text", ["exec sleep 1000", "exec >&-; exec sleep 1000"])
def test_helper_that_hangs_is_ended(tmp_path: Path, text: str) -> None:
    environ = install(tmp_path, f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{text}\n")
    config(tmp_path, credsStore="test")
    with pytest.raises(HostError, match=r"does not (answer|end)"):
        known({**environ, "MINIRT_KEYCHAIN_TIMEOUT_S": "1"}, "h")
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


def test_helper_that_does_not_read_is_no_fault_of_ours(tmp_path: Path) -> None:
    environ = install(tmp_path, "#!/bin/sh\nexec <&-\nexit 0\n")
    path = config(tmp_path, credsStore="test")
    passwords.save(str(path), "h", Credentials("ann", "x" * 200000), environ)


def test_secret_is_cut_out_of_a_message(tmp_path: Path) -> None:
    """REG-17: a helper that repeats what it was given."""
    environ = install(tmp_path, "#!/bin/sh\necho cannot keep $(cat); exit 1\n")
    path = config(tmp_path, credsStore="test")
    with pytest.raises(HostError) as caught:
        passwords.save(str(path), "h", Credentials("ann", 's3"cret'), environ)
    assert "cannot keep" in caught.value.message
    assert "s3" not in caught.value.message
    assert json.loads(path.read_text()) == {"credsStore": "test"}


def test_helper_that_is_missing_or_unsafe(tmp_path: Path) -> None:
    environ = install(tmp_path, mode=0o775)
    path = config(tmp_path, credsStore="test")
    with pytest.raises(HostError, match="can be changed by others: it is not started"):
        known(environ, "h")
    (tmp_path / "programs/docker-credential-test").chmod(0o644)
    for name in ("test", "absent"):
        config(tmp_path, credHelpers={"h": name})
        with pytest.raises(
            HostError, match=f'"docker-credential-{name}" is not installed, but credHelpers of "{path}"'
        ):
            known({**environ, "PATH": str(tmp_path / "programs")}, "h")
        assert known(environ, "i") is None


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "a\n", "é", "-rf;x"])
def test_helper_with_a_strange_name(tmp_path: Path, name: str) -> None:
    environ = install(tmp_path)
    config(tmp_path, credsStore=name)
    with pytest.raises(InvalidValue, match="names no credential helper"):
        known(environ, "h")


# --- saving into the file -------------------------------------------------------------------------------------------


def test_other_members_stay_as_they_are(tmp_path: Path) -> None:
    document = {"psFormat": "x\u00e9", "auths": {"a": {"auth": "YTpi", "email": "e"}}, "n": [1, 2.5, None, {"z": True}]}
    path = config(tmp_path, **document)
    passwords.save(str(path), "h", Credentials("änn", "p:w"), {"HOME": str(tmp_path)})
    found = json.loads(path.read_text())
    assert base64.b64decode(found["auths"].pop("h")["auth"]).decode() == "änn:p:w"
    assert found == document
    assert list(found) == list(document)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert passwords.forget(str(path), "h", {"HOME": str(tmp_path)})
    assert json.loads(path.read_text()) == document


def test_first_login_makes_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "a/b/config.json"
    before = os.umask(0)
    try:
        passwords.save(str(path), "docker.io", Credentials("ann", "pw"), {})
    finally:
        os.umask(before)
    assert json.loads(path.read_text()) == {"auths": {HUB: {"auth": base64.b64encode(b"ann:pw").decode()}}}
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)] == [0o600, 0o700]


def test_every_spelling_of_the_host_is_replaced(tmp_path: Path) -> None:
    old = {"auth": "b2xkOm9sZA=="}
    path = config(tmp_path, auths={"https://h/v1/": old, "h": old, "h/a": old, "hh": old, "https://i": old})
    passwords.save(str(path), "h", Credentials("ann", "pw"), {})
    assert set(json.loads(path.read_text())["auths"]) == {"h", "h/a", "hh", "https://i"}
    assert passwords.forget(str(path), "h", {})
    assert set(json.loads(path.read_text())["auths"]) == {"h/a", "hh", "https://i"}


def test_open_file_becomes_private(tmp_path: Path) -> None:
    path = config(tmp_path, auths={})
    path.chmod(0o666)
    passwords.save(str(path), "h", Credentials("ann", "pw"), {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_own_link_is_followed_and_stays(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles/docker.json"
    real.parent.mkdir()
    real.write_text("{}")
    link = tmp_path / "config.json"
    link.symlink_to("dotfiles/docker.json")
    passwords.save(str(link), "h", Credentials("ann", "pw"), {})
    assert link.is_symlink()
    assert "h" in json.loads(real.read_text())["auths"]
    link.unlink()
    link.symlink_to("config.json")
    with pytest.raises(HostError, match="is a symbolic link without end"):
        passwords.save(str(link), "h", Credentials("ann", "pw"), {})


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "fchmod"])
def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = config(tmp_path, auths={"h": {"auth": "YTpi"}})
    before = path.read_text()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreError, match=f'cannot write auth file "{path}": No space left on device'):
            passwords.save(str(path), "h", Credentials("ann", "s3cret"), {})
    assert path.read_text() == before
    assert os.listdir(path.parent) == ["config.json"]


def test_malformed_file_is_not_overwritten(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text('{"auths": ')
    with pytest.raises(InvalidValue, match="malformed auth file"):
        passwords.save(str(path), "h", Credentials("ann", "pw"), {})
    assert path.read_text() == '{"auths": '


def test_two_logins_at_once_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    hosts = [f"h{number}" for number in range(24)]

    def work(some: list[str]) -> None:
        for host in some:
            passwords.save(str(path), host, Credentials("ann", host), {})

    threads = [threading.Thread(target=work, args=(hosts[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = authfile.read(str(path), lambda _: None)
    assert found and set(found.auths) == set(hosts)
    assert os.listdir(tmp_path) == ["config.json"]


def test_user_with_a_colon_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="colon"):
        passwords.save(str(tmp_path / "c.json"), "h", Credentials("a:b", "pw"), {})
    assert os.listdir(tmp_path) == []
