# SPDX-License-Identifier: Apache-2.0
"""A registry whose content is not what was asked for (REG-01 to REG-04, REG-12, REG-13, REG-19): the own hash
decides, nothing half-made stays, and the same pull from the same server works once it is honest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from misbehaviour import altered, body, cut, flip, headers, length, no_ranges, other_range
from pulling import SMALL, UNPRESSED, blob_of, one, pulled, refused
from store import Store

import forge
import sample_images
from distribution import INDEX, Reply
from hostile_registry import Act, Exchange, Hostile
from runner import Minirt

OTHER = forge.tar(forge.entry("other", data=b"two"))
MISMATCH = "digest mismatch|not sha256:"


def config_of(files: dict[str, bytes]) -> str:
    listed = json.loads(files["index.json"])["manifests"][0]["digest"]
    return str(json.loads(files[f"blobs/sha256/{listed[7:]}"])["config"]["digest"])


@pytest.mark.parametrize("at", [0, 20, -1], ids=["first byte", "inside", "last byte"])
@pytest.mark.parametrize("what", ["layer", "config", "manifest"])
def test_reg_01_flipped_bit(pulls: Minirt, store: Store, hostile: Hostile, what: str, at: int) -> None:
    """REG-01: one bit of a blob, the config, or the manifest by digest is wrong: refused; the honest server works."""
    files = one(hostile)
    digest = hostile.manifests["mine", "1"] and hostile.put_manifest("mine", "1", hostile.manifests["mine", "1"][1])
    place = {"layer": blob_of(files), "config": config_of(files), "manifest": digest}[what]
    hostile.on(f"GET /v2/mine/.*/{place}", flip(at))
    name = f"{hostile.host}/mine" + (f"@{digest}" if what == "manifest" else ":1")
    refused(pulls, "pull", name, says=MISMATCH)
    store.empty()
    assert store.partials == [], "a blob with a wrong digest is no partial blob to go on with"
    hostile.behave()
    pulled(pulls, name)


LONGER: list[Any] = [
    pytest.param(body(lambda data: data[:-1]), id="shorter"),
    pytest.param(body(lambda data: data[:1]), id="one byte"),
    pytest.param(body(b""), id="nothing"),
    pytest.param(body(lambda data: data + b"x"), id="one more"),
    pytest.param(body(lambda data: data + bytes(1 << 20)), id="a mebibyte more"),
    pytest.param(body(lambda data: data * 2), id="twice"),
    pytest.param(cut(0.5), id="half, then the end"),
    pytest.param(length(2), id="Content-Length says twice"),
]


@pytest.mark.parametrize("act", LONGER)
@pytest.mark.parametrize("what", ["layer", "config"])
def test_reg_02_other_size(pulls: Minirt, store: Store, hostile: Hostile, what: str, act: Act) -> None:
    """REG-02: a blob shorter or longer than its descriptor says is an error, whatever Content-Length says."""
    files = one(hostile)
    place = blob_of(files) if what == "layer" else config_of(files)
    hostile.on(f"GET /v2/mine/blobs/{place}", act)
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="digest mismatch|longer than|truncated|size|ended|bytes")
    store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


@pytest.mark.parametrize("difference", [-1, 1])
def test_reg_02_descriptor_with_the_right_digest_and_another_size(
    pulls: Minirt, store: Store, hostile: Hostile, difference: int
) -> None:
    """REG-02: the bytes have the right digest, but the descriptor states another size: refused all the same."""
    files = one(hostile)
    manifest = json.loads(hostile.manifests["mine", "1"][1])
    manifest["layers"][0]["size"] += difference
    hostile.put_manifest("mine", "1", json.dumps(manifest).encode())
    refused(pulls, "pull", f"{hostile.host}/mine:1", says="longer than|truncated|size|bytes")
    store.empty()
    hostile.put(files, "mine:1")
    pulled(pulls, f"{hostile.host}/mine:1")


def reference(make: Callable[[], Minirt], server: Hostile, name: str) -> dict[str, str]:
    return pulled(make(), f"{server.host}/{name}").content()


def test_reg_03_cut_at_every_tenth_and_resumed(pulls: Minirt, hostile: Hostile) -> None:
    """REG-03: the connection ends after each 10 % of what is left: resumed by Range, and the result is the blob."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    path = f"GET /v2/mine/blobs/{blob}"
    for share in (0.1, 0.5, 0.9):
        hostile.on(path, cut(share), times=1)
    store = pulled(pulls, f"{hostile.host}/mine:1")
    assert store.blob(blob) == hostile.blobs[blob]
    ranges = [one.headers.get("range") for one in hostile.asked(path)]
    assert ranges[0] is None and len(ranges) == 4, ranges
    starts = [int(str(one).removeprefix("bytes=").rstrip("-").split("-")[0]) for one in ranges[1:]]
    assert starts == sorted(starts) and starts[0] > 0, "it went on where it was cut"
    assert hostile.body_bytes(f".*{blob}") < 1.2 * len(hostile.blobs[blob]), "not all of it again"


@pytest.mark.parametrize("tenth", range(1, 10))
def test_reg_03_cut_for_good_then_pulled_again(pulls: Minirt, store: Store, hostile: Hostile, tenth: int) -> None:
    """REG-03: cut at each 10 % and no server after it: an error; the next pull asks for the rest only."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    path = f"GET /v2/mine/blobs/{blob}"
    hostile.on(path, lambda exchange: None)
    hostile.on(path, cut(tenth / 10), times=1)
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=".")
    store.empty()
    hostile.behave()
    assert pulled(pulls, f"{hostile.host}/mine:1").blob(blob) == hostile.blobs[blob]
    missing = len(hostile.blobs[blob]) * (1 - tenth / 10)
    assert hostile.body_bytes(f".*{blob}") <= missing + (1 << 16), "what was there was not kept"
    assert store.partials == []


def wrong_rest(exchange: Exchange) -> Reply:
    """206 with the right range in its headers, and other bytes."""
    reply = exchange.honest()
    assert isinstance(reply.body, bytes)
    reply.body = bytes(len(reply.body))
    return reply


def lying_range(exchange: Exchange) -> Reply:
    """206, the bytes from elsewhere, and Content-Range as it was asked for."""
    honest = exchange.honest()
    moved = other_range(-4096)(exchange)
    assert moved and isinstance(moved.body, bytes) and isinstance(honest.body, bytes)
    honest.body = moved.body[: len(honest.body)]
    return honest


RANGES: list[Any] = [
    pytest.param(no_ranges, True, id="200 and all of it"),
    pytest.param(other_range(4096), False, id="206 from later"),
    pytest.param(other_range(-4096), False, id="206 from earlier"),
    pytest.param(headers(Content_Range=None), False, id="206 without Content-Range"),
    pytest.param(headers(Content_Range="bytes banana"), False, id="Content-Range that is none"),
    pytest.param(wrong_rest, False, id="206 with other bytes"),
    pytest.param(lying_range, False, id="206 from earlier under the asked name"),
    pytest.param(altered(lambda reply: setattr(reply, "status", 416)), False, id="416"),
]


@pytest.mark.parametrize(("act", "works"), RANGES)
def test_reg_04_range_answered_otherwise(pulls: Minirt, store: Store, hostile: Hostile, act: Act, works: bool) -> None:
    """REG-04: a resumed download gets something else: begun anew or refused, never a stitched blob. `works`:
    whether it must work, or may also be refused."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    path = f"GET /v2/mine/blobs/{blob}"
    hostile.on(path, lambda exchange: None)
    hostile.on(path, cut(0.5), times=1)
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=".")
    hostile.behave()
    hostile.on(path, lambda exchange: act(exchange) if "range" in exchange.seen.headers else exchange.honest())
    if works:
        pulled(pulls, f"{hostile.host}/mine:1")
    else:
        result = pulls("pull", f"{hostile.host}/mine:1")
        assert result.code in (0, 1) and "Traceback" not in result.stderr, repr(result)
    store.true()
    hostile.behave()
    assert pulled(pulls, f"{hostile.host}/mine:1").blob(blob) == hostile.blobs[blob]


@pytest.mark.parametrize("claims", [True, False], ids=["claims the digest", "says nothing"])
def test_reg_12_other_manifest_under_the_digest(pulls: Minirt, store: Store, hostile: Hostile, claims: bool) -> None:
    """REG-12: pulled by digest, answered with another manifest whose Docker-Content-Digest is the one asked for."""
    one(hostile, SMALL, name="mine:1")
    one(hostile, OTHER, name="mine:2")
    wanted = hostile.put_manifest("mine", "1", hostile.manifests["mine", "1"][1])
    other = hostile.manifests["mine", "2"][1]
    claim = headers(Docker_Content_Digest=wanted if claims else None)

    def act(exchange: Exchange) -> Reply:
        reply = claim(exchange)
        assert reply
        reply.body, reply.length = other, len(other)
        return reply

    hostile.on(f"GET /v2/mine/manifests/{wanted}", act)
    refused(pulls, "pull", f"{hostile.host}/mine@{wanted}", says=MISMATCH)
    store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine@{wanted}")


def test_reg_12_a_tag_whose_digest_header_lies(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-12: pulled by tag, Docker-Content-Digest names another digest than the body has: never believed."""
    one(hostile)
    lie = "sha256:" + "0" * 64
    hostile.on("(GET|HEAD) /v2/mine/manifests/1", headers(Docker_Content_Digest=lie))
    result = pulls("pull", f"{hostile.host}/mine:1")
    assert lie not in result.stdout, repr(result)
    if result.code == 0:
        store.true()
    else:
        assert "digest" in result.stderr, repr(result)
        store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


def test_reg_13_the_tag_moves_between_head_and_get(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-13: the tag moves with every request: what is stored is one image or the other, whole, never a mix."""
    one(hostile, SMALL, name="mine:old")
    one(hostile, SMALL, OTHER, name="mine:new")
    turns = iter(range(1000))

    def act(exchange: Exchange) -> Reply:
        tag = ("old", "new")[next(turns) % 2]
        moved = exchange.seen.path.replace("/manifests/1", f"/manifests/{tag}")
        return exchange.server.honest(exchange.seen._replace(path=moved))

    hostile.on("(GET|HEAD) /v2/mine/manifests/1", act)
    for _ in range(3):
        result = pulls("pull", f"{hostile.host}/mine:1")
        if result.code == 0:
            said = next(line for line in result.lines if line.startswith("Digest: ")).removeprefix("Digest: ")
            known = {hostile.put_manifest("x", tag, hostile.manifests["mine", tag][1]) for tag in ("old", "new")}
            assert said in known
            named = [entry["digest"] for entry in store.images if entry.get("annotations")]
            assert said in named
        store.true()


def test_reg_13_media_type_changes_between_head_and_get(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-13, IMG-22: an index by HEAD and a manifest by GET, and the reverse: what the bytes are, or refused."""
    one(hostile)
    for head, get in ((INDEX, None), (None, INDEX)):
        hostile.behave()
        if head:
            hostile.on("HEAD /v2/mine/manifests/1", headers(Content_Type=head))
        if get:
            hostile.on("GET /v2/mine/manifests/1", headers(Content_Type=get))
            refused(pulls, "pull", f"{hostile.host}/mine:1", says="media type|mediaType|says that it is")
            store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


def test_reg_13_an_index_that_lists_another_digest(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """REG-13: the index names a digest, the registry answers it with the manifest of another."""
    files = sample_images.index(sample_images.image(SMALL), sample_images.image(OTHER, platform="linux/s390x"))
    hostile.put(files, "mine:1")
    first, second = json.loads(files["index.json"])["manifests"]
    other = files["blobs/sha256/" + second["digest"][7:]]
    hostile.on(f"GET /v2/mine/manifests/{first['digest']}", body(other))
    refused(pulls, "pull", f"{hostile.host}/mine:1", says=MISMATCH + "|size|bytes")
    store.empty()
    hostile.behave()
    pulled(pulls, f"{hostile.host}/mine:1")


def test_reg_19_a_shared_layer_corrupted_by_one_of_two_servers(
    pulls: Minirt, store: Store, hostile: Hostile, make_hostile: Callable[..., Hostile]
) -> None:
    """REG-19: two servers have one layer, one of them corrupts it; in both orders the good pull is unaffected, and
    nothing of the bad one is taken for it."""
    bad = make_hostile()
    files = one(hostile, UNPRESSED, SMALL)
    one(bad, UNPRESSED, OTHER)
    blob = blob_of(files)
    bad.on(f"GET /v2/mine/blobs/{blob}", flip(1000))
    refused(pulls, "pull", f"{bad.host}/mine:1", says=MISMATCH)
    store.empty()
    pulled(pulls, f"{hostile.host}/mine:1")
    assert store.blob(blob) == hostile.blobs[blob]
    before = store.content()
    pulls("pull", f"{bad.host}/mine:1")  # it has the layer, truly: works without asking for it
    assert {path: store.content()[path] for path in before} == before
    store.true()


def test_reg_19_at_the_same_time(
    pulls: Minirt, store: Store, hostile: Hostile, make_hostile: Callable[..., Hostile]
) -> None:
    """REG-19: the same, both pulls at once: whoever downloads the layer first, only true bytes are stored."""
    bad = make_hostile()
    files = one(hostile, UNPRESSED)
    one(bad, UNPRESSED, OTHER)
    bad.on(f"GET /v2/mine/blobs/{blob_of(files)}", flip(1000))
    children = [pulls.start("pull", f"{server.host}/mine:1") for server in (bad, hostile, bad, hostile)]
    outcomes = [child.communicate(timeout=60) for child in children]
    assert [children[1].returncode, children[3].returncode] == [0, 0], outcomes
    store.true()
    store.tidy()
    assert store.blob(blob_of(files)) == hostile.blobs[blob_of(files)]


def test_reg_19_half_a_lie_then_an_honest_registry(
    pulls: Minirt, store: Store, hostile: Hostile, make_hostile: Callable[..., Hostile]
) -> None:
    """REG-19, REG-03: a registry sends wrong bytes and breaks off, so that they stay as a partial blob: the honest
    one's rest does not fit to them, which one pull finds out and mends."""
    bad = make_hostile()
    files = one(hostile, UNPRESSED, compression="none")
    one(bad, UNPRESSED, compression="none")
    blob = blob_of(files)

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        assert isinstance(reply.body, bytes)
        reply.body, reply.cut_at = bytes(len(reply.body)), len(reply.body) // 2
        return reply

    bad.on(f"GET /v2/mine/blobs/{blob}", lambda exchange: None)
    bad.on(f"GET /v2/mine/blobs/{blob}", act, times=1)
    refused(pulls, "pull", f"{bad.host}/mine:1", says=".")
    assert store.partials == [blob[7:]], "the control: there is something wrong to go on with"
    assert pulled(pulls, f"{hostile.host}/mine:1").blob(blob) == hostile.blobs[blob]
    assert store.partials == []
