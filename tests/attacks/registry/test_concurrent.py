# SPDX-License-Identifier: Apache-2.0
"""Pulls beside each other and beside whatever removes (CRA-10): one download, no layer taken away from a container, a
store that is true at the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest
from misbehaviour import held, paced
from pulling import SMALL, UNPRESSED, blob_of, one, pulled
from store import Store

import forge
import sample_images
from distribution import Reply
from hostile_registry import Exchange, Hostile
from runner import Minirt, Result, eventually

OTHER = forge.tar(forge.entry("other", data=b"two"))


def test_cra_10_twenty_pulls_of_one_image(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-10: all succeed, each blob has crossed the wire once."""
    files = one(hostile, UNPRESSED, SMALL, compression="none")
    hostile.on("GET /v2/mine/blobs/", paced(1 << 21))
    children = [pulls.start("pull", f"{hostile.host}/mine:1") for _ in range(20)]
    outcomes = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0] * 20, outcomes
    for layer in (0, 1):
        blob = blob_of(files, layer)
        assert len(hostile.asked(f"GET /v2/mine/blobs/{blob}")) == 1, "downloaded more than once"
        assert hostile.body_bytes(f".*{blob}") == len(hostile.blobs[blob])
    store.true()
    store.tidy()
    assert len(store.images) == 1 and store.partials == []


def test_cra_10_images_that_share_a_layer(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-10: five images at once on one base: the base is fetched once, and every image is whole."""
    for number in range(5):
        files = one(hostile, UNPRESSED, forge.tar(forge.entry(f"own{number}", data=b"x")), name=f"mine:{number}")
    hostile.on("GET /v2/mine/blobs/", paced(1 << 21))
    children = [pulls.start("pull", f"{hostile.host}/mine:{number}") for number in range(5)]
    outcomes = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0] * 5, outcomes
    assert len(hostile.asked(f"GET /v2/mine/blobs/{blob_of(files)}")) == 1
    assert len(store.images) == 5
    store.true()
    store.tidy()


def test_cra_10_the_one_who_downloads_is_killed(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-10, CRA-01: nineteen wait for one that is killed in the middle: one of them goes on, all succeed."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    hostile.on(f"GET /v2/mine/blobs/{blob}", held(0.5), times=1)
    patience = {"MINIRT_HTTP_TIMEOUT_S": "60"}
    first = pulls.start("pull", f"{hostile.host}/mine:1", environment=patience)
    eventually(lambda: hostile.asked(f"GET /v2/mine/blobs/{blob}"))
    others = [pulls.start("pull", f"{hostile.host}/mine:1", environment=patience) for _ in range(6)]
    eventually(lambda: len(hostile.asked("(GET|HEAD) /v2/mine/manifests/")) >= 7)
    time.sleep(0.3)
    first.kill()
    first.communicate()
    outcomes = [child.communicate(timeout=60) for child in others]
    assert [child.returncode for child in others] == [0] * 6, outcomes
    assert hostile.body_bytes(f".*{blob}") < 1.2 * len(hostile.blobs[blob])
    store.true()
    pulls.ok("image", "prune", "-f")
    store.tidy()
    assert len(store.images) == 1


def loop(minirt: Minirt, seconds: float, *argvs: list[str]) -> tuple[threading.Thread, list[Result]]:
    """A thread that runs the commands one after the other, again and again; their results."""
    results: list[Result] = []
    until = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < until:
            for argv in argvs:
                results.append(minirt(*argv, timeout_s=60))

    thread = threading.Thread(target=work)
    thread.start()
    return thread, results


@pytest.mark.slow
def test_cra_10_pull_beside_rmi_beside_run_beside_prune(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-10: for some seconds everybody at once. Each command succeeds, or says that the image is in use or not
    there; a container that has started has all its files; in the end the store is true and can be emptied."""
    hostile.put(sample_images.busybox(), "mine:1")
    hostile.put(sample_images.busybox(OTHER), "mine:2")
    first, second = f"{hostile.host}/mine:1", f"{hostile.host}/mine:2"
    seconds = 6.0
    works = [
        loop(pulls, seconds, ["pull", "-q", first], ["pull", "-q", second]),
        loop(pulls, seconds, ["rmi", "-f", first], ["rmi", second]),
        loop(pulls, seconds, ["run", "--rm", "--network", "none", first, "sh", "-c", "cat /etc/passwd && echo done"]),
        loop(
            pulls,
            seconds,
            ["create", "--name", "box", second, "true"],
            ["commit", "box", "made:1"],
            ["rm", "-f", "box"],
        ),
        loop(pulls, seconds, ["image", "prune", "-a", "-f"]),
        loop(pulls, seconds, ["system", "check"], ["images"], ["system", "df"]),
    ]
    for thread, _ in works:
        thread.join(120)
    results = [result for _, found in works for result in found]
    assert len(results) > 10
    assert [result for result in works[5][1] if result.code] == [], "looking at the store never finds it half-changed"
    for result in results:
        assert "Traceback" not in result.stderr and "internal error" not in result.stderr, repr(result)
        if result.code != 0:
            fine = ("No such image", "no such image", "in use", "being used", "using", "try again", "No such container")
            assert any(words in result.stderr for words in fine), repr(result)
    runs = [result for result in works[2][1] if result.code == 0]
    assert runs, "the control: some containers did run"
    assert all(result.out.endswith("done") for result in runs)
    pulls("rm", "-f", "box")
    store.true()
    pulls.ok("image", "prune", "-a", "-f")
    store.empty()
    pulled(pulls, first)
    assert pulls.ok("run", "--rm", "--network", "none", first, "echo", "works") == "works"


def test_cra_10_prune_spares_what_a_pull_relies_on(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-10: a pull has found its base in the store and fetches the layer above; the base's only image is removed
    and everything pruned meanwhile: the pull succeeds, with the base."""
    one(hostile, UNPRESSED, name="base:1")
    files = one(hostile, UNPRESSED, SMALL, name="mine:1")
    pulled(pulls, f"{hostile.host}/base:1")
    top = blob_of(files, 1)
    released = threading.Event()

    def act(exchange: Exchange) -> Reply:
        released.wait(30)
        return exchange.honest()

    hostile.on(f"GET /v2/mine/blobs/{top}", act)
    child = pulls.start("pull", f"{hostile.host}/mine:1", environment={"MINIRT_HTTP_TIMEOUT_S": "60"})
    eventually(lambda: hostile.asked(f"GET /v2/mine/blobs/{top}"))
    pulls.ok("rmi", f"{hostile.host}/base:1")
    pulls.ok("image", "prune", "-a", "-f")
    released.set()
    out, said = child.communicate(timeout=60)
    assert child.returncode == 0, (out, said)
    store.true()
    assert len(store.layers) == 2
    assert len(hostile.asked(f"GET .*/blobs/{blob_of(files)}")) == 1, "the base was not fetched again"


def test_cra_10_prune_takes_no_partial_blob_in_use(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-10: prune during a download: the download goes on and is whole."""
    files = one(hostile, UNPRESSED, compression="none")
    blob = blob_of(files)
    hostile.on(f"GET /v2/mine/blobs/{blob}", paced(1 << 20))
    child = pulls.start("pull", f"{hostile.host}/mine:1")
    eventually(lambda: store.partials)
    while child.poll() is None:
        pulls.ok("image", "prune", "-a", "-f")
    out, said = child.communicate(timeout=60)
    assert child.returncode == 0, (out, said)
    listed = pulls.ok("images", "-q")
    if listed:  # else the last prune came after the pull, and took it
        store.true()


def test_cra_10_a_stopped_container_keeps_its_layers(pulls: Minirt, hostile: Hostile) -> None:
    """CRA-10: rmi is refused while a container exists, rmi -f and prune leave it its layers: it starts afterwards."""
    hostile.put(sample_images.busybox(), "mine:1")
    name = f"{hostile.host}/mine:1"
    pulls.ok("pull", name)
    pulls.ok("create", "--name", "box", "--network", "none", name, "echo", "alive")
    refused = pulls.fails("rmi", name, code=1)
    assert "container" in refused
    pulls("rmi", "-f", name)
    pulls.ok("image", "prune", "-a", "-f")
    started = pulls("start", "-a", "box")
    assert (started.code, started.out) == (0, "alive"), repr(started)
    pulls.ok("rm", "box")
    pulls.ok("image", "prune", "-a", "-f")


def test_cra_10_two_names_of_one_image_at_once(
    pulls: Minirt, store: Store, hostile: Hostile, make_hostile: Callable[..., Hostile]
) -> None:
    """CRA-10: the same image from two registries at once: one image, two names."""
    other = make_hostile()
    one(hostile, UNPRESSED)
    one(other, UNPRESSED)
    children = [pulls.start("pull", f"{server.host}/mine:1") for server in (hostile, other) * 3]
    outcomes = [child.communicate(timeout=60) for child in children]
    assert {child.returncode for child in children} == {0}, outcomes
    store.true()
    store.tidy()
    assert len({found["digest"] for found in store.images}) == 1
    assert len(store.images) == 2, json.dumps(store.images)


def test_cra_10_the_image_is_removed_while_it_is_pushed(pulls: Minirt, store: Store, hostile: Hostile) -> None:
    """CRA-10: rmi and prune during a push: it is done, or fails with a reason; never a tag without its blobs."""
    files = one(hostile, UNPRESSED, SMALL)
    name = f"{hostile.host}/other:1"
    pulls.ok("pull", f"{hostile.host}/mine:1")
    pulls.ok("tag", f"{hostile.host}/mine:1", name)
    hostile.held.clear()  # nothing to be mounted: all of it has to be sent
    released = threading.Event()

    def act(exchange: Exchange) -> Reply:
        released.wait(30)
        return exchange.honest()

    hostile.on("POST /v2/other/blobs/uploads/", act)
    child = pulls.start("push", name, environment={"MINIRT_HTTP_TIMEOUT_S": "60"})
    eventually(lambda: hostile.asked("POST /v2/other/blobs/uploads/"))
    pulls.ok("rmi", f"{hostile.host}/mine:1", name)
    pulls.ok("image", "prune", "-a", "-f")
    released.set()
    out, said = child.communicate(timeout=60)
    assert child.returncode in (0, 1), (out, said)
    assert b"Traceback" not in said and b"internal error" not in said, said
    if ("other", "1") in hostile.manifests:
        assert all(("other", blob_of(files, layer)) in hostile.held for layer in (0, 1))
    else:
        assert child.returncode == 1 and said
    store.tidy()
