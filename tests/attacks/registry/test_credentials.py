# SPDX-License-Identifier: Apache-2.0
"""A registry that wants credentials which are not its own (REG-05 to REG-07, REG-16): each goes to the host that it
was given for, over TLS, and nowhere else. Every server here writes down all headers that it gets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from misbehaviour import redirect, status
from pulling import UNPRESSED, blob_of, configure, login, one, pulled, refused, seen_secrets
from store import Store

from distribution import Reply
from hostile_registry import Exchange, Hostile
from runner import Minirt

USERS = {"ann": "s3cret"}
BASIC = "Basic " + base64.b64encode(b"ann:s3cret").decode()
Make = Callable[..., Hostile]
Trust = Callable[[Hostile], None]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_reg_05_redirect_to_another_host(pulls: Minirt, make_hostile: Make, code: int, bearer: bool) -> None:
    """REG-05 (CVE-2020-15157): a blob is elsewhere, as S3 would have it: fetched, and neither credentials nor
    cookies go there. Another port is another host."""
    server, elsewhere = make_hostile(users=USERS, bearer=bearer), make_hostile()
    files = one(server)
    one(elsewhere)
    login(pulls, server.host)
    answer = redirect(code, elsewhere.url + "{path}")

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        if reply.status == 200:
            reply = answer(exchange) or reply
        reply.headers["Set-Cookie"] = "session=s3cret; Path=/"
        return reply

    server.on("(GET|HEAD) /v2/mine/blobs/", act)
    pulled(pulls, f"{server.host}/mine:1")
    assert elsewhere.asked(f"GET /v2/mine/blobs/{blob_of(files)}"), "the control: it was fetched there"
    assert seen_secrets(elsewhere) == []
    assert seen_secrets(server), "the control: credentials are shown where they belong"
    assert not [line for line in seen_secrets(server) if ": cookie:" in line]


def test_reg_05_redirect_of_a_manifest_and_of_a_token(pulls: Minirt, make_hostile: Make) -> None:
    """REG-05: the same for documents: wherever they are fetched from, the credentials stay."""
    server, elsewhere = make_hostile(users=USERS, bearer=True), make_hostile()
    one(server)
    one(elsewhere)
    login(pulls, server.host)
    pulled(pulls, f"{server.host}/mine:1")
    for path in ("(GET|HEAD) /v2/mine/manifests/", "(GET|POST) /token"):
        server.behave()
        server.on(path, redirect(307, elsewhere.url + "{path}"))
        result = pulls("pull", f"{server.host}/mine:1")
        assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
        assert seen_secrets(elsewhere) == [], path


def test_reg_05_redirects_are_counted(pulls: Minirt, hostile: Hostile) -> None:
    """REG-05: a chain of three is followed, one of eleven is not."""
    files = one(hostile)
    path = f"/v2/mine/blobs/{blob_of(files)}"
    for number in range(20):
        hostile.on(f"GET /hop/{number}/", redirect(307, f"/hop/{number + 1}" + path))
    hostile.on("GET /hop/20/", lambda exchange: exchange.server.honest(exchange.seen._replace(path=path)))
    hostile.on("GET " + path, redirect(307, "/hop/9" + path))
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="redirect")
    hostile.on("GET " + path, redirect(307, "/hop/18" + path))
    pulled(pulls, f"{hostile.host}/mine:1")


def test_reg_05_userinfo_and_secrets_in_a_redirect(pulls: Minirt, make_hostile: Make) -> None:
    """REG-05, REG-17: a Location with a password and a signature in it: not sent on as ours, not shown in errors."""
    server, elsewhere = make_hostile(), make_hostile()
    files = one(server)
    place = f"http://eve:pa55word@{elsewhere.host}/blob?X-Amz-Signature=s1gnature"
    server.on(f"GET /v2/mine/blobs/{blob_of(files)}", redirect(307, place))
    elsewhere.on("GET /blob", status(403, "no", "DENIED"))
    result = refused(pulls, "pull", f"{server.host}/mine:1", says=".")
    assert "pa55word" not in result.stderr and "s1gnature" not in result.stderr, repr(result)
    assert seen_secrets(elsewhere) == []


def test_reg_06_redirect_from_https_to_http(
    pulls: Minirt, store: Store, make_hostile: Make, certificate: tuple[Path, Path], trust: Trust, names: object
) -> None:
    """REG-06: TLS was asked for: a redirect to plain HTTP is refused, unless that host is declared insecure."""
    server = make_hostile(tls=certificate, users=USERS, name="registry.example")
    plain = make_hostile(name="other.example")
    files = one(server)
    one(plain)
    trust(server)
    login(pulls, server.host)
    server.on(f"GET /v2/mine/blobs/{blob_of(files)}", redirect(307, plain.url + "{path}"))
    refused(pulls, "pull", f"{server.host}/mine:1", says="http")
    assert plain.seen == []
    store.empty()
    server.behave()
    pulled(pulls, f"{server.host}/mine:1")


@pytest.mark.parametrize("host", ["registry.example", "other.example"])
def test_reg_06_realm_over_http(
    pulls: Minirt,
    store: Store,
    make_hostile: Make,
    certificate: tuple[Path, Path],
    trust: Trust,
    names: object,
    host: str,
) -> None:
    """REG-06: a registry over TLS whose tokens are made over plain HTTP: no credentials in clear."""
    tokens = make_hostile(users=USERS, bearer=True, name=host)
    server = make_hostile(
        tls=certificate, users=USERS, bearer=True, name="registry.example", realm=f"http://{host}:{tokens.port}/token"
    )
    one(server)
    trust(server)
    login(pulls, server.host)
    refused(pulls, "pull", f"{server.host}/mine:1", says=".")
    assert seen_secrets(tokens) == []
    store.empty()
    server.realm = ""
    pulled(pulls, f"{server.host}/mine:1")
    assert [one.authorization for one in server.asked("(GET|POST) /token")] == [BASIC], "the control"


def test_reg_07_realm_on_a_foreign_host(
    pulls: Minirt, store: Store, make_hostile: Make, certificate: tuple[Path, Path], trust: Trust, names: object
) -> None:
    """REG-07 (CVE-2024-3727's kin): the challenge names another host's token server, with a good certificate: our
    password for the registry does not go there."""
    tokens = make_hostile(tls=certificate, users=USERS, bearer=True, name="other.example")
    server = make_hostile(
        tls=certificate, users=USERS, bearer=True, name="registry.example", realm=f"{tokens.url}/token"
    )
    one(server)
    trust(server)
    trust(tokens)
    login(pulls, server.host)
    refused(pulls, "pull", f"{server.host}/mine:1", says=".")
    assert seen_secrets(tokens) == []
    store.empty()
    server.realm = ""
    pulled(pulls, f"{server.host}/mine:1")


@pytest.mark.parametrize("realm", ["", "/token", "not a url", "file:///etc/passwd", "http://[", "https://"])
def test_reg_07_realm_that_is_none(pulls: Minirt, store: Store, make_hostile: Make, realm: str) -> None:
    """REG-07: nonsense for a realm is refused with a reason."""
    server = make_hostile(users=USERS, bearer=True)
    one(server)
    login(pulls, server.host)
    challenge = f'Bearer realm="{realm}",service="x"'
    server.on("(GET|HEAD) /v2/", status(401, WWW_Authenticate=challenge))
    refused(pulls, "pull", f"{server.host}/mine:1", says=".")
    store.empty()
    server.behave()
    pulled(pulls, f"{server.host}/mine:1")


@pytest.mark.parametrize(
    "scope", ["repository:secret/other:pull,push,delete", "registry:catalog:*", "repository:mine:pull,push,delete"]
)
def test_reg_07_scope_of_something_else(pulls: Minirt, make_hostile: Make, scope: str) -> None:
    """REG-07: the challenge asks for a token to another repository, or for more than a pull: we never fetch one."""
    server = make_hostile(users=USERS, bearer=True)
    one(server)
    login(pulls, server.host)
    asks = f'Bearer realm="{server.url}/token",service="x",scope="{scope}"'

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        if reply.status == 401:
            reply.headers["WWW-Authenticate"] = asks
        return reply

    server.on("(GET|HEAD) /v2/", act)
    pulls("pull", f"{server.host}/mine:1")
    scopes = {word for one in server.asked("(GET|POST) /token") for word in one.query.get("scope", [])}
    assert scopes <= {"repository:mine:pull"}, "the token's scope is ours to choose"


def test_reg_07_a_token_is_for_one_repository(pulls: Minirt, make_hostile: Make) -> None:
    """REG-07: push of one repository's layer to another: no request bears a token whose scope does not name it."""
    server = make_hostile(users=USERS, bearer=True)
    one(server, UNPRESSED, name="first/x:1")
    login(pulls, server.host)
    pulled(pulls, f"{server.host}/first/x:1")
    pulls.ok("tag", f"{server.host}/first/x:1", f"{server.host}/second/y:1")
    pulls.ok("push", f"{server.host}/second/y:1")
    assert ("second/y", "1") in server.manifests, "the control: it is there"
    for one_seen in server.seen:
        repository = server.scope(one_seen.path)
        if repository and (one_seen.authorization or "").startswith("Bearer "):
            assert repository + ":" in str(one_seen.authorization), one_seen


def test_reg_07_a_mirror_gets_its_own_credentials_only(pulls: Minirt, make_hostile: Make) -> None:
    """REG-07: the registry's credentials are not the mirror's."""
    server, mirror = make_hostile(users=USERS), make_hostile(users={"bob": "other"})
    one(server)
    one(mirror)
    configure(pulls, f'[[registry]]\nlocation = "{server.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n')
    login(pulls, server.host)
    pulled(pulls, f"{server.host}/mine:1")
    assert mirror.seen, "the control: the mirror was asked first"
    assert seen_secrets(mirror) == []
    assert all(one.authorization in (None, BASIC) for one in server.seen)


@pytest.mark.parametrize("greeting", [200, 401, 404, 403])
@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_reg_16_the_greeting_says_nothing_about_the_repository(
    pulls: Minirt, make_hostile: Make, greeting: int, bearer: bool
) -> None:
    """REG-16: /v2/ answers 200 (or 401, 403, 404) and the repository has its own challenge: that one counts."""
    server = make_hostile(users=USERS, bearer=bearer)
    one(server)
    login(pulls, server.host)
    server.on("GET /v2/$", status(greeting))
    pulled(pulls, f"{server.host}/mine:1")


def test_reg_16_the_reverse(pulls: Minirt, make_hostile: Make) -> None:
    """REG-16: /v2/ wants credentials that we do not have, the repository is open to all."""
    server = make_hostile()
    one(server)
    server.on("GET /v2/$", status(401, WWW_Authenticate='Basic realm="x"'))
    pulled(pulls, f"{server.host}/mine:1")


def test_credentials_that_are_wrong_are_an_error(pulls: Minirt, store: Store, make_hostile: Make) -> None:
    """The control of all this: without, or with wrong ones, there is nothing to pull."""
    server = make_hostile(users=USERS)
    one(server)
    refused(pulls, "pull", f"{server.host}/mine:1", says="login|nauthorized|denied|401")
    login(pulls, server.host, password="wr0ng")
    result = refused(pulls, "pull", f"{server.host}/mine:1", says="login|nauthorized|denied|401")
    assert "wr0ng" not in result.stderr
    store.empty()
    assert len(server.seen) < 12, "wrong credentials are not tried for ever"
    assert json.dumps(USERS) not in result.stderr
