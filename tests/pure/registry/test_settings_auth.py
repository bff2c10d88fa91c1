# SPDX-License-Identifier: Apache-2.0
"""Auth files: which of them, which entry, what is unsafe, and what a malformed one says without showing a secret."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from minirt.errors import HostError, InvalidValue
from minirt.image.registry.settings import Credentials, Settings

HUB = "https://index.docker.io/v1/"


def auth(user: str, password: str = "pw", **more: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode(), **more}


def write(path: Path, auths: dict[str, Any] | None = None, mode: int = 0o600, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**({} if auths is None else {"auths": auths}), **more}))
    path.chmod(mode)
    return path


def settings(folder: Path, **environ: str) -> Settings:
    conf = folder / "registries.conf"
    conf.touch()
    return Settings({"HOME": str(folder), "CONTAINERS_REGISTRIES_CONF": str(conf), **environ})


def user(found: Settings, host: str, path: str = "") -> str | None:
    known = found.credentials(host, path)
    return (known.identity_token or known.user) if known else None


def test_order_of_the_files(tmp_path: Path) -> None:
    """REGISTRY_AUTH_FILE alone; else the run directory's, containers' own, Docker's: the first that knows the host."""
    run, docker = tmp_path / "run", tmp_path / "docker"
    chosen = write(tmp_path / "chosen.json", {"h": auth("chosen")})
    write(run / "containers/auth.json", {"h": auth("run")})
    write(tmp_path / ".config/containers/auth.json", {"h": auth("own"), "i": auth("own")})
    write(tmp_path / ".docker/config.json", {"h": auth("docker"), "j": auth("docker")})
    write(docker / "config.json", {"j": auth("moved")})
    with_run = {"XDG_RUNTIME_DIR": str(run)}
    assert user(settings(tmp_path, **with_run), "h") == "run"
    assert user(settings(tmp_path), "h") == "own"
    assert user(settings(tmp_path, **with_run), "i") == "own"
    assert user(settings(tmp_path), "j") == "docker"
    assert user(settings(tmp_path, DOCKER_CONFIG=str(docker)), "j") == "moved"
    assert user(settings(tmp_path, REGISTRY_AUTH_FILE=str(chosen), **with_run), "h") == "chosen"
    assert user(settings(tmp_path, REGISTRY_AUTH_FILE=str(chosen)), "i") is None
    assert user(settings(tmp_path, REGISTRY_AUTH_FILE=str(tmp_path / "absent")), "h") is None
    assert user(settings(tmp_path), "k") is None


def test_longest_key_counts(tmp_path: Path) -> None:
    """containers-auth.json(5): HOST/NAMESPACE/REPOSITORY, then what is above it, never a sibling."""
    auths = {
        "h:5000": auth("host"),
        "h:5000/a": auth("namespace"),
        "h:5000/a/b": auth("repository"),
        "h": auth("other"),
    }
    write(tmp_path / ".docker/config.json", auths)
    found = settings(tmp_path)
    assert user(found, "h:5000", "a/b") == "repository"
    assert user(found, "h:5000", "a/bc") == "namespace"
    assert user(found, "h:5000", "ab") == "host"
    assert user(found, "h:5000") == "host"
    assert user(found, "h", "a/b") == "other"
    assert user(found, "h:5001", "a/b") is None


@pytest.mark.parametrize(
    "key", [HUB, "docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io"]
)
@pytest.mark.parametrize("host", ["docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(tmp_path: Path, key: str, host: str) -> None:
    write(tmp_path / ".docker/config.json", {key: auth("ann"), "docker.io.evil.com": auth("eve")})
    assert user(settings(tmp_path), host, "library/nginx") == "ann"


@pytest.mark.parametrize(("key", "fits"), [
    ("https://h/v1/", True), ("http://h", True), ("h/v2/", True), ("https://h.evil/", False),
    ("https://evil/h/", False),
    ("H", False),
])  # fmt: skip
def test_addresses_as_keys(tmp_path: Path, key: str, fits: bool) -> None:
    write(tmp_path / ".docker/config.json", {key: auth("ann")})
    assert user(settings(tmp_path), "h") == ("ann" if fits else None)


def test_kinds_of_entries(tmp_path: Path) -> None:
    auths = {
        "colon": auth("ann", "a:b:c"),
        "token": {"identitytoken": "tok"},
        "both": auth("00000000", "", identitytoken="tok"),
        "plain": {"username": "ann", "password": "pw"},
        "empty": {},
        "blank": {"auth": ""},
        "unicode": auth("änn", "pässword"),
        "nul": {"auth": base64.b64encode(b"ann:pw\0\0").decode()},
        "extra": auth("ann", email="a@b.c"),
    }
    write(tmp_path / ".docker/config.json", auths, HttpHeaders={"a": 1}, proxies=None)
    found = settings(tmp_path)

    def known(host: str) -> tuple[str, str, str] | None:
        one = found.credentials(host)
        return (one.user, one.password, one.identity_token) if one else None

    assert known("colon") == ("ann", "a:b:c", "")
    assert known("token") == ("", "", "tok")
    assert known("both") == ("00000000", "", "tok")
    assert known("plain") == ("ann", "pw", "")
    assert known("empty") is None
    assert known("blank") is None
    assert known("unicode") == ("änn", "pässword", "")
    assert known("nul") == ("ann", "pw", "")
    assert known("extra") == ("ann", "pw", "")


BAD = {
    '{"auths": ': "",
    "[]": "it is not a JSON object",
    '{"auths": []}': "auths is not an object",
    '{"auths": {"h": "s3cret"}}': "'h' is not an object",
    '{"auths": {"h": {"auth": 1}}}': "'h' holds something else than strings",
    '{"auths": {"h": {"auth": "s3cret!"}}}': "is not base64 of USER:PASSWORD",
    '{"auths": {"h": {"auth": "czNjcmV0"}}}': "is not base64 of USER:PASSWORD",
    '{"auths": {"h": {"auth": "/////w=="}}}': "is not base64 of USER:PASSWORD",
    '{"credHelpers": 1}': "credHelpers is not an object",
    '{"credHelpers": {"h": 1}}': "credHelpers: 'h' is not a string",
    '{"credsStore": ["x"]}': "credsStore is not a string",
    '{"a": NaN}': "",
    '{"a": "\\ud800"}': "",
    "[" * 100000: "",
}


@pytest.mark.parametrize(("text", "fault"), BAD.items(), ids=range(len(BAD)))
def test_malformed_file_is_named_and_shows_nothing(tmp_path: Path, text: str, fault: str) -> None:
    """REG-17."""
    path = write(tmp_path / ".docker/config.json")
    path.write_text(text)
    with pytest.raises(InvalidValue) as caught:
        settings(tmp_path).credentials("h")
    assert caught.value.message.startswith(f'malformed auth file "{path}": ')
    assert fault in caught.value.message
    assert "s3cret" not in caught.value.message and "czNj" not in caught.value.message
    assert caught.value.remedy


def test_file_that_others_can_read_is_told_once(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o602, 0o644):
        path = write(tmp_path / ".docker/config.json", {"h": auth("ann")}, mode)
        told: list[str] = []
        conf = tmp_path / "registries.conf"
        conf.touch()
        found = Settings({"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(conf)}, warn=told.append)
        assert user(found, "h") == "ann" and user(found, "i") is None
        assert told == [f'auth file "{path}" can be read or written by others: chmod 600 {path}']
    path.chmod(0o600)
    told.clear()
    assert user(Settings({"HOME": str(tmp_path)}, warn=told.append), "h") == "ann"
    assert told == []


def test_no_regular_file(tmp_path: Path) -> None:
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(InvalidValue, match=f'auth file "{path}" is not a regular file'):
        settings(tmp_path).credentials("h")
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(HostError, match=f'cannot read auth file "{path}": Too many levels of symbolic links'):
        settings(tmp_path).credentials("h")
    path.unlink()
    path.write_text("  \n")
    assert settings(tmp_path).credentials("h") is None


def test_credentials_show_nothing_of_themselves() -> None:
    """REG-17: in a traceback or an error."""
    shown = repr(Credentials("ann", "s3cret", "tok3n")) + str(Credentials("ann", "s3cret", "tok3n"))
    assert "s3cret" not in shown and "tok3n" not in shown


def test_offered_credentials_count_alone(tmp_path: Path) -> None:
    """What login tries is not mixed with what an earlier one left."""
    write(tmp_path / ".docker/config.json", {"h": auth("old"), "i": auth("other")})
    found = settings(tmp_path)
    found.offer("h", Credentials("new", "pw"))
    assert user(found, "h", "a/b") == "new"
    assert user(found, "i") == "other"
