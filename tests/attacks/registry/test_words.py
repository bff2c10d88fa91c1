# SPDX-License-Identifier: Apache-2.0
"""A registry's words (IMG-29, REG-05, REG-11): lists of tags without end or to elsewhere, and what is meant for the
terminal of whoever reads it: nothing of it arrives there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from misbehaviour import endless, headers, raw, redirect, sized, status
from pulling import SMALL, login, one, pulled, refused, seen_secrets
from store import Store
from test_signals import drained

import forge
import sample_images
from distribution import Reply
from hostile_registry import Act, Exchange, Hostile
from runner import Minirt

ESC = "\x1b[2J\x1b]0;owned\x07\x9b31m\x00\x08"
CONTROL = re.compile(rb"\x1b\]0;owned|\x1b\[2J|\x1b\[31m|\xc2\x9b|\x07|\x08")
"""What the tests' registry says; the colours and cursor movements of minirt's own are others."""
Make = Callable[..., Hostile]


def tags(*found: str, link: str = "") -> Act:
    body = json.dumps({"name": "mine", "tags": list(found)}).encode()
    return lambda exchange: Reply(200, body, {"Link": link} if link else {})


BAD_TAGS: list[Any] = [
    pytest.param(tags("1", ESC), id="escapes"),
    pytest.param(tags("1", "../../../../etc/x"), id="traversal"),
    pytest.param(tags("1", "a" * 129), id="too long"),
    pytest.param(tags("1", "x?y=z"), id="query"),
    pytest.param(tags("1", "x\r\nX-Evil: 1"), id="header"),
    pytest.param(tags("1", ""), id="empty"),
    pytest.param(lambda exchange: Reply(200, b'{"tags": [1, null, {}]}'), id="no text"),
    pytest.param(lambda exchange: Reply(200, b'{"tags": {"1": 2}}'), id="no list"),
    pytest.param(lambda exchange: Reply(200, b'{"tags": null}'), id="null"),
    pytest.param(endless(), id="endless"),
    pytest.param(sized(16 << 20), id="16 MiB"),
    pytest.param(status(404, "no", "NAME_UNKNOWN"), id="no such repository"),
]


@pytest.mark.parametrize("act", BAD_TAGS)
def test_img_29_tags_that_are_none(pulls: Minirt, hostile: Hostile, act: Act) -> None:
    """IMG-29, REG-18: `pull -a` of a list with names that are no tags: refused, and nobody is asked for them."""
    one(hostile)
    hostile.on("GET /v2/mine/tags/list", act)
    refused(pulls, "pull", "-a", f"{hostile.host}/mine", says=".")
    asked = [seen.path.rpartition("/")[2] for seen in hostile.asked("(GET|HEAD) /v2/mine/manifests/")]
    assert all(re.fullmatch("1|sha256:[0-9a-f]{64}", name) for name in asked), asked
    assert all("x-evil" not in seen.headers for seen in hostile.seen)
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine", "-a")


def test_reg_11_tags_in_a_circle(pulls: Minirt, hostile: Hostile) -> None:
    """REG-11: each page of tags leads to the next, which is the first: an end after a bounded number."""
    one(hostile)
    hostile.on("GET /v2/mine/tags/list", tags("1", link='</v2/mine/tags/list?last=1&n=1>; rel="next"'))
    result = pulls("pull", "-a", f"{hostile.host}/mine")
    assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
    assert len(hostile.asked("GET /v2/mine/tags/list")) <= 1000


def test_reg_11_ever_new_tags(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-11: pages without end, each with fifty thousand new tags: refused at a limit, before anything is pulled."""
    one(hostile)
    count = iter(range(10**9))

    def act(exchange: Exchange) -> Reply:
        page = [f"tag{next(count)}" for _ in range(50_000)]
        answer = tags(*page, link=f'</v2/mine/tags/list?last={page[-1]}>; rel="next"')(exchange)
        assert answer
        return answer

    hostile.on("GET /v2/mine/tags/list", act)
    refused(pulls, "pull", "-a", f"{hostile.host}/mine", says="tags|pages|limit")
    store.empty()


def test_reg_05_the_next_page_is_elsewhere(pulls: Minirt, make_hostile: Make) -> None:
    """REG-05: the second page of tags is on another host: no credentials go there."""
    server, elsewhere = make_hostile(users={"ann": "s3cret"}), make_hostile()
    one(server)
    one(elsewhere)
    login(pulls, server.host)
    honest = tags("1", link=f'<{elsewhere.url}/v2/mine/tags/list>; rel="next"')
    server.on(
        "GET /v2/mine/tags/list",
        lambda exchange: exchange.honest() if exchange.honest().status == 401 else honest(exchange),
    )
    result = pulls("pull", "-a", f"{server.host}/mine")
    assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
    assert seen_secrets(elsewhere) == []
    server.behave()
    pulled(pulls, f"{server.host}/mine", "-a")
    assert seen_secrets(server)


def shown(minirt: Minirt, *argv: str) -> bytes:
    """What a command makes appear on a terminal."""
    child, terminal = minirt.terminal(*argv)
    try:
        return drained(terminal, child)
    finally:
        child.wait(30)
        os.close(terminal)


SAID: list[Any] = [
    pytest.param(status(500, f"words {ESC} words"), id="message"),
    pytest.param(status(500, "words", f"CODE{ESC}"), id="code"),
    pytest.param(lambda exchange: Reply(500, ESC.encode(), {"Content-Type": "text/plain"}), id="plain text"),
    pytest.param(headers(Content_Type=f"x/{ESC[:4]}"), id="media type"),
    pytest.param(redirect(307, f"http://{ESC[:4]}/x"), id="redirect"),
    pytest.param(status(401, WWW_Authenticate=f'Bearer realm="http://{ESC[:4]}/t",service="{ESC[:4]}"'), id="realm"),
    pytest.param(raw(b"HTTP/1.1 500 " + ESC.encode() + b"\r\nContent-Length: 0\r\n\r\n"), id="reason"),
    pytest.param(raw(ESC.encode() + b"\r\n\r\n"), id="no HTTP"),
    pytest.param(headers(Docker_Content_Digest=f"sha256:{ESC[:4]}"), id="digest"),
]


@pytest.mark.parametrize("act", SAID)
def test_img_29_an_answer_with_escapes(pulls: Minirt, hostile: Hostile, act: Act) -> None:
    """IMG-29: whatever part of an answer an error quotes, the terminal is not told what to do by it."""
    one(hostile)
    hostile.on("(GET|HEAD) /v2/mine/manifests/", act)
    pulls.environment["MINIRT_HTTP_RETRY_S"] = "0.01"
    seen = shown(pulls, "pull", f"{hostile.host}/mine:1")
    assert seen, "the control: something is said"
    assert not CONTROL.search(seen), seen
    assert b"Traceback" not in seen and b"internal error" not in seen, seen


def test_img_29_an_image_with_escapes(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """IMG-29: author, history, labels, command and paths of a pulled image as images, history, inspect, tree and which
    show them on a terminal."""
    layer = forge.tar(forge.entry("file" + ESC.replace("\x00", ""), data=b"x"), forge.entry("plain", data=b"y"))
    files = sample_images.image(layer, config={"Cmd": [ESC], "Labels": {"a" + ESC: ESC}, "Env": ["A=" + ESC[:4]]})
    hostile.put(files, "mine:1")
    manifest = json.loads(hostile.manifests["mine", "1"][1])
    config = json.loads(hostile.blobs[manifest["config"]["digest"]])
    config |= {"author": ESC, "created": ESC, "history": [{"created_by": ESC, "comment": ESC, "author": ESC}]}
    changed = json.dumps(config).encode()
    digest = hostile.put_blob(changed, "mine")
    manifest["config"] |= {"digest": digest, "size": len(changed)}
    hostile.put_manifest("mine", "1", json.dumps(manifest).encode())
    name = f"{hostile.host}/mine:1"
    result = pulls("pull", name)
    if result.code:  # refused for it: as good
        assert not CONTROL.search(result.raw_stderr), repr(result)
        store.empty()
        one(hostile, SMALL)
        pulled(pulls, name)
        return
    for words in (["images"], ["history", "--no-trunc", name], ["image", "inspect", name], ["image", "tree", name],
                  ["image", "which", name, "/plain"], ["system", "df", "-v"], ["rmi", name]):  # fmt: skip
        seen = shown(pulls, *words)
        assert seen and not CONTROL.search(seen), (words, seen)
        assert b"Traceback" not in seen and b"internal error" not in seen, (words, seen)
