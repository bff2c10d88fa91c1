# SPDX-License-Identifier: Apache-2.0
"""Logins that tests make, and what they keep; for tests/registry/test_login*.py."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from registries import Registry
from runner import Minirt

USERS = {"ann": "s3cret-word"}
AUTH = base64.b64encode(b"ann:s3cret-word").decode()


def home(person: Minirt) -> Path:
    return person.root.parent


def config(person: Minirt) -> Path:
    return home(person) / ".docker/config.json"


def kept(person: Minirt) -> Any:
    path = config(person)
    return json.loads(path.read_text()) if path.exists() else {}


def login(person: Minirt, host: str, word: str = "s3cret-word", **options: Any) -> str:
    return person.ok("login", "-u", "ann", "--password-stdin", host, input=word + "\n", **options)


def refused(person: Minirt, host: str, says: str, word: str = "s3cret-word", debug: bool = False) -> str:
    """A login that fails, shows no secret and keeps nothing; its message."""
    words = [*(["--debug"] if debug else []), "login", "-u", "ann", "--password-stdin", host]
    done = person(*words, input=word + "\n")
    assert done.code == 1, repr(done)
    assert says in done.stderr, repr(done)
    assert word not in done.stdout + done.stderr
    assert base64.b64encode(f"ann:{word}".encode()).decode() not in done.stderr
    assert debug or "Traceback" not in done.stderr
    assert not config(person).exists()
    return done.stderr


def trust(person: Minirt, registry: Registry) -> None:
    folder = home(person) / "certs.d" / registry.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(registry.ca.read_bytes())
